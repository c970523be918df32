package main

// Tiles as a client reads them: each compared with its parent, up to the root, before a hash of it
// is used.

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/mod/sumdb/tlog"
)

// tileHeight is that of tlog-tiles. Its paths leave it out.
const tileHeight = 8

// xmodTiles reads the hash of a leaf from tiles. It makes no proof: one would be refused even where
// a tile was not compared, and so hide it.
func xmodTiles(r *request) error {
	if r.Size > xmodSizeMax {
		return errSize
	}
	if r.Index >= r.Size {
		return errors.New("there is no such leaf")
	}
	root, err := xmodHash(r.Root)
	if err != nil {
		return err
	}
	tree := tlog.Tree{N: int64(r.Size), Hash: root}
	reader := tlog.TileHashReader(tree, &folder{r.Folder, r.Instead})
	leaves, err := reader.ReadHashes([]int64{tlog.StoredHashIndex(0, int64(r.Index))})
	if err != nil {
		return err
	}
	if len(leaves) != 1 || leaves[0] != tlog.RecordHash(r.Entry) {
		return errors.New("the leaf is another entry's")
	}
	return nil
}

// folder reads the tiles of a folder, some of which are replaced.
type folder struct {
	path    string
	instead map[string][]byte
}

func (f *folder) Height() int { return tileHeight }

func (f *folder) SaveTiles([]tlog.Tile, [][]byte) {}

func (f *folder) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	read := make([][]byte, len(tiles))
	for i, tile := range tiles {
		path := strings.Replace(tile.Path(), fmt.Sprintf("tile/%d/", tileHeight), "tile/", 1)
		if bytes, ok := f.instead[path]; ok {
			read[i] = bytes
			continue
		}
		bytes, err := os.ReadFile(filepath.Join(f.path, filepath.FromSlash(path)))
		if err != nil {
			return nil, err
		}
		read[i] = bytes
	}
	return read, nil
}
