package main

// Roots of trees whose leaves are given, or are a number between two pieces of text: a large tree
// is known by its size then.

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/transparency-dev/merkle/compact"
	"github.com/transparency-dev/merkle/rfc6962"
	"golang.org/x/mod/sumdb/tlog"
)

var errRoot = errors.New("the leaves have another root")

func xmodRoot(r *request) error {
	var t xmodTree
	for _, entry := range r.Entries {
		if err := t.add(entry); err != nil {
			return err
		}
	}
	return t.compare(len(r.Entries), r.Root)
}

func merkleRoot(r *request) error {
	root, err := merkleTreeHash(len(r.Entries), func(i int) []byte { return r.Entries[i] })
	if err != nil {
		return err
	}
	return compare(root, r.Root)
}

// numbers is a tree of x/mod and the roots that merkle found, by what stands around the numbers:
// one tree has those of all smaller sizes in it, and is asked for them again and again.
type numbers struct {
	xmod   xmodTree
	merkle map[uint64][]byte
}

var trees = map[[2]string]*numbers{}

func numbersOf(r *request) *numbers {
	key := [2]string{r.Before, r.Behind}
	if trees[key] == nil {
		trees[key] = &numbers{merkle: map[uint64][]byte{}}
	}
	return trees[key]
}

func (r *request) number(i int) []byte {
	return fmt.Appendf(nil, "%s%d%s", r.Before, i, r.Behind)
}

func xmodRootOfNumbers(r *request) error {
	t := &numbersOf(r).xmod
	for t.size < int(r.Size) {
		if err := t.add(r.number(t.size)); err != nil {
			return err
		}
	}
	return t.compare(int(r.Size), r.Root)
}

func merkleRootOfNumbers(r *request) error {
	roots := numbersOf(r).merkle
	root, ok := roots[r.Size]
	if !ok {
		var err error
		if root, err = merkleTreeHash(int(r.Size), r.number); err != nil {
			return err
		}
		roots[r.Size] = root
	}
	return compare(root, r.Root)
}

// xmodTree keeps the hashes that x/mod wants stored.
type xmodTree struct {
	size   int
	stored []tlog.Hash
}

func (t *xmodTree) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	hashes := make([]tlog.Hash, len(indexes))
	for i, index := range indexes {
		hashes[i] = t.stored[index]
	}
	return hashes, nil
}

func (t *xmodTree) add(entry []byte) error {
	hashes, err := tlog.StoredHashes(int64(t.size), entry, t)
	if err != nil {
		return err
	}
	t.stored = append(t.stored, hashes...)
	t.size++
	return nil
}

func (t *xmodTree) compare(size int, root []byte) error {
	hash, err := tlog.TreeHash(int64(size), t)
	if err != nil {
		return err
	}
	return compare(hash[:], root)
}

func merkleTreeHash(size int, entry func(int) []byte) ([]byte, error) {
	hasher := rfc6962.DefaultHasher
	tree := (&compact.RangeFactory{Hash: hasher.HashChildren}).NewEmptyRange(0)
	for i := range size {
		if err := tree.Append(hasher.HashLeaf(entry(i)), nil); err != nil {
			return nil, err
		}
	}
	if size == 0 {
		return hasher.EmptyRoot(), nil
	}
	return tree.GetRootHash(nil)
}

func compare(found, claimed []byte) error {
	if !bytes.Equal(found, claimed) {
		return errRoot
	}
	return nil
}
