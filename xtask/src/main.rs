//! The tasks of this repository: `cargo xtask test` runs everything that has to be green before a
//! commit; `e2e` and `oracles` are parts of it by themselves, a real control plane and verifiers
//! that others wrote; `policy` asks a real API server what its policies record; `fuzz` looks longer
//! for input that breaks a parser, `bench`, `flat` and `load` measure, `soak` kills, `tamper`
//! forges, `package` makes what is installed without a compiler.
//!
//! Of the product's crates it depends on `whodid_policy` and `whodid_tlog` only, which are small:
//! so it compiles in seconds.

#![allow(
    clippy::disallowed_methods,
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "it works on the files of the repository and talks to its user"
)]

use std::process::ExitCode;

use clap::Parser;

mod bench;
mod cache;
mod calibration;
mod command;
mod corpus;
mod custody;
mod e2e;
mod flat;
mod fuzz;
mod load;
mod measure;
mod oracles;
mod package;
mod policy;
mod product;
mod readers;
mod repository;
mod soak;
mod tail;
mod tamper;
mod test;
mod testbed;

#[derive(Parser)]
#[command(bin_name = "cargo xtask", about = "The tasks of this repository.")]
enum Task {
    Bench(bench::Args),
    Custody(custody::Args),
    E2e(e2e::Args),
    Flat(flat::Args),
    Fuzz(fuzz::Args),
    Load(load::Args),
    Oracles(oracles::Args),
    Package(package::Args),
    Policy(policy::Args),
    Readers(readers::Args),
    Soak(soak::Args),
    Tail(tail::Args),
    Tamper(tamper::Args),
    Test(test::Args),
}

fn main() -> ExitCode {
    let result = match Task::parse() {
        Task::Bench(args) => bench::run(&args).map(|()| ExitCode::SUCCESS),
        Task::Custody(args) => custody::run(&args).map(|()| ExitCode::SUCCESS),
        Task::E2e(args) => e2e::run(&args).map(|()| ExitCode::SUCCESS),
        Task::Flat(args) => flat::run(&args).map(|()| ExitCode::SUCCESS),
        Task::Fuzz(args) => fuzz::run(&args).map(|()| ExitCode::SUCCESS),
        Task::Load(args) => load::run(&args).map(|()| ExitCode::SUCCESS),
        Task::Policy(args) => policy::run(&args).map(|()| ExitCode::SUCCESS),
        Task::Oracles(args) => oracles::run(&args).map(|()| ExitCode::SUCCESS),
        Task::Readers(args) => readers::run(&args).map(|()| ExitCode::SUCCESS),
        Task::Package(args) => package::run(&args).map(|()| ExitCode::SUCCESS),
        Task::Soak(args) => soak::run(&args).map(|()| ExitCode::SUCCESS),
        Task::Tail(args) => tail::run(&args).map(|()| ExitCode::SUCCESS),
        Task::Tamper(args) => tamper::run(&args).map(|()| ExitCode::SUCCESS),
        Task::Test(args) => Ok(test::run(&args)),
    };
    result.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}
