//! What can be typed: commands, flags and their meaning. Names and short flags mean what they mean
//! in kubectl.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::engine::ArgValueCompleter;

use whodid_server::{Retained, TailedLog};

use crate::complete;

mod answers;
mod cosigner;
mod evidence;
mod examples;
mod ingest;
mod policy;
mod retention;

pub use answers::{
    CountArgs, HistoryArgs, HistoryFormat, SqlArgs, SqlFormat, StatsArgs, StatsFormat, WhoArgs,
};
pub use cosigner::{SignerCommand, WitnessCommand};
pub use evidence::{ExportArgs, Layout, LedgerCommand, ProveArgs, VerifyArgs};
pub use ingest::{
    CertificateCommand, IngestArgs, IngestCommand, StatusArgs, StatusFormat, TokenCommand,
};
pub use policy::{
    ControlPlane, DailyArgs, DoctorArgs, ExplainArgs, FailOn, GenerateArgs, InitArgs, InitTarget,
    InvestigationArgs, LintArgs, LintFormat, ModeCommand, ModeStatusArgs, PlanCommand,
    PolicyCommand, PolicyDiffArgs, PolicyFormat, SimulateArgs, StorageArgs,
};
pub use retention::{HoldCommand, RedactArgs, RetentionArgs};

use examples::{
    COMPLETION_EXAMPLES, DOCTOR_EXAMPLES, EXPORT_EXAMPLES, HISTORY_EXAMPLES, IMPORT_EXAMPLES,
    INIT_EXAMPLES, PROVE_EXAMPLES, REDACT_EXAMPLES, RETENTION_EXAMPLES, SEARCH_EXAMPLES,
    SERVE_EXAMPLES, SHIP_EXAMPLES, SHOW_EXAMPLES, SQL_EXAMPLES, STATS_EXAMPLES, TAIL_EXAMPLES,
    VERIFY_EXAMPLES, WHO_EXAMPLES,
};

/// Who did what, when, from where and why in a Kubernetes cluster
#[derive(Debug, Parser)]
#[command(name = "whodid", version, max_term_width = 100)]
pub struct Cli {
    /// Configuration file; without one, whodid/config.yaml in the user's folder of configurations
    #[arg(long, global = true, value_name = "FILE", env = "WHODID_CONFIG", hide_short_help = true)]
    pub config: Option<PathBuf>,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Take audit events from API servers into the record, as they happen
    #[command(after_help = SERVE_EXAMPLES)]
    Serve(ServeArgs),
    /// Send the log of an API server to a server, as it grows
    #[command(after_help = SHIP_EXAMPLES)]
    Ship(ShipArgs),
    /// Take audit events from files into the record
    #[command(after_help = IMPORT_EXAMPLES)]
    Import(ImportArgs),
    /// Show events as they happen
    #[command(after_help = TAIL_EXAMPLES)]
    Tail(TailArgs),
    /// Find requests with the search language
    #[command(after_help = SEARCH_EXAMPLES)]
    Search(SearchArgs),
    /// Ask who did something to an object
    #[command(after_help = WHO_EXAMPLES)]
    Who(WhoArgs),
    /// Show every change of an object, or the object as it was
    #[command(after_help = HISTORY_EXAMPLES)]
    History(HistoryArgs),
    /// Count requests: by outcome, actor, action, namespace and resource
    #[command(after_help = STATS_EXAMPLES)]
    Stats(StatsArgs),
    /// Answer SQL over events, bodies and changes
    #[command(after_help = SQL_EXAMPLES)]
    Sql(SqlArgs),
    /// Show one event, whole
    #[command(after_help = SHOW_EXAMPLES)]
    Show(ShowArgs),
    /// Prove that the record has an event
    #[command(after_help = PROVE_EXAMPLES)]
    Prove(ProveArgs),
    /// Write evidence that is checked without the record
    #[command(after_help = EXPORT_EXAMPLES)]
    Export(ExportArgs),
    /// Verify that the record is what was signed, or check a proof
    #[command(after_help = VERIFY_EXAMPLES)]
    Verify(VerifyArgs),
    /// Look at the logs that the record is proved with
    #[command(subcommand)]
    Ledger(LedgerCommand),
    /// Sign checkpoints of stores, in another domain of trust
    #[command(subcommand)]
    Signer(SignerCommand),
    /// Cosign checkpoints of logs that others keep
    #[command(subcommand)]
    Witness(WitnessCommand),
    /// Show what may go by rules of retention, and let it go
    #[command(after_help = RETENTION_EXAMPLES)]
    Retention(RetentionArgs),
    /// Keep events from being deleted, whatever their retention says
    #[command(subcommand)]
    Hold(HoldCommand),
    /// Delete for good what a request or a response held; proofs stay valid
    #[command(after_help = REDACT_EXAMPLES)]
    Redact(RedactArgs),
    /// Make everything that a control plane needs to be recorded
    #[command(after_help = INIT_EXAMPLES)]
    Init(InitArgs),
    /// Tell how much disk auditing takes
    #[command(subcommand)]
    Plan(PlanCommand),
    /// Find out whether everything that happens arrives, and what to do if not
    #[command(after_help = DOCTOR_EXAMPLES)]
    Doctor(DoctorArgs),
    /// Check audit policies, try them on recorded traffic, and begin with one
    #[command(subcommand)]
    Policy(PolicyCommand),
    /// Look after what comes in
    Ingest(IngestArgs),
    /// Merge and compress what is stored; answers stay the same
    Compact(StoreArgs),
    /// Try it on recorded events of a real cluster, in a folder that is removed afterwards
    Demo(DemoArgs),
    /// Look at the configuration
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Print the completion script of a shell
    #[command(after_help = COMPLETION_EXAMPLES)]
    Completion(CompletionArgs),
}

