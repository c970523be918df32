//! Doing the acts of the script, one after the other, and looking at the API server's own count.

use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, ensure};
use serde_json::Value;

use super::acts::{self, Act};
use super::expected::{COMPLETE, Expected};
use super::kept::{Done, Scrape};
use crate::command::{self, Ended};
use crate::repository;
use crate::testbed::Testbed;

/// Far longer than any act takes on a busy machine.
const ACT_MAX: Duration = Duration::from_mins(1);

/// A scrape is tried again when another event slipped in.
const SCRAPES_MAX: usize = 5;

/// The API server logs that a request is complete a moment after it has answered.
const LOG_MAX: Duration = Duration::from_secs(10);
const INTERVAL: Duration = Duration::from_millis(10);

/// Where the acts take place.
pub(super) struct Stage<'a> {
    pub(super) testbed: &'a Testbed,
    /// kubectl runs in it; it holds the manifests.
    pub(super) folder: PathBuf,
    pub(super) logs: PathBuf,
}

impl Stage<'_> {
    /// Does all of the script.
    pub(super) fn perform(&self) -> anyhow::Result<Vec<Done>> {
        fs::create_dir_all(&self.folder)?;
        for entry in fs::read_dir(repository::root().join("xtask/src/e2e/manifests"))? {
            let entry = entry?;
            fs::copy(entry.path(), self.folder.join(entry.file_name()))?;
        }
        acts::script().map(|act| self.act(act)).collect()
    }

    fn act(&self, act: &Act) -> anyhow::Result<Done> {
        let expected = act.requests.lines().map(Expected::parse).collect::<anyhow::Result<_>>()?;
        let mut command = self.command(act.who, act.command)?;
        let begin = now()?;
        let (is_good, said) = if act.command.contains("port-forward") {
            (forward(command).with_context(|| act.command)?, String::new())
        } else {
            let Ended { status, out, err } = command::output_within(&mut command, ACT_MAX)?;
            (status.success(), format!("{out}{err}"))
        };
        let end = now()?;
        ensure!(
            is_good == act.succeeds,
            "as {}: `kubectl {}` should {}: {said}",
            act.who,
            act.command,
            if act.succeeds { "succeed" } else { "fail" }
        );
        let (who, command) = (act.who.to_owned(), act.command.to_owned());
        Ok(Done { who, command, expected, begin, end })
    }

    fn command(&self, who: &str, line: &str) -> anyhow::Result<Command> {
        let words = words(line);
        let is_setting = |word: &&String| {
            word.split_once('=')
                .is_some_and(|(name, _)| name.chars().all(|c| c.is_ascii_uppercase() || c == '_'))
        };
        let settings = words.iter().take_while(is_setting).count();
        let (settings, args) = words.split_at(settings);
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let mut command = self.testbed.kubectl(who, &args)?;
        command.current_dir(&self.folder);
        command.envs(settings.iter().filter_map(|setting| setting.split_once('=')));
        Ok(command)
    }

    /// Asks the API server how many events there were, until no other one slips in between.
    pub(super) fn scrape(&self) -> anyhow::Result<(Vec<Done>, Vec<Scrape>)> {
        let (mut acts, mut scrapes) = (Vec::new(), Vec::new());
        for attempt in 1..=SCRAPES_MAX {
            let begin = now()?;
            let metrics = self.testbed.ask("admin", &["get", "--raw", "/metrics"], ACT_MAX)?;
            acts.push(Done {
                who: "admin".into(),
                command: "get --raw /metrics".into(),
                expected: vec![Expected::parse("get /metrics 200 read success -")?],
                begin,
                end: now()?,
            });
            let counted = audit_event_total(&metrics).context("the API server counts no events")?;
            let logged = self.logged_before(attempt)?;
            scrapes.push(Scrape { counted, logged });
            if counted == logged {
                break;
            }
        }
        Ok((acts, scrapes))
    }

    /// How many lines the log has before the one that completes the scrape of this number.
    fn logged_before(&self, scrape: usize) -> anyhow::Result<u64> {
        let deadline = Instant::now() + LOG_MAX;
        loop {
            // A file that is being renamed is there the next time.
            let log = logged(&self.logs).unwrap_or_default();
            let mut completed = (0..).zip(&log).filter(|(_, line)| completes_scrape(line));
            if let Some((index, _)) = completed.nth(scrape - 1) {
                return Ok(index);
            }
            ensure!(Instant::now() < deadline, "the log does not have scrape {scrape}");
            std::thread::sleep(INTERVAL);
        }
    }
}

