//! Flags of commands about auditing itself: policies, and setting it up.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use whodid_policy::{PROFILES, Version};

use super::StoreArgs;

#[derive(Debug, Subcommand)]
pub enum PolicyCommand {
    /// Find what is wrong with a policy, or unwise in it
    Lint(LintArgs),
    /// Tell which rule decides about a request, and why those before it do not
    Explain(ExplainArgs),
    /// Tell how two policies differ, with requests as examples
    Diff(PolicyDiffArgs),
    /// Tell what a policy would have recorded of the traffic that is in the record
    Simulate(SimulateArgs),
    /// Print a policy to begin with
    Generate(GenerateArgs),
    /// Record more for a time, and go back
    #[command(subcommand)]
    Mode(ModeCommand),
}

#[derive(Debug, Subcommand)]
pub enum ModeCommand {
    /// Record more for a time: the policy, and the steps there and back
    Investigation(InvestigationArgs),
    /// Put on record that a cluster is back in day-to-day recording
    Daily(DailyArgs),
    /// Tell how clusters are to be recorded, and which policy their events agree with
    Status(ModeStatusArgs),
}

#[derive(Args, Debug)]
pub struct InvestigationArgs {
    #[command(flatten)]
    pub store: StoreArgs,
    /// Cluster, as it is called in the record
    #[arg(long, value_name = "NAME")]
    pub cluster: String,
    /// How long: 2h, 3d
    #[arg(long, value_name = "SPAN")]
    pub r#for: String,
    /// Why; it stands in the record
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
    /// Policy to go back to; the profile `daily` if left out
    #[arg(long, value_name = "FILE")]
    pub policy: Option<PathBuf>,
    /// What runs kube-apiserver on the hosts of the control plane
    #[arg(long, value_name = "TARGET", default_value = "generic")]
    pub target: ControlPlane,
    /// Command that restarts kube-apiserver there, for `generic`
    #[arg(long, value_name = "COMMAND")]
    pub restart: Option<String>,
    /// Folder there that holds policy.yaml, as `init` has it
    #[arg(long, value_name = "DIR", default_value = "/etc/kubernetes/audit")]
    pub host_dir: PathBuf,
    /// Folder to write to; must not be there yet [default: ./whodid-investigation-CLUSTER]
    #[arg(long, short, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Print the files instead of writing them, with nothing on record
    #[arg(long)]
    pub dry_run: bool,
}

/// What restarts kube-apiserver on its hosts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ControlPlane {
    /// A command of yours
    Generic,
    Kubeadm,
    K3s,
    Rke2,
}

#[derive(Args, Debug)]
pub struct DailyArgs {
    #[command(flatten)]
    pub store: StoreArgs,
    /// Cluster, as it is called in the record
    #[arg(long, value_name = "NAME")]
    pub cluster: String,
    /// Why; it stands in the record
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
    /// Policy that is in force again; the profile `daily` if left out
    #[arg(long, value_name = "FILE")]
    pub policy: Option<PathBuf>,
}

/// Which kube-apiserver reads it.
#[derive(Args, Clone, Copy, Debug)]
pub struct VersionArgs {
    /// Release of kube-apiserver, as far as they read policies differently
    #[arg(long, value_name = "VERSION", default_value_t = Version::NEWEST)]
    pub kubernetes_version: Version,
}

