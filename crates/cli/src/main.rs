//! The command line: what a person types, parsed and carried out. Every command is a module of
//! [`command`]; how answers look is [`output`]'s. What they mean is the business of the engine and
//! the store.
//!
//! Exit codes: 0 found, 1 nothing found, 2 usage, 3 unavailable, 130 interrupted.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command line prints; data goes to stdout, everything else to stderr"
)]
#![allow(
    clippy::disallowed_methods,
    reason = "the files read here are the user's, not the store's"
)]
#![allow(unreachable_pub, reason = "`pub` says what a module is for; a binary has no other users")]
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::string_slice
    )
)]

mod allocator;
mod args;
mod command;
mod complete;
mod config;
mod failure;
mod output;

use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches};

use args::{Cli, Command};
use config::Config;
use failure::Failure;

fn main() -> ExitCode {
    if let Some(code) = complete::answer() {
        return code;
    }
    let cli = match parse(std::env::args_os()) {
        Ok(cli) => cli,
        // Help and version are no errors; clap prints each where it belongs.
        Err(error) => {
            let code = if error.use_stderr() { 2 } else { 0 };
            let _printed = error.print();
            return ExitCode::from(code);
        }
    };
    allocator::limit(&cli.command);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: cannot start threads: {error}");
            return ExitCode::from(3);
        }
    };
    let result = runtime.block_on(run(cli));
    // Threads that still read a pipe must not keep the process.
    runtime.shutdown_background();
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

/// Parses the command line; as a kubectl plugin the help shows the command as kubectl's user
/// types it.
fn parse(args: impl Iterator<Item = std::ffi::OsString>) -> Result<Cli, clap::Error> {
    let args: Vec<_> = args.map(negated_term).collect();
    let name = args.first().map(std::path::PathBuf::from).unwrap_or_default();
    let is_plugin = name.file_name().is_some_and(|name| name == "kubectl-whodid");
    let mut command = Cli::command();
    if is_plugin {
        command = command.bin_name("kubectl whodid");
    }
    Cli::from_arg_matches(&command.try_get_matches_from(args)?)
}

/// `-dry_run:true` is a term of a query and no flag: flags hold no colon.
fn negated_term(arg: std::ffi::OsString) -> std::ffi::OsString {
    let Some(term) = arg.to_str().and_then(|text| text.strip_prefix('-')) else { return arg };
    let field = term.split_once(':').map_or("", |(field, _)| field);
    let is_field = |c: char| c.is_ascii_alphanumeric() || "_.\"/*-".contains(c);
    if field.starts_with(|c: char| c.is_ascii_alphabetic()) && field.chars().all(is_field) {
        return format!("NOT {term}").into();
    }
    arg
}

async fn run(cli: Cli) -> Result<(), Failure> {
    let config = || Config::load(cli.config.as_deref());
    match cli.command {
        Command::Serve(args) => command::serve::run(args, config()?).await,
        Command::Ship(args) => command::ship::run(args, &config()?).await,
        Command::Import(args) => command::import::run(args).await,
        Command::Tail(args) => command::tail::run(args, &config()?).await,
        Command::Search(args) => command::search::run(args, &config()?).await,
        Command::Who(args) => command::who::run(args, &config()?).await,
        Command::History(args) => command::history::run(args, &config()?).await,
        Command::Stats(args) => command::count::stats(args, &config()?).await,
        Command::Sql(args) => command::sql::run(args, &config()?).await,
        Command::Show(args) => command::show::run(args, &config()?).await,
        Command::Prove(args) => command::prove::run(args).await,
        Command::Export(args) => command::export::run(args).await,
        Command::Verify(args) => command::verify::run(args).await,
        Command::Ledger(command) => command::ledger::run(command).await,
        Command::Retention(args) => command::retention::run(args).await,
        Command::Redact(args) => command::redact::run(args).await,
        Command::Hold(command) => command::retention::hold(command).await,
        Command::Signer(command) => command::cosigner::signer(command, &config()?).await,
        Command::Witness(command) => command::cosigner::witness(command, &config()?).await,
        Command::Init(args) => command::init::run(&args),
        Command::Plan(command) => command::plan::run(command),
        Command::Doctor(args) => command::doctor::run(&args).await,
        Command::Policy(command) => command::policy::run(command).await,
        Command::Ingest(args) => command::ingest::run(args).await,
        Command::Compact(args) => command::compact::run(args).await,
        Command::Demo(args) => command::demo::run(args).await,
        Command::Config(command) => command::config::run(&command, config()?),
        Command::Completion(args) => command::completion::run(&args),
    }
}
