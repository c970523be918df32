//! `whodid completion`: the completion script of a shell.

use clap::CommandFactory;

use crate::args::{Cli, CompletionArgs};
use crate::failure::Failure;

pub fn run(args: &CompletionArgs) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "whodid", &mut script);
    crate::output::print(&String::from_utf8_lossy(&script))?;
    Ok(())
}
