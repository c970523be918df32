package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/transparency-dev/formats/log"
	formatsnote "github.com/transparency-dev/formats/note"
	"github.com/transparency-dev/formats/proof"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

const origin = "log.example/test"

// good has a request of every check, each about a tree that x/mod made of 300 numbers.
func good(t *testing.T) map[string]*request {
	t.Helper()
	const size, old, index = 300, 200, 77
	var tree xmodTree
	numbers := &request{Check: "root-of-numbers", Size: size, Before: "<", Behind: ">"}
	for i := range size {
		must(t, tree.add(numbers.number(i)))
	}
	// Each its own, since each is harmed.
	root := func(size int64) []byte {
		hash, err := tlog.TreeHash(size, &tree)
		must(t, err)
		return hash[:]
	}
	numbers.Root = root(size)
	path, err := tlog.ProveRecord(size, index, &tree)
	must(t, err)
	longer, err := tlog.ProveTree(size, old, &tree)
	must(t, err)

	entry := numbers.number(index)
	checkpoint := log.Checkpoint{Origin: origin, Size: size, Hash: root(size)}.Marshal()
	secret, vkey, err := note.GenerateKey(nil, origin)
	must(t, err)
	signer, err := note.NewSigner(secret)
	must(t, err)
	secret, witness, err := note.GenerateKey(nil, "witness.example")
	must(t, err)
	cosigner, err := formatsnote.NewSignerForCosignatureV1(secret)
	must(t, err)
	signed, err := note.Sign(&note.Note{Text: string(checkpoint)}, signer, cosigner)
	must(t, err)
	file := proof.TLogProof{Index: index, Checkpoint: signed}
	for _, hash := range path {
		file.Hashes = append(file.Hashes, hash)
	}

	folder := t.TempDir()
	for _, tile := range tlog.NewTiles(tileHeight, 0, size) {
		data, err := tlog.ReadTileData(tile, &tree)
		must(t, err)
		name := strings.Replace(tile.Path(), "tile/8/", "tile/", 1)
		name = filepath.Join(folder, filepath.FromSlash(name))
		must(t, os.MkdirAll(filepath.Dir(name), 0o755))
		must(t, os.WriteFile(name, data, 0o644))
	}

	witnesses := []string{witness}
	return map[string]*request{
		"proof":           {File: file.Marshal(), Entry: entry, Log: vkey, Witnesses: witnesses},
		"checkpoint":      {Note: signed, Log: vkey, Witnesses: witnesses},
		"inclusion":       {Index: index, Size: size, Root: root(size), Entry: entry, Path: rawOf(path)},
		"consistency":     {Old: old, OldRoot: root(old), New: size, NewRoot: root(size), Path: rawOf(longer)},
		"tiles":           {Folder: folder, Index: index, Size: size, Root: root(size), Entry: entry},
		"root":            {Entries: [][]byte{[]byte("<0>")}, Root: root(1)},
		"root-of-numbers": numbers,
	}
}

func rawOf[H ~[hashBytes]byte](hashes []H) [][]byte {
	var path [][]byte
	for i := range hashes {
		path = append(path, hashes[i][:])
	}
	return path
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// answerTo sends one request through the protocol.
func answerTo(t *testing.T, r *request) []verdict {
	t.Helper()
	line, err := json.Marshal(r)
	must(t, err)
	var out bytes.Buffer
	must(t, serve(bytes.NewReader(append(line, '\n')), &out))
	var a answer
	must(t, json.Unmarshal(out.Bytes(), &a))
	return a.Verdicts
}

func TestWhatIsGoodIsAcceptedAndWhatIsNotRefused(t *testing.T) {
	harm := map[string]func(*request){
		"proof":           func(r *request) { r.File[30] ^= 1 },
		"checkpoint":      func(r *request) { r.Note[len(r.Note)-9] ^= 1 },
		"inclusion":       func(r *request) { r.Path[3][9] ^= 1 },
		"consistency":     func(r *request) { r.OldRoot[31] ^= 1 },
		"root":            func(r *request) { r.Entries[0][1] ^= 1 },
		"root-of-numbers": func(r *request) { r.Root[0] ^= 1 },
		"tiles": func(r *request) {
			// The hash of another leaf than the one that is read.
			data, err := os.ReadFile(filepath.Join(r.Folder, "tile", "0", "000"))
			must(t, err)
			data[0] ^= 1
			r.Instead = map[string][]byte{"tile/0/000": data}
		},
	}
	for name, r := range good(t) {
		r.Check = name
		for _, is := range []bool{true, false} {
			if !is {
				harm[name](r)
			}
			verdicts := answerTo(t, r)
			if len(verdicts) != len(checks[name]) {
				t.Errorf("%s: %d verdicts", name, len(verdicts))
			}
			for _, v := range verdicts {
				if v.Accepted != is {
					t.Errorf("%s: %+v", name, v)
				}
			}
		}
	}
}

func TestWhatOraclesAreKeptFrom(t *testing.T) {
	hash := bytes.Repeat([]byte{1}, hashBytes)
	for _, r := range []*request{
		{Check: "inclusion", Size: xmodSizeMax + 1, Root: hash},
		{Check: "inclusion", Index: xmodSizeMax + 1, Size: 1, Root: hash},
		{Check: "consistency", Old: 1, New: xmodSizeMax + 1, OldRoot: hash, NewRoot: hash},
		{Check: "consistency", Old: 0, New: 9, OldRoot: hash, NewRoot: hash},
		{Check: "tiles", Size: xmodSizeMax + 1, Root: hash},
	} {
		for _, v := range answerTo(t, r) {
			if v.Accepted {
				t.Errorf("%+v: %+v", r, v)
			}
		}
	}
}

func TestWhatIsNoRequestIsNotAnswered(t *testing.T) {
	for _, line := range []string{"{", `{"check":"weather"}`, `{"check":"proof","file":7}`} {
		var out bytes.Buffer
		if err := serve(strings.NewReader(line+"\n"), &out); err == nil {
			t.Errorf("%s: %s", line, fmt.Sprint(&out))
		}
	}
}
