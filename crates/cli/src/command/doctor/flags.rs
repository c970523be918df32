//! What kube-apiserver's flags mean for the events on their way (Kubernetes, kube-apiserver's
//! reference): which of them lose some, and how long an outage the log behind them can bridge.

use std::path::Path;
use std::time::SystemTime;

use whodid_policy::{Flags, Version};

use super::Check;
use crate::output::bytes;

/// Less is full after seconds of a busy cluster.
const BUFFER_MIN: u64 = 10_000;

const MIB: u64 = 1 << 20;

/// Flags that lose events, or do not.
pub fn checks(flags: Option<&Flags>, largest: u64, version: Version) -> Vec<Check> {
    let Some(flags) = flags else {
        let fix = "give --flags, for example /etc/kubernetes/manifests/kube-apiserver.yaml";
        return vec![Check::unknown("flags", "no flags were given", fix)];
    };
    let mut wrong = Vec::new();
    let is_set = |name: &str| flags.get(name).is_some();
    let number = |name: &str| flags.number(name, version);
    if !is_set("audit-policy-file") {
        wrong.push(("there is no --audit-policy-file: nothing is recorded", "`whodid init`"));
    }
    if !is_set("audit-webhook-config-file") && !is_set("audit-log-path") {
        wrong.push(("there is neither a webhook nor a log: nothing is recorded", "`whodid init`"));
    }
    if is_set("audit-webhook-config-file") {
        if number("audit-webhook-batch-buffer-size").is_some_and(|size| size < BUFFER_MIN) {
            wrong.push((
                "the webhook's buffer is small: a burst overflows it, and events are dropped",
                "--audit-webhook-batch-buffer-size=20000",
            ));
        }
        if flags.get("audit-webhook-mode").is_some_and(|mode| mode.starts_with("blocking")) {
            wrong.push((
                "the webhook blocks: while whodid is away, every request waits for minutes",
                "--audit-webhook-mode=batch, with a log besides",
            ));
        }
        if !is_set("audit-log-path") {
            wrong.push((
                "there is no log besides the webhook: what cannot be sent five times is lost",
                "--audit-log-path=FILE, and `whodid ship` for it",
            ));
        }
    }
    for backend in ["log", "webhook"] {
        if flags.get(&format!("audit-{backend}-truncate-enabled")) == Some("true") {
            wrong.push((
                "truncation takes the bodies out of large events, and drops larger ones",
                "--audit-log-truncate-enabled=false, --audit-webhook-truncate-enabled=false",
            ));
        }
    }
    if is_set("audit-log-path") {
        let unlimited = |name: &str| number(name) == Some(0);
        if unlimited("audit-log-maxbackup") && unlimited("audit-log-maxage") {
            wrong.push((
                "rotated logs are kept for ever: the disk of the control plane fills up",
                "--audit-log-maxage=30 and --audit-log-maxbackup=10",
            ));
        }
        if number("audit-log-maxsize").is_some_and(|size| size > 0 && size * MIB < 2 * largest) {
            wrong.push((
                "a line that is larger than --audit-log-maxsize is lost, and bodies here come \
                 close to it",
                "--audit-log-maxsize=100",
            ));
        }
    }
    if wrong.is_empty() {
        return vec![Check::pass("flags", "none of them loses events")];
    }
    wrong.into_iter().map(|(what, fix)| Check::fail("flags", what, fix)).collect()
}