/// Where the record is, unless said otherwise.
pub const DATA_DIR: &str = "./whodid-data";
/// Where the server is asked, unless said otherwise.
pub const LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 7443);

/// Where the record is.
#[derive(Args, Clone, Debug, Default)]
pub struct StoreArgs {
    /// Folder of the record [default: ./whodid-data]
    #[arg(long, value_name = "DIR", env = "WHODID_DATA_DIR")]
    pub data_dir: Option<PathBuf>,
}

impl StoreArgs {
    /// The folder that is meant.
    pub fn dir(&self) -> PathBuf {
        self.data_dir.clone().unwrap_or_else(|| DATA_DIR.into())
    }
}

#[derive(Args, Debug, Default)]
pub struct ServeArgs {
    #[command(flatten)]
    pub store: StoreArgs,
    /// Address to be asked at, of this machine; port 0 takes any that is free
    /// [default: 127.0.0.1:7443]
    #[arg(long, value_name = "ADDR")]
    pub listen: Option<SocketAddr>,
    /// Address that API servers send to, if it is another
    #[arg(long, value_name = "ADDR")]
    pub ingest_listen: Option<SocketAddr>,
    #[command(flatten)]
    pub tls: TlsArgs,
    /// Signer elsewhere that holds the logs' keys, where `whodid signer` listens
    #[arg(long, value_name = "URL")]
    pub signer: Option<String>,
    /// Witnesses to have checkpoints cosigned by, with their URLs (c2sp.org/tlog-policy)
    #[arg(long, value_name = "FILE")]
    pub witnesses: Option<PathBuf>,
    /// Authority of the signer's and the witnesses' certificates, PEM
    #[arg(long, value_name = "FILE")]
    pub cosigner_ca: Option<PathBuf>,
    /// Authority that time-stamps checkpoints every hour (RFC 3161)
    #[arg(long, value_name = "URL")]
    pub timestamp_authority: Option<String>,
    /// How much to keep, CLUSTER=AGE[,SIZE[,refuse|prune]][,bodies=AGE]; without a rule, everything
    #[arg(long, value_name = "RULE")]
    pub retain: Vec<Retained>,
    /// Log of an API server on this machine to follow, with its rotated files
    #[arg(long, value_name = "CLUSTER=FILE")]
    pub tail: Vec<TailedLog>,
    /// What to take out before writing: `default` (values of Secrets, tokens), `off`, or a file
    /// of rules [default: default]
    #[arg(long, value_name = "off|default|FILE")]
    pub redaction: Option<String>,
}

