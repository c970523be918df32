//! The memory that requests in flight may take together. A request that finds no room is refused
//! at once, before its body is read: its sender will come again, and others are served meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What all requests in flight may take, in bytes of bodies.
pub const BUDGET_BYTES: usize = 256 << 20;

/// The memory of requests in flight. Clones share it.
#[derive(Clone, Debug)]
pub struct Budget(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    free: AtomicUsize,
    total: usize,
}

impl Budget {
    /// A budget of so many bytes.
    pub fn new(total: usize) -> Self {
        Budget(Arc::new(Shared { free: AtomicUsize::new(total), total }))
    }

    /// How many bytes are taken.
    pub fn taken(&self) -> usize {
        self.0.total - self.0.free.load(Ordering::Relaxed)
    }

    /// Takes so many bytes; `None` if they are not there.
    pub(crate) fn take(&self, bytes: usize) -> Option<Share> {
        self.subtract(bytes).then(|| Share { budget: self.clone(), bytes })
    }

    fn subtract(&self, bytes: usize) -> bool {
        let take = |free: usize| free.checked_sub(bytes);
        self.0.free.fetch_update(Ordering::AcqRel, Ordering::Acquire, take).is_ok()
    }
}

/// What one request has taken; given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Share {
    budget: Budget,
    bytes: usize,
}

impl Share {
    /// How many bytes it has.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Takes more; `false` if it is not there.
    pub(crate) fn grow(&mut self, bytes: usize) -> bool {
        let is_there = self.budget.subtract(bytes);
        if is_there {
            self.bytes += bytes;
        }
        is_there
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.budget.0.free.fetch_add(self.bytes, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_comes_back() {
        let budget = Budget::new(100);
        let mut first = budget.take(60).unwrap();
        assert!(budget.take(50).is_none());
        let second = budget.take(30).unwrap();
        assert!(first.grow(10) && !first.grow(1));
        assert_eq!(budget.taken(), 100);
        drop(first);
        assert_eq!(budget.taken(), 30);
        drop(second);
        assert!(budget.take(100).is_some());
    }
}
