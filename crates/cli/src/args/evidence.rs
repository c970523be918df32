//! Flags of the commands that prove and verify what the record holds.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::examples::REOPEN_EXAMPLES;
use super::{ScopeArgs, StoreArgs};

#[derive(Args, Debug)]
pub struct ProveArgs {
    #[command(flatten)]
    pub store: StoreArgs,
    /// Event, as CLUSTER/SEQ or by its audit ID
    #[arg(value_name = "ID")]
    pub id: String,
    /// Folder for the proof, the entry and the policy; without one, the proof goes to stdout
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub struct ExportArgs {
    #[command(flatten)]
    pub store: StoreArgs,
    /// Query, as for search
    #[arg(value_name = "QUERY")]
    pub query: Vec<String>,
    #[command(flatten)]
    pub scope: ScopeArgs,
    /// Folder to write, or an archive if it ends in .tar
    #[arg(long, value_name = "PATH")]
    pub out: PathBuf,
    /// Events with their proofs, or the whole log of a cluster (c2sp.org/tlog-tiles)
    #[arg(long, value_enum, default_value_t = Layout::Bundle)]
    pub layout: Layout,
    /// What it is for; it stands in the evidence
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub purpose: String,
    /// Disclose request and response bodies, too
    #[arg(long)]
    pub with_bodies: bool,
    /// Show how many of these events are withheld, and that none is left out in silence
    #[arg(long, value_name = "CLUSTER/FROM..TO")]
    pub complete_range: Option<String>,
}

/// What an export is laid out as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Layout {
    /// Events with their proofs (docs/format/bundle.md)
    Bundle,
    /// The whole log of a cluster, as monitors read it
    TlogTiles,
}

#[derive(Args, Debug)]
pub struct VerifyArgs {
    /// Proof (c2sp.org/tlog-proof), with --entry and --policy, or a bundle that `export` wrote;
    /// without either, the record is verified
    #[arg(value_name = "PROOF|BUNDLE")]
    pub proof: Option<PathBuf>,
    /// The entry that the proof is of, byte for byte
    #[arg(long, value_name = "FILE", requires = "proof")]
    pub entry: Option<PathBuf>,
    /// Which logs and witnesses are believed (c2sp.org/tlog-policy); never take it from whom you
    /// check
    #[arg(long, value_name = "FILE")]
    pub policy: Option<PathBuf>,
    /// Whose manifests are believed, for a bundle: the key that `export` wrote as export.vkey
    #[arg(long, value_name = "FILE", requires = "proof")]
    pub export_key: Option<PathBuf>,
    /// Whose time stamps are believed, for a bundle: certificates, PEM
    #[arg(long, value_name = "FILE", requires = "proof")]
    pub tsa_ca: Option<PathBuf>,
    #[command(flatten)]
    pub store: StoreArgs,
    /// Verify the log of one cluster only
    #[arg(long, value_name = "NAME", conflicts_with = "proof")]
    pub cluster: Option<String>,
    /// Verify one event only, or those of a range, of which TO is left out
    #[arg(long, value_name = "CLUSTER/SEQ|CLUSTER/FROM..TO")]
    #[arg(conflicts_with_all = ["proof", "cluster"])]
    pub events: Option<String>,
    /// Checkpoint that was kept elsewhere: the record has to have grown from it
    #[arg(long, value_name = "FILE", conflicts_with_all = ["proof", "cluster", "events"])]
    pub checkpoint: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub enum LedgerCommand {
    /// Print the logs' keys as a policy (c2sp.org/tlog-policy), to be handed to auditors
    Policy(StoreArgs),
    /// Print the key that tells a signer elsewhere whose a checkpoint is (`whodid signer serve`)
    Key(StoreArgs),
    /// Freeze a log at its last head, and go on in another that names it
    #[command(after_help = REOPEN_EXAMPLES)]
    Reopen(ReopenArgs),
}

#[derive(Args, Debug)]
pub struct ReopenArgs {
    #[command(flatten)]
    pub store: StoreArgs,
    /// Clusters whose logs they are, or `meta`
    #[arg(value_name = "CLUSTER", required = true)]
    pub names: Vec<String>,
    /// Why; it stands in the record
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
}
