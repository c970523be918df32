//! Completion of what is being typed, for shells and for kubectl: flags and commands come from the
//! table of arguments, values of fields from the record or the server that the line names.

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::process::ExitCode;
use std::sync::OnceLock;
use std::time::Duration;

use clap::{CommandFactory, FromArgMatches};
use clap_complete::CompleteEnv;
use clap_complete::engine::CompletionCandidate;
use whodid_engine::Values;
use whodid_query::{Family, Kind, Known};

use crate::args::{Cli, ServerArgs, StoreArgs};
use crate::command::{Place, client, now, open, place};
use crate::config::Config;
use crate::failure::Failure;
use crate::output;

/// The environment variable by which a shell asks.
pub const VARIABLE: &str = "COMPLETE";

/// kubectl runs a program of this name for `kubectl whodid …`.
const FOR_KUBECTL: &str = "kubectl_complete-whodid";

/// What follows the candidates for kubectl: no names of files.
const NO_FILES: &str = ":4";

/// A person who waits for longer types it out.
const PATIENCE: Duration = Duration::from_secs(2);

/// So many values are offered.
const VALUES: usize = 50;

/// The line so far, for values that depend on what stands before them.
static LINE: OnceLock<Vec<String>> = OnceLock::new();

/// Answers if it is a shell or kubectl that asks.
pub fn answer() -> Option<ExitCode> {
    let args: Vec<OsString> = std::env::args_os().collect();
    let program = args.first().map(Path::new).and_then(Path::file_name);
    let remember = |args: &[OsString]| {
        let _first = LINE.set(args.iter().map(|arg| arg.to_string_lossy().into_owned()).collect());
    };
    if program == Some(OsStr::new(FOR_KUBECTL)) {
        remember(args.get(1..).unwrap_or_default());
        return Some(for_kubectl(args));
    }
    std::env::var_os(VARIABLE)?;
    let behind = args.iter().position(|arg| arg == "--").map_or(args.len(), |dashes| dashes + 2);
    remember(args.get(behind..).unwrap_or_default());
    let shells = CompleteEnv::with_factory(Cli::command).var(VARIABLE).bin("whodid");
    let folder = std::env::current_dir().ok();
    match shells.completer("whodid").try_complete(args, folder.as_deref()) {
        Ok(true) => Some(ExitCode::SUCCESS),
        Ok(false) => None,
        // A shell shows it in the middle of the line.
        Err(_) => Some(ExitCode::from(2)),
    }
}

