//! That the fuzz targets still compile: they are a workspace of their own, which no other part
//! looks at, and compile the codec of the write-ahead log in place of the crate that it is of.

use crate::{cache, command, repository};

pub(super) fn run() -> anyhow::Result<()> {
    let manifest = repository::root().join("fuzz/Cargo.toml");
    let check = ["check", "--locked", "--lib", "--bins", "--examples", "--manifest-path"];
    command::run(
        command::cargo()
            .args(check)
            .arg(&manifest)
            .env("CARGO_TARGET_DIR", cache::folder()?.join("fuzz-check"))
            // Nothing is linked: any file will do for the fuzzer, which is in C++.
            .env("CUSTOM_LIBFUZZER_PATH", &manifest),
    )
}
