//! `whodid policy mode investigation|daily`: the policy to switch to, the steps there and back, and
//! a record of it. It touches no cluster: kube-apiserver reads its policy when it starts, and
//! starting it is for whoever may. Which policy is in force is `status`' to say.

use std::path::Path;

use sha2::{Digest, Sha256};
use whodid_event::time;
use whodid_policy::{Profile, Version};
use whodid_query::seconds;
use whodid_store::{Mode, hex};

use super::{policy, read};
use crate::args::{ControlPlane, DailyArgs, InvestigationArgs};
use crate::command::folder::{self, File};
use crate::command::keeper::Keeper;
use crate::command::now;
use crate::failure::Failure;
use crate::output::print;

const INVESTIGATION: &str = "investigation";
const DAILY: &str = "daily";

/// Longer than that is no investigation but a policy.
const SECONDS_MAX: u32 = 30 * 24 * 3_600;

pub async fn investigation(args: &InvestigationArgs) -> Result<(), Failure> {
    let Some(span @ 1..=SECONDS_MAX) = seconds(&args.r#for) else {
        let why = format!("--for {}: write a length of time, such as 2h, up to 30d", args.r#for);
        return Err(Failure::Usage(why));
    };
    let until = now() / 1_000_000 * 1_000_000 + i64::from(span) * 1_000_000;
    let daily = of_every_day(args.policy.as_deref())?;
    let more = profile(INVESTIGATION);
    let switch = Switch { args, until };
    let mode = mode(INVESTIGATION, &more, Some(until));
    let files = [
        File { name: "investigation.yaml", text: more },
        File { name: "daily.yaml", text: daily },
        File { name: "switch.sh", text: switch.script() },
        File { name: "README.md", text: switch.readme() },
    ];
    if args.dry_run {
        return Ok(print(&folder::shown(&files))?);
    }
    let name = format!("whodid-investigation-{}", args.cluster);
    let out = args.out.clone().unwrap_or_else(|| name.into());
    let keeper = Keeper::of(&args.store.dir()).await?;
    folder::create(&out)?;
    // On record before anybody can switch.
    if let Err(refused) = keeper.switch(&args.cluster, mode, &args.reason).await {
        // It is empty, and would be in the way of the next try.
        let _removed = std::fs::remove_dir(&out);
        return Err(refused);
    }
    folder::write(&out, &files)?;
    Ok(print(&format!("{}\n\n{}", out.display(), switch.readme()))?)
}

pub async fn daily(args: &DailyArgs) -> Result<(), Failure> {
    let text = of_every_day(args.policy.as_deref())?;
    let keeper = Keeper::of(&args.store.dir()).await?;
    keeper.switch(&args.cluster, mode(DAILY, &text, None), &args.reason).await?;
    Ok(print(&format!(
        "{} is to be in mode {DAILY}; `sh switch.sh {DAILY}` on its control plane, if that was not \
         done yet, and `whodid policy mode status` tells what its events show\n",
        args.cluster
    ))?)
}

fn profile(name: &str) -> String {
    Profile::of(name).map(Profile::text).unwrap_or_default()
}

/// The policy to go back to.
fn of_every_day(file: Option<&Path>) -> Result<String, Failure> {
    let Some(file) = file else { return Ok(profile(DAILY)) };
    policy(file, Version::NEWEST)?;
    read(file)
}

fn mode(name: &str, policy: &str, until: Option<time::Micros>) -> Mode {
    let policy = hex(&Sha256::digest(policy).into());
    Mode { name: name.to_owned(), policy, until: until.map(time::format) }
}

/// What is to be done on hosts of the control plane.
struct Switch<'a> {
    args: &'a InvestigationArgs,
    until: time::Micros,
}

