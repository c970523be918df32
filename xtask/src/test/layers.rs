//! Which crate may depend on which, and that DataFusion and its like are compiled once: one
//! version of each, and one set of features for the product and for the tests.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use anyhow::{Context, ensure};
use serde_json::Value;

use crate::command;

/// Every crate of the workspace and the ones it may name; tests may name the testkit as well.
const LAYERS: [(&str, &[&str]); 12] = [
    (
        "whodid-cli",
        &[
            "whodid-server",
            "whodid-ingest",
            "whodid-api",
            "whodid-engine",
            "whodid-store",
            "whodid-policy",
            "whodid-query",
            "whodid-event",
            "whodid-tlog",
        ],
    ),
    (
        "whodid-server",
        &[
            "whodid-ingest",
            "whodid-api",
            "whodid-engine",
            "whodid-store",
            "whodid-query",
            "whodid-event",
            "whodid-tlog",
        ],
    ),
    ("whodid-ingest", &["whodid-store", "whodid-event"]),
    ("whodid-api", &[]),
    ("whodid-engine", &["whodid-store", "whodid-query", "whodid-event"]),
    ("whodid-store", &["whodid-event", "whodid-tlog"]),
    ("whodid-policy", &["whodid-event"]),
    ("whodid-query", &["whodid-event"]),
    ("whodid-event", &[]),
    ("whodid-tlog", &[]),
    ("whodid-testkit", &[]),
    ("xtask", &["whodid-policy", "whodid-testkit", "whodid-tlog"]),
];

const TESTKIT: &str = "whodid-testkit";

/// Foreign crates that have owners: whom outside of tests no other crate may name them.
const OWNED: [(&str, &[&str]); 14] = [
    ("anyhow", &["whodid-cli", "xtask"]),
    ("arrow", &["whodid-store", "whodid-engine"]),
    ("axum", &["whodid-server"]),
    ("clap", &["whodid-cli", "xtask"]),
    ("deltalake", &["whodid-store"]),
    ("ed25519-dalek", &["whodid-tlog"]),
    ("object_store", &["whodid-store", "whodid-engine"]),
    ("parquet", &["whodid-store", "whodid-engine"]),
    ("rayon", &["whodid-store"]),
    ("reqwest", &["whodid-api"]),
    ("rusqlite", &["whodid-store"]),
    ("rustix", &["whodid-store"]),
    ("rustls", &["whodid-server"]),
    ("thread-priority", &["whodid-store"]),
];

/// Crates that do no I/O and compile in seconds, tests included.
const PURE: [&str; 6] =
    ["whodid-event", "whodid-policy", "whodid-query", "whodid-tlog", "whodid-testkit", "xtask"];
/// What none of them may reach, however indirectly.
const IMPURE: [&str; 7] =
    ["tokio", "datafusion", "deltalake", "arrow", "parquet", "object_store", "reqwest"];

/// Crates that share types, and take minutes to compile.
const ONE_VERSION: [&str; 5] = ["arrow", "parquet", "datafusion", "deltalake", "object_store"];

pub(super) fn run() -> anyhow::Result<()> {
    let metadata = ["metadata", "--format-version", "1", "--locked"];
    let metadata = serde_json::from_str(&command::output(command::cargo().args(metadata))?)?;
    let packages = packages(&metadata).context("`cargo metadata` has another format")?;
    let product = features(&["-p", "whodid-cli", "--edges", "normal,build"])?;
    let workspace = features(&["--workspace", "--edges", "normal,build,dev"])?;
    println!("{} packages, {} of them in the product", packages.len(), product.len());
    let findings = [
        layers(&packages),
        owners(&packages),
        purity(&packages),
        versions(&packages),
        feature_sets(&product, &workspace),
    ]
    .concat();
    for finding in &findings {
        eprintln!("{finding}");
    }
    ensure!(findings.is_empty(), "{} findings", findings.len());
    Ok(())
}

/// A package of the dependency graph.
#[derive(Debug, Default)]
struct Package {
    name: String,
    is_ours: bool,
    dependencies: Vec<Dependency>,
}

#[derive(Debug)]
struct Dependency {
    /// Which package of the graph.
    on: usize,
    /// Only its tests need it.
    is_dev: bool,
}

/// Reads what `cargo metadata` prints.
fn packages(metadata: &Value) -> Option<Vec<Package>> {
    let list = |value: &Value, path: &str| value.pointer(path)?.as_array().cloned();
    let text = |value: &Value, key: &str| Some(value.get(key)?.as_str()?.to_owned());
    let nodes = list(metadata, "/resolve/nodes")?;
    let ids = nodes.iter().map(|node| text(node, "id")).collect::<Option<Vec<_>>>()?;
    let index: HashMap<String, usize> = ids.into_iter().zip(0..).collect();
    let mut packages: Vec<Package> = nodes.iter().map(|_| Package::default()).collect();
    for package in list(metadata, "/packages")? {
        packages.get_mut(*index.get(&text(&package, "id")?)?)?.name = text(&package, "name")?;
    }
    for member in list(metadata, "/workspace_members")? {
        packages.get_mut(*index.get(member.as_str()?)?)?.is_ours = true;
    }
    for (node, package) in nodes.iter().zip(&mut packages) {
        for dependency in list(node, "/deps")? {
            let on = *index.get(&text(&dependency, "pkg")?)?;
            let kinds = list(&dependency, "/dep_kinds")?;
            let is_dev = kinds.iter().all(|kind| text(kind, "kind").as_deref() == Some("dev"));
            package.dependencies.push(Dependency { on, is_dev });
        }
    }
    Some(packages)
}

