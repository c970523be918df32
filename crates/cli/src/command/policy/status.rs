//! `whodid policy mode status`: how clusters are to be recorded, and which policy their events
//! agree with, which is the one in force.

use whodid_event::time;
use whodid_policy::{PROFILES, Policy, Version, load};
use whodid_query::seconds;
use whodid_store::{Mode, Reader};

use super::policy;
use super::traffic::{Group, Scope, read};
use crate::args::{ModeStatusArgs, StoreArgs};
use crate::command::now;
use crate::failure::Failure;
use crate::output::table::{NONE, Table};
use crate::output::{cell, print, say};

pub async fn run(args: &ModeStatusArgs) -> Result<(), Failure> {
    said(args)?;
    let version = args.version.kubernetes_version;
    let mut candidates = Vec::new();
    for file in &args.files {
        candidates.push((file.display().to_string(), policy(file, version)?));
    }
    for profile in &PROFILES {
        let loaded = load(&profile.text(), Version::NEWEST);
        candidates.extend(loaded.policy.map(|policy| (profile.name.to_owned(), policy)));
    }
    let Some(span @ 1..) = seconds(&args.since) else {
        let why = format!("--since {}: write a length of time, such as 1h or 7d", args.since);
        return Err(Failure::Usage(why));
    };
    let policies: Vec<&Policy> = candidates.iter().map(|(_, policy)| policy).collect();
    let since = Some(now() - i64::from(span) * 1_000_000);
    let scope = Scope { cluster: args.cluster.as_deref(), since, with_bodies: false };
    let (groups, _) = read(&args.store, scope, &policies).await?;
    let all: u64 = groups.iter().map(|group| group.events).sum();
    if all == 0 {
        return Err(Failure::NothingFound(format!("no event came in the last {}", args.since)));
    }
    let mut table =
        Table::new(["POLICY", "EVENTS THAT AGREE", "FIRST THAT DOES NOT"].map(str::to_owned));
    let mut best = 0;
    for (name, policy) in &candidates {
        let (agreeing, example) = agreement(policy, &groups);
        best = best.max(agreeing);
        let example = example.map_or_else(|| NONE.to_owned(), |example| cell(&example));
        table.row(vec![cell(name), format!("{agreeing} of {all}"), example]);
    }
    print(&table.print(true))?;
    if best == all {
        return Ok(());
    }
    Err(Failure::NothingFound("the events agree with none of these policies".into()))
}

/// Says how clusters are to be recorded, where that was put on record.
fn said(args: &ModeStatusArgs) -> Result<(), Failure> {
    let modes = Reader::open_dir(&args.store.dir())?.modes()?;
    let is_wanted =
        |(cluster, _): &(&String, &Mode)| args.cluster.as_ref().is_none_or(|name| name == *cluster);
    for (cluster, mode) in modes.iter().filter(is_wanted) {
        let until = mode.until.as_deref().map(|until| format!(" until {until}"));
        let past = ", which is past: `whodid policy mode daily` goes back";
        let past = if is_over(mode, now()) { past } else { "" };
        say!("{cluster} is to be in mode {}{}{past}", mode.name, until.unwrap_or_default());
    }
    Ok(())
}

/// Whether a mode should have ended.
pub fn is_over(mode: &Mode, now: i64) -> bool {
    mode.until.as_deref().and_then(time::parse).is_some_and(|until| until <= now)
}

/// The profile that the events of the last hour agree with best, how many do, and of how many;
/// `None` without events.
pub async fn in_force(
    store: &StoreArgs,
    cluster: Option<&str>,
) -> Result<Option<(&'static str, u64, u64)>, Failure> {
    let profiles: Vec<(&str, Policy)> = PROFILES
        .iter()
        .filter_map(|profile| Some((profile.name, load(&profile.text(), Version::NEWEST).policy?)))
        .collect();
    let policies: Vec<&Policy> = profiles.iter().map(|(_, policy)| policy).collect();
    let since = Some(now() - 3_600 * 1_000_000);
    let (groups, _) = read(store, Scope { cluster, since, with_bodies: false }, &policies).await?;
    let all: u64 = groups.iter().map(|group| group.events).sum();
    let agreeing = profiles.iter().map(|(name, policy)| (*name, agreement(policy, &groups).0));
    // Of several that are the same, the first.
    let best = agreeing.rev().max_by_key(|(_, count)| *count);
    Ok(best.filter(|_| all > 0).map(|(name, count)| (name, count, all)))
}

/// How many events were recorded at the level and stage that a policy says, and one that was not.
fn agreement(policy: &Policy, groups: &[Group]) -> (u64, Option<String>) {
    let (mut agreeing, mut example) = (0, None);
    for group in groups {
        let traffic = group.traffic();
        let decision = policy.decide(&traffic.request);
        if decision.level == group.level && decision.records(group.stage) {
            agreeing += group.events;
        } else if example.is_none() {
            example = Some(format!("{} ({}, {})", traffic.request, group.stage, group.level));
        }
    }
    (agreeing, example)
}
