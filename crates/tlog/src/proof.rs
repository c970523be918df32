//! Inclusion and consistency proofs: made from a tree's hashes, and checked without the tree.

use crate::Hash;
use crate::range::{CompactRange, Nodes};

/// No proof has more hashes: a tree has fewer than 2^63 leaves, and witnesses take no more.
pub const HASHES_MAX: usize = 63;

/// Why a proof does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// There is no such leaf in such a tree, or no such pair of trees.
    #[error("there is no leaf or no tree that it could be a proof of")]
    OutOfRange,
    /// It has too few hashes, or too many.
    #[error("it has too few hashes, or too many")]
    Length,
    /// It leads to another root.
    #[error("it leads to another root")]
    Root,
}

/// The head of a tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// How many leaves it has.
    pub size: u64,
    /// Its root.
    pub root: Hash,
}

/// Proves that a tree of `size` leaves has the leaf `index`: PATH(index, D[size]) of RFC 6962
/// §2.1.1, from the leaf's sibling to the root's child.
///
/// # Errors
/// A hash cannot be had.
///
/// # Panics
/// There is no such leaf.
pub fn inclusion<N: Nodes>(source: &N, index: u64, size: u64) -> Result<Vec<Hash>, N::Error> {
    assert!(index < size, "leaf {index} of {size}");
    let mut path = Vec::new();
    let (mut begin, mut end) = (0, size);
    while end - begin > 1 {
        let middle = begin + split(end - begin);
        let sibling = if index < middle { (middle, end) } else { (begin, middle) };
        path.push(sibling);
        (begin, end) = if index < middle { (begin, middle) } else { (middle, end) };
    }
    hashes(source, path)
}

/// Proves that the first `old` leaves of a tree of `new` are a tree's: PROOF(old, D[new]) of
/// RFC 6962 §2.1.2. Empty where `old` is 0 or `new`.
///
/// # Errors
/// A hash cannot be had.
///
/// # Panics
/// `old` is greater than `new`.
pub fn consistency<N: Nodes>(source: &N, old: u64, new: u64) -> Result<Vec<Hash>, N::Error> {
    assert!(old <= new, "{old} leaves of {new}");
    if old == 0 || old == new {
        return Ok(Vec::new());
    }
    let mut path = Vec::new();
    let (mut begin, mut end) = (0, new);
    while end != old {
        let middle = begin + split(end - begin);
        if old <= middle {
            path.push((middle, end));
            end = middle;
        } else {
            path.push((begin, middle));
            begin = middle;
        }
    }
    // What is left is a subtree of both; from the first leaf on it is the old tree itself.
    let mut path = hashes(source, path)?;
    if begin > 0 {
        path.insert(0, CompactRange::read(source, begin, end)?.root());
    }
    Ok(path)
}

fn hashes<N: Nodes>(source: &N, path: Vec<(u64, u64)>) -> Result<Vec<Hash>, N::Error> {
    let hash = |(begin, end)| Ok(CompactRange::read(source, begin, end)?.root());
    path.into_iter().rev().map(hash).collect()
}

/// The largest power of two smaller than `n`, which is at least 2 (RFC 6962 §2.1).
fn split(n: u64) -> u64 {
    1 << (n - 1).ilog2()
}

/// Checks that a tree has a leaf (RFC 9162 §2.1.3.2).
///
/// # Errors
/// The proof does not show it.
pub fn verify_inclusion(head: Head, index: u64, leaf: Hash, path: &[Hash]) -> Result<(), Error> {
    if index >= head.size {
        return Err(Error::OutOfRange);
    }
    let mut walk = Walk { at: index, last: head.size - 1 };
    let mut root = leaf;
    for hash in path {
        root = match walk.step()? {
            Side::Left => Hash::of_node(hash, &root),
            Side::Right => Hash::of_node(&root, hash),
        };
    }
    walk.finish()?;
    if root == head.root { Ok(()) } else { Err(Error::Root) }
}

/// Checks that a tree begins with all the leaves of an older one (RFC 9162 §2.1.4.2). A tree
/// without leaves is consistent with everything, and proves nothing: it is refused.
///
/// # Errors
/// The proof does not show it.
pub fn verify_consistency(old: Head, new: Head, path: &[Hash]) -> Result<(), Error> {
    if old.size == 0 || old.size > new.size {
        return Err(Error::OutOfRange);
    }
    if old.size == new.size {
        let is_empty = path.is_empty().then_some(()).ok_or(Error::Length);
        return is_empty.and(if old.root == new.root { Ok(()) } else { Err(Error::Root) });
    }
    let mut walk = Walk { at: old.size - 1, last: new.size - 1 };
    walk.skip_left();
    // The old tree alone is not repeated where it is a full subtree of the new one.
    let (start, rest) = match path {
        _ if old.size.is_power_of_two() => (old.root, path),
        [first, rest @ ..] => (*first, rest),
        [] => return Err(Error::Length),
    };
    let (mut old_root, mut new_root) = (start, start);
    for hash in rest {
        match walk.step()? {
            Side::Left => {
                old_root = Hash::of_node(hash, &old_root);
                new_root = Hash::of_node(hash, &new_root);
            }
            Side::Right => new_root = Hash::of_node(&new_root, hash),
        }
    }
    walk.finish()?;
    if old_root == old.root && new_root == new.root { Ok(()) } else { Err(Error::Root) }
}

/// The way from a node to the root, with the last node of the same level: `fn` and `sn` of
/// RFC 9162.
struct Walk {
    at: u64,
    last: u64,
}

/// On which side of the way a proof's hash stands.
enum Side {
    Left,
    Right,
}

impl Walk {
    fn step(&mut self) -> Result<Side, Error> {
        if self.last == 0 {
            return Err(Error::Length);
        }
        let side = if self.at % 2 == 1 || self.at == self.last { Side::Left } else { Side::Right };
        if matches!(side, Side::Left) {
            // At the right edge, levels without a sibling are passed over.
            while self.at.is_multiple_of(2) && self.at != 0 {
                self.up();
            }
        }
        self.up();
        Ok(side)
    }

    fn skip_left(&mut self) {
        while self.at % 2 == 1 {
            self.up();
        }
    }

    fn up(&mut self) {
        (self.at, self.last) = (self.at >> 1, self.last >> 1);
    }

    fn finish(&self) -> Result<(), Error> {
        if self.last == 0 { Ok(()) } else { Err(Error::Length) }
    }
}

#[cfg(test)]
mod tests;
