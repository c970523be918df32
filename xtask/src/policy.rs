//! `cargo xtask policy`: what `whodid_policy` says that kube-apiserver records, held against what a
//! real one does record: policies drawn at random, and every kind of request by every user to each;
//! what `whodid policy simulate` predicts, against what came; and `whodid init`, from the command
//! to the first event that can be searched.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use clap::ValueEnum;
use whodid_policy::{Policy, Version, load};
use whodid_testkit::generate::Random;

use crate::product::Record;
use crate::testbed::{self, Options, Testbed};
use crate::{cache, repository};

mod draw;
mod judge;
mod requests;
mod setup;
mod simulated;

use judge::{Branches, Judged};

/// API servers that run at once, besides the one that records everything.
const AT_ONCE: usize = 8;

/// Policies are compared with so many at least,
const POLICIES_MIN: usize = 60;
/// with so many requests each,
const REQUESTS_MIN: usize = 50;
/// and every branch of the evaluation is taken so often.
const BRANCH_MIN: u64 = 20;

/// Compare what policies are said to record with what a real kube-apiserver does record.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Policies to draw.
    #[arg(long, value_name = "N", default_value_t = 64)]
    policies: usize,
    /// What is drawn.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// The negative control: what is predicted is wrong in one way. It has to end in red.
    #[arg(long = "break", value_name = "KIND")]
    broken: Option<Break>,
    /// Only this.
    #[arg(long, value_name = "WHAT")]
    only: Option<Only>,
    /// The program to test, instead of one that is built.
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
}