/// What a server shows to be itself.
#[derive(Args, Debug, Default)]
pub struct TlsArgs {
    /// Certificate chain, PEM; without one, an authority in DIR/tls makes it
    #[arg(long, value_name = "FILE")]
    pub tls_cert: Option<PathBuf>,
    /// Key of the certificate, PEM
    #[arg(long, value_name = "FILE")]
    pub tls_key: Option<PathBuf>,
    /// Another name or address that the own certificate is good for
    #[arg(long, value_name = "NAME")]
    pub tls_name: Vec<String>,
    /// Speak HTTP without TLS, on this machine only
    #[arg(long)]
    pub insecure_http: bool,
}

#[derive(Args, Debug)]
pub struct ShipArgs {
    /// Logs of the API server; rotated files beside them belong to them
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Server to send to
    #[arg(long, short = 's', value_name = "URL", env = "WHODID_SERVER")]
    pub server: String,
    /// Cluster whose events these are
    #[arg(long, value_name = "NAME")]
    pub cluster: String,
    /// Token to send with, as `ingest token create` printed it
    #[arg(long, value_name = "TOKEN", env = "WHODID_TOKEN", hide_env_values = true)]
    #[arg(required_unless_present = "token_file")]
    pub token: Option<String>,
    /// File that holds the token
    #[arg(long, value_name = "FILE", conflicts_with = "token")]
    pub token_file: Option<PathBuf>,
    /// Authority of the server's certificate, PEM
    #[arg(long, value_name = "FILE", env = "WHODID_CA")]
    pub ca: Option<PathBuf>,
    /// Folder for what is known of the files; how far they are sent, the server knows
    #[arg(long, value_name = "DIR", env = "STATE_DIRECTORY", default_value = "./whodid-ship")]
    pub state_dir: PathBuf,
}

#[derive(Args, Debug)]
pub struct ImportArgs {
    #[command(flatten)]
    pub store: StoreArgs,
    /// Files of JSON lines, EventList bodies or arrays, plain, .gz or .zst; - is standard input
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Cluster the events are of
    #[arg(long, value_name = "NAME", default_value = "default")]
    pub cluster: String,
    /// What to take out before writing: `default` (values of Secrets, tokens), `off`, or a file
    /// of rules
    #[arg(long, value_name = "off|default|FILE", default_value = "default")]
    pub redaction: String,
    /// Do not show progress
    #[arg(long, short)]
    pub quiet: bool,
}

/// Which server is asked.
#[derive(Args, Clone, Debug, Default)]
pub struct ServerArgs {
    /// Server to ask instead of the record itself
    #[arg(long, short = 's', value_name = "URL", env = "WHODID_SERVER")]
    pub server: Option<String>,
    /// Entry of the configuration to use: a server, or a record
    #[arg(long, value_name = "NAME", env = "WHODID_CONTEXT")]
    #[arg(add = ArgValueCompleter::new(complete::contexts))]
    pub context: Option<String>,
    /// Token that the server printed when it started
    #[arg(long, value_name = "TOKEN", env = "WHODID_TOKEN", hide_env_values = true)]
    pub token: Option<String>,
    /// Authority of the server's certificate, PEM; the one in the record's folder if it is there
    #[arg(long, value_name = "FILE", env = "WHODID_CA")]
    pub ca: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub struct TailArgs {
    #[command(flatten)]
    pub store: StoreArgs,
    #[command(flatten)]
    pub server: ServerArgs,
    /// What to show, for example: action:exec ns:payments (see docs/query.md)
    #[arg(value_name = "QUERY", add = ArgValueCompleter::new(complete::terms))]
    pub query: Vec<String>,
    /// Only this namespace
    #[arg(long, short = 'n', value_name = "NS", add = ArgValueCompleter::new(complete::namespaces))]
    pub namespace: Option<String>,
    /// Only this cluster
    #[arg(long, value_name = "NAME", add = ArgValueCompleter::new(complete::clusters))]
    pub cluster: Option<String>,
    /// Begin with the newest so many
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub last: usize,
    /// Begin behind this cursor, as an earlier run gave it
    #[arg(long, value_name = "CURSOR", conflicts_with = "last")]
    pub after: Option<String>,
    #[command(flatten)]
    pub look: OutputArgs,
    /// Output format
    #[arg(long, short, value_name = "FORMAT", default_value = "table")]
    pub output: TailFormat,
}

/// Formats of events that keep coming.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum TailFormat {
    Table,
    Wide,
    Jsonl,
    Name,
}

