//! Proofs against the definitions, another author's crate, and everything that is not quite one.

use ct_merkle::mem_backed_tree::MemoryBackedTree;
use proptest::prelude::*;
use sha2::Sha256;

use super::*;
use crate::range::nodes;
use crate::testlog::{Log, entry, tree_hash};

/// Sizes around those where trees change their shape.
const SIZES: u64 = 70;

fn leaf(index: u64) -> Hash {
    Hash::of_leaf(entry(index).as_bytes())
}

#[test]
fn roots_of_the_tree_that_certificate_transparency_is_tested_with() {
    // The leaves and roots of google/certificate-transparency, cpp/merkletree/merkle_tree_test.cc.
    let leaves: [&[u8]; 8] = [
        b"",
        &[0x00],
        &[0x10],
        &[0x20, 0x21],
        &[0x30, 0x31],
        &[0x40, 0x41, 0x42, 0x43],
        &[0x50, 0x51, 0x52, 0x53, 0x54, 0x55, 0x56, 0x57],
        &[
            0x60, 0x61, 0x62, 0x63, 0x64, 0x65, 0x66, 0x67, 0x68, 0x69, 0x6a, 0x6b, 0x6c, 0x6d,
            0x6e, 0x6f,
        ],
    ];
    let roots = [
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    ];
    let mut range = CompactRange::default();
    assert_eq!(range.root(), tree_hash(&[]));
    for (leaf, root) in leaves.into_iter().zip(roots) {
        range.append(Hash::of_leaf(leaf), |_, _| {});
        let hex: String = range.root().0.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, root);
    }
}

#[test]
fn nodes_cover_a_run_once() {
    for begin in 0..SIZES {
        for end in begin..SIZES {
            let mut at = begin;
            for node in nodes(begin, end) {
                assert_eq!(node.index << node.level, at);
                at += 1 << node.level;
            }
            assert_eq!(at, end);
        }
    }
    assert_eq!(nodes(0, u64::MAX).count(), 64);
    assert_eq!(nodes(1, u64::MAX).count(), 126);
}

#[test]
fn ranges_put_together_are_the_tree() {
    let log = Log::of(SIZES);
    for begin in 0..SIZES {
        for middle in begin..=SIZES {
            let mut left = CompactRange::read(&log, begin, middle).unwrap();
            let right = CompactRange::read(&log, middle, SIZES).unwrap();
            assert!(left.extend(&right));
            assert_eq!(left, CompactRange::read(&log, begin, SIZES).unwrap());
            assert!(right == CompactRange::empty(SIZES) || !left.extend(&right));
        }
        let hashes = CompactRange::read(&log, begin, SIZES).unwrap().hashes().to_vec();
        assert!(CompactRange::from_hashes(begin, SIZES, hashes[1..].to_vec()).is_none());
        assert!(CompactRange::from_hashes(begin, SIZES, hashes).is_some());
    }
}

#[test]
fn what_an_appended_leaf_completes_is_shown() {
    let log = Log::of(SIZES);
    let mut range = CompactRange::default();
    let mut shown = 0;
    for index in 0..SIZES {
        range.append(leaf(index), |node, hash| {
            assert_eq!(log.node(node), Ok(hash));
            shown += 1;
        });
        assert_eq!(range.root(), log.head(index + 1).root);
    }
    let full: u64 = (0..7).map(|level| SIZES >> level).sum();
    assert_eq!(shown, full);
}

#[test]
fn another_author_makes_the_same_proofs() {
    let log = Log::of(SIZES);
    let mut tree = MemoryBackedTree::<Sha256, String>::new();
    let mut proofs = 0;
    for size in 1..=SIZES {
        tree.push(entry(size - 1));
        let head = log.head(size);
        assert_eq!(tree.root().as_bytes()[..], head.root.0);
        for index in 0..size {
            let theirs = tree.prove_inclusion(usize::try_from(index).unwrap());
            let ours = log.inclusion(index, size);
            assert_eq!(theirs.as_bytes(), bytes(&ours), "leaf {index} of {size}");
            assert_eq!(verify_inclusion(head, index, leaf(index), &ours), Ok(()));
            proofs += 1;
        }
        for old in 1..size {
            let theirs = tree.prove_consistency(usize::try_from(size - old).unwrap());
            let ours = log.consistency(old, size);
            assert_eq!(theirs.as_bytes(), bytes(&ours), "{old} leaves of {size}");
            assert_eq!(verify_consistency(log.head(old), head, &ours), Ok(()));
            proofs += 1;
        }
    }
    assert_eq!(proofs, SIZES * SIZES);
}

