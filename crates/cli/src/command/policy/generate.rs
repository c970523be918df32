//! `whodid policy generate`: a profile, and rules that keep noise of recorded traffic out of it.

use whodid_policy::{Level, Profile, Target, Version, load};

use super::traffic::{Group, Scope, read};
use crate::args::GenerateArgs;
use crate::failure::Failure;
use crate::output::{bytes, print, say};

/// Traffic that is a smaller share of all events is no noise.
const SHARE_MIN: f64 = 0.01;

/// So many rules are proposed.
const RULES_MAX: usize = 20;

/// Resources whose reads are never noise, whoever reads them.
const SENSITIVE: [&str; 6] =
    ["secrets", "configmaps", "serviceaccounts", "roles", "clusterroles", "tokenreviews"];

pub async fn run(args: &GenerateArgs) -> Result<(), Failure> {
    let Some(profile) = Profile::of(&args.profile) else {
        return Err(Failure::Usage(format!("there is no profile {}", args.profile)));
    };
    let text = profile.text();
    if !args.from_traffic {
        return Ok(print(&text)?);
    }
    let loaded = load(&text, Version::NEWEST).policy.unwrap_or_default();
    let scope = Scope { cluster: args.cluster.as_deref(), since: None, with_bodies: true };
    let (groups, days) = read(&args.store, scope, &[&loaded]).await?;
    if groups.is_empty() {
        return Err(Failure::NothingFound(
            "there is no traffic in the record to learn from".into(),
        ));
    }
    let rules = proposals(&loaded, &groups, days);
    if rules.is_empty() {
        say!("nothing in the record is noise that this profile would keep");
    }
    // Behind what the profile keeps out anyway, and before all that it keeps.
    let (head, rest) = text.split_once("rules:\n").unwrap_or((&text, ""));
    Ok(print(&format!("{head}rules:\n{rules}{rest}"))?)
}

/// Reads by service accounts and components, by user, verb and resource, the noisiest first.
fn proposals(policy: &whodid_policy::Policy, groups: &[Group], days: f64) -> String {
    let mut noise: Vec<(String, String, String, u64, u64)> = Vec::new();
    let mut all = 0;
    for group in groups {
        let traffic = group.traffic();
        let decision = policy.decide(&traffic.request);
        if decision.level == Level::None || !decision.records(traffic.stage) {
            continue;
        }
        all += traffic.events;
        let Some(user) = traffic.request.user.filter(|user| user.starts_with("system:")) else {
            continue;
        };
        let Target::Resource { group: api, resource, subresource, .. } = traffic.request.target
        else {
            continue;
        };
        let is_read = ["get", "list", "watch"].contains(&traffic.request.verb);
        if !is_read || SENSITIVE.contains(&resource) || !subresource.is_empty() {
            continue;
        }
        let (user, verb) = (user.to_owned(), traffic.request.verb);
        let target = format!("- group: \"{api}\"\n    resources: [{resource}]");
        let size = traffic.envelopes;
        match noise.iter_mut().find(|(u, v, t, ..)| (&**u, &**v, &**t) == (&*user, verb, &*target))
        {
            Some((.., events, bytes)) => {
                *events += traffic.events;
                *bytes += size;
            }
            None => noise.push((user, verb.to_owned(), target, traffic.events, size)),
        }
    }
    #[expect(clippy::cast_precision_loss, reason = "shares")]
    let share = |events: u64| events as f64 / all.max(1) as f64;
    noise.retain(|(.., events, _)| share(*events) >= SHARE_MIN);
    noise.sort_by_key(|(.., events, _)| std::cmp::Reverse(*events));
    noise.truncate(RULES_MAX);
    let rule = |(user, verb, target, events, size): &(String, String, String, u64, u64)| {
        #[expect(clippy::cast_precision_loss, reason = "estimates")]
        let (daily, size) = (*events as f64 / days, *size as f64 / days);
        format!(
            "# Saves {daily:.0} events and {} a day, {:.1} % of all: remove it if that is not \
             noise to you.\n- level: None\n  users: [\"{user}\"]\n  verbs: [{verb}]\n  \
             resources:\n  {target}\n",
            bytes(size),
            100.0 * share(*events)
        )
    };
    noise.iter().map(rule).collect()
}
