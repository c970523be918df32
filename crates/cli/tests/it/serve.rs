//! The server as its users run it: tokens, sending, following, a restart, the end.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStderr, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use whodid_testkit::captures;

use crate::support::{Record, event, preload};

/// A server on a record.
pub struct Server {
    child: Child,
    out: Option<BufReader<ChildStdout>>,
    err: Option<BufReader<ChildStderr>>,
    pub url: String,
    pub read_token: String,
}

impl Server {
    /// One that speaks plain HTTP and takes nothing out.
    pub fn start(record: &Record, listen: &str) -> Server {
        Self::with(record, &["--insecure-http", "--redaction", "off", "--listen", listen])
    }

    pub fn with(record: &Record, args: &[&str]) -> Server {
        Self::spawn(&mut record.command(&[&["serve"], args].concat()))
    }

    pub fn spawn(command: &mut Command) -> Server {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut err = BufReader::new(child.stderr.take().unwrap());
        let mut url = String::new();
        out.read_line(&mut url).unwrap();
        assert!(url.starts_with("http"), "{url}");
        let mut said = String::new();
        while !said.starts_with("read token: ") {
            said.clear();
            assert_ne!(err.read_line(&mut said).unwrap(), 0, "no token was printed");
        }
        let read_token = said.trim_end().replace("read token: ", "");
        Server { child, out: Some(out), err: Some(err), url: url.trim_end().to_owned(), read_token }
    }

    fn address(&self) -> String {
        self.url.split("//").nth(1).unwrap().to_owned()
    }

    /// Stops reading what it says.
    pub fn close_output(&mut self) {
        drop((self.out.take(), self.err.take()));
    }

    /// Without a wait for its end.
    fn kill(&self) {
        Command::new("kill").args(["-s", "KILL", &self.child.id().to_string()]).status().unwrap();
    }

    /// Sends a body over a connection of its own, as plain HTTP; returns the status.
    pub fn send(&self, token: &str, body: &[u8]) -> u16 {
        post(&self.address(), token, body).unwrap_or(0)
    }

    pub fn end(mut self, signal: &str) -> i32 {
        Command::new("kill").args(["-s", signal, &self.child.id().to_string()]).status().unwrap();
        let code = self.child.wait().unwrap().code().unwrap_or(-1);
        drop((self.out, self.err));
        code
    }
}

fn post(address: &str, token: &str, body: &[u8]) -> std::io::Result<u16> {
    let mut stream = std::net::TcpStream::connect(address)?;
    let length = body.len();
    write!(
        stream,
        "POST /ingest/prod HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\n\
         Content-Length: {length}\r\nConnection: close\r\n\r\n"
    )?;
    stream.write_all(body)?;
    let mut status = String::new();
    BufReader::new(stream).read_line(&mut status)?;
    Ok(status.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0))
}

fn token(record: &Record, cluster: &str) -> String {
    let out = record.run(&["ingest", "token", "create", cluster, "--source", "cp-1"]).ok();
    assert_eq!(out.lines().count(), 1, "alone on stdout");
    out.trim_end().to_owned()
}

/// Lines of a `tail` as they come.
struct Tail {
    child: Child,
    lines: std::sync::mpsc::Receiver<String>,
}

impl Tail {
    fn start(record: &Record, args: &[&str]) -> Tail {
        let mut command = record.command(&[&["tail"], args].concat());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            for line in out.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Tail { child, lines }
    }

    fn next(&self) -> String {
        self.lines.recv_timeout(Duration::from_secs(30)).expect("nothing came")
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _status = self.child.wait();
    }
}

fn pod(i: usize) -> String {
    let id = format!("00000000-0000-4000-8000-{i:012}");
    event(&id, "get", &format!("user-{i}"), "/api/v1/namespaces/shop/pods/web", "")
}

/// What glibc keeps for each of sixteen threads is a third of what a server takes. Who says how
/// many arenas there are is not overruled.
#[test]
#[cfg(target_env = "gnu")]
fn a_server_limits_what_its_allocator_keeps() {
    let record = Record::new();
    for (said, expected) in [(None, "MALLOC_ARENA_MAX=2"), (Some("7"), "MALLOC_ARENA_MAX=7")] {
        let mut command = record.command(&["serve", "--listen", "127.0.0.1:0"]);
        command.env_remove("MALLOC_ARENA_MAX").envs(said.map(|said| ("MALLOC_ARENA_MAX", said)));
        let server = Server::spawn(&mut command);
        let environ = std::fs::read(format!("/proc/{}/environ", server.child.id())).unwrap();
        let found = environ.split(|byte| *byte == 0).any(|it| it == expected.as_bytes());
        assert!(found, "{expected}: {}", String::from_utf8_lossy(&environ));
        assert_eq!(server.end("TERM"), 0);
    }
}

