//! How glibc allocates. What is freed stays with the arena that it is of: the sixteen that it makes
//! for two processors hold hundreds of MiB that nothing uses, and so does a heap in which buffers
//! of megabytes come and go (docs/performance.md). How it is done can be said only before a program
//! starts, so it starts itself again, once.

use std::os::unix::process::CommandExt;
use std::process;

use crate::args::Command;

/// How many arenas there are (mallopt(3)).
const ARENAS: &str = "MALLOC_ARENA_MAX";

/// From how many bytes on a buffer is given back to the system when it is freed.
const MMAP_THRESHOLD: &str = "MALLOC_MMAP_THRESHOLD_";

/// How much an arena keeps of what is free at its end. With 128 KiB, which glibc takes once the
/// other is said, a question spends a fifth of its time on pages that it had a moment before.
const TRIM_THRESHOLD: &str = "MALLOC_TRIM_THRESHOLD_";

/// What a command is started with; nothing for those that are short or need little memory.
fn wanted(command: &Command) -> &'static [(&'static str, &'static str)] {
    match command {
        Command::Serve(_) | Command::Demo(_) => {
            &[(ARENAS, "2"), (MMAP_THRESHOLD, "2097152"), (TRIM_THRESHOLD, "8388608")]
        }
        // One thread merges; those that verify allocate much at a time.
        Command::Compact(_) | Command::Verify(_) => &[(ARENAS, "1")],
        // More threads allocate at once.
        Command::Import(_) => &[(ARENAS, "4")],
        _ => &[],
    }
}

/// Starts the program again with what its command wants to be different, unless somebody has said
/// it already. It returns if it cannot, and more memory is taken.
pub fn limit(command: &Command) {
    let is_unsaid = |(variable, _): &&(&str, &str)| std::env::var_os(variable).is_none();
    let unsaid: Vec<_> = wanted(command).iter().filter(is_unsaid).copied().collect();
    if unsaid.is_empty() || cfg!(not(target_env = "gnu")) {
        return;
    }
    let mut args = std::env::args_os();
    let mut again = process::Command::new("/proc/self/exe");
    again.arg0(args.next().unwrap_or_default());
    let _cannot = again.args(args).envs(unsaid).exec();
}