fn completes_scrape(line: &str) -> bool {
    line.contains(r#""requestURI":"/metrics""#)
        && serde_json::from_str::<Value>(line).is_ok_and(|event| {
            event.get("stage").and_then(Value::as_str) == Some(COMPLETE)
                && event.get("requestURI").and_then(Value::as_str) == Some("/metrics")
        })
}

fn audit_event_total(metrics: &str) -> Option<u64> {
    let line =
        metrics.lines().find_map(|line| line.strip_prefix("apiserver_audit_event_total "))?;
    // Prometheus writes large counts as floating point: 1.2345e+06.
    let count: f64 = line.trim().parse().ok()?;
    format!("{count:.0}").parse().ok()
}

/// Splits a line as a shell would; only `'…'` is known.
fn words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    for (index, part) in line.split('\'').enumerate() {
        let is_quoted = index % 2 == 1;
        for (number, piece) in part.split(' ').enumerate() {
            if number > 0 && !is_quoted {
                words.push(String::new());
            }
            if let Some(word) = words.last_mut() {
                if number > 0 && is_quoted {
                    word.push(' ');
                }
                word.push_str(piece);
            }
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

/// A process that is forwarding. It ends with this value.
struct Forwarding(Child);

impl Drop for Forwarding {
    fn drop(&mut self) {
        let _gone = self.0.kill();
        let _status = self.0.wait();
    }
}

/// Forwards a port, asks through it, and ends it; tells whether the answer came from the pod.
fn forward(mut command: Command) -> anyhow::Result<bool> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit());
    let mut forwarding = Forwarding(command::grouped(&mut command)?);
    let out = forwarding.0.stdout.take().context("no stdout")?;
    command::watched(&command, forwarding.0.id(), ACT_MAX, || ask_through(out))
}

fn ask_through(out: ChildStdout) -> io::Result<bool> {
    // Held to the end: kubectl has more to say, and would die if nobody listened.
    let mut said = BufReader::new(out);
    let mut line = String::new();
    said.read_line(&mut line)?;
    let address = line.strip_prefix("Forwarding from ").and_then(|line| line.split(' ').next());
    let mut stream = TcpStream::connect(address.unwrap_or_default())?;
    stream.set_read_timeout(Some(ACT_MAX))?;
    stream.write_all(b"GET /through HTTP/1.1\r\nHost: pod\r\n\r\n")?;
    // The pod repeats the request line. How a forwarded connection ends is not looked at.
    let mut answer = BufReader::new(stream);
    let mut line = String::new();
    while !line.contains("/through") {
        line.clear();
        if answer.read_line(&mut line)? == 0 {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Microseconds since 1970, as the API server's clock has them.
fn now() -> anyhow::Result<u64> {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
    Ok(u64::try_from(since.as_micros())?)
}

/// The files of the API server's log, oldest first.
pub(super) fn log_files(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        files.push(entry?.path());
    }
    // By their names: `audit-TIME.log`, which was rotated, comes before `audit.log`.
    files.sort();
    Ok(files)
}

/// Everything the API server has logged.
pub(super) fn logged(folder: &Path) -> anyhow::Result<Vec<String>> {
    let mut lines = Vec::new();
    for file in log_files(folder)? {
        lines.extend(fs::read_to_string(file)?.lines().map(str::to_owned));
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_those_of_a_shell() {
        assert_eq!(words("get pods -n shop"), ["get", "pods", "-n", "shop"]);
        assert_eq!(words("sh -c 'echo  \"a b\" > c' x"), ["sh", "-c", "echo  \"a b\" > c", "x"]);
        assert_eq!(words("A='b c' d"), ["A=b c", "d"]);
    }

    #[test]
    fn the_count_is_found() {
        let metrics =
            "# TYPE apiserver_audit_event_total counter\napiserver_audit_event_total 28\n";
        assert_eq!(audit_event_total(metrics), Some(28));
        let large = "apiserver_audit_event_total 1.234567e+06\n";
        assert_eq!(audit_event_total(large), Some(1_234_567));
        assert_eq!(audit_event_total("apiserver_audit_error_total 1\n"), None);
    }

    #[test]
    fn a_scrape_is_complete_at_its_last_stage() {
        let line = |stage: &str| format!(r#"{{"stage":"{stage}","requestURI":"/metrics"}}"#);
        assert!(completes_scrape(&line(COMPLETE)));
        assert!(!completes_scrape(&line("RequestReceived")));
        assert!(!completes_scrape(r#"{"stage":"ResponseComplete","requestURI":"/metrics/slis"}"#));
    }
}
