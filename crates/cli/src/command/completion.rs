//! `whodid completion`: what makes a shell ask this program what could come next.

use clap_complete::env::Shells;

use crate::args::CompletionArgs;
use crate::complete::VARIABLE;
use crate::failure::Failure;

pub fn run(args: &CompletionArgs) -> Result<(), Failure> {
    let name = args.shell.to_string();
    let shells = Shells::builtins();
    let shell = shells.completer(&name);
    let shell = shell.ok_or_else(|| Failure::Usage(format!("no completion for {name}")))?;
    let mut script = Vec::new();
    shell.write_registration(VARIABLE, "whodid", "whodid", "whodid", &mut script)?;
    crate::output::print(&String::from_utf8_lossy(&script))?;
    Ok(())
}
