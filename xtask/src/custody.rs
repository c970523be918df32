//! `cargo xtask custody`: a store whose keys are elsewhere, everything in processes of its own:
//! `whodid serve`, `whodid signer`, and a witness that others wrote, litewitness. What they have
//! signed holds by their policy, and is refused when the store comes with another past.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, ensure};

use crate::command::{self, Ended, Missing};
use crate::testbed::build as testbed;
use crate::{cache, product, repository};

/// Of `filippo.io/torchwood`.
const TORCHWOOD: &str = "v0.6.1";

/// What a process says first comes after this long, and a command ends.
const LIMIT: Duration = Duration::from_mins(2);

/// The name of the witness's key.
const WITNESS: &str = "witness.example.com/lite";

/// Adds logs to the memory of litewitness, as its `witnessctl` does; that one needs a module which
/// Go's proxy does not have.
const ADD_LOGS: &str = "
import base64, hashlib, sqlite3, sys
memory = sqlite3.connect(sys.argv[1])
empty = base64.b64encode(hashlib.sha256().digest()).decode()
for key in sys.argv[2:]:
    origin = key.split('+')[0]
    memory.execute('INSERT INTO log VALUES (?, 0, ?)', (origin, empty))
    memory.execute('INSERT INTO key VALUES (?, ?)', (origin, key))
memory.commit()
";

/// Fewer logs than these would mean that nothing was looked at: two clusters, and `meta`.
const LOGS_MIN: usize = 3;

/// Have a record's checkpoints signed by a signer and a foreign witness, and show what they refuse.
#[derive(clap::Args, Default)]
pub(crate) struct Args {
    /// Leave the witness out where it has to refuse: the check has to notice.
    #[arg(long)]
    break_witness: bool,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let programs = Programs::build()?;
    let folder = cache::folder()?.join("custody");
    if folder.try_exists()? {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(&folder)?;
    let domain = Domain { programs, folder };
    domain.import("store", "prod", "typical-policy")?;
    domain.import("store", "staging", "broad-policy-all-stages")?;

    // The signer's keys are there once it has signed something.
    let signer = domain.signer("signer")?;
    domain.serve("store", &["--signer", &signer.said])?.end()?;
    let policy = domain.whodid("signer", &["signer", "policy"])?;
    let logs: Vec<&str> = policy.lines().filter_map(|line| line.strip_prefix("log ")).collect();
    ensure!(logs.len() >= LOGS_MIN, "the signer signs only {} logs", logs.len());
    let witness = domain.witness(&logs)?;
    let audit = format!(
        "{}witness lite {}\nquorum lite\n",
        policy.replace("quorum none\n", ""),
        witness.said
    );
    let asked = format!("witness lite {} {}\nquorum none\n", witness.said, witness.url);
    fs::write(domain.folder.join("audit.txt"), audit)?;
    fs::write(domain.folder.join("witnesses.txt"), asked)?;
    ensure!(domain.verify("store")?.is_some(), "nobody has cosigned, and it is believed");
    let witnesses = domain.folder.join("witnesses.txt").display().to_string();
    let all = ["--signer", &signer.said, "--witnesses", &witnesses];
    // The tree grows meanwhile, so that the signer and the witness are shown that it did.
    domain.import("store", "prod", "broad-policy-all-stages")?;
    domain.serve("store", &all)?.end()?;
    domain.holds("store")?;
    domain.copy("store", "store-yesterday")?;
    domain.copy("signer", "signer-yesterday")?;
    domain.import("store", "staging", "typical-policy")?;
    domain.serve("store", &all)?.end()?;
    domain.holds("store")?;
    drop(signer);

    // A store and a signer that were put back together, with another past: only the witness knows.
    domain.import("store-yesterday", "staging", "webhook-bodies")?;
    let forgetful = domain.signer("signer-yesterday")?;
    let alone = ["--signer", &forgetful.said];
    let both = ["--signer", &forgetful.said, "--witnesses", &witnesses];
    let flags: &[&str] = if args.break_witness { &alone } else { &both };
    let refused = domain.serve("store-yesterday", flags).err();
    let refused = refused.context("a store with another past was cosigned")?.to_string();
    let is_it = |line: &&str| line.contains("has signed") && line.contains(&witness.url);
    let said = refused.lines().find(is_it).with_context(|| refused.clone())?;
    println!("refused: {said}");
    // That it was the witness: without it, the same start succeeds.
    domain.serve("store-yesterday", &alone)?.end()?;
    println!("{} logs signed by a signer and cosigned by litewitness {TORCHWOOD}", logs.len());
    Ok(())
}

struct Programs {
    whodid: PathBuf,
    witness: PathBuf,
}

impl Programs {
    fn build() -> anyhow::Result<Self> {
        command::require("go", "install Go 1.26 or newer from https://go.dev/dl")?;
        command::require("ssh-agent", "install the package openssh-client")?;
        command::require("python3", "install it")?;
        let folder = cache::folder()?.join(format!("torchwood-{TORCHWOOD}"));
        let witness = folder.join("litewitness");
        if !witness.is_file() {
            println!("building litewitness; a minute, the first time");
            let package = format!("filippo.io/torchwood/cmd/litewitness@{TORCHWOOD}");
            let mut install = testbed::go();
            install.current_dir(repository::root()).args(["install", "-trimpath", &package]);
            install.env("GOBIN", &folder);
            command::run(&mut install).map_err(|error| Missing(format!("{package}: {error:#}")))?;
        }
        Ok(Programs { whodid: product::Record::build()?, witness })
    }
}

/// A process that serves, what it said first, and where it is. It ends with this value.
struct Serving {
    child: Child,
    said: String,
    url: String,
    /// What it signs through, until it has ended.
    _agent: Option<Agent>,
}

impl Serving {
    fn end(mut self) -> anyhow::Result<()> {
        command::run(Command::new("kill").args(["-TERM", &self.child.id().to_string()]))?;
        let status = self.child.wait()?;
        ensure!(status.success(), "it ended with {status}");
        Ok(())
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        // It has ended already, perhaps.
        let _gone = self.child.kill();
        let _status = self.child.wait();
    }
}

struct Domain {
    programs: Programs,
    folder: PathBuf,
}

impl Domain {
    fn command(&self, data: &str) -> Command {
        let mut command = Command::new(&self.programs.whodid);
        command.env("WHODID_DATA_DIR", self.folder.join(data)).current_dir(&self.folder);
        command
    }

