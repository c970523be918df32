//! The program under test: `whodid`, built as it is released, and a record of its own to work on.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use serde_json::Value;

use crate::measure::{self, Usage};
use crate::{command, corpus};

/// An import is at work once the write-ahead log has grown by this much.
const LOAD_BYTES: u64 = 1 << 20;

/// A server has to be there after this long.
const START_MAX: Duration = Duration::from_secs(30);

/// A record in a folder that nothing else uses.
pub(crate) struct Record {
    program: PathBuf,
    folder: PathBuf,
}

impl Record {
    /// Builds the program, and makes sure that `folder/record` is empty.
    pub(crate) fn fresh(folder: &Path) -> anyhow::Result<Record> {
        Record::of(Record::build()?, folder)
    }

    /// The same, with a program that was built already.
    pub(crate) fn of(program: PathBuf, folder: &Path) -> anyhow::Result<Record> {
        let record = Record { program, folder: folder.to_owned() };
        if record.dir().try_exists()? {
            fs::remove_dir_all(record.dir())?;
        }
        fs::create_dir_all(folder)?;
        Ok(record)
    }

    /// Builds the program; returns where it is.
    pub(crate) fn build() -> anyhow::Result<PathBuf> {
        let build = ["build", "--release", "--locked", "--package", "whodid-cli"];
        command::run(command::cargo().args(build))?;
        // This program was built in the same profile, into the same folder.
        let program = std::env::current_exe()?.with_file_name("whodid");
        ensure!(program.is_file(), "run it as `cargo xtask`, which builds in release");
        Ok(program)
    }

    /// The program.
    pub(crate) fn program(&self) -> &Path {
        &self.program
    }

    fn dir(&self) -> PathBuf {
        self.folder.join("record")
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(args).arg("--data-dir").arg(self.dir());
        command
    }

    /// Runs `whodid ARGS` in a process of its own.
    pub(crate) fn run(&self, args: &[&str]) -> anyhow::Result<(Usage, String)> {
        measure::run(&mut self.command(args), &self.folder)
    }

    /// The same of a command that may fail; returns what it printed.
    pub(crate) fn try_run(&self, args: &[&str]) -> anyhow::Result<String> {
        let output = self.command(args).stderr(Stdio::inherit()).output()?;
        Ok(String::from_utf8(output.stdout)?)
    }

    /// Starts a server on the record; its log goes to `folder/server.log`.
    pub(crate) fn serve(&self, flags: &[&str]) -> anyhow::Result<Server> {
        self.serve_at("127.0.0.1:0", flags)
    }

    /// The same, at an address that it had before.
    pub(crate) fn serve_at(&self, address: &str, flags: &[&str]) -> anyhow::Result<Server> {
        let log = self.folder.join("server.log");
        let mut command = self.command(&["serve", "--listen", address]);
        command.args(flags).stdout(Stdio::piped()).stderr(fs::File::create(&log)?);
        let mut child = command.spawn()?;
        let out = child.stdout.take().context("no stdout")?;
        let mut url = String::new();
        BufReader::new(out).read_line(&mut url)?;
        let mut server =
            Server { child, url: url.trim_end().to_owned(), read_token: String::new() };
        let deadline = Instant::now() + START_MAX;
        while server.read_token.is_empty() {
            ensure!(Instant::now() < deadline, "no server: {}", fs::read_to_string(&log)?);
            let said = fs::read_to_string(&log)?;
            // A line that is not at its end yet is no token.
            let line =
                said.split_inclusive('\n').find_map(|line| line.strip_prefix("read token: "));
            server.read_token = line.and_then(|line| line.strip_suffix('\n')).unwrap_or("").into();
            thread::sleep(Duration::from_millis(1));
        }
        Ok(server)
    }

    /// The folder of its tables.
    pub(crate) fn tables(&self) -> PathBuf {
        self.dir()
    }

    /// The authority of its server's certificate.
    pub(crate) fn authority(&self) -> PathBuf {
        self.dir().join("tls/ca.crt")
    }

    /// `whodid ship`, to be started: a log to a server of this record.
    pub(crate) fn ship(&self, server: &Server, token: &str, cluster: &str, log: &Path) -> Command {
        let mut command = Command::new(&self.program);
        command.args(["ship", "--server", &server.url, "--token", token, "--cluster", cluster]);
        command.arg("--ca").arg(self.authority());
        command.arg("--state-dir").arg(self.folder.join("ship")).arg(log);
        command
    }

    /// Imports a file.
    pub(crate) fn import(&self, file: &Path, cluster: &str) -> anyhow::Result<Usage> {
        let mut command = self.command(&["import", "--quiet", "--cluster", cluster]);
        let (usage, printed) = measure::run(command.arg(file), &self.folder)?;
        print!("{printed}");
        Ok(usage)
    }

    /// `whodid import`, to be started, of what comes on its standard input.
    pub(crate) fn importing(&self, cluster: &str) -> Command {
        let mut command = self.command(&["import", "--quiet", "--cluster", cluster, "-"]);
        command.stdout(Stdio::null());
        command
    }

    /// Begins to import a file, and kills the program so long after the first events went to disk;
    /// `false` if it was done before.
    pub(crate) fn import_until(
        &self,
        file: &Path,
        cluster: &str,
        when: Duration,
    ) -> anyhow::Result<bool> {
        let mut command = self.command(&["import", "--quiet", "--cluster", cluster]);
        let before = self.log_bytes()?;
        let mut child = command.arg(file).stdout(Stdio::null()).spawn()?;
        // A long way from here to the first event: the record is opened, the file looked through.
        while child.try_wait()?.is_none() && self.log_bytes()? < before + LOAD_BYTES {
            thread::sleep(Duration::from_millis(1));
        }
        thread::sleep(when);
        let is_running = child.try_wait()?.is_none();
        child.kill()?;
        child.wait()?;
        Ok(is_running)
    }

