//! Bodies of a few events, as an API server in one of its blocking modes sends thousands of a
//! second: those of one sender that come while a batch is on its way to the disk make up the next
//! one together. Each is answered when its own events are durable.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;
use whodid_store::{BatchBuilder, Error, Preparer, Writer};

use crate::receive::Sender;

/// Gathers small bodies. Clones share them.
#[derive(Clone)]
pub(crate) struct Gather {
    writer: Arc<Writer>,
    preparer: Preparer,
    /// The batches of each sender that are not on their way yet. Whoever is in here is being
    /// served by a task.
    senders: Arc<Mutex<HashMap<Sender, VecDeque<Pending>>>>,
}

/// A batch that others may still join.
struct Pending {
    builder: Box<BatchBuilder>,
    /// Those who wait for it. What comes back is how many of its events are duplicates, to the
    /// first of them for all.
    waiting: Vec<oneshot::Sender<Result<u64, Error>>>,
}

impl Gather {
    pub(crate) fn new(writer: Arc<Writer>) -> Self {
        let preparer = writer.preparer();
        Gather { writer, preparer, senders: Arc::default() }
    }

    /// Adds what `fill` adds to the next batch of a sender, and waits until it is durable.
    ///
    /// # Errors
    /// As those of [`Writer::append`].
    pub(crate) async fn add(
        &self,
        sender: &Sender,
        fill: impl FnOnce(&mut BatchBuilder) -> Result<(), Error>,
    ) -> Result<u64, Error> {
        let done = self.join(sender, fill)?;
        done.await.unwrap_or_else(|_| Err(Error::Stopped("the server is ending".into())))
    }

    fn join(
        &self,
        sender: &Sender,
        fill: impl FnOnce(&mut BatchBuilder) -> Result<(), Error>,
    ) -> Result<oneshot::Receiver<Result<u64, Error>>, Error> {
        let mut senders = self.lock();
        let is_served = senders.contains_key(sender);
        let batches = senders.entry(sender.clone()).or_default();
        if !is_served {
            let gather = self.clone();
            tokio::spawn(gather.serve(sender.clone()));
        }
        if batches.back().is_none_or(|pending| !pending.builder.has_room()) {
            let builder = Box::new(self.preparer.begin(&sender.cluster, &sender.source)?);
            batches.push_back(Pending { builder, waiting: Vec::new() });
        }
        let (reply, done) = oneshot::channel();
        if let Some(pending) = batches.back_mut() {
            fill(&mut pending.builder)?;
            pending.waiting.push(reply);
        }
        Ok(done)
    }

    /// Sends the batches of a sender, one behind the other, until there are no more.
    async fn serve(self, sender: Sender) {
        loop {
            let pending = {
                let mut senders = self.lock();
                let Some(pending) = senders.get_mut(&sender).and_then(VecDeque::pop_front) else {
                    senders.remove(&sender);
                    return;
                };
                pending
            };
            let mut sent = self.send(pending.builder).await;
            for reply in pending.waiting {
                let next = match &sent {
                    Ok(_) => Ok(0),
                    Err(error) => Err(error.again()),
                };
                // Its client may have gone.
                let _gone = reply.send(std::mem::replace(&mut sent, next));
            }
        }
    }

    async fn send(&self, builder: Box<BatchBuilder>) -> Result<u64, Error> {
        if builder.rows() == 0 {
            return Ok(0);
        }
        Ok(self.writer.append(builder.finish()?).await?.duplicates)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Sender, VecDeque<Pending>>> {
        // Nothing under the lock is left half done.
        self.senders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
