//! `cargo xtask fuzz`: runs the targets of `fuzz/` for a while, with every captured event as a
//! seed. What is found stays in the cache, so that the next run goes on from there.
//!
//! The installed stable compiler does: coverage is a pass of LLVM that it has, and only sanitizers
//! need a nightly one. Without them a finding is a panic, which is all that safe code can do.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, ensure};
use clap::builder::PossibleValuesParser;

use crate::{cache, command, repository};

/// Of cargo-fuzz.
const VERSION: &str = "0.13.2";
const TARGETS: [&str; 6] = ["event", "event_list", "policy", "query", "tlog", "wal_frame"];
const INPUT_BYTES_MAX: u32 = 1 << 20;

/// Look for input that breaks a parser.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// What to run; everything, if nothing is named.
    #[arg(value_name = "TARGET", value_parser = PossibleValuesParser::new(TARGETS))]
    targets: Vec<String>,
    /// How long to run each target.
    #[arg(long, default_value_t = 600, value_parser = clap::value_parser!(u32).range(1..))]
    seconds: u32,
    /// The negative control: claim what is false, and fail unless every target refutes it.
    #[arg(long = "break")]
    is_broken: bool,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let cache = cache::folder()?;
    let fuzzer = Fuzzer {
        tool: cache::tool("cargo-fuzz", VERSION)?,
        build: cache.join("fuzz"),
        work: cache.join(if args.is_broken { "fuzz-broken" } else { "fuzz-work" }),
        seconds: args.seconds,
        is_broken: args.is_broken,
    };
    let is_wanted =
        |target: &&str| args.targets.is_empty() || args.targets.iter().any(|t| t == target);
    let mut summary = Vec::new();
    let (mut broken, mut missed) = (Vec::new(), Vec::new());
    for target in TARGETS.into_iter().filter(is_wanted) {
        let found = fuzzer.run(target)?;
        let Found { executions, edges, .. } = found;
        summary.push(format!("{target}: {executions} executions, {edges} edges"));
        ensure!(found.is_seeded, "{target} did not get through its seeds");
        if !found.is_green {
            broken.push(fuzzer.reproduction(target, found.input.as_deref()));
        } else if args.is_broken {
            missed.push(target);
        }
    }
    println!("{}", summary.join("\n"));
    ensure!(missed.is_empty(), "the negative control was not found by {}", missed.join(", "));
    ensure!(
        broken.is_empty() || args.is_broken,
        "input was found that breaks the target:\n{}",
        broken.join("\n")
    );
    Ok(())
}

struct Fuzzer {
    /// cargo-fuzz.
    tool: PathBuf,
    /// Where it builds.
    build: PathBuf,
    /// Where the corpora grow and what was found is written.
    work: PathBuf,
    seconds: u32,
    is_broken: bool,
}

/// What came out for one target.
#[derive(Debug, Default, PartialEq)]
struct Found {
    is_green: bool,
    /// All seeds went through.
    is_seeded: bool,
    executions: u64,
    /// How many edges of the program were reached.
    edges: u64,
    /// The file with the input that broke it.
    input: Option<String>,
}

impl Fuzzer {
    fn run(&self, target: &str) -> anyhow::Result<Found> {
        println!("==> {target}");
        let work = self.work.join(target);
        let corpus = work.join("corpus");
        self.seed(target, &corpus).with_context(|| format!("cannot seed {}", corpus.display()))?;
        let mut child = self
            .cargo_fuzz(target)
            .arg(&corpus)
            .arg("--")
            .arg(format!("-max_len={INPUT_BYTES_MAX}"))
            .arg(format!("-max_total_time={}", self.seconds))
            .arg(format!("-artifact_prefix={}/", work.display()))
            .arg("-print_final_stats=1")
            .stderr(Stdio::piped())
            .spawn()
            .context("cannot start cargo-fuzz")?;
        let mut found = Found::default();
        for line in BufReader::new(child.stderr.take().context("it has no output")?).lines() {
            let line = line.context("cannot read what the fuzzer prints")?;
            eprintln!("{line}");
            found.note(&line);
        }
        found.is_green = child.wait().context("cannot wait for cargo-fuzz")?.success();
        Ok(found)
    }

    /// `cargo fuzz run TARGET`, without a sanitizer, as those need a nightly compiler.
    fn cargo_fuzz(&self, target: &str) -> Command {
        let mut fuzz = Command::new(&self.tool);
        fuzz.args(["run", "--sanitizer", "none", target])
            .current_dir(repository::root())
            .env("CARGO_TARGET_DIR", &self.build)
            .envs(self.is_broken.then_some(("WHODID_FUZZ_BREAK", "1")));
        fuzz
    }

    /// Fills the working corpus: the seeds of the repository, and those made of captured events.
    fn seed(&self, target: &str, corpus: &Path) -> anyhow::Result<()> {
        fs::create_dir_all(corpus)?;
        for seed in fs::read_dir(repository::root().join("fuzz/corpus").join(target))? {
            let seed = seed?;
            fs::copy(seed.path(), corpus.join(seed.file_name()))?;
        }
        command::run(
            command::cargo()
                .args(["run", "--quiet", "--locked", "--manifest-path", "fuzz/Cargo.toml"])
                .args(["--example", "seeds", target])
                .arg(corpus)
                .env("CARGO_TARGET_DIR", &self.build),
        )
    }

    /// What to type to see it break again.
    fn reproduction(&self, target: &str, input: Option<&str>) -> String {
        let input = input.unwrap_or("INPUT");
        let (tool, build) = (self.tool.display(), self.build.display());
        format!("  CARGO_TARGET_DIR={build} {tool} run --sanitizer none {target} {input}")
    }
}

impl Found {
    /// Takes from a line of libFuzzer what it says.
    fn note(&mut self, line: &str) {
        let mut words = line.split_whitespace().skip_while(|word| *word != "cov:").skip(1);
        if let Some(edges) = words.next().and_then(|edges| edges.parse().ok()) {
            self.edges = edges;
            self.is_seeded |= line.contains("INITED");
        }
        if let Some(executions) = line.strip_prefix("stat::number_of_executed_units:") {
            self.executions = executions.trim().parse().unwrap_or_default();
        }
        if let Some((_, input)) = line.split_once("Test unit written to ") {
            self.input = Some(input.to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_fuzzer_prints_is_read() {
        let mut found = Found::default();
        for line in [
            "INFO: Seed: 1",
            "#38\tINITED cov: 812 ft: 2510 corp: 30/1834b exec/s: 0 rss: 42Mb",
            "#4096\tpulse  cov: 1204 ft: 3391 corp: 99/3Kb lim: 110 exec/s: 2048 rss: 60Mb",
            "artifact_prefix='x/'; Test unit written to x/crash-0a1b",
            "stat::number_of_executed_units: 4242",
        ] {
            found.note(line);
        }
        let input = Some("x/crash-0a1b".to_owned());
        assert_eq!(
            found,
            Found { is_green: false, is_seeded: true, executions: 4242, edges: 1204, input }
        );
    }

    #[test]
    fn every_target_is_known() {
        let manifest = fs::read_to_string(repository::root().join("fuzz/Cargo.toml")).unwrap();
        let targets = manifest.lines().filter(|line| line.starts_with("path = \"fuzz_targets/"));
        assert_eq!(targets.count(), TARGETS.len());
    }
}