#[test]
fn only_who_has_a_token_may_send() {
    let record = Record::new();
    let server = Server::start(&record, "127.0.0.1:0");
    let token = token(&record, "prod");
    assert_eq!(server.send("", pod(0).as_bytes()), 401);
    assert_eq!(server.send("whodid_ingest_wrong", pod(0).as_bytes()), 401);
    assert_eq!(server.send(&token, pod(0).as_bytes()), 200);
    let other = record.run(&["ingest", "token", "create", "staging", "--source", "x"]).ok();
    assert_eq!(server.send(other.trim_end(), pod(1).as_bytes()), 403);
    let list = record.run(&["ingest", "token", "list"]).ok();
    assert!(list.contains("webhook/cp-1") && !list.contains(&token), "{list}");
    record.run(&["ingest", "token", "revoke", "prod", "--source", "cp-1"]).ok();
    assert_eq!(server.send(&token, pod(2).as_bytes()), 401);
    assert_eq!(record.originals(), [pod(0)], "and what was refused is not there");
    let raw = record.run(&["search", "source:webhook/cp-1", "-o", "name"]).ok();
    assert_eq!(raw, "event/prod/0\n");
    assert_eq!(server.end("TERM"), 0);
}

/// A tail goes on behind the last event it showed when its server comes back.
#[test]
fn a_tail_survives_a_restart_without_a_gap() {
    let record = Record::new();
    let server = Server::start(&record, "127.0.0.1:0");
    let token = token(&record, "prod");
    assert_eq!(server.send(&token, pod(0).as_bytes()), 200);
    let tail = Tail::start(&record, &["-o", "name"]);
    assert_eq!(tail.next(), "event/prod/0");
    assert_eq!(server.send(&token, pod(1).as_bytes()), 200);
    assert_eq!(tail.next(), "event/prod/1");
    let address = server.address();
    assert_eq!(server.end("KILL"), -1);
    let server = Server::start(&record, &address);
    for i in 2..50 {
        assert_eq!(server.send(&token, pod(i).as_bytes()), 200);
    }
    for i in 2..50 {
        assert_eq!(tail.next(), format!("event/prod/{i}"));
    }
    assert_eq!(server.end("TERM"), 0);
}

#[test]
fn tails_show_what_their_queries_say() {
    let record = Record::new();
    let server = Server::start(&record, "127.0.0.1:0");
    let token = token(&record, "prod");
    let queries = ["actor:user-7", "verb:delete", "body:secret-word", "NOT actor:user-7"];
    let tails: Vec<Tail> =
        queries.iter().map(|query| Tail::start(&record, &[query, "-o", "jsonl"])).collect();
    // Each is there once it has shown something.
    let body = r#""requestObject":{"note":"a secret-word"},"#;
    let delete = |id: &str| event(id, "delete", "user-7", "/api/v1/namespaces/shop/pods/web", body);
    let mut sent = 0;
    for tail in &tails {
        let begin = Instant::now();
        while tail.lines.try_recv().is_err() {
            sent += 1;
            assert_eq!(server.send(&token, delete(&format!("first-{sent}")).as_bytes()), 200);
            assert_eq!(server.send(&token, pod(sent + 100).as_bytes()), 200);
            assert!(begin.elapsed() < Duration::from_secs(30));
        }
    }
    assert_eq!(server.send(&token, delete("the-last").as_bytes()), 200);
    assert_eq!(server.send(&token, pod(99).as_bytes()), 200);
    for (query, tail) in queries.iter().zip(&tails) {
        loop {
            let shown: serde_json::Value = serde_json::from_str(&tail.next()).unwrap();
            let is_delete = shown["verb"] == "delete";
            assert_eq!(is_delete, *query != "NOT actor:user-7", "{query}: {shown}");
            if shown["audit_id"] == "the-last" || shown["username"] == "user-99" {
                break;
            }
        }
    }
    assert_eq!(server.end("TERM"), 0);
}

/// Kills of one record before the next begins.
const KILLS_EACH: usize = 10;
const SENDERS: usize = 4;
const BATCH: usize = 400;
const RATE_MIN: u128 = 5_000;
/// Of a broken sender, one event in so many is sent for nothing.
const LOST_ONE_IN: usize = 10_000;

/// What came of a run of kills.
#[derive(Default)]
struct Kills {
    answered: usize,
    missing: usize,
    /// How long senders sent.
    sending: Duration,
}

impl Kills {
    /// Events answered in a second.
    fn rate(&self) -> u128 {
        self.answered as u128 * 1_000 / self.sending.as_millis().max(1)
    }
}

