//! Flags of what is kept of a record, how long, and what is not.

use clap::{Args, Subcommand};

use super::StoreArgs;

#[derive(Args, Debug)]
pub struct RetentionArgs {
    #[command(flatten)]
    pub store: StoreArgs,
    /// How much to keep, CLUSTER=AGE[,SIZE[,refuse|prune]][,bodies=AGE]; * stands for all others
    #[arg(long, value_name = "RULE", required = true)]
    pub retain: Vec<String>,
    /// Delete what is shown otherwise; that it went stays on record
    #[arg(long)]
    pub apply: bool,
}

#[derive(Args, Debug)]
pub struct RedactArgs {
    #[command(flatten)]
    pub store: StoreArgs,
    /// The event, CLUSTER/SEQ or an audit ID that only one has
    #[arg(value_name = "ID")]
    pub id: String,
    /// Only what the request held
    #[arg(long)]
    pub request: bool,
    /// Only what the response held
    #[arg(long)]
    pub response: bool,
    /// Why; it stands in the record
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
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