/// The packages of the workspace with what each depends on directly.
fn direct(packages: &[Package]) -> impl Iterator<Item = (&Package, &Package, bool)> {
    packages.iter().filter(|package| package.is_ours).flat_map(move |package| {
        let named = move |edge: &Dependency| Some((package, packages.get(edge.on)?, edge.is_dev));
        package.dependencies.iter().filter_map(named)
    })
}

fn layers(packages: &[Package]) -> Vec<String> {
    let table = BTreeMap::from(LAYERS);
    let unknown = packages
        .iter()
        .filter(|package| package.is_ours && !table.contains_key(&*package.name))
        .map(|package| format!("{} has no layer; give it one in this table", package.name));
    let wrong = direct(packages)
        .filter(|(from, to, is_dev)| {
            let allowed = table.get(&*from.name).copied().unwrap_or_default();
            let is_allowed = allowed.contains(&&*to.name) || *is_dev && to.name == TESTKIT;
            to.is_ours && !is_allowed
        })
        .map(|(from, to, _)| format!("{} may not depend on {}", from.name, to.name));
    unknown.chain(wrong).collect()
}

fn owners(packages: &[Package]) -> Vec<String> {
    let table = BTreeMap::from(OWNED);
    direct(packages)
        .filter_map(|(from, to, is_dev)| {
            let owners = table.get(&*to.name).filter(|owners| !owners.contains(&&*from.name))?;
            let owners = owners.join(" and ");
            (!is_dev)
                .then(|| format!("{} may not name {}, which is {owners}'s", from.name, to.name))
        })
        .collect()
}

fn purity(packages: &[Package]) -> Vec<String> {
    let pure = packages.iter().filter(|package| PURE.contains(&&*package.name));
    pure.flat_map(|package| {
        let reached = reached(packages, package);
        let impure = IMPURE.into_iter().filter(move |name| reached.contains(name));
        impure.map(|name| {
            format!("{} may not reach {name}; see `cargo tree -i {name}`", package.name)
        })
    })
    .collect()
}

/// The names of all packages that `from` needs, for its tests too.
fn reached<'p>(packages: &'p [Package], from: &'p Package) -> BTreeSet<&'p str> {
    let mut names = BTreeSet::new();
    let mut next: Vec<usize> = from.dependencies.iter().map(|edge| edge.on).collect();
    let mut seen = BTreeSet::new();
    while let Some(index) = next.pop() {
        let Some(package) = packages.get(index).filter(|_| seen.insert(index)) else { continue };
        names.insert(&*package.name);
        let needed = package.dependencies.iter().filter(|edge| !edge.is_dev);
        next.extend(needed.map(|edge| edge.on));
    }
    names
}

fn versions(packages: &[Package]) -> Vec<String> {
    ONE_VERSION
        .into_iter()
        .map(|name| (name, packages.iter().filter(|package| package.name == name).count()))
        .filter(|(_, count)| *count != 1)
        .map(|(name, count)| format!("{count} versions of {name}; there must be exactly one"))
        .collect()
}

/// The features each package is compiled with, by name and version.
type Features = BTreeMap<String, BTreeSet<String>>;

/// Asks Cargo; a package that is compiled for build scripts as well may have two sets.
fn features(selection: &[&str]) -> anyhow::Result<Features> {
    let tree = ["tree", "--locked", "--prefix", "none", "--format", "{p}\t{f}"];
    Ok(read_features(&command::output(command::cargo().args(tree).args(selection))?))
}

fn read_features(tree: &str) -> Features {
    let mut found = Features::new();
    for line in tree.lines() {
        let Some((package, features)) = line.split_once('\t') else { continue };
        // `(*)` marks what was shown before.
        let features = features.trim_end_matches("(*)").trim_end();
        found.entry(package.to_owned()).or_default().insert(features.to_owned());
    }
    found
}

/// Whatever the tests add to the features of a package of the product compiles it, and everything
/// above it, a second time.
fn feature_sets(product: &Features, workspace: &Features) -> Vec<String> {
    let each = |sets: &BTreeSet<String>| -> BTreeSet<String> {
        sets.iter()
            .flat_map(|set| set.split(',').filter(|name| !name.is_empty()))
            .map(str::to_owned)
            .collect()
    };
    product
        .iter()
        .filter_map(|(package, sets)| {
            let there = workspace.get(package).filter(|there| *there != sets)?;
            let differing: Vec<String> = (&each(sets) ^ &each(there)).into_iter().collect();
            Some(format!(
                "{package} and what depends on it compile twice, with and without the features \
                 [{}]; find who asks for them: cargo tree --workspace -e features -i {}",
                differing.join(","),
                package.split(' ').next().unwrap_or_default()
            ))
        })
        .collect()
}

#[cfg(test)]
mod tests;
