//! What happens to `whodid ship` and its server while the log is written.

use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use whodid_testkit::generate::Random;

use super::history::now;
use super::loss::{self, Down, Gap};
use super::writer::{Plan, Signals};
use super::{LOOK_EVERY, Stand};

/// A killed program is started again after so long at most.
const KILLED_MAX: Duration = Duration::from_millis(500);

/// For how long a program runs and does not run, where files are deleted meanwhile.
const UP: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(5));
const DOWN: (Duration, Duration) = (Duration::from_millis(1_500), Duration::from_secs(8));

/// How long the server is there before it goes, and after everything has caught up.
const BEFORE_OUTAGE: Duration = Duration::from_secs(15);
const AFTER_OUTAGE: Duration = Duration::from_secs(5);

/// Catching up may take so long, or twice as long as the server was away.
const CATCH_UP_MIN: Duration = Duration::from_mins(5);

impl Stand<'_> {
    fn plan(&self, rotate_every: u64) -> Plan {
        Plan {
            seed: self.seed,
            rate: self.args.rate,
            rotate_every: Duration::from_secs(rotate_every),
            deletes: false,
            is_broken: self.args.is_broken,
        }
    }

    fn random(&self) -> Random {
        Random::new(self.seed.wrapping_add(2))
    }
}

/// The program is killed at random moments.
pub(super) fn rotation(stand: &Stand<'_>) -> anyhow::Result<Vec<String>> {
    let server = stand.record.serve(&[])?;
    let mut ship = stand.ship(&server)?;
    let (plan, mut random) = (stand.plan(1), stand.random());
    let whole = Duration::from_secs(stand.args.seconds);
    let mut moments: Vec<Duration> =
        (0..stand.args.kills).map(|_| random.between(Duration::ZERO, whole)).collect();
    moments.sort_unstable();
    let (written, kills) = stand.under_load(&plan, |_| {
        let begin = Instant::now();
        let mut kills = 0;
        for moment in moments {
            thread::sleep(moment.saturating_sub(begin.elapsed()));
            ship.kill()?;
            kills += 1;
            thread::sleep(random.between(Duration::ZERO, KILLED_MAX));
            ship.start_again()?;
        }
        thread::sleep(whole.saturating_sub(begin.elapsed()));
        Ok(kills)
    })?;
    let settled = stand.settle(written.lines.len() as u64)?;
    println!("killed {kills} times; at rest {settled:.1?} after the last line");
    ship.end()?;
    server.end()?;
    let stored = stand.compare(&written, &ship)?;
    let mut faults = stored.faults();
    faults.append(&mut stand.faults(&written, &ship, &plan)?);
    let raw = stand.total("raw")?;
    if raw > 0 {
        faults.push(format!("{raw} on record that are no events"));
    }
    Ok(faults)
}

