//! Lines of a log into the record that this process writes.

use whodid_store::SourcePosition;

use super::{Portion, Sink, Trouble};
use crate::decode::Encoding;
use crate::receive::{Ingest, Refusal, Sender};

/// Takes lines into one record.
pub struct Local {
    ingest: Ingest,
    sender: Sender,
}

impl Local {
    /// Takes lines in as from `sender`.
    pub fn new(ingest: Ingest, sender: Sender) -> Self {
        Local { ingest, sender }
    }
}

impl Sink for Local {
    async fn known(&self, id: &[u8; 32]) -> Result<Vec<SourcePosition>, Trouble> {
        Ok(self.ingest.positions(&self.sender.cluster, id))
    }

    async fn take(&self, portion: &Portion) -> Result<(), Trouble> {
        let taken = async {
            let admission = self.ingest.admit(Encoding::Identity, Some(portion.length()))?;
            self.ingest.receive(&self.sender, admission, portion.position, portion.body()).await
        };
        match taken.await {
            Ok(_) => Ok(()),
            Err(Refusal::Store(error)) if !error.is_temporary() => {
                Err(Trouble::Lasting(error.to_string()))
            }
            Err(refusal) => Err(Trouble::Passing(refusal.to_string())),
        }
    }
}
