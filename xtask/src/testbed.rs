//! The cluster of the end-to-end tests: the Go module `testbed`, built into the cache, started, and
//! asked with kubectl as one of its users.
//!
//! What it simulates, and what its flags mean, is in `testbed/README.md`.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use serde_json::Value;

use crate::command::{self, Ended};

pub(crate) mod build;

/// Longer than API servers take to send what the webhook is owed.
const STOP_MAX: Duration = Duration::from_secs(90);

/// How often a testbed that is to stop is looked at.
const INTERVAL: Duration = Duration::from_millis(20);

/// What a testbed is started with.
pub(crate) struct Options<'a> {
    /// Where [`build::build`] put the programs.
    pub(crate) programs: &'a Path,
    /// For data and logs; nothing may be there yet.
    pub(crate) folder: &'a Path,
    /// So many API servers are started.
    pub(crate) api_servers: usize,
    /// One for all API servers, or one for each; none where the arguments have it.
    pub(crate) audit_policies: &'a [PathBuf],
    pub(crate) audit_log: Option<&'a Path>,
    pub(crate) webhook: Option<&'a Path>,
    pub(crate) api_server_args: &'a [&'a str],
}

/// An API server of a testbed.
#[derive(Clone, Debug)]
pub(crate) struct ApiServer {
    pub(crate) url: String,
    pub(crate) audit_log: PathBuf,
}

/// A testbed that runs. It ends with this value.
pub(crate) struct Testbed {
    child: Child,
    log: PathBuf,
    home: PathBuf,
    kubectl: PathBuf,
    kubeconfigs: BTreeMap<String, PathBuf>,
    api_servers: Vec<ApiServer>,
}

impl Testbed {
    /// Starts it and waits until pods can be created.
    pub(crate) fn start(options: &Options<'_>) -> anyhow::Result<Testbed> {
        fs::create_dir_all(options.folder)?;
        let log = options.folder.join("testbed.log");
        let mut command = Command::new(options.programs.join("testbed"));
        command.arg("--dir").arg(options.folder);
        command.arg("--apiservers").arg(options.api_servers.to_string());
        for policy in options.audit_policies {
            command.arg("--audit-policy").arg(policy);
        }
        if let Some(log) = options.audit_log {
            command.arg("--audit-log").arg(log);
        }
        if let Some(webhook) = options.webhook {
            command.arg("--audit-webhook-config").arg(webhook);
        }
        command.args(options.api_server_args.iter().map(|arg| format!("--apiserver-arg={arg}")));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(File::create(&log)?);
        let child = command.spawn().context("cannot start the testbed")?;
        let mut testbed = Testbed {
            child,
            log,
            home: options.folder.join("home"),
            kubectl: PathBuf::new(),
            kubeconfigs: BTreeMap::new(),
            api_servers: Vec::new(),
        };
        testbed.await_ready()?;
        Ok(testbed)
    }

    /// Reads the one line that it prints; it gives up by itself if that takes too long.
    fn await_ready(&mut self) -> anyhow::Result<()> {
        let out = self.child.stdout.take().context("no stdout")?;
        let mut line = String::new();
        BufReader::new(out).read_line(&mut line)?;
        let ready: Value = serde_json::from_str(&line)
            .with_context(|| format!("the testbed did not start: {}", self.said()))?;
        self.kubectl = ready.get("kubectl").and_then(Value::as_str).unwrap_or_default().into();
        let kubeconfigs = ready.get("kubeconfigs").and_then(Value::as_object);
        for (who, path) in kubeconfigs.context("the testbed names no kubeconfigs")? {
            self.kubeconfigs.insert(who.clone(), path.as_str().unwrap_or_default().into());
        }
        let servers = ready.get("apiservers").and_then(Value::as_array);
        for server in servers.context("the testbed names no API servers")? {
            let text = |name: &str| server.get(name).and_then(Value::as_str).unwrap_or_default();
            let (url, audit_log) = (text("url").to_owned(), text("auditLog").into());
            self.api_servers.push(ApiServer { url, audit_log });
        }
        Ok(())
    }

    /// The API servers, in their order.
    pub(crate) fn api_servers(&self) -> &[ApiServer] {
        &self.api_servers
    }

    /// The kubeconfig of a user, for the first API server.
    pub(crate) fn kubeconfig(&self, who: &str) -> anyhow::Result<&Path> {
        let path = self.kubeconfigs.get(who);
        Ok(path.with_context(|| format!("the testbed knows no `{who}`"))?)
    }

    /// `kubectl` as one of the users, with nothing of whoever runs this.
    pub(crate) fn kubectl(&self, who: &str, args: &[&str]) -> anyhow::Result<Command> {
        let kubeconfig = self.kubeconfig(who)?;
        let mut command = Command::new(&self.kubectl);
        command.args(args).env("KUBECONFIG", kubeconfig).env("HOME", &self.home);
        // What one user was told of the API is not news to the others.
        command.env("KUBECACHEDIR", self.home.join("cache")).env_remove("KUBERC");
        Ok(command)
    }

    /// Runs `kubectl` to its end, which has to be a good one.
    pub(crate) fn ask(&self, who: &str, args: &[&str], limit: Duration) -> anyhow::Result<String> {
        let mut command = self.kubectl(who, args)?;
        let Ended { status, out, err } = command::output_within(&mut command, limit)?;
        ensure!(status.success(), "{} failed: {status}: {err}", command::shown(&command));
        Ok(out)
    }

    /// Stops it in order; API servers send what they owe.
    pub(crate) fn stop(mut self) -> anyhow::Result<()> {
        drop(self.child.stdin.take());
        let deadline = Instant::now() + STOP_MAX;
        loop {
            if let Some(status) = self.child.try_wait()? {
                ensure!(status.success(), "the testbed ended with {status}: {}", self.said());
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!("the testbed did not stop in {} seconds", STOP_MAX.as_secs());
            }
            std::thread::sleep(INTERVAL);
        }
    }

    fn said(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Testbed {
    fn drop(&mut self) {
        // It has ended already, usually; killed, it takes its components along.
        let _gone = self.child.kill();
        let _status = self.child.wait();
    }
}
