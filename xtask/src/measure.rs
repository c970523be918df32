//! Running a program and measuring it: time, processor time and memory, from `/proc` (Linux).

use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, ExitStatus};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

use crate::command::shown;

/// How often a running program is looked at. Its peak is kept by the kernel, and is missed only if
/// it is reached this shortly before the end.
const INTERVAL: Duration = Duration::from_millis(5);

/// The unit of processor time in `/proc`, the same on every Linux.
const TICK: Duration = Duration::from_millis(10);

/// What a program took.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Usage {
    pub(crate) wall: Duration,
    /// Processor time, of its children too.
    pub(crate) cpu: Duration,
    /// The most memory that was resident at once.
    pub(crate) peak_bytes: u64,
    /// Processor time of the product's thread that hashes and signs, as far as it was seen.
    pub(crate) ledger: Duration,
}

/// Runs a command to its end, and returns what it took and what it printed.
pub(crate) fn run(command: &mut Command, scratch: &Path) -> anyhow::Result<(Usage, String)> {
    // A pipe would have to be emptied meanwhile.
    let out = scratch.join("out");
    let file = File::create(&out).with_context(|| format!("cannot write {}", out.display()))?;
    let started = Instant::now();
    let child = command.stdout(file).spawn();
    let mut child = child.with_context(|| format!("cannot start {}", shown(command)))?;
    let (mut usage, status) = watch(&mut child)?;
    usage.wall = started.elapsed();
    ensure!(status.success(), "{} failed: {status}", shown(command));
    Ok((usage, fs::read_to_string(out)?))
}

/// Looks at a program until it has ended.
pub(crate) fn watch(child: &mut Child) -> anyhow::Result<(Usage, ExitStatus)> {
    let process = Path::new("/proc").join(child.id().to_string());
    let mut usage = Usage::default();
    loop {
        if let Some(peak) = peak(&fs::read_to_string(process.join("status"))?) {
            usage.peak_bytes = peak;
        }
        if let Some(ledger) = thread(&process, "ledger") {
            usage.ledger = ledger;
        }
        // Until it is waited for, a process that has ended still says what it took.
        let stat = fs::read_to_string(process.join("stat"))?;
        let (has_ended, cpu) = state(&stat).context("/proc has another format")?;
        if has_ended {
            usage.cpu = cpu;
            return Ok((usage, child.wait()?));
        }
        thread::sleep(INTERVAL);
    }
}

/// The most memory of a running program that was resident at once, so far.
pub(crate) fn peak_of(child: &Child) -> anyhow::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{}/status", child.id()))?;
    peak(&status).context("it has ended")
}

/// The processor time of a running program, so far.
pub(crate) fn cpu_of(child: &Child) -> anyhow::Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{}/stat", child.id()))?;
    state(&stat).map(|(_, cpu)| cpu).context("/proc has another format")
}

/// The processor time of a thread of this name; `None` if there is none any more.
fn thread(process: &Path, name: &str) -> Option<Duration> {
    let is_it = |stat: &String| stat.contains(&format!("({name})"));
    let threads = fs::read_dir(process.join("task")).ok()?.filter_map(Result::ok);
    let stat = threads.filter_map(|thread| fs::read_to_string(thread.path().join("stat")).ok());
    let stat = stat.filter(is_it).last()?;
    let (_, fields) = stat.rsplit_once(')')?;
    // Without that of children.
    let ticks = fields.split_whitespace().skip(11).take(2).map(|field| field.parse::<u32>().ok());
    Some(TICK * ticks.sum::<Option<u32>>()?)
}

/// Reads the peak of resident memory from `/proc/PID/status`; a process that has ended has none.
fn peak(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.parse::<u64>().ok().map(|kib| kib << 10)
}

/// Reads from `/proc/PID/stat` whether the process has ended, and its processor time.
fn state(stat: &str) -> Option<(bool, Duration)> {
    // The name of the program stands in parentheses, and may hold spaces.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace();
    let has_ended = fields.next()? == "Z";
    let ticks = fields.skip(10).take(4).map(|field| field.parse::<u32>().ok());
    Some((has_ended, TICK * ticks.sum::<Option<u32>>()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proc_is_read() {
        assert_eq!(peak("VmPeak:\t 9 kB\nVmHWM:\t  2048 kB\n"), Some(2 << 20));
        assert_eq!(peak("State:\tZ (zombie)\n"), None);
        let stat = "7 (a) b) Z 1 2 3 4 5 6 7 8 9 10 100 20 3 4 20 0 9 0 1";
        assert_eq!(state(stat), Some((true, Duration::from_millis(1_270))));
        assert_eq!(state("7 a"), None);
    }

    #[test]
    fn a_program_is_measured() {
        let scratch = std::env::temp_dir().join(format!("measure-{}", std::process::id()));
        fs::create_dir_all(&scratch).unwrap();
        let script = "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done; echo done";
        let mut busy = Command::new("sh");
        let (usage, printed) = run(busy.args(["-c", script]), &scratch).unwrap();
        assert_eq!(printed, "done\n");
        assert!(usage.cpu >= TICK && usage.wall >= TICK, "{usage:?}");
        assert!((100 << 10..1 << 30).contains(&usage.peak_bytes), "{usage:?}");
        assert!(run(Command::new("false").arg("x"), &scratch).is_err());
        fs::remove_dir_all(scratch).unwrap();
    }
}
