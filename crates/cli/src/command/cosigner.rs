//! `whodid signer` and `whodid witness`: processes that sign checkpoints of records that they do
//! not hold, and the keys that they sign with.

use whodid_server::{Cosigner, CosignerSettings, Role, policy_lines};
use whodid_store::Heads;
use whodid_tlog::note::{Kind, Verifier};

use super::serve::{identity, log_to_stderr, until_ended};
use crate::args::{SignerCommand, TlsArgs, WitnessCommand};
use crate::config::Config;
use crate::failure::Failure;
use crate::output::print;

pub async fn signer(command: SignerCommand, config: &Config) -> Result<(), Failure> {
    match command {
        SignerCommand::Policy(args) => {
            let keys = Heads::open_existing(&args.data_dir)?.keys()?;
            if keys.is_empty() {
                return Err(Failure::NothingFound("no log has been signed here yet".into()));
            }
            print(&format!("{}quorum none\n", policy_lines(&keys)))?;
            Ok(())
        }
        SignerCommand::Serve(args) => {
            let stores = args.store.iter().map(|vkey| {
                Verifier::parse(vkey).map_err(|error| Failure::Usage(format!("--store: {error}")))
            });
            let role = Role::Signer(stores.collect::<Result<_, _>>()?);
            let data_dir = args.memory.data_dir;
            let identity = one_identity(args.tls, args.listen.ip())?;
            let settings = CosignerSettings { data_dir, listen: args.listen, identity, role };
            serve(settings, config).await
        }
    }
}

pub async fn witness(command: WitnessCommand, config: &Config) -> Result<(), Failure> {
    match command {
        WitnessCommand::Policy(args) => {
            let key = Heads::open(&args.data_dir)?.key(&args.name, Kind::Cosignature)?;
            print(&policy_lines(&[key]))?;
            Ok(())
        }
        WitnessCommand::Serve(args) => {
            let role = Role::Witness { name: args.memory.name, policy: args.policy };
            let data_dir = args.memory.data_dir;
            let identity = one_identity(args.tls, args.listen.ip())?;
            let settings = CosignerSettings { data_dir, listen: args.listen, identity, role };
            serve(settings, config).await
        }
    }
}

fn one_identity(
    tls: TlsArgs,
    address: std::net::IpAddr,
) -> Result<Option<whodid_server::Identity>, Failure> {
    let mut faults = Vec::new();
    let identity = identity(tls, address, &mut faults);
    if faults.is_empty() { Ok(identity) } else { Err(Failure::Usage(faults.join("\n"))) }
}

async fn serve(settings: CosignerSettings, config: &Config) -> Result<(), Failure> {
    log_to_stderr(&config.log)?;
    // Before anything is said: whoever reads it may end it at once.
    let ended = until_ended()?;
    let cosigner = Cosigner::start(settings).await?;
    print(&format!("{}\n", cosigner.url))?;
    ended.await;
    tracing::info!("shutting down");
    cosigner.stop().await;
    Ok(())
}