impl Args {
    /// Setting up alone, as a part of all tests.
    pub(crate) fn init() -> Args {
        Args { policies: 0, seed: 1, broken: None, only: Some(Only::Init), program: None }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Only {
    Decisions,
    Init,
}

/// What is predicted wrongly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Break {
    /// A rule is left out.
    Rule,
    /// Stages that rules omit are not.
    Stages,
    /// managedFields are said to stay.
    ManagedFields,
    /// The policy that is simulated is not the one that is applied.
    Simulation,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let programs = testbed::build::build(testbed::build::MINORS[0])?;
    let program = match &args.program {
        Some(program) => program.clone(),
        None => Record::build()?,
    };
    let folder = cache::folder()?.join("policy");
    if folder.try_exists()? {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(&folder)?;
    let place = Place { programs, program, folder };
    if args.only != Some(Only::Decisions) {
        setup::run(&place)?;
    }
    if args.only != Some(Only::Init) {
        decisions(&place, args)?;
    }
    Ok(())
}

/// Programs, and a folder to work in.
struct Place {
    programs: PathBuf,
    program: PathBuf,
    folder: PathBuf,
}

/// Records everything, in every stage.
const ALL: &str = "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules:\n- level: RequestResponse\n";

/// Policies that are given out, and those that captures were made with; then drawn ones.
fn texts(args: &Args, place: &Place) -> anyhow::Result<Vec<String>> {
    let mut texts = Vec::new();
    for name in ["broad", "typical"] {
        let path = repository::root().join(format!("testdata/policies/{name}.yaml"));
        texts.push(fs::read_to_string(path)?);
    }
    let record = Record::of(place.program.clone(), &place.folder.join("generate"))?;
    let (_, daily) = record.run(&["policy", "generate", "--profile", "daily"])?;
    texts.push(daily);
    let mut random = Random::new(args.seed);
    while texts.len() < args.policies {
        texts.push(draw::policy(&mut random));
    }
    Ok(texts)
}

fn decisions(place: &Place, args: &Args) -> anyhow::Result<()> {
    let texts = texts(args, place)?;
    let mut branches = Branches::default();
    let mut judged = Judged::default();
    let mut simulated = Vec::new();
    for (round, texts) in texts.chunks(AT_ONCE).enumerate() {
        let begin = Instant::now();
        let folder = place.folder.join(format!("round-{round}"));
        let logs = ask(place, &folder, texts)?;
        for (number, (text, log)) in texts.iter().zip(&logs.candidates).enumerate() {
            let policy = parsed(&broken(text, args.broken)?)?;
            branches.count(&policy);
            judged.policy(&policy, text, &logs.all, log, args.broken);
            if round == 0 && number < 3 {
                let text = if args.broken == Some(Break::Simulation) { ALL } else { text };
                simulated.push(simulated::compare(place, text, &logs.all, log)?);
            }
        }
        println!("round {round}: {:.0} s", begin.elapsed().as_secs_f64());
    }
    report(args, &branches, &judged, &simulated)
}

fn report(
    args: &Args,
    branches: &Branches,
    judged: &Judged,
    simulated: &[simulated::Compared],
) -> anyhow::Result<()> {
    println!("\n{:>7} times  branch", "");
    for (branch, count) in &branches.0 {
        println!("{count:>7}        {branch}");
    }
    println!(
        "\n{} policies, {} requests to each, {} events predicted and {} found, {} of them without \
         the managedFields that there were; {} differences",
        judged.policies,
        requests::all().len(),
        judged.predicted,
        judged.found,
        judged.without_managed,
        judged.differences.len()
    );
    for difference in judged.differences.iter().take(10) {
        println!("{difference}");
    }
    let mut faults = judged.differences.len();
    for (name, compared) in ["broad", "typical", "daily"].iter().zip(simulated) {
        println!("simulated, {name}: {compared}");
        faults += usize::from(!compared.is_right());
    }
    ensure!(judged.policies >= POLICIES_MIN.min(args.policies), "too few policies");
    ensure!(requests::all().len() >= REQUESTS_MIN, "too few requests");
    let managed = args.policies < POLICIES_MIN
        || args.broken == Some(Break::ManagedFields)
        || judged.without_managed >= BRANCH_MIN;
    ensure!(managed, "managedFields were left out of too few events");
    let rare: Vec<_> = branches.0.iter().filter(|(_, count)| **count < BRANCH_MIN).collect();
    ensure!(args.policies < POLICIES_MIN || rare.is_empty(), "too seldom: {rare:?}");
    ensure!(faults == 0, "{faults} faults");
    Ok(())
}

fn parsed(text: &str) -> anyhow::Result<Policy> {
    let loaded = load(text, Version::NEWEST);
    loaded.policy.with_context(|| format!("{:?}\n{text}", loaded.findings))
}

/// What is predicted from, if something is broken.
fn broken(text: &str, broken: Option<Break>) -> anyhow::Result<String> {
    if broken != Some(Break::Rule) {
        return Ok(text.to_owned());
    }
    let (head, rules) = text.split_once("\n- ").context("there is no rule")?;
    let rest = rules.split_once("\n- ").map_or(rules, |(_, rest)| rest);
    Ok(format!("{head}\n- {rest}"))
}

/// What one API server logged of our requests: by the number of the request.
type Log = BTreeMap<usize, Vec<serde_json::Value>>;

struct Logs {
    /// Of the one that records everything.
    all: Log,
    /// Of those with the policies.
    candidates: Vec<Log>,
}

/// Sends every request to an API server for each policy, and to one that records everything.
fn ask(place: &Place, folder: &Path, texts: &[String]) -> anyhow::Result<Logs> {
    fs::create_dir_all(folder)?;
    let mut policies = Vec::new();
    for (number, text) in [ALL].into_iter().chain(texts.iter().map(String::as_str)).enumerate() {
        let path = folder.join(format!("policy-{number}.yaml"));
        fs::write(&path, text)?;
        policies.push(path);
    }
    let testbed = Testbed::start(&Options {
        programs: &place.programs,
        folder: &folder.join("testbed"),
        api_servers: policies.len(),
        audit_policies: &policies,
        audit_log: Some(&folder.join("audit.log")),
        webhook: None,
        api_server_args: &[],
    })?;
    let limit = Duration::from_mins(1);
    for line in requests::PREPARED {
        testbed.ask("admin", &line.split(' ').collect::<Vec<_>>(), limit)?;
    }
    let servers = testbed.api_servers().to_vec();
    for server in &servers {
        requests::send(&testbed, server)?;
    }
    testbed.stop()?;
    let mut logs = servers.iter().map(|server| requests::logged(&server.audit_log));
    let all = logs.next().context("there is no API server")??;
    let missing = (0..requests::all().len()).find(|number| !all.contains_key(number));
    ensure!(missing.is_none(), "request {missing:?} was not recorded at all");
    Ok(Logs { all, candidates: logs.collect::<anyhow::Result<_>>()? })
}