impl Switch<'_> {
    /// Starts kube-apiserver anew, and ends when it has been told to.
    fn restart(&self) -> String {
        match self.args.target {
            ControlPlane::Generic => match &self.args.restart {
                Some(command) => format!("{command}\n"),
                None => "echo 'Restart kube-apiserver now: it reads its policy when it starts.'\n"
                    .to_owned(),
            },
            ControlPlane::K3s => "systemctl restart k3s\n".to_owned(),
            ControlPlane::Rke2 => "systemctl restart rke2-server\n".to_owned(),
            // A static pod starts anew when its manifest was away for a while.
            ControlPlane::Kubeadm => "\
manifest=/etc/kubernetes/manifests/kube-apiserver.yaml
mv \"$manifest\" /etc/kubernetes/kube-apiserver.yaml.whodid
trap 'mv /etc/kubernetes/kube-apiserver.yaml.whodid \"$manifest\"' EXIT
tries=0
while curl -sk -o /dev/null https://127.0.0.1:6443/livez && [ $tries -lt 120 ]; do
  tries=$((tries + 1)); sleep 1
done
mv /etc/kubernetes/kube-apiserver.yaml.whodid \"$manifest\"
trap - EXIT
"
            .to_owned(),
        }
    }

    fn script(&self) -> String {
        let dir = self.args.host_dir.display().to_string().replace('\'', "'\\''");
        let at = time::format(self.until);
        let (date, clock) = at.split_once('T').unwrap_or((&at, ""));
        let clock = clock.split('.').next().unwrap_or(clock).trim_end_matches('Z');
        format!(
            "#!/bin/sh
# Puts a policy in force on this host of the control plane: sh switch.sh investigation|daily
set -eu
cd \"$(dirname \"$0\")\"
to=${{1:-}}
case \"$to\" in
  investigation|daily) ;;
  *) echo 'write: sh switch.sh investigation|daily' >&2; exit 2 ;;
esac
dir='{dir}'
if ! [ -f \"$dir/policy.yaml\" ]; then
  echo \"there is no $dir/policy.yaml; --audit-policy-file is elsewhere\" >&2
  exit 1
fi
pending=\"$dir/policy.yaml.not-read-yet\"
if [ -e \"$pending\" ] || ! cmp -s \"$to.yaml\" \"$dir/policy.yaml\"; then
  # It goes when the restart was done: one that failed is tried again.
  : > \"$pending\"
  # By name, so that there is never half a policy.
  cp \"$to.yaml\" \"$dir/policy.yaml.new\"
  chmod 600 \"$dir/policy.yaml.new\"
  mv \"$dir/policy.yaml.new\" \"$dir/policy.yaml\"
{restart}  rm \"$pending\"
fi
if [ \"$to\" = investigation ]; then
  back='systemd-run --quiet --unit=whodid-policy-back'
  at='{date} {clock} UTC'
  # An earlier one would go back too soon.
  systemctl stop whodid-policy-back.timer 2> /dev/null || true
  if [ -d /run/systemd/system ] &&
    $back --on-calendar=\"$at\" /bin/sh \"$PWD/switch.sh\" daily; then
    echo 'goes back by itself at {at}'
  else
    echo 'nothing here can go back by itself: run `sh switch.sh daily` at {at}'
  fi
fi
",
            restart = indented(&self.restart()),
        )
    }

    fn readme(&self) -> String {
        let InvestigationArgs { cluster, host_dir, reason, .. } = self.args;
        let (until, dir) = (time::format(self.until), host_dir.display());
        let restart = match (self.args.target, &self.args.restart) {
            (ControlPlane::Generic, None) => {
                " It does not restart kube-apiserver: do that then, as that reads the policy."
            }
            _ => " It restarts kube-apiserver, which reads the policy then.",
        };
        format!(
            "# Investigate {cluster} until {until}

Why: {reason}

1. Copy this folder to every host of the control plane; there, one host after the other, as root: \
             `sh switch.sh investigation`. It puts `investigation.yaml` in the place of \
             `{dir}/policy.yaml`.{restart}
2. See that it is in force: `whodid policy mode status --cluster {cluster} --since 5m`.
3. At {until}, every host goes back by itself if it has systemd; else `sh switch.sh daily` there. \
             Hosts that were restarted meanwhile have forgotten it.
4. Put on record that it ended: `whodid policy mode daily --cluster {cluster} --reason '…'`. \
             Until then, the server reminds of it in its log, and `whodid policy mode status` and \
             `whodid doctor` say so.
"
        )
    }
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("  {line}\n")).collect()
}