/// The program is stopped while files are deleted.
pub(super) fn loss(stand: &Stand<'_>) -> anyhow::Result<Vec<String>> {
    let server = stand.record.serve(&[])?;
    let mut ship = stand.ship(&server)?;
    let mut random = stand.random();
    let plan = Plan { deletes: true, is_broken: false, ..stand.plan(1) };
    let (written, downs) = stand.under_load(&plan, |_| {
        let mut downs = Vec::new();
        for stop in 0..stand.args.stops {
            thread::sleep(random.between(UP.0, UP.1));
            let from = now();
            // What it knows it writes down when it is asked to end; killed, it has to cope without.
            match stop % 2 {
                0 => ship.end()?,
                _ => ship.kill()?,
            }
            thread::sleep(random.between(DOWN.0, DOWN.1));
            ship.start_again()?;
            downs.push(Down { from, to: now() });
        }
        thread::sleep(UP.1);
        Ok(downs)
    })?;
    // How many there will be nobody knows.
    stand.settle(u64::MAX)?;
    ship.end()?;
    server.end()?;
    let mut stored = stand.compare(&written, &ship)?;
    let mut gaps: Vec<Gap> = stored.others.iter().filter_map(|text| Gap::parse(text)).collect();
    stored.others.retain(|text| Gap::parse(text).is_none());
    println!("stopped {} times, {} gaps on record", downs.len(), gaps.len());
    if stand.args.is_broken {
        let named = |gaps: &[Gap]| loss::judge(&written, &stored, gaps, &downs).named;
        let without =
            |i| [gaps.get(..i), gaps.get(i + 1..)].into_iter().flatten().flatten().cloned();
        // Of a file that is whole anyway, nobody would miss it.
        let needed = (0..gaps.len())
            .find(|i| named(&without(*i).collect::<Vec<_>>()) < named(&gaps))
            .context("no gap names what is missing")?;
        gaps.remove(needed);
    }
    let mut judgement = loss::judge(&written, &stored, &gaps, &downs);
    println!(
        "{} lines are missing that a gap names, {} of them behind the end that it knows of; {} \
         lines of {} files that came and went unseen; {} gaps of files that are whole",
        judgement.named,
        judgement.behind_end,
        judgement.unseen,
        judgement.unseen_files,
        judgement.needless.len()
    );
    judgement.needless.iter().take(5).for_each(|needless| println!("  {needless}"));
    let mut faults = std::mem::take(&mut judgement.faults);
    let is_about_missing = |fault: &String| fault.contains("lines are missing, the first");
    faults.extend(stored.faults().into_iter().filter(|fault| !is_about_missing(fault)));
    faults.append(&mut stand.faults(&written, &ship, &plan)?);
    if judgement.named == 0 {
        faults.push("nothing went missing that a gap could name".to_owned());
    }
    Ok(faults)
}

/// The server is away for a while.
pub(super) fn outage(stand: &Stand<'_>) -> anyhow::Result<Vec<String>> {
    let mut server = stand.record.serve(&[])?;
    let mut ship = stand.ship(&server)?;
    let (plan, address) = (stand.plan(10), server.address().to_owned());
    let (written, (server, late)) = stand.under_load(&plan, |signals| {
        thread::sleep(BEFORE_OUTAGE);
        server.end()?;
        thread::sleep(Duration::from_secs(stand.args.outage_seconds));
        server = stand.record.serve_at(&address, &[])?;
        let away = Duration::from_secs(stand.args.outage_seconds);
        let late = catch_up(stand, signals, CATCH_UP_MIN.max(2 * away))?;
        thread::sleep(AFTER_OUTAGE);
        Ok((server, late))
    })?;
    let settled = stand.settle(written.lines.len() as u64)?;
    println!("at rest {settled:.1?} after the last line");
    ship.end()?;
    server.end()?;
    let stored = stand.compare(&written, &ship)?;
    let mut faults = stored.faults();
    faults.extend(late);
    faults.append(&mut stand.faults(&written, &ship, &plan)?);
    Ok(faults)
}

/// Waits until the record is behind the log by less than a second; says so if it takes too long.
/// Lines that were lost are waited for, too.
fn catch_up(
    stand: &Stand<'_>,
    signals: &Signals,
    limit: Duration,
) -> anyhow::Result<Option<String>> {
    let begin = Instant::now();
    let behind = |stand: &Stand<'_>| {
        let lines = signals.lines.load(Ordering::Relaxed);
        Ok::<_, anyhow::Error>(lines.saturating_sub(stand.stored()?))
    };
    let at_first = behind(stand)?;
    let outage_lines = stand.args.outage_seconds * stand.args.rate;
    ensure!(at_first >= outage_lines / 2, "only {at_first} lines were waiting after the outage");
    let mut waiting = at_first;
    while waiting > stand.args.rate {
        if begin.elapsed() >= limit {
            return Ok(Some(format!("{waiting} lines are waiting {limit:?} after the outage")));
        }
        thread::sleep(LOOK_EVERY);
        waiting = behind(stand)?;
    }
    let took = begin.elapsed();
    println!("{at_first} lines were waiting after the outage; it had caught up {took:.1?} later");
    Ok(None)
}
