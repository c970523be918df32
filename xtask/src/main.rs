//! The tasks of this repository: `cargo xtask test` runs everything that has to be green before a
//! commit, `cargo xtask fuzz` looks longer for input that breaks a parser.
//!
//! Nothing here depends on the product's crates, so that it compiles in seconds.

#![allow(
    clippy::disallowed_methods,
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "it works on the files of the repository and talks to its user"
)]

use std::process::ExitCode;

use clap::Parser;

mod cache;
mod command;
mod fuzz;
mod repository;
mod test;

#[derive(Parser)]
#[command(bin_name = "cargo xtask", about = "The tasks of this repository.")]
enum Task {
    Fuzz(fuzz::Args),
    Test(test::Args),
}

fn main() -> ExitCode {
    let result = match Task::parse() {
        Task::Fuzz(args) => fuzz::run(&args),
        Task::Test(args) => test::run(&args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