    fn whodid(&self, data: &str, args: &[&str]) -> anyhow::Result<String> {
        let mut command = self.command(data);
        if let ["signer", ..] = args {
            command.args(args).arg("--data-dir").arg(self.folder.join(data));
        } else {
            command.args(args);
        }
        command::output(&mut command)
    }

    fn import(&self, store: &str, cluster: &str, capture: &str) -> anyhow::Result<()> {
        let captures = repository::root().join("testdata/captures");
        let file = captures.join(format!("{capture}.jsonl.zst")).display().to_string();
        let printed = self.whodid(store, &["import", "--quiet", "--cluster", cluster, &file])?;
        print!("{printed}");
        Ok(())
    }

    fn copy(&self, from: &str, to: &str) -> anyhow::Result<()> {
        let (from, to) = (self.folder.join(from), self.folder.join(to));
        command::run(Command::new("cp").arg("-a").args([from, to]))
    }

    /// What `whodid verify` says by the auditors' policy is wrong.
    fn verify(&self, store: &str) -> anyhow::Result<Option<String>> {
        let mut command = self.command(store);
        command.args(["verify", "--policy"]).arg(self.folder.join("audit.txt"));
        let Ended { status, out, err } = command::output_within(&mut command, LIMIT)?;
        if !status.success() {
            return Ok(Some(err));
        }
        ensure!(out.contains("Custody: detects rewriting"), "{out}");
        let verified = out.lines().filter(|line| line.starts_with("verified: ")).count();
        ensure!(verified >= LOGS_MIN, "only {verified} logs: {out}");
        ensure!(!out.contains("not signed yet"), "{out}");
        Ok(None)
    }