/// Which events, and when.
#[derive(Args, Clone, Debug)]
pub struct ScopeArgs {
    /// Only this namespace
    #[arg(long, short = 'n', value_name = "NS", add = ArgValueCompleter::new(complete::namespaces))]
    pub namespace: Option<String>,
    /// All namespaces, which is what is searched unless -n is given
    #[arg(long, short = 'A', conflicts_with = "namespace")]
    pub all_namespaces: bool,
    /// Only this cluster
    #[arg(long, value_name = "NAME", add = ArgValueCompleter::new(complete::clusters))]
    pub cluster: Option<String>,
    /// Only what happened since then: 2h, 7d, 2026-11-22, 2026-11-22T17:25:00Z
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
    /// Only what happened before then
    #[arg(long, value_name = "TIME")]
    pub until: Option<String>,
    /// The newest so many; 0 means all
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    pub limit: usize,
}

/// How answers look.
#[derive(Args, Clone, Debug)]
pub struct OutputArgs {
    /// Leave out the titles of columns
    #[arg(long)]
    pub no_headers: bool,
    /// Colour: auto, always or never
    #[arg(long, value_name = "WHEN", default_value = "auto")]
    pub color: ColorWhen,
    /// Show times in UTC instead of local time
    #[arg(long)]
    pub utc: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ColorWhen {
    Auto,
    Always,
    Never,
}

#[derive(Args, Debug)]
pub struct SearchArgs {
    #[command(flatten)]
    pub store: StoreArgs,
    #[command(flatten)]
    pub server: ServerArgs,
    /// What to find, for example: verb:delete ns:payments -dry_run:true (see docs/query.md)
    #[arg(value_name = "QUERY", add = ArgValueCompleter::new(complete::terms))]
    pub query: Vec<String>,
    #[command(flatten)]
    pub scope: ScopeArgs,
    #[command(flatten)]
    pub count: CountArgs,
    #[command(flatten)]
    pub look: OutputArgs,
    /// Seconds at most
    #[arg(long, value_name = "SECONDS", default_value_t = 300,
          value_parser = clap::value_parser!(u64).range(1..),
          conflicts_with_all = ["histogram", "top"])]
    pub timeout: u64,
    /// Say on stderr what the answer took: files, rows, bytes, time
    #[arg(long, conflicts_with_all = ["histogram", "top"])]
    pub cost: bool,
    /// Output format
    #[arg(long, short, value_name = "FORMAT", default_value = "table")]
    pub output: ListFormat,
}

/// Formats of a list of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ListFormat {
    Table,
    Wide,
    Json,
    Jsonl,
    Yaml,
    Name,
    Raw,
    Csv,
}

#[derive(Args, Debug)]
pub struct ShowArgs {
    #[command(flatten)]
    pub store: StoreArgs,
    #[command(flatten)]
    pub server: ServerArgs,
    /// An event, CLUSTER/SEQ, or the audit ID of a single event
    #[arg(value_name = "ID")]
    pub id: String,
    /// Output format
    #[arg(long, short, value_name = "FORMAT", default_value = "yaml")]
    pub output: ShowFormat,
}

/// Formats of one event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ShowFormat {
    Yaml,
    Json,
    Raw,
}

#[derive(Args, Debug)]
pub struct DemoArgs {
    /// Keep the record in this folder
    #[arg(long, value_name = "DIR")]
    pub keep: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Read the configuration and say everything that is wrong with it
    Check,
    /// List the contexts, and which is used
    GetContexts,
}

#[derive(Args, Debug)]
pub struct CompletionArgs {
    /// Shell
    pub shell: clap_complete::Shell,
}