    /// The length of the write-ahead log; a part of it may go meanwhile.
    fn log_bytes(&self) -> anyhow::Result<u64> {
        let mut bytes = 0;
        for file in fs::read_dir(self.dir().join("wal"))? {
            bytes += file?.metadata().map_or(0, |metadata| metadata.len());
        }
        Ok(bytes)
    }

    /// Asks for [`corpus::QUERY`]; returns how many it found, and after what time.
    pub(crate) fn search(&self, cluster: &str) -> anyhow::Result<(u64, Duration)> {
        let args = ["search", corpus::QUERY, "--cluster", cluster, "--limit", "0", "-o", "name"];
        let started = Instant::now();
        let (_, printed) = self.run(&args)?;
        Ok((printed.lines().count() as u64, started.elapsed()))
    }

    /// Hands every original that a query finds to `look`, without its line end.
    pub(crate) fn originals(
        &self,
        cluster: &str,
        query: &str,
        mut look: impl FnMut(&[u8]),
    ) -> anyhow::Result<()> {
        let args = ["search", query, "--cluster", cluster, "--limit", "0", "-o", "raw"];
        let mut command = self.command(&args);
        // There may be more than fits into memory.
        let mut child = command.stdout(Stdio::piped()).spawn()?;
        let mut out = BufReader::new(child.stdout.take().context("no stdout")?);
        let mut line = Vec::new();
        while out.read_until(b'\n', &mut line)? > 0 {
            look(line.strip_suffix(b"\n").unwrap_or(&line));
            line.clear();
        }
        let status = child.wait()?;
        ensure!(status.success(), "{} failed: {status}", command::shown(&command));
        Ok(())
    }

    /// How many events of each cluster the record has.
    pub(crate) fn counts(&self) -> anyhow::Result<BTreeMap<String, u64>> {
        self.totals("events")
    }

    /// A number of `ingest status` for each cluster, over all its sources.
    pub(crate) fn totals(&self, what: &str) -> anyhow::Result<BTreeMap<String, u64>> {
        let (_, printed) = self.run(&["ingest", "status", "-o", "json"])?;
        let status: Value = serde_json::from_str(&printed)?;
        let sources = status.get("sources").and_then(Value::as_array);
        let mut totals = BTreeMap::new();
        for source in sources.context("`ingest status` names no sources")? {
            let cluster = source.get("cluster").and_then(Value::as_str);
            let count = source.get(what).and_then(Value::as_u64);
            let (cluster, count) = cluster.zip(count).context("a source without a count")?;
            *totals.entry(cluster.to_owned()).or_default() += count;
        }
        Ok(totals)
    }

    /// The bytes that the record settles at: everything but the write-ahead log, and segments that
    /// were replaced and stay a while for those who still read them.
    pub(crate) fn settled_bytes(&self) -> anyhow::Result<u64> {
        let mut bytes = 0;
        for (path, length) in files(&self.dir())? {
            if !path.starts_with(self.dir().join("wal")) {
                bytes += length;
            }
        }
        for table in ["events", "bodies"] {
            bytes -= replaced_bytes(&self.dir().join(table))?;
        }
        Ok(bytes)
    }
}

/// A server on a record. It ends with this value.
pub(crate) struct Server {
    child: Child,
    pub(crate) url: String,
    pub(crate) read_token: String,
}

impl Server {
    /// Where it listens.
    pub(crate) fn address(&self) -> &str {
        self.url.rsplit('/').next().unwrap_or_default()
    }

    /// The most memory that was resident at once, so far.
    pub(crate) fn peak_bytes(&self) -> anyhow::Result<u64> {
        measure::peak_of(&self.child)
    }

    /// Ends it in order.
    pub(crate) fn end(self) -> anyhow::Result<()> {
        self.end_measured().map(drop)
    }

    /// The same; returns what it took from its start to its end, but for the time.
    pub(crate) fn end_measured(mut self) -> anyhow::Result<Usage> {
        command::run(Command::new("kill").args(["-TERM", &self.child.id().to_string()]))?;
        let (usage, status) = measure::watch(&mut self.child)?;
        ensure!(status.success(), "the server ended with {status}");
        Ok(usage)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It has ended already, usually.
        let _gone = self.child.kill();
        let _status = self.child.wait();
    }
}

/// Every file in a folder, with its length.
fn files(folder: &Path) -> anyhow::Result<Vec<(PathBuf, u64)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        if metadata.is_dir() {
            found.append(&mut files(&entry.path())?);
        } else {
            found.push((entry.path(), metadata.len()));
        }
    }
    Ok(found)
}

/// The length of the files that a Delta table has removed and that are still there.
fn replaced_bytes(table: &Path) -> anyhow::Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(table.join("_delta_log"))? {
        let path = entry?.path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        for line in fs::read_to_string(&path)?.lines() {
            let action: Value = serde_json::from_str(line)?;
            let removed = action.pointer("/remove/path").and_then(Value::as_str);
            let file = removed.and_then(|path| fs::metadata(table.join(path)).ok());
            bytes += file.map_or(0, |file| file.len());
        }
    }
    Ok(bytes)
}