    fn holds(&self, store: &str) -> anyhow::Result<()> {
        let wrong = self.verify(store)?;
        ensure!(wrong.is_none(), "{}", wrong.unwrap_or_default());
        Ok(())
    }

    fn signer(&self, data: &str) -> anyhow::Result<Serving> {
        let key = self.whodid("store", &["ledger", "key"])?;
        let mut command = self.command(data);
        command.args(["signer", "serve", "--insecure-http", "--listen", "127.0.0.1:0"]);
        command.args(["--store", key.trim_end(), "--data-dir"]).arg(self.folder.join(data));
        Self::start(command)
    }

    fn serve(&self, store: &str, flags: &[&str]) -> anyhow::Result<Serving> {
        let mut command = self.command(store);
        command.args(["serve", "--insecure-http", "--listen", "127.0.0.1:0"]).args(flags);
        Self::start(command)
    }

    /// Starts what says its URL when it is ready; why it did not start is the error.
    fn start(mut command: Command) -> anyhow::Result<Serving> {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let mut url = String::new();
        BufReader::new(child.stdout.take().context("no stdout")?).read_line(&mut url)?;
        let mut log = child.stderr.take().context("no stderr")?;
        let url = url.trim_end().to_owned();
        if url.is_empty() {
            let mut said = String::new();
            log.read_to_string(&mut said)?;
            child.wait()?;
            anyhow::bail!("{}: {}", command::shown(&command), said.trim_end());
        }
        // It must not wait for somebody to read what it says.
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        Ok(Serving { child, said: url.clone(), url, _agent: None })
    }

    /// litewitness, with these logs.
    fn witness(&self, logs: &[&str]) -> anyhow::Result<Serving> {
        let file = |name: &str| self.folder.join(name);
        let (key, agent, memory) = (file("witness.key"), file("agent.sock"), file("witness.db"));
        let mut keygen = Command::new("ssh-keygen");
        command::run(keygen.args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&key))?;
        let print = command::output(Command::new("ssh-keygen").arg("-lf").arg(&key))?;
        let print = print.split(' ').nth(1).context("ssh-keygen shows no fingerprint")?;
        let agent = Agent::start(&agent, &key)?;
        // It says nothing of a port that it takes itself.
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string();
        let mut command = Command::new(&self.programs.witness);
        command.args(["-name", WITNESS, "-key", print, "-listen", &address]);
        command.arg("-db").arg(&memory).arg("-ssh-agent").arg(&agent.socket);
        let mut child = command.stderr(Stdio::piped()).spawn()?;
        let mut vkey = None;
        let mut lines = BufReader::new(child.stderr.take().context("no stderr")?).lines();
        for line in &mut lines {
            let line = line?;
            let said = line.split("vkey=").nth(1).map(|vkey| vkey.trim_matches('"').to_owned());
            vkey = vkey.or(said);
            if line.contains("listening") {
                break;
            }
        }
        let said = vkey.context("litewitness does not say its key")?;
        let mut add = Command::new("python3");
        command::run(add.args(["-c", ADD_LOGS]).arg(&memory).args(logs))?;
        std::thread::spawn(move || lines.for_each(drop));
        Ok(Serving { child, said, url: format!("http://{address}"), _agent: Some(agent) })
    }
}

/// An agent of ssh that holds the witness's key. It ends with this value.
struct Agent {
    child: Child,
    socket: PathBuf,
}

impl Agent {
    fn start(socket: &Path, key: &Path) -> anyhow::Result<Self> {
        let mut agent = Command::new("ssh-agent");
        let mut child = agent.arg("-D").arg("-a").arg(socket).stdout(Stdio::piped()).spawn()?;
        // It says where it is when it is there.
        let mut said = String::new();
        BufReader::new(child.stdout.take().context("no stdout")?).read_line(&mut said)?;
        let agent = Agent { child, socket: socket.to_owned() };
        command::run(Command::new("ssh-add").arg("-q").arg(key).env("SSH_AUTH_SOCK", socket))?;
        Ok(agent)
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _status = self.child.wait();
    }
}
