//! `whodid ledger`: what an auditor has to know of the logs of a record, and going on in another
//! log.

use whodid_store::{Reader, Reopened, reopen_dir};

use crate::args::LedgerCommand;
use crate::failure::Failure;
use crate::output::print;

pub async fn run(command: LedgerCommand) -> Result<(), Failure> {
    match command {
        LedgerCommand::Policy(store) => {
            let policy = Reader::open_dir(&store.dir())?.policy()?;
            print(&policy)?;
        }
        LedgerCommand::Key(store) => {
            let key = Reader::open_dir(&store.dir())?.store_signer()?;
            print(&format!("{}\n", key.verifier()))?;
        }
        LedgerCommand::Reopen(args) => {
            let dir = args.store.dir();
            for reopened in reopen_dir(&dir, &args.names, &args.reason).await? {
                let Reopened { frozen, kept, origin } = reopened;
                print(&format!(
                    "frozen: {frozen}; its files are kept in {kept}\ngoes on as: {origin}; give \
                     auditors its key, from `whodid signer policy` if a signer has it, else from \
                     `whodid ledger policy`\n"
                ))?;
            }
        }
    }
    Ok(())
}
