//! Running other programs: their output streams through, and an error says which one failed.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use anyhow::{Context, bail, ensure};

use crate::repository;

/// Why a part could not run at all: something is missing on this machine.
#[derive(Debug)]
pub(crate) struct Missing(pub(crate) String);

impl std::fmt::Display for Missing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Missing {}

/// Cargo, at the root of the repository, as if a user had typed it: what `cargo run` says of this
/// package is taken back. The build scripts of some dependencies look at it, and everything above
/// them would be compiled again, each time that a user and this program take turns.
pub(crate) fn cargo() -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(repository::root());
    for (name, _) in std::env::vars_os() {
        let is_of = |prefix| name.to_str().is_some_and(|name| name.starts_with(prefix));
        if is_of("CARGO_PKG_") || is_of("CARGO_MANIFEST_") {
            cargo.env_remove(name);
        }
    }
    cargo
}

/// Tells whether a program can be started.
pub(crate) fn exists(program: &str) -> bool {
    let mut probe = Command::new(program);
    probe.arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    probe.status().is_ok()
}

/// Fails with [`Missing`] unless `program` can be started.
pub(crate) fn require(program: &str, how: &str) -> anyhow::Result<()> {
    ensure!(exists(program), Missing(format!("`{program}` is not installed; {how}")));
    Ok(())
}

/// Runs a command to its end.
pub(crate) fn run(command: &mut Command) -> anyhow::Result<()> {
    let status = command.status().with_context(|| format!("cannot start {}", shown(command)))?;
    ensure!(status.success(), "{} failed: {status}", shown(command));
    Ok(())
}

/// Runs a command to its end and returns what it printed.
pub(crate) fn output(command: &mut Command) -> anyhow::Result<String> {
    let child = command.stdin(Stdio::null()).stderr(Stdio::inherit());
    let output = child.output().with_context(|| format!("cannot start {}", shown(command)))?;
    ensure!(output.status.success(), "{} failed: {}", shown(command), output.status);
    String::from_utf8(output.stdout).with_context(|| format!("{} printed no text", shown(command)))
}

/// Runs a command; when it is not done in time, it is killed with every process it started.
pub(crate) fn run_within(command: &mut Command, limit: Duration) -> anyhow::Result<()> {
    let mut child = grouped(command)?;
    let status = watched(command, child.id(), limit, || child.wait())?;
    ensure!(status.success(), "{} failed: {status}", shown(command));
    Ok(())
}

/// How a command ended, and what it printed.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// Runs a command that may fail, without input and with the limit of [`run_within`].
pub(crate) fn output_within(command: &mut Command, limit: Duration) -> anyhow::Result<Ended> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = grouped(command)?;
    let output = watched(command, child.id(), limit, || child.wait_with_output())?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok(Ended { status: output.status, out: text(&output.stdout), err: text(&output.stderr) })
}

/// Starts a command as the first of a process group.
pub(crate) fn grouped(command: &mut Command) -> anyhow::Result<Child> {
    let child = command.process_group(0).spawn();
    child.with_context(|| format!("cannot start {}", shown(command)))
}

/// Waits for a process, or works with it; when that takes too long, its group is killed.
pub(crate) fn watched<T>(
    command: &Command,
    id: u32,
    limit: Duration,
    wait: impl FnOnce() -> io::Result<T>,
) -> anyhow::Result<T> {
    let group = format!("-{id}");
    let (done, is_done) = mpsc::channel::<()>();
    let watchdog = thread::spawn(move || {
        let is_late = is_done.recv_timeout(limit) == Err(mpsc::RecvTimeoutError::Timeout);
        if is_late {
            // That it is gone already is all that can go wrong.
            let _status = Command::new("kill").args(["-KILL", "--", &group]).status();
        }
        is_late
    });
    let waited = wait();
    drop(done);
    if watchdog.join().is_ok_and(|is_late| is_late) {
        bail!("{} was killed after {} seconds", shown(command), limit.as_secs());
    }
    waited.with_context(|| format!("cannot wait for {}", shown(command)))
}

/// The command as a user would type it, without folders.
pub(crate) fn shown(command: &Command) -> String {
    let program = std::path::Path::new(command.get_program());
    let program = program.file_name().unwrap_or_default();
    let words = std::iter::once(program).chain(command.get_args());
    format!("`{}`", words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cargo_does_not_hear_of_this_package() {
        let removed = cargo().get_envs().filter(|(_, value)| value.is_none()).count();
        // Whoever runs the tests has set them.
        assert!(std::env::var_os("CARGO_PKG_NAME").is_some() && removed >= 10, "{removed}");
    }

    #[test]
    fn failure_names_the_command() {
        let error = run(Command::new("/bin/sh").args(["-c", "exit 3"])).unwrap_err();
        assert_eq!(error.to_string(), "`sh -c exit 3` failed: exit status: 3");
        assert!(output(&mut Command::new("/no/such/program")).is_err());
        assert_eq!(output(Command::new("echo").arg("a")).unwrap(), "a\n");
    }

    #[test]
    fn a_late_command_is_killed_with_its_children() {
        let shell = |script: &str| {
            let mut command = Command::new("sh");
            command.args(["-c", script]);
            command
        };
        run_within(&mut shell("true"), Duration::from_mins(1)).unwrap();
        assert!(run_within(&mut shell("false"), Duration::from_mins(1)).is_err());
        // The child holds the other end of the pipe: reading ends only once it is gone as well.
        let (mut reader, writer) = std::io::pipe().unwrap();
        let mut command = shell("sleep 600 & wait");
        command.stdout(writer);
        let error = run_within(&mut command, Duration::from_millis(100)).unwrap_err();
        drop(command);
        assert!(error.to_string().contains("was killed after 0 seconds"), "{error}");
        let mut rest = Vec::new();
        std::io::Read::read_to_end(&mut reader, &mut rest).unwrap();
    }

    #[test]
    fn a_missing_program_is_told_apart() {
        let error = require("no-such-program", "install it").unwrap_err();
        assert!(error.is::<Missing>());
        assert_eq!(error.to_string(), "`no-such-program` is not installed; install it");
    }
}
