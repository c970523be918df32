//! Flags of commands that answer more than which requests there were: who, histories, SQL.

use clap::{Args, ValueEnum};
use clap_complete::engine::ArgValueCompleter;

use super::{ListFormat, OutputArgs, ScopeArgs, ServerArgs, StoreArgs};
use crate::complete;

#[derive(Args, Debug)]
pub struct WhoArgs {
    #[command(flatten)]
    pub store: StoreArgs,
    #[command(flatten)]
    pub server: ServerArgs,
    /// What was done: delete, deleted, exec, changed, scaled, created, …
    #[arg(value_name = "VERB")]
    pub verb: String,
    /// To what: TYPE/NAME, TYPE NAME, or TYPE alone; TYPE as kubectl takes it, * in NAME
    #[arg(value_name = "OBJECT", required = true, num_args = 1..=2)]
    #[arg(add = ArgValueCompleter::new(complete::objects))]
    pub object: Vec<String>,
    #[command(flatten)]
    pub scope: ScopeArgs,
    /// Also show what failed, was denied, or was a dry run
    #[arg(long)]
    pub attempts: bool,
    #[command(flatten)]
    pub look: OutputArgs,
    /// Output format
    #[arg(long, short, value_name = "FORMAT", default_value = "table")]
    pub output: ListFormat,
}

#[derive(Args, Debug)]
pub struct SqlArgs {
    #[command(flatten)]
    pub store: StoreArgs,
    #[command(flatten)]
    pub server: ServerArgs,
    /// Statement, for example: SELECT actor, count(*) FROM events GROUP BY 1 (see docs/sql.md)
    #[arg(value_name = "STATEMENT", required = true)]
    pub statement: Vec<String>,
    /// Rows at most; 0 means all
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    pub limit: usize,
    /// Seconds at most
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    pub timeout: u64,
    /// Leave out the titles of columns
    #[arg(long)]
    pub no_headers: bool,
    /// Output format
    #[arg(long, short, value_name = "FORMAT", default_value = "table")]
    pub output: SqlFormat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SqlFormat {
    Table,
    Csv,
    Json,
    Jsonl,
    Parquet,
    Arrow,
}

/// Counts instead of events.
#[derive(Args, Debug)]
pub struct CountArgs {
    /// Count them in spans so long instead of listing them: 1m, 1h, 1d
    #[arg(long, value_name = "SPAN")]
    pub histogram: Option<String>,
    /// Count them by a field instead of listing them: actor, action, ns, resource, …
    #[arg(long, value_name = "FIELD")]
    pub top: Option<String>,
}

#[derive(Args, Debug)]
pub struct StatsArgs {
    #[command(flatten)]
    pub store: StoreArgs,
    #[command(flatten)]
    pub server: ServerArgs,
    /// Of which requests, for example: outcome:denied (see docs/query.md); all if left out
    #[arg(value_name = "QUERY", add = ArgValueCompleter::new(complete::terms))]
    pub query: Vec<String>,
    /// Only this namespace
    #[arg(long, short = 'n', value_name = "NS", add = ArgValueCompleter::new(complete::namespaces))]
    pub namespace: Option<String>,
    /// Only this cluster
    #[arg(long, value_name = "NAME", add = ArgValueCompleter::new(complete::clusters))]
    pub cluster: Option<String>,
    /// Only what happened since then: 2h, 7d, 2026-11-22, 2026-11-22T17:25:00Z
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
    /// Only what happened before then
    #[arg(long, value_name = "TIME")]
    pub until: Option<String>,
    /// The most frequent so many of each kind
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub limit: usize,
    /// Output format
    #[arg(long, short, value_name = "FORMAT", default_value = "table")]
    pub output: StatsFormat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum StatsFormat {
    Table,
    Json,
    Yaml,
}

#[derive(Args, Debug)]
pub struct HistoryArgs {
    #[command(flatten)]
    pub store: StoreArgs,
    #[command(flatten)]
    pub server: ServerArgs,
    /// Of which object: TYPE/NAME, or TYPE NAME; TYPE as kubectl takes it
    #[arg(value_name = "OBJECT", required = true, num_args = 1..=2)]
    #[arg(add = ArgValueCompleter::new(complete::objects))]
    pub object: Vec<String>,
    #[command(flatten)]
    pub scope: ScopeArgs,
    /// Show the object as it was then, instead of its changes
    #[arg(long, value_name = "TIME")]
    pub at: Option<String>,
    /// Show changes of its status, too
    #[arg(long)]
    pub with_status: bool,
    #[command(flatten)]
    pub look: OutputArgs,
    /// Output format
    #[arg(long, short, value_name = "FORMAT", default_value = "table")]
    pub output: HistoryFormat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum HistoryFormat {
    Table,
    Json,
    Yaml,
}
