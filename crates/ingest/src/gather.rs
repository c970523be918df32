//! Bodies of a few events, as an API server in one of its blocking modes sends thousands of a
//! second: those of one sender that come while a batch is on its way to the disk make up the next
//! one together. Each is answered when its own events are durable.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until};
use whodid_store::{BatchBuilder, Error, Preparer, Writer};

use crate::budget::Share;
use crate::receive::Sender;

/// Where several bodies came together, more will: the next batch is begun so long after the last.
/// A batch costs about as much as ten events. Who sends one at a time does not wait.
const BETWEEN_BATCHES: Duration = Duration::from_millis(5);

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
    /// Those who wait for it, and the memory of their bodies: it is theirs until the batch is
    /// gone, even if they are gone before. What comes back is how many of its events are
    /// duplicates, to the first of them for all.
    waiting: Vec<Waiting>,
}

type Waiting = (Share, oneshot::Sender<Result<u64, Error>>);

/// Tells everybody who waits for a batch what became of it.
fn answer(waiting: Vec<Waiting>, mut outcome: Result<u64, Error>) {
    for (share, reply) in waiting {
        let next = outcome.as_ref().map(|_| 0).map_err(Error::again);
        drop(share);
        // Its client may have gone.
        let _gone = reply.send(std::mem::replace(&mut outcome, next));
    }
}

/// Serves a sender. Should that break off, those who wait are told so, and the next body of the
/// sender begins anew.
struct Serving<'g> {
    gather: &'g Gather,
    sender: &'g Sender,
    is_done: bool,
}

impl Drop for Serving<'_> {
    fn drop(&mut self) {
        if !self.is_done {
            self.gather.lock().remove(self.sender);
        }
    }
}

impl Gather {
    pub(crate) fn new(writer: Arc<Writer>) -> Self {
        let preparer = writer.preparer();
        Gather { writer, preparer, senders: Arc::default() }
    }

    /// Adds what `fill` adds to the next batch of a sender, and waits until it is durable; `share`
    /// is the room that it takes.
    ///
    /// # Errors
    /// As those of [`Writer::append`].
    pub(crate) async fn add(
        &self,
        sender: &Sender,
        share: Share,
        fill: impl FnOnce(&mut BatchBuilder) -> Result<(), Error>,
    ) -> Result<u64, Error> {
        let done = self.join(sender, share, fill)?;
        done.await
            .unwrap_or_else(|_| Err(Error::Stopped("its batch broke off; send it again".into())))
    }

    fn join(
        &self,
        sender: &Sender,
        share: Share,
        fill: impl FnOnce(&mut BatchBuilder) -> Result<(), Error>,
    ) -> Result<oneshot::Receiver<Result<u64, Error>>, Error> {
        let mut senders = self.lock();
        let is_served = senders.contains_key(sender);
        let batches = senders.entry(sender.clone()).or_default();
        if !is_served {
            let gather = self.clone();
            tokio::spawn(gather.serve(sender.clone()));
        }
        // Out of the queue while it is added to: one that breaks meanwhile must not be sent.
        let mut pending = match batches.pop_back_if(|pending| pending.builder.has_room()) {
            Some(pending) => pending,
            None => Pending {
                builder: Box::new(self.preparer.begin(&sender.cluster, &sender.source)?),
                waiting: Vec::new(),
            },
        };
        if let Err(error) = fill(&mut pending.builder) {
            answer(pending.waiting, Err(error.again()));
            return Err(error);
        }
        let (reply, done) = oneshot::channel();
        pending.waiting.push((share, reply));
        batches.push_back(pending);
        Ok(done)
    }

    /// Sends the batches of a sender, one behind the other, until there are no more.
    async fn serve(self, sender: Sender) {
        let mut serving = Serving { gather: &self, sender: &sender, is_done: false };
        loop {
            let pending = {
                let mut senders = self.lock();
                let Some(pending) = senders.get_mut(&sender).and_then(VecDeque::pop_front) else {
                    senders.remove(&sender);
                    serving.is_done = true;
                    return;
                };
                pending
            };
            let Pending { builder, waiting } = pending;
            let begin = Instant::now();
            let is_crowded = waiting.len() > 1;
            answer(waiting, self.send(builder).await);
            if is_crowded {
                sleep_until(begin + BETWEEN_BATCHES).await;
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
        // What is being added to is out of the queues, and gone with whoever panicked.
        self.senders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use whodid_event::split::Item;
    use whodid_store::Options;

    use super::*;
    use crate::budget::Budget;

    /// Whatever goes wrong with one body, the next of the same sender is taken in, and no room is
    /// lost.
    #[tokio::test(flavor = "multi_thread")]
    async fn one_that_breaks_stops_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let writer = Writer::open_dir(folder.path(), Options::default()).await.unwrap();
        let gather = Gather::new(Arc::new(writer));
        let sender = Sender { cluster: "prod".into(), source: "webhook/cp-1".into() };
        let budget = Budget::new(100);
        let share = || budget.take(10).unwrap();
        let event = br#"{"kind":"Event","auditID":"x","stage":"ResponseComplete"}"#;
        let adds = |builder: &mut BatchBuilder| builder.add(&Item::Value(event));
        let refuses = |builder: &mut BatchBuilder| {
            adds(builder)?;
            Err(Error::Invalid("no".into()))
        };
        assert_eq!(gather.add(&sender, share(), adds).await.unwrap(), 0);
        assert!(matches!(gather.add(&sender, share(), refuses).await, Err(Error::Invalid(_))));
        let panics = |_: &mut BatchBuilder| panic!("a body that breaks");
        let join = AssertUnwindSafe(|| gather.join(&sender, share(), panics).map(drop));
        assert!(catch_unwind(join).is_err());
        // The first event again, and nothing of those that broke.
        assert_eq!(gather.add(&sender, share(), adds).await.unwrap(), 1);
        let breaks = Serving { gather: &gather, sender: &sender, is_done: false };
        drop(breaks);
        assert_eq!(gather.add(&sender, share(), adds).await.unwrap(), 1);
        assert_eq!(gather.writer.snapshot().ends()["prod"], 3);
        assert_eq!(budget.taken(), 0);
    }
}
