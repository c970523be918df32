//! Flags of those who sign checkpoints of a record that they do not hold.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::TlsArgs;
use super::examples::{SIGNER_EXAMPLES, WITNESS_EXAMPLES};

#[derive(Debug, Subcommand)]
pub enum SignerCommand {
    /// Sign what stores send, and refuse what went back or was rewritten
    #[command(after_help = SIGNER_EXAMPLES)]
    Serve(SignerServeArgs),
    /// Print the keys that sign as a policy (c2sp.org/tlog-policy), to be handed to auditors
    Policy(SignerArgs),
}

#[derive(Debug, Subcommand)]
pub enum WitnessCommand {
    /// Cosign logs that others keep, and refuse what went back or was rewritten
    #[command(after_help = WITNESS_EXAMPLES)]
    Serve(WitnessServeArgs),
    /// Print the key that cosigns as a line of a policy (c2sp.org/tlog-policy)
    Policy(WitnessArgs),
}

#[derive(Args, Debug)]
pub struct SignerArgs {
    /// Folder of the keys, and of what was signed last
    #[arg(long, value_name = "DIR", default_value = "./whodid-signer")]
    pub data_dir: PathBuf,
}

#[derive(Args, Debug)]
pub struct SignerServeArgs {
    #[command(flatten)]
    pub memory: SignerArgs,
    /// Key of a store whose logs are signed, as `whodid ledger key` prints it
    #[arg(long, value_name = "VKEY", required = true)]
    pub store: Vec<String>,
    /// Address to be asked at; port 0 takes any that is free
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7444")]
    pub listen: SocketAddr,
    #[command(flatten)]
    pub tls: TlsArgs,
}

#[derive(Args, Debug)]
pub struct WitnessArgs {
    /// Folder of the key, and of what was cosigned last
    #[arg(long, value_name = "DIR", default_value = "./whodid-witness")]
    pub data_dir: PathBuf,
    /// Name of the key: a URL without a scheme, of yours
    #[arg(long, value_name = "NAME")]
    pub name: String,
}

#[derive(Args, Debug)]
pub struct WitnessServeArgs {
    #[command(flatten)]
    pub memory: WitnessArgs,
    /// Logs that are cosigned (c2sp.org/tlog-policy); read with every request
    #[arg(long, value_name = "FILE")]
    pub policy: PathBuf,
    /// Address to be asked at; port 0 takes any that is free
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7445")]
    pub listen: SocketAddr,
    #[command(flatten)]
    pub tls: TlsArgs,
}
