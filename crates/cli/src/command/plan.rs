//! `whodid plan storage`: disk for a record, and for kube-apiserver's own log beside it, from what
//! was measured (docs/storage.md, whose table a test makes from here).

use whodid_policy::Profile;

use crate::args::{PlanCommand, StorageArgs};
use crate::failure::Failure;
use crate::output::bytes;
use crate::output::print;
use crate::output::table::Table;

/// Bytes of an event as each profile records it, on average, measured on traffic of a real control
/// plane (docs/storage.md says how).
struct Measured {
    profile: &'static str,
    /// As JSON, in a log file.
    json: f64,
    /// In the record, compacted, with bodies.
    stored: f64,
    /// In the record, compacted, when bodies have expired.
    without_bodies: f64,
}

const MEASURED: [Measured; 7] = [
    Measured { profile: "minimal", json: 1_270.0, stored: 58.0, without_bodies: 58.0 },
    Measured { profile: "daily", json: 1_470.0, stored: 68.0, without_bodies: 58.0 },
    Measured { profile: "investigation", json: 1_950.0, stored: 94.0, without_bodies: 58.0 },
    Measured { profile: "compliance-pci", json: 1_370.0, stored: 66.0, without_bodies: 58.0 },
    Measured { profile: "compliance-soc2", json: 1_470.0, stored: 68.0, without_bodies: 58.0 },
    Measured { profile: "compliance-hipaa", json: 1_370.0, stored: 66.0, without_bodies: 58.0 },
    Measured { profile: "compliance-iso27001", json: 1_470.0, stored: 68.0, without_bodies: 58.0 },
];

/// What a record takes before it is compacted, as a part of what it takes afterwards: a day of it.
const UNCOMPACTED: f64 = 1.2;

/// Room that a disk should have besides what is planned.
const RESERVE: f64 = 1.25;

const DAY: f64 = 86_400.0;

pub fn run(command: PlanCommand) -> Result<(), Failure> {
    let PlanCommand::Storage(args) = command;
    Ok(print(&storage(&args)?)?)
}

fn storage(args: &StorageArgs) -> Result<String, Failure> {
    let StorageArgs { events_per_second, profile, .. } = args;
    if !(events_per_second.is_finite() && (0.0..=1e7).contains(events_per_second)) {
        let why = format!("--events-per-second {events_per_second}: 0 to 10,000,000");
        return Err(Failure::Usage(why));
    }
    let measured = MEASURED.iter().find(|measured| measured.profile == profile);
    let (Some(measured), Some(profile)) = (measured, Profile::of(profile)) else {
        return Err(Failure::Usage(format!("there is no profile {profile}")));
    };
    let days = args.days.unwrap_or(profile.days);
    let bodies_days = args.bodies_days.unwrap_or(days).min(days);
    let daily = events_per_second * DAY;
    let envelopes = measured.without_bodies * daily;
    let bodies = (measured.stored - measured.without_bodies) * daily;
    let newest = (UNCOMPACTED - 1.0) * measured.stored * daily;
    let record = envelopes * f64::from(days) + bodies * f64::from(bodies_days) + newest;
    let mut table = Table::new(["WHAT", "DAYS", "DISK"].map(str::to_owned));
    let mut row = |what: &str, days: u32, amount: f64| {
        table.row(vec![what.to_owned(), days.to_string(), bytes(amount)]);
    };
    row("events, without bodies", days, envelopes * f64::from(days));
    row("bodies of requests and responses", bodies_days, bodies * f64::from(bodies_days));
    row("the newest day, before it is compacted", 1, newest);
    row("the record", days, record);
    row("a disk for it, a quarter of it free", days, record * RESERVE);
    row("the same as files of JSON", days, measured.json * daily * f64::from(days));
    let bodies = if bodies_days < days { format!(",bodies={bodies_days}d") } else { String::new() };
    let retain = format!("--retain CLUSTER={days}d{bodies}");
    Ok(format!(
        "{}\nwhodid serve {retain}\n\nkube-apiserver, for {} hours without whodid:\n{}",
        table.print(true),
        args.outage_hours,
        log_flags(measured.json * events_per_second, args.outage_hours)
    ))
}

/// The flags of a log that reaches so many hours back.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "counts of files"
)]
fn log_flags(bytes_per_second: f64, hours: u32) -> String {
    const MIB: f64 = 1_048_576.0;
    let needed = bytes_per_second * f64::from(hours) * 3_600.0 / MIB;
    // At least a hundred megabytes each, so that the largest event fits, and at most fifty files.
    let size = (needed / 50.0).clamp(100.0, 1_024.0).ceil();
    let backups = (needed / size).ceil().max(10.0) as u64;
    let age = hours.div_ceil(24).max(7);
    let disk = (size + 1.0) * (backups + 1) as f64 * MIB;
    format!(
        "--audit-log-maxage={age}\n--audit-log-maxbackup={backups}\n--audit-log-maxsize={size:.0}\n\
         (at most {} on every host of the control plane)\n",
        bytes(disk)
    )
}

#[cfg(test)]
mod tests {
    use whodid_policy::PROFILES;

    use super::*;

    /// The table of docs/storage.md.
    fn documented() -> String {
        let mut text =
            String::from("| profile | JSON | record | bodies expired |\n|---|---|---|---|\n");
        for Measured { profile, json, stored, without_bodies } in MEASURED {
            text.push_str(&format!(
                "| {profile} | {json:.0} | {stored:.0} | {without_bodies:.0} |\n"
            ));
        }
        text
    }

    #[test]
    fn the_documents_table_is_this_one() {
        let page = whodid_testkit::captures::repository().join("docs/storage.md");
        let page = std::fs::read_to_string(page).unwrap();
        assert!(page.contains(&documented()), "docs/storage.md should have\n{}", documented());
        assert_eq!(MEASURED.map(|measured| measured.profile), PROFILES.map(|profile| profile.name));
    }

    #[test]
    fn a_plan_adds_up() {
        let args = StorageArgs {
            events_per_second: 100.0,
            profile: "daily".into(),
            days: Some(30),
            bodies_days: Some(7),
            outage_hours: 24,
        };
        let text = storage(&args).unwrap();
        assert!(text.contains("--retain CLUSTER=30d,bodies=7d"), "{text}");
        assert!(text.contains("--audit-log-maxbackup="), "{text}");
        let nonsense = StorageArgs { events_per_second: f64::NAN, ..args };
        assert!(storage(&nonsense).is_err());
    }
}
