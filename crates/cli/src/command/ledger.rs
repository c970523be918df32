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
        LedgerCommand::Reopen(args) => {
            let dir = args.store.dir();
            let Reopened { frozen, kept, origin } =
                reopen_dir(&dir, &args.name, &args.reason).await?;
            print(&format!(
                "frozen: {frozen}; its files are kept in {kept}\ngoes on as: {origin}; give \
                 auditors its key: whodid ledger policy\n"
            ))?;
        }
    }
    Ok(())
}
