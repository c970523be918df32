//! Runs a check over the seeds of its fuzz target, so that they are checked on every build. A seed
//! that panics is named on standard error.

use std::path::Path;

/// Returns how many of the seeds are what the target reads.
#[track_caller]
#[expect(clippy::disallowed_methods, clippy::print_stderr, reason = "seeds are files of the test")]
pub(crate) fn run(target: &str, check: fn(&[u8]) -> bool) -> usize {
    // The crate that is tested, not the one that was compiled: clones may share a build cache.
    let tested = std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo says which crate is tested");
    let folder = Path::new(&tested).join("../../fuzz/corpus").join(target);
    let seeds: Vec<_> = std::fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.expect("a file").path())
        .collect();
    assert!(seeds.len() >= 20, "only {} seeds in {}", seeds.len(), folder.display());
    let accepted = seeds.iter().filter(|path| {
        let bytes = std::fs::read(path).expect("a readable file");
        let result = std::panic::catch_unwind(|| check(&bytes));
        result.unwrap_or_else(|cause| {
            eprintln!("the seed is {}", path.display());
            std::panic::resume_unwind(cause)
        })
    });
    accepted.count()
}