/// How long an outage the log bridges, from its limits and how fast it grows.
#[expect(clippy::cast_precision_loss, reason = "estimates")]
pub fn outage(flags: Option<&Flags>, dir: Option<&Path>, version: Version) -> Check {
    const NAME: &str = "outage";
    let (Some(flags), Some(dir)) = (flags, dir) else {
        let fix = "give --flags and --log-dir, on a host of the control plane";
        return Check::unknown(NAME, "how long an outage the log bridges was not asked", fix);
    };
    let Some((size, seconds)) = growth(dir) else {
        let fix = "is it the folder of --audit-log-path, and may you read it?";
        return Check::fail(NAME, format!("there is no log in {}", dir.display()), fix);
    };
    let rate = size as f64 / seconds.max(1.0);
    let number = |name: &str| flags.number(name, version).unwrap_or(0);
    let (backups, max, age) =
        (number("audit-log-maxbackup"), number("audit-log-maxsize"), number("audit-log-maxage"));
    let by_size = (backups > 0 && max > 0).then(|| (backups * max * MIB) as f64 / rate.max(1.0));
    let by_age = (age > 0).then_some(age as f64 * 86_400.0);
    let reach = [by_size, by_age].into_iter().flatten().reduce(f64::min);
    let held = format!("{:.1} days of it are there", seconds / 86_400.0);
    match reach {
        None => Check::pass(NAME, format!("rotated logs are never deleted; {held}")),
        Some(reach) => {
            let hours = reach / 3_600.0;
            let what = format!(
                "at {} an hour, the log bridges {hours:.1} hours; {held}",
                bytes(rate * 3_600.0)
            );
            if hours < 24.0 {
                let fix = "raise --audit-log-maxbackup (`whodid plan storage --outage-hours 24`)";
                return Check::fail(NAME, what, fix);
            }
            Check::pass(NAME, what)
        }
    }
}

/// Bytes of the logs in a folder, and the seconds that they span.
fn growth(dir: &Path) -> Option<(u64, f64)> {
    let is_log = |name: &str| name.contains(".log");
    let (mut size, mut oldest, mut newest) = (0, None::<SystemTime>, None::<SystemTime>);
    for entry in std::fs::read_dir(dir).ok()?.flatten() {
        if !entry.file_name().to_str().is_some_and(is_log) {
            continue;
        }
        let Ok(found) = entry.metadata() else { continue };
        let Ok(end) = found.modified() else { continue };
        // Where the file system does not tell, the span begins with the oldest file's end.
        let begin = found.created().unwrap_or(end);
        size += found.len();
        oldest = Some(oldest.map_or(begin, |oldest| oldest.min(begin)));
        newest = Some(newest.map_or(end, |newest| newest.max(end)));
    }
    let span = newest?.duration_since(oldest?).ok()?;
    (size > 0).then_some((size, span.as_secs_f64()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::doctor::Outcome;

    fn outcomes(text: &str, largest: u64) -> Vec<Outcome> {
        let flags = Flags::find(text);
        checks(Some(&flags), largest, Version::NEWEST).iter().map(|check| check.outcome).collect()
    }

    const GOOD: &str = "--audit-policy-file=/p --audit-webhook-config-file=/w --audit-log-path=/l \
                        --audit-log-maxage=30 --audit-log-maxbackup=10 --audit-log-maxsize=100 ";

    #[test]
    fn flags_that_lose_events_are_found() {
        assert_eq!(outcomes(GOOD, 1_000), [Outcome::Pass]);
        let cases = [
            "--audit-webhook-batch-buffer-size=100",
            "--audit-webhook-mode=blocking-strict",
            "--audit-log-truncate-enabled=true",
            "--audit-webhook-truncate-enabled=true",
            "--audit-log-maxage=0 --audit-log-maxbackup=0",
            "--audit-log-maxsize=1",
        ];
        for case in cases {
            assert_eq!(outcomes(&format!("{GOOD}{case}"), MIB), [Outcome::Fail], "{case}");
        }
        assert_eq!(outcomes("--audit-log-path=/l", 0), [Outcome::Fail]);
        assert_eq!(
            outcomes("--audit-policy-file=/p --audit-webhook-config-file=/w", 0),
            [Outcome::Fail]
        );
        assert_eq!(checks(None, 0, Version::NEWEST)[0].outcome, Outcome::NotKnown);
    }

    #[test]
    fn an_outage_is_as_long_as_the_log() {
        let folder = tempfile::tempdir().unwrap();
        let of = |flags: &str| {
            outage(Some(&Flags::find(flags)), Some(folder.path()), Version::NEWEST).outcome
        };
        assert_eq!(of(GOOD), Outcome::Fail, "there is no log");
        std::fs::write(folder.path().join("audit.log"), vec![b'x'; 100 << 20]).unwrap();
        // It grew by a hundred megabytes in a moment.
        assert_eq!(of(GOOD), Outcome::Fail);
        assert_eq!(
            of(&format!("{GOOD} --audit-log-maxbackup=0 --audit-log-maxage=0")),
            Outcome::Pass
        );
    }
}
