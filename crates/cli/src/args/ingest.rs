//! Flags of `whodid ingest`: what came in, and who may send.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::{OutputArgs, StoreArgs};

#[derive(Args, Debug)]
pub struct IngestArgs {
    #[command(subcommand)]
    pub command: IngestCommand,
}

#[derive(Debug, Subcommand)]
pub enum IngestCommand {
    /// Show what came in, from where, and what was wrong with it
    Status(StatusArgs),
    /// Go on after damage to the write-ahead log, with the loss on record
    #[command(after_help = "\
A damaged file is kept as FILE.damaged. For every event that was acknowledged and cannot be read
any more, a leaf is written that says so.")]
    Repair(StoreArgs),
    /// Tokens that API servers send with
    #[command(subcommand)]
    Token(TokenCommand),
    /// Client certificates that API servers send with
    #[command(subcommand)]
    Certificate(CertificateCommand),
}

#[derive(Debug, Subcommand)]
pub enum TokenCommand {
    /// Make a token and print it, once
    Create(CredentialArgs),
    /// List who may send
    List(StoreArgs),
    /// Revoke all tokens and certificates of a source
    Revoke(CredentialArgs),
}

#[derive(Debug, Subcommand)]
pub enum CertificateCommand {
    /// Make a client certificate, signed by the server's own authority
    Create(CertificateArgs),
}

#[derive(Args, Debug)]
pub struct CredentialArgs {
    #[command(flatten)]
    pub store: StoreArgs,
    /// Cluster whose events are sent
    pub cluster: String,
    /// Name of the API server; its events carry it as `webhook/NAME`
    #[arg(long, value_name = "NAME")]
    pub source: String,
}

#[derive(Args, Debug)]
pub struct CertificateArgs {
    #[command(flatten)]
    pub credential: CredentialArgs,
    /// Folder for client.crt and client.key
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub out: PathBuf,
}

#[derive(Args, Debug)]
pub struct StatusArgs {
    #[command(flatten)]
    pub store: StoreArgs,
    #[command(flatten)]
    pub look: OutputArgs,
    /// Output format
    #[arg(long, short, value_name = "FORMAT", default_value = "table")]
    pub output: StatusFormat,
}

/// Formats of a status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum StatusFormat {
    Table,
    Json,
    Yaml,
}
