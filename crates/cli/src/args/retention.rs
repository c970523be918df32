//! Flags of what is kept of a record, and how long.

use clap::{Args, Subcommand};
use whodid_server::Retained;

use super::StoreArgs;

#[derive(Args, Debug)]
pub struct RetentionArgs {
    #[command(flatten)]
    pub store: StoreArgs,
    /// How much to keep, CLUSTER=AGE[,SIZE[,refuse|prune]]; * stands for all other clusters
    #[arg(long, value_name = "RULE", required = true)]
    pub retain: Vec<Retained>,
    /// Delete what is shown otherwise; that it went stays on record
    #[arg(long)]
    pub apply: bool,
}

#[derive(Debug, Subcommand)]
pub enum HoldCommand {
    /// Put a hold on events of a cluster
    Add(HoldAddArgs),
    /// List the holds that are in force
    List(StoreArgs),
    /// End a hold
    Release(HoldReleaseArgs),
}

#[derive(Args, Debug)]
pub struct HoldAddArgs {
    #[command(flatten)]
    pub store: StoreArgs,
    /// What the hold is called
    #[arg(value_name = "NAME")]
    pub name: String,
    /// Cluster whose events it is about
    #[arg(long, value_name = "NAME")]
    pub cluster: String,
    /// Only those that were taken in from then on (RFC 3339)
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
    /// Only those that were taken in until then (RFC 3339)
    #[arg(long, value_name = "TIME")]
    pub until: Option<String>,
    /// Why; it stands in the record
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
}

#[derive(Args, Debug)]
pub struct HoldReleaseArgs {
    #[command(flatten)]
    pub store: StoreArgs,
    /// What the hold is called
    #[arg(value_name = "NAME")]
    pub name: String,
    /// Why; it stands in the record
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
}
