package main

// Inclusion and consistency proofs as bare hashes.

import (
	"errors"

	"github.com/transparency-dev/formats/log"
	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
	"golang.org/x/mod/sumdb/tlog"
)

const hashBytes = tlog.HashSize

// xmodSizeMax is the largest tree that x/mod may be asked about: it looks for the largest power of
// two below a size, and never finds one beyond 2^62.
const xmodSizeMax = 1 << 62

var (
	errSize = errors.New("a tree of more than 2^62 leaves, for which x/mod does not end")
	errHash = errors.New("a hash is not 32 bytes long")
	// errOld is for merkle, which finds everything to follow from nothing, whatever its root.
	errOld = errors.New("a tree without leaves proves nothing")
)

func xmodInclusion(r *request) error {
	return xmodCheckRecord(r.Index, log.Checkpoint{Size: r.Size, Hash: r.Root}, r.Entry, r.Path)
}

func merkleInclusion(r *request) error {
	return merkleVerifyInclusion(r.Index, log.Checkpoint{Size: r.Size, Hash: r.Root}, r.Entry, r.Path)
}

func xmodCheckRecord(index uint64, head log.Checkpoint, entry []byte, path [][]byte) error {
	if head.Size > xmodSizeMax || index > xmodSizeMax {
		return errSize
	}
	root, err := xmodHash(head.Hash)
	if err != nil {
		return err
	}
	hashes, err := xmodHashes(path)
	if err != nil {
		return err
	}
	return tlog.CheckRecord(hashes, int64(head.Size), root, int64(index), tlog.RecordHash(entry))
}

func merkleVerifyInclusion(index uint64, head log.Checkpoint, entry []byte, path [][]byte) error {
	hasher := rfc6962.DefaultHasher
	return proof.VerifyInclusion(hasher, index, head.Size, hasher.HashLeaf(entry), path, head.Hash)
}

func xmodConsistency(r *request) error {
	if r.Old > xmodSizeMax || r.New > xmodSizeMax {
		return errSize
	}
	oldRoot, err := xmodHash(r.OldRoot)
	if err != nil {
		return err
	}
	newRoot, err := xmodHash(r.NewRoot)
	if err != nil {
		return err
	}
	hashes, err := xmodHashes(r.Path)
	if err != nil {
		return err
	}
	return tlog.CheckTree(hashes, int64(r.New), newRoot, int64(r.Old), oldRoot)
}

func merkleConsistency(r *request) error {
	if r.Old == 0 {
		return errOld
	}
	return proof.VerifyConsistency(rfc6962.DefaultHasher, r.Old, r.New, r.Path, r.OldRoot, r.NewRoot)
}

func xmodHash(bytes []byte) (tlog.Hash, error) {
	if len(bytes) != hashBytes {
		return tlog.Hash{}, errHash
	}
	return tlog.Hash(bytes), nil
}

func xmodHashes(path [][]byte) ([]tlog.Hash, error) {
	hashes := make([]tlog.Hash, len(path))
	for i, bytes := range path {
		hash, err := xmodHash(bytes)
		if err != nil {
			return nil, err
		}
		hashes[i] = hash
	}
	return hashes, nil
}