/// Prints candidates as kubectl takes them: `VALUE` or `VALUE<tab>MEANING`, a line each.
fn for_kubectl(mut args: Vec<OsString>) -> ExitCode {
    if args.len() < 2 {
        args.push(OsString::new());
    }
    let last = args.len() - 1;
    let folder = std::env::current_dir().ok();
    let found = clap_complete::engine::complete(&mut Cli::command(), args, last, folder.as_deref());
    let mut lines = String::new();
    for candidate in found.unwrap_or_default() {
        lines.push_str(&candidate.get_value().to_string_lossy());
        if let Some(help) = candidate.get_help() {
            let help = help.to_string();
            lines.push_str(&format!("\t{}", help.lines().next().unwrap_or_default()));
        }
        lines.push('\n');
    }
    match output::print(&format!("{lines}{NO_FILES}\n")) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// Names of clusters.
pub fn clusters(current: &OsStr) -> Vec<CompletionCandidate> {
    values(Known::Cluster, "", current, "")
}

/// Names of namespaces.
pub fn namespaces(current: &OsStr) -> Vec<CompletionCandidate> {
    values(Known::Ns, "", current, "")
}

/// Names of contexts.
pub fn contexts(current: &OsStr) -> Vec<CompletionCandidate> {
    let contexts = config().map(|config| config.contexts).unwrap_or_default();
    let current = current.to_string_lossy();
    let names = contexts.into_keys().filter(|name| name.starts_with(&*current));
    names.map(CompletionCandidate::new).collect()
}

/// `TYPE/NAME`, of objects that something was done to.
pub fn objects(current: &OsStr) -> Vec<CompletionCandidate> {
    let text = current.to_string_lossy();
    if let Some((kind, name)) = text.split_once('/') {
        let query = format!("resource:{kind}");
        return values(Known::Name, &query, OsStr::new(name), &format!("{kind}/"));
    }
    let slash = |kind: CompletionCandidate| {
        let value = format!("{}/", kind.get_value().to_string_lossy());
        CompletionCandidate::new(value).help(kind.get_help().cloned())
    };
    values(Known::Resource, "", current, "").into_iter().map(slash).collect()
}

/// Terms of the search language: `FIELD:`, then its values.
pub fn terms(current: &OsStr) -> Vec<CompletionCandidate> {
    let text = current.to_string_lossy();
    if let Some((name, value)) = text.split_once(':') {
        let field = Known::named(name.trim_start_matches('-'));
        let prefix = format!("{name}:");
        return field.map_or_else(Vec::new, |field| values(field, "", OsStr::new(value), &prefix));
    }
    if let Some(field) = field_before(&text) {
        return values(field, "", current, "");
    }
    let dash = if text.starts_with('-') { "-" } else { "" };
    let known = Known::ALL.iter().map(|field| (field.name(), field.doc()));
    let families = Family::ALL.iter().map(|family| (family.name(), family.doc()));
    known
        .chain(families)
        .filter(|(name, _)| name.starts_with(text.trim_start_matches('-')))
        .map(|(name, doc)| {
            CompletionCandidate::new(format!("{dash}{name}:")).help(Some(doc.to_owned().into()))
        })
        .collect()
}

/// bash ends words at a colon, and hands over `verb`, `:` and `de` for `verb:de`; right behind the
/// colon, `verb` and nothing.
fn field_before(current: &str) -> Option<Known> {
    let line = LINE.get()?;
    let (last, before) = line.split_last()?;
    let field = match before.split_last()? {
        (colon, before) if colon == ":" => before.last()?,
        (field, _) if last.is_empty() && current.is_empty() => field,
        _ => return None,
    };
    Known::named(field.trim_start_matches('-'))
}

/// Values of a field, with a text before each.
fn values(field: Known, query: &str, current: &OsStr, before: &str) -> Vec<CompletionCandidate> {
    let prefix = current.to_string_lossy();
    let candidate = |value: &str| CompletionCandidate::new(format!("{before}{value}"));
    if let Kind::OneOf(all) = field.kind() {
        let fitting = all.iter().filter(|value| value.starts_with(&*prefix));
        return fitting.map(|value| candidate(value)).collect();
    }
    let found = tokio::runtime::Runtime::new().ok().and_then(|runtime| {
        let asked = runtime
            .block_on(async { tokio::time::timeout(PATIENCE, ask(field, query, &prefix)).await });
        runtime.shutdown_background();
        asked.ok()?.ok()
    });
    // Spaces and quotes would have to be escaped for each shell; such values are typed out.
    let plain =
        |value: &str| value.chars().all(|c| c.is_ascii_graphic() && !"\"'\\`$&|;<>()".contains(c));
    let found = found.unwrap_or_default();
    let plain = found.iter().filter(|(value, _)| plain(value));
    plain
        .map(|(value, events)| candidate(value).help(Some(format!("{events} events").into())))
        .collect()
}

async fn ask(field: Known, query: &str, prefix: &str) -> Result<Vec<(String, u64)>, Failure> {
    let (store, server) = flags();
    let place = place(&server, &store, &config()?)?;
    // Who writes the record knows its newest events without reading it.
    let has_server = |store: &StoreArgs| store.dir().join("whodid.sock").exists();
    match place {
        Place::Record(store) if !has_server(&store) => {
            let query = whodid_query::parse(query).unwrap_or_default();
            let prefix = prefix.to_owned();
            let wanted = Values { field, query, now: now(), prefix, limit: VALUES };
            Ok(open(&store).await?.values(&wanted).await?)
        }
        place => {
            let found = client(place)?.values(field.name(), query, prefix).await?;
            Ok(found.into_iter().take(VALUES).map(|found| (found.value, found.events)).collect())
        }
    }
}

/// The flags on the line that say what is asked.
fn flags() -> (StoreArgs, ServerArgs) {
    let command = Cli::command().ignore_errors(true).no_binary_name(true);
    let matches = command.try_get_matches_from(LINE.get().into_iter().flatten()).ok();
    let mut inner = matches.as_ref();
    while let Some((_, deeper)) = inner.and_then(clap::ArgMatches::subcommand) {
        inner = Some(deeper);
    }
    let store = inner.and_then(|matches| StoreArgs::from_arg_matches(matches).ok());
    let server = inner.and_then(|matches| ServerArgs::from_arg_matches(matches).ok());
    (store.unwrap_or_default(), server.unwrap_or_default())
}

fn config() -> Result<Config, Failure> {
    let line = LINE.get().map_or(&[][..], Vec::as_slice);
    let named = line.iter().position(|word| word == "--config").and_then(|at| line.get(at + 1));
    let named = named.map(OsString::from).or_else(|| std::env::var_os("WHODID_CONFIG"));
    Config::load(named.as_deref().map(Path::new))
}
