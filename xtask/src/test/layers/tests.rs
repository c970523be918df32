//! Every rule of the layers, broken once.

use serde_json::json;

use super::*;

/// A graph from lines of `PACKAGE: DEPENDENCY…`, where `~` marks what only tests need. Packages
/// named `whodid-…` or `xtask` are the workspace's.
fn graph(lines: &[&str]) -> Vec<Package> {
    let names: BTreeSet<&str> = lines
        .iter()
        .flat_map(|line| line.split([':', ' ', '~']))
        .filter(|name| !name.is_empty())
        .collect();
    let index = |name: &str| names.iter().position(|known| *known == name).unwrap();
    let mut packages: Vec<Package> = names
        .iter()
        .map(|name| Package {
            name: (*name).to_owned(),
            is_ours: name.starts_with("whodid-") || *name == "xtask",
            dependencies: Vec::new(),
        })
        .collect();
    for (name, dependencies) in lines.iter().filter_map(|line| line.split_once(':')) {
        packages[index(name)].dependencies = dependencies
            .split_whitespace()
            .map(|on| Dependency {
                on: index(on.trim_start_matches('~')),
                is_dev: on.starts_with('~'),
            })
            .collect();
    }
    packages
}

#[test]
fn layers_point_down() {
    let good = ["whodid-cli: whodid-engine ~whodid-testkit", "whodid-engine: whodid-store serde"];
    assert_eq!(layers(&graph(&good)), Vec::<String>::new());
    for (line, expected) in [
        ("whodid-store: whodid-engine", "whodid-store may not depend on whodid-engine"),
        ("whodid-store: ~whodid-engine", "whodid-store may not depend on whodid-engine"),
        ("whodid-query: whodid-store", "whodid-query may not depend on whodid-store"),
        ("whodid-event: whodid-query", "whodid-event may not depend on whodid-query"),
        ("whodid-testkit: whodid-event", "whodid-testkit may not depend on whodid-event"),
        ("whodid-cli: whodid-testkit", "whodid-cli may not depend on whodid-testkit"),
        ("xtask: whodid-event", "xtask may not depend on whodid-event"),
        ("whodid-utils: serde", "whodid-utils has no layer; give it one in this table"),
    ] {
        assert_eq!(layers(&graph(&[line])), [expected], "{line}");
    }
}

#[test]
fn foreign_crates_have_owners() {
    let good = [
        "whodid-engine: arrow object_store",
        "whodid-store: deltalake",
        "xtask: clap",
        "whodid-cli: ~parquet",
    ];
    assert_eq!(owners(&graph(&good)), Vec::<String>::new());
    for (line, expected) in [
        (
            "whodid-cli: arrow",
            "whodid-cli may not name arrow, which is whodid-store and whodid-engine's",
        ),
        (
            "whodid-engine: deltalake",
            "whodid-engine may not name deltalake, which is whodid-store's",
        ),
        (
            "whodid-store: anyhow",
            "whodid-store may not name anyhow, which is whodid-cli and xtask's",
        ),
    ] {
        assert_eq!(owners(&graph(&[line])), [expected], "{line}");
    }
}

#[test]
fn pure_crates_stay_pure() {
    // What only the tests of a dependency need is not needed.
    let good = ["whodid-event: serde ~whodid-testkit", "serde: ~tokio", "whodid-store: tokio"];
    assert_eq!(purity(&graph(&good)), Vec::<String>::new());
    for lines in [
        &["whodid-event: tokio"][..],
        &["whodid-event: ~tokio"],
        &["whodid-event: a", "a: b a", "b: tokio"],
    ] {
        let expected = "whodid-event may not reach tokio; see `cargo tree -i tokio`";
        assert_eq!(purity(&graph(lines)), [expected], "{lines:?}");
    }
}

#[test]
fn one_version_of_each() {
    let good = ["whodid-store: arrow parquet datafusion deltalake object_store"];
    assert_eq!(versions(&graph(&good)), Vec::<String>::new());
    let mut twice = graph(&good);
    twice.push(Package { name: "arrow".into(), ..Package::default() });
    assert_eq!(versions(&twice), ["2 versions of arrow; there must be exactly one"]);
    assert_eq!(versions(&graph(&["whodid-store: arrow"])).len(), 4);
}

#[test]
fn tests_add_no_features() {
    let product = read_features("a v1 (proc-macro)\tx,y\n\nb v1\t (*)\nb v1\t\n");
    assert_eq!(product.len(), 2);
    let same = read_features("b v1\t\na v1 (proc-macro)\tx,y (*)\nc v1\tz\n");
    assert_eq!(feature_sets(&product, &same), Vec::<String>::new());
    let more = read_features("b v1\tz\na v1 (proc-macro)\tx,y\n");
    let [finding] = &feature_sets(&product, &more)[..] else { panic!("one finding expected") };
    assert!(finding.starts_with("b v1 and what depends on it compile twice"), "{finding}");
    assert!(finding.contains("[z]") && finding.ends_with(" -i b"), "{finding}");
}

#[test]
fn metadata_is_read() {
    let metadata = json!({
        "packages": [{"id": "1", "name": "whodid-cli"}, {"id": "2", "name": "serde"}],
        "workspace_members": ["1"],
        "resolve": {"nodes": [
            {"id": "2", "deps": []},
            {"id": "1", "deps": [{"pkg": "2", "dep_kinds": [{"kind": null}, {"kind": "dev"}]}]},
        ]},
    });
    let found = packages(&metadata).unwrap();
    let listed: Vec<_> =
        direct(&found).map(|(from, to, is_dev)| (&*from.name, &*to.name, is_dev)).collect();
    assert_eq!(listed, [("whodid-cli", "serde", false)]);
    assert!(packages(&json!({})).is_none());
}
