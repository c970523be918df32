//! Tiles against the figures of tlog-tiles, and against the tree they are cut from.

use std::collections::HashMap;
use std::convert::Infallible;

use proptest::prelude::*;

use super::*;
use crate::proof;
use crate::testlog::{Log, entry};

#[test]
fn paths() {
    for (level, index, width, path) in [
        (0, 0, 256, "tile/0/000"),
        (0, 273, 112, "tile/0/273.p/112"),
        (1, 1_234_067, 256, "tile/1/x001/x234/067"),
        (7, 999_999, 1, "tile/7/x999/999.p/1"),
        (0, 1_000, 256, "tile/0/x001/000"),
        (0, u64::MAX, 256, "tile/0/x018/x446/x744/x073/x709/x551/615"),
    ] {
        let tile = Tile { level, index, width };
        assert_eq!(tile.to_string(), path);
        assert_eq!(Tile::parse(path), Some(tile));
        let entries = path.replace("tile/0/", "tile/entries/");
        let expected = (level == 0).then_some((index, width));
        assert_eq!(parse_bundle_path(&entries), expected);
        assert!(level > 0 || bundle_path(index, width) == entries);
    }
    for path in [
        "tile/8/000",
        "tile/00/000",
        "tile/0/0",
        "tile/0/0000",
        "tile/0/x000/000",
        "tile/0/001/002",
        "tile/0/x001/x002",
        "tile/0/+01",
        "tile/0/000.p/0",
        "tile/0/000.p/256",
        "tile/0/000.p/01",
        "tile/0/x018/x446/x744/x073/x709/x551/616",
        "tile/0/",
        "tile/0/000/",
        "/tile/0/000",
        "tile/entries/000",
    ] {
        assert_eq!(Tile::parse(path), None, "{path}");
    }
}

#[test]
fn the_tree_of_70_000_leaves() {
    let widths = |level| Tile::of_tree(70_000).filter(move |t| t.level == level).map(|t| t.width);
    assert_eq!(widths(0).filter(|width| *width == 256).count(), 273);
    assert_eq!(widths(0).last(), Some(112));
    assert_eq!(widths(1).collect::<Vec<_>>(), [256, 17]);
    assert_eq!(widths(2).collect::<Vec<_>>(), [1]);
    assert_eq!(Tile::of_tree(70_000).count(), 274 + 2 + 1);
    let of_256: Vec<String> = Tile::of_tree(256).map(|tile| tile.to_string()).collect();
    assert_eq!(of_256, ["tile/0/000", "tile/1/000.p/1"]);
    assert_eq!(Tile::of_tree(0).count(), 0);
}

/// All tiles of a log, made while its leaves are appended.
fn tiles(size: u64) -> HashMap<Tile, Vec<Hash>> {
    let mut levels = [const { Vec::new() }; 8];
    let mut range = CompactRange::default();
    for index in 0..size {
        range.append(Hash::of_leaf(entry(index).as_bytes()), |node, hash| {
            if node.level.is_multiple_of(HEIGHT) {
                levels[(node.level / HEIGHT) as usize].push(hash);
            }
        });
    }
    let hashes = |tile: &Tile| {
        let begin = usize::try_from(tile.index).unwrap() * 256;
        levels[usize::from(tile.level)][begin..begin + usize::from(tile.width)].to_vec()
    };
    Tile::of_tree(size).map(|tile| (tile, hashes(&tile))).collect()
}

#[test]
fn proofs_from_tiles_are_those_of_the_tree() {
    for size in [1, 255, 256, 257, 1_000, 70_000] {
        let (log, tiles) = (Log::of(size), tiles(size));
        let fetch = |tile: Tile| Ok::<_, Infallible>(tiles[&tile].clone());
        let source = Tiles { size, fetch };
        for index in [0, size / 3, size / 2, size - 1] {
            let path = proof::inclusion(&source, index, size).unwrap();
            assert_eq!(path, log.inclusion(index, size));
            let path = proof::consistency(&source, index + 1, size).unwrap();
            assert_eq!(path, log.consistency(index + 1, size));
        }
        // A full tile's hash stands in the tile above.
        for (tile, hashes) in tiles.iter().filter(|(tile, _)| tile.width == Tile::WIDTH) {
            let node = Node { level: HEIGHT * u32::from(tile.level + 1), index: tile.index };
            assert_eq!(source.node(node), Ok(root(hashes)));
            assert_eq!(tile.begin(), tile.index << (HEIGHT * u32::from(tile.level + 1)));
        }
        let beyond = Node { level: 0, index: size };
        assert_eq!(source.node(beyond), Err(Error::NoNode));
    }
    let short = Tiles { size: 9, fetch: |_| Ok::<_, Infallible>(vec![Hash::EMPTY]) };
    let tile = Tile { level: 0, index: 0, width: 9 };
    assert_eq!(short.node(Node { level: 2, index: 1 }), Err(Error::Short(tile)));
}

#[test]
fn bundles() {
    let long = vec![b'x'; 65_536];
    let entries_in: [&[u8]; 3] = [b"", b"a", &long[1..]];
    let bytes = bundle(entries_in).unwrap();
    assert_eq!(bytes[..5], [0, 0, 0, 1, b'a']);
    assert_eq!(entries(&bytes).unwrap(), entries_in);
    assert_eq!(bundle([&*long]), None);
    assert_eq!(entries(&bytes[..bytes.len() - 1]), None);
    assert_eq!(entries(&[0]), None);
    assert_eq!(entries(&[]), Some(Vec::new()));
}

proptest! {
    #[test]
    fn any_tile_reads_back(level in 0..8u8, index: u64, width in 1..=256u16) {
        let tile = Tile { level, index, width };
        prop_assert_eq!(Tile::parse(&tile.to_string()), Some(tile));
    }

    #[test]
    fn any_node_is_in_a_tile_or_in_none(level in 0..70u32, index: u64, size: u64) {
        let end = u128::from(index.saturating_add(1)) << level.min(63);
        let is_there = end <= u128::from(size);
        let found = Tile::of_node(Node { level, index }, size);
        if let Some((tile, range)) = &found {
            prop_assert!(range.end <= usize::from(tile.width));
            prop_assert!(is_there);
        }
        prop_assert!(level > 63 || index == u64::MAX || found.is_some() == is_there);
    }

    #[test]
    fn any_path_is_a_tile_or_none(
        path in "tile/[0-9]{1,2}/(x?[0-9]{3}/){0,3}[0-9]{3}(\\.p/[0-9]{1,3})?",
    ) {
        if let Some(tile) = Tile::parse(&path) {
            prop_assert_eq!(tile.to_string(), path);
        }
    }
}