/// Sends batches until the server is gone; returns the events whose batch was answered 200.
fn send_until_killed(
    server: &Server,
    token: &str,
    first: usize,
    loses: bool,
    answered: &AtomicUsize,
) -> Vec<String> {
    let mut done = Vec::new();
    for batch in 0.. {
        let events: Vec<String> = (0..BATCH).map(|i| pod(first + batch * BATCH + i)).collect();
        let is_sent =
            |i: &usize| !loses || !(first + batch * BATCH + i).is_multiple_of(LOST_ONE_IN);
        let body: Vec<&str> = (0..BATCH).filter(is_sent).map(|i| &*events[i]).collect();
        if server.send(token, body.join("\n").as_bytes()) != 200 {
            return done;
        }
        done.extend(events);
        answered.fetch_add(1, Ordering::Relaxed);
    }
    done
}

/// Kills the server of one record again and again under load, and looks for what was answered.
fn kill_again_and_again(loses: bool, kills: &mut Kills) {
    let record = Record::new();
    let token = token(&record, "prod");
    let mut answered: Vec<String> = Vec::new();
    for round in 0..KILLS_EACH {
        let server = Server::start(&record, "127.0.0.1:0");
        let batches = AtomicUsize::new(0);
        let begin = Instant::now();
        std::thread::scope(|scope| {
            let (server, token, batches) = (&server, &token, &batches);
            let senders: Vec<_> = (0..SENDERS)
                .map(|sender| {
                    let first = (round * SENDERS + sender) * 1_000_000;
                    scope.spawn(move || send_until_killed(server, token, first, loses, batches))
                })
                .collect();
            while batches.load(Ordering::Relaxed) < 4 + round * 3 {
                std::thread::yield_now();
            }
            server.kill();
            for sender in senders {
                answered.extend(sender.join().unwrap());
            }
        });
        kills.sending += begin.elapsed();
        assert_eq!(server.end("KILL"), -1);
    }
    let there = record.originals();
    kills.answered += answered.len();
    kills.missing += answered.iter().filter(|event| there.binary_search(event).is_err()).count();
}

/// What was answered 200 is there after `kill -9`, a hundred times under load.
#[test]
fn what_was_answered_survives_a_hundred_kills() {
    let mut kills = Kills::default();
    for _ in 0..100 / KILLS_EACH {
        kill_again_and_again(false, &mut kills);
    }
    let Kills { answered, missing, .. } = kills;
    println!("{answered} events answered over 100 kills at {}/s, {missing} missing", kills.rate());
    assert!(answered >= 100_000 && missing == 0);
    assert!(kills.rate() >= RATE_MIN);
}

/// The negative control: one event in 10,000 that goes missing is missed.
#[test]
fn an_event_that_is_lost_is_missed() {
    let mut kills = Kills::default();
    kill_again_and_again(true, &mut kills);
    println!("{} events answered over 10 kills, {} missing", kills.answered, kills.missing);
    assert!(kills.missing > 0);
}

/// The server ends within a second when the disk cannot be trusted, and says which file it was.
#[test]
fn a_failed_sync_ends_the_server() {
    let record = Record::new();
    let token = token(&record, "prod");
    let shim = preload(record.folder.path(), crate::faults::SHIM);
    let mut command = record.command(&[
        "serve",
        "--insecure-http",
        "--redaction",
        "off",
        "--listen",
        "127.0.0.1:0",
    ]);
    command.env("LD_PRELOAD", shim).env("SHIM_FAIL", "fdatasync").env("SHIM_AFTER", "1000");
    let mut server = Server::spawn(&mut command);
    let begin = Instant::now();
    let body = captures::typical()[..50].join("\n");
    let mut status = 200;
    while status == 200 {
        status = server.send(&token, body.as_bytes());
    }
    assert!(status == 503 || status == 0, "{status}");
    let code = server.child.wait().unwrap().code();
    assert!(begin.elapsed() < Duration::from_secs(2), "{:?}", begin.elapsed());
    let mut said = String::new();
    std::io::Read::read_to_string(&mut server.err.unwrap(), &mut said).unwrap();
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains("sync of wal/0000") && said.contains("os error 5"), "{said}");
}

#[test]
fn settings_that_make_no_sense_are_all_named() {
    let record = Record::new();
    let ran = record.run(&["serve", "--listen", "0.0.0.0:0", "--insecure-http"]);
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("--listen") && ran.err.contains("--insecure-http"), "{}", ran.err);
    assert!(!record.dir().exists());
    let ran = record.run(&["tail"]);
    assert_eq!(ran.code, 3);
    assert!(ran.err.contains("whodid serve"), "{}", ran.err);
}
