//! How many arenas glibc allocates from. What is freed stays with its arena: the sixteen that it
//! makes for two processors hold hundreds of MiB that nothing uses (docs/performance.md). How many
//! there are can be said only before a program starts, so it starts itself again, once.

use std::os::unix::process::CommandExt;
use std::process;

use crate::args::Command;

/// What glibc reads when a program starts (mallopt(3)).
const VARIABLE: &str = "MALLOC_ARENA_MAX";

/// So many for a command; `None` for those that are short or need little memory.
fn wanted(command: &Command) -> Option<&'static str> {
    match command {
        Command::Serve(_) | Command::Demo(_) => Some("2"),
        // More threads allocate at once.
        Command::Import(_) | Command::Compact(_) | Command::Verify(_) => Some("4"),
        _ => None,
    }
}

/// Starts the program again with as few arenas as its command needs, unless somebody has said how
/// many already. It returns if it cannot, and more memory is taken.
pub fn limit(command: &Command) {
    let Some(arenas) = wanted(command).filter(|_| cfg!(target_env = "gnu")) else { return };
    if std::env::var_os(VARIABLE).is_some() {
        return;
    }
    let mut args = std::env::args_os();
    let mut again = process::Command::new("/proc/self/exe");
    again.arg0(args.next().unwrap_or_default());
    let _cannot = again.args(args).env(VARIABLE, arenas).exec();
}