fn bytes(path: &[Hash]) -> Vec<u8> {
    path.iter().flat_map(|hash| hash.0).collect()
}

#[test]
fn what_no_proof_can_show() {
    let log = Log::of(8);
    let (three, eight) = (log.head(3), log.head(8));
    let path = log.consistency(3, 8);
    let nothing = log.head(0);
    let cases = [
        ("nothing is a tree", verify_consistency(nothing, eight, &[]), Error::OutOfRange),
        ("backwards", verify_consistency(eight, three, &path), Error::OutOfRange),
        ("a proof where none is needed", verify_consistency(eight, eight, &path), Error::Length),
        ("no proof where one is needed", verify_consistency(three, eight, &[]), Error::Length),
        ("half", verify_consistency(log.head(4), eight, &[]), Error::Length),
        (
            "another tree of the same size",
            verify_consistency(Head { size: 8, ..three }, eight, &[]),
            Error::Root,
        ),
        (
            "a leaf behind the last",
            verify_inclusion(eight, 8, leaf(8), &log.inclusion(7, 8)),
            Error::OutOfRange,
        ),
        ("a leaf of nothing", verify_inclusion(nothing, 0, leaf(0), &[]), Error::OutOfRange),
        ("no proof", verify_inclusion(eight, 0, leaf(0), &[]), Error::Length),
        ("the wrong leaf", verify_inclusion(eight, 0, leaf(1), &log.inclusion(0, 8)), Error::Root),
    ];
    for (what, result, error) in cases {
        assert_eq!(result, Err(error), "{what}");
    }
    assert_eq!(verify_consistency(eight, eight, &[]), Ok(()));
    assert_eq!(verify_inclusion(log.head(1), 0, leaf(0), &[]), Ok(()));
}

/// What may be done to a proof of some hashes.
#[derive(Clone, Debug)]
enum Harm {
    Flip(prop::sample::Index, u32),
    Remove(prop::sample::Index),
    Double(prop::sample::Index),
    Swap(prop::sample::Index),
    Append([u8; 32]),
}

fn harm() -> impl Strategy<Value = Harm> {
    prop_oneof![
        (any::<prop::sample::Index>(), 0..256u32).prop_map(|(at, bit)| Harm::Flip(at, bit)),
        any::<prop::sample::Index>().prop_map(Harm::Remove),
        any::<prop::sample::Index>().prop_map(Harm::Double),
        any::<prop::sample::Index>().prop_map(Harm::Swap),
        any::<[u8; 32]>().prop_map(Harm::Append),
    ]
}

impl Harm {
    /// Does it; `false` if it changed nothing.
    fn to(&self, path: &mut Vec<Hash>) -> bool {
        let before = path.clone();
        let length = path.len();
        match self {
            Harm::Append(hash) => path.push(Hash(*hash)),
            _ if length == 0 => {}
            Harm::Flip(at, bit) => {
                path[at.index(length)].0[(bit / 8) as usize] ^= 1 << (bit % 8);
            }
            Harm::Remove(at) => drop(path.remove(at.index(length))),
            Harm::Double(at) => path.insert(at.index(length), path[at.index(length)]),
            Harm::Swap(at) => path.swap(at.index(length), 0),
        }
        *path != before
    }
}

proptest! {
    #[test]
    fn a_proof_that_was_harmed_is_none(
        size in 1..2_000u64,
        a: prop::sample::Index,
        harm in harm(),
    ) {
        let log = Log::of(size);
        let index = a.index(usize::try_from(size).unwrap()) as u64;
        let head = log.head(size);
        let mut path = log.inclusion(index, size);
        prop_assert_eq!(verify_inclusion(head, index, leaf(index), &path), Ok(()));
        if harm.to(&mut path) {
            prop_assert!(verify_inclusion(head, index, leaf(index), &path).is_err());
        }
        let old = index + 1;
        let mut path = log.consistency(old, size);
        prop_assert_eq!(verify_consistency(log.head(old), head, &path), Ok(()));
        if harm.to(&mut path) {
            prop_assert!(verify_consistency(log.head(old), head, &path).is_err());
        }
    }

    #[test]
    fn any_hashes_prove_nothing(
        sizes: (u64, u64, u64),
        hashes in prop::collection::vec(any::<[u8; 32]>(), 0..70),
    ) {
        let path: Vec<Hash> = hashes.into_iter().map(Hash).collect();
        let old = Head { size: sizes.0, root: leaf(0) };
        let new = Head { size: sizes.1, root: leaf(1) };
        prop_assert!(verify_consistency(old, new, &path).is_err());
        prop_assert!(verify_inclusion(new, sizes.2, leaf(2), &path).is_err());
    }
}
