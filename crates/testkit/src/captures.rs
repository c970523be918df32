//! The captured events under `testdata/captures` of the repository, and other people's files
//! where this machine has them.

use std::path::{Path, PathBuf};

/// Events as the log backend wrote them under a typical policy: 8,000 lines without line ends.
pub fn typical() -> Vec<String> {
    lines("typical-policy.jsonl.zst", 8_000)
}

/// Events under a policy that logs everything at every stage: 3,825 lines without line ends.
pub fn broad() -> Vec<String> {
    lines("broad-policy-all-stages.jsonl.zst", 3_825)
}

/// Request bodies (`EventList`) as the webhook backend sent them: 40, holding 529 items.
pub fn webhook_bodies() -> Vec<String> {
    lines("webhook-bodies.jsonl.zst", 40)
}

/// The folder of the captures.
pub fn folder() -> PathBuf {
    repository().join("testdata/captures")
}

/// The root of the repository that cargo runs something of. It need not be the one in which this
/// was compiled: clones may share a build cache.
pub fn repository() -> PathBuf {
    let said = std::env::var_os("CARGO_MANIFEST_DIR");
    let crate_folder = said.map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from);
    let is_root = |folder: &&Path| folder.join("testdata/captures").is_dir();
    crate_folder.ancestors().find(is_root).unwrap_or(&crate_folder).to_owned()
}

/// The folder of audit events that other people captured, if this machine has it: what
/// `WHODID_THIRDPARTY` names, else `../shared/thirdparty` beside the repository.
pub fn third_party() -> Option<PathBuf> {
    let folder = std::env::var_os("WHODID_THIRDPARTY")
        .map_or_else(|| repository().join("../shared/thirdparty"), PathBuf::from);
    folder.is_dir().then_some(folder)
}

fn lines(file: &str, expected: usize) -> Vec<String> {
    let path = folder().join(file);
    let packed = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let text = zstd::decode_all(&packed[..]).expect("valid zstd");
    let text = String::from_utf8(text).expect("captures are UTF-8");
    let lines: Vec<String> = text.lines().map(str::to_owned).collect();
    assert_eq!(lines.len(), expected, "{file}");
    lines
}