#[derive(Args, Debug)]
pub struct LintArgs {
    /// Policies; - is standard input
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    #[command(flatten)]
    pub version: VersionArgs,
    /// File with kube-apiserver's flags, for the checks of the CIS benchmark about them: the
    /// manifest of its static pod, a configuration of kubeadm, k3s or RKE2, or a command line
    #[arg(long, value_name = "FILE")]
    pub flags: Option<PathBuf>,
    /// Exit with 1 on findings at or above this
    #[arg(long, value_name = "SEVERITY", default_value = "warning")]
    pub fail_on: FailOn,
    /// Output format
    #[arg(long, short, value_name = "FORMAT", default_value = "text")]
    pub output: LintFormat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum FailOn {
    Error,
    Warning,
    Note,
    Never,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LintFormat {
    Text,
    Json,
    Sarif,
}

#[derive(Args, Debug)]
pub struct ExplainArgs {
    /// Policy
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Verb of the request: get, list, create, …
    #[arg(value_name = "VERB")]
    pub verb: String,
    /// What is asked for: pods, pods/exec, deployments.apps/scale, or a path such as /healthz
    #[arg(value_name = "TARGET")]
    pub target: String,
    /// Name of the object, as it stands in the URL; what is created has none
    #[arg(value_name = "NAME", default_value = "")]
    pub name: String,
    /// Its namespace
    #[arg(long, short = 'n', value_name = "NS", default_value = "")]
    pub namespace: String,
    /// Who authenticated; impersonation changes nothing
    #[arg(long = "user", value_name = "NAME", default_value = "jane")]
    pub user: String,
    /// A group of that user
    #[arg(long = "group", value_name = "NAME", default_value = "system:authenticated")]
    pub groups: Vec<String>,
    #[command(flatten)]
    pub version: VersionArgs,
    /// Output format
    #[arg(long, short, value_name = "FORMAT", default_value = "text")]
    pub output: PolicyFormat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PolicyFormat {
    Text,
    Json,
}

#[derive(Args, Debug)]
pub struct PolicyDiffArgs {
    /// Policy that is in force
    #[arg(value_name = "BEFORE")]
    pub before: PathBuf,
    /// Policy that would be
    #[arg(value_name = "AFTER")]
    pub after: PathBuf,
    #[command(flatten)]
    pub version: VersionArgs,
    /// Output format
    #[arg(long, short, value_name = "FORMAT", default_value = "text")]
    pub output: PolicyFormat,
}

#[derive(Args, Debug)]
pub struct SimulateArgs {
    /// Policy
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    #[command(flatten)]
    pub store: StoreArgs,
    /// Only traffic of this cluster
    #[arg(long, value_name = "NAME")]
    pub cluster: Option<String>,
    /// Disk is planned for so many days
    #[arg(long, value_name = "N", default_value_t = 90)]
    pub days: u32,
    /// So many users and resources are shown
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub limit: usize,
    #[command(flatten)]
    pub version: VersionArgs,
    /// Output format
    #[arg(long, short, value_name = "FORMAT", default_value = "text")]
    pub output: PolicyFormat,
}

#[derive(Args, Debug)]
pub struct GenerateArgs {
    /// What it is for
    #[arg(long, value_name = "NAME", default_value = "daily")]
    #[arg(value_parser = clap::builder::PossibleValuesParser::new(PROFILES.map(|p| p.name)))]
    pub profile: String,
    /// Add rules that keep out the noisiest traffic of the record that changes nothing, each with
    /// what it saves
    #[arg(long)]
    pub from_traffic: bool,
    #[command(flatten)]
    pub store: StoreArgs,
    /// Only traffic of this cluster
    #[arg(long, value_name = "NAME")]
    pub cluster: Option<String>,
}

#[derive(Args, Debug)]
pub struct ModeStatusArgs {
    /// Policies to compare with, besides those that `generate` makes
    #[arg(value_name = "FILE")]
    pub files: Vec<PathBuf>,
    #[command(flatten)]
    pub store: StoreArgs,
    /// Only events of this cluster
    #[arg(long, value_name = "NAME")]
    pub cluster: Option<String>,
    /// Only what was taken in so long ago at most
    #[arg(long, value_name = "SPAN", default_value = "1h")]
    pub since: String,
    #[command(flatten)]
    pub version: VersionArgs,
}

#[derive(Args, Debug)]
pub struct InitArgs {
    /// What runs the cluster
    #[arg(value_name = "TARGET")]
    pub target: InitTarget,
    /// Cluster, as it is called in the record
    #[arg(long, value_name = "NAME")]
    pub cluster: String,
    /// Where API servers reach `whodid serve`, such as https://whodid.example.com:8443; an address
    /// or a name outside of the cluster, as API servers do not resolve names of services
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,
    #[command(flatten)]
    pub store: StoreArgs,
    /// Folder to write to; must not be there yet [default: ./whodid-init-CLUSTER]
    #[arg(long, short, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// What is recorded, as in `policy generate`
    #[arg(long, value_name = "NAME", default_value = "daily")]
    #[arg(value_parser = clap::builder::PossibleValuesParser::new(PROFILES.map(|p| p.name)))]
    pub profile: String,
    /// Folder on the hosts of the control plane for policy and webhook
    #[arg(long, value_name = "DIR", default_value = "/etc/kubernetes/audit")]
    pub host_dir: PathBuf,
    /// Folder on these hosts for kube-apiserver's own log
    #[arg(long, value_name = "DIR", default_value = "/var/log/kubernetes/audit")]
    pub log_dir: PathBuf,
    /// Print the files instead of writing them, with a placeholder for the token
    #[arg(long)]
    pub dry_run: bool,
    /// Set this host of the control plane up with the folder, which may be there already then:
    /// generic, kubeadm, k3s or rke2
    #[arg(long, conflicts_with = "dry_run")]
    pub apply: bool,
    /// Where the root of the host's file system is, if it is mounted elsewhere; nothing is
    /// restarted then
    #[arg(long, value_name = "DIR", default_value = "/", requires = "apply")]
    pub host_root: PathBuf,
}

/// What `init` knows to set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum InitTarget {
    /// kube-apiserver's flags, to be put where they belong
    Generic,
    Kubeadm,
    Kind,
    K3s,
    Rke2,
    Talos,
    Minikube,
    Openshift,
    Eks,
    Gke,
    Aks,
}

#[derive(Debug, Subcommand)]
pub enum PlanCommand {
    /// Tell how much disk a record takes, and the flags that go with it
    Storage(StorageArgs),
}

#[derive(Args, Debug)]
pub struct StorageArgs {
    /// Events that are recorded in a second, on average
    #[arg(long, value_name = "N")]
    pub events_per_second: f64,
    /// What is recorded, as in `policy generate`
    #[arg(long, value_name = "NAME", default_value = "daily")]
    #[arg(value_parser = clap::builder::PossibleValuesParser::new(PROFILES.map(|p| p.name)))]
    pub profile: String,
    /// Days that events are kept; the profile's own number if left out
    #[arg(long, value_name = "N")]
    pub days: Option<u32>,
    /// Days that bodies are kept; as long as events if left out
    #[arg(long, value_name = "N")]
    pub bodies_days: Option<u32>,
    /// Hours that whodid may be away, for which the API server's own log has to reach
    #[arg(long, value_name = "N", default_value_t = 24)]
    pub outage_hours: u32,
}

#[derive(Args, Debug)]
pub struct DoctorArgs {
    #[command(flatten)]
    pub store: StoreArgs,
    /// Only this cluster
    #[arg(long, value_name = "NAME")]
    pub cluster: Option<String>,
    /// What kube-apiserver's /metrics says, as `kubectl get --raw /metrics` prints it; - is
    /// standard input
    #[arg(long, value_name = "FILE")]
    pub metrics: Option<PathBuf>,
    /// File with kube-apiserver's flags: the manifest of its static pod, a configuration of
    /// kubeadm, k3s or RKE2, or a command line
    #[arg(long, value_name = "FILE")]
    pub flags: Option<PathBuf>,
    /// Folder of kube-apiserver's own log, on this machine
    #[arg(long, value_name = "DIR")]
    pub log_dir: Option<PathBuf>,
    #[command(flatten)]
    pub version: VersionArgs,
    /// Output format
    #[arg(long, short, value_name = "FORMAT", default_value = "text")]
    pub output: PolicyFormat,
}
