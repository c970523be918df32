package main

// Proof files and checkpoints. x/mod reads notes but no proof files, no checkpoints of logs other
// than its own and no cosignatures: these it gets from transparency-dev/formats.

import (
	"errors"
	"fmt"
	"strings"

	"github.com/transparency-dev/formats/log"
	formatsnote "github.com/transparency-dev/formats/note"
	"github.com/transparency-dev/formats/proof"
	"github.com/transparency-dev/formats/witness"
	"golang.org/x/mod/sumdb/note"
)

func xmodProof(r *request) error {
	file, err := readProof(r)
	if err != nil {
		return err
	}
	head, err := xmodOpen(file.Checkpoint, r)
	if err != nil {
		return err
	}
	return xmodCheckRecord(file.Index, head, r.Entry, hashes(file))
}

func merkleProof(r *request) error {
	file, err := readProof(r)
	if err != nil {
		return err
	}
	head, err := formatsOpen(file.Checkpoint, r)
	if err != nil {
		return err
	}
	return merkleVerifyInclusion(file.Index, head, r.Entry, hashes(file))
}

func xmodCheckpoint(r *request) error {
	_, err := xmodOpen(r.Note, r)
	return err
}

func formatsCheckpoint(r *request) error {
	_, err := formatsOpen(r.Note, r)
	return err
}

func readProof(r *request) (proof.TLogProof, error) {
	var file proof.TLogProof
	err := file.Unmarshal(r.File)
	return file, err
}

func hashes(file proof.TLogProof) [][]byte {
	path := make([][]byte, len(file.Hashes))
	for i := range file.Hashes {
		path[i] = file.Hashes[i][:]
	}
	return path
}

// xmodOpen reads a checkpoint that has the signatures of the log and of every witness asked for.
func xmodOpen(signed []byte, r *request) (log.Checkpoint, error) {
	var head log.Checkpoint
	key, err := note.NewVerifier(r.Log)
	if err != nil {
		return head, err
	}
	known := []note.Verifier{key}
	for _, vkey := range r.Witnesses {
		cosigner, err := formatsnote.NewVerifierForCosignatureV1(vkey)
		if err != nil {
			return head, err
		}
		known = append(known, cosigner)
	}
	opened, err := note.Open(signed, note.VerifierList(known...))
	if err != nil {
		return head, err
	}
	// Each counts once: note.Open drops what a key has signed a second time.
	if len(opened.Sigs) != len(known) {
		return head, fmt.Errorf("%d of %d signatures", len(opened.Sigs), len(known))
	}
	if _, err := head.Unmarshal([]byte(opened.Text)); err != nil {
		return head, err
	}
	if head.Origin != key.Name() {
		return head, fmt.Errorf("a checkpoint of %q", head.Origin)
	}
	return head, nil
}

// formatsOpen does the same, witnesses as a policy asks for them.
func formatsOpen(signed []byte, r *request) (log.Checkpoint, error) {
	key, err := note.NewVerifier(r.Log)
	if err != nil {
		return log.Checkpoint{}, err
	}
	head, _, _, err := log.ParseCheckpoint(signed, key.Name(), key)
	if err != nil {
		return log.Checkpoint{}, err
	}
	policy, err := witness.ParsePolicy([]byte(policyOf(r.Witnesses)))
	if err != nil {
		return log.Checkpoint{}, err
	}
	if !policy.Satisfied(signed) {
		return log.Checkpoint{}, errors.New("a witness has not cosigned it")
	}
	return *head, nil
}

// policyOf asks for all witnesses.
func policyOf(vkeys []string) string {
	if len(vkeys) == 0 {
		return "quorum none\n"
	}
	var lines, names strings.Builder
	for i, vkey := range vkeys {
		// It wants a URL, and asks nobody there.
		fmt.Fprintf(&lines, "witness w%d %s https://witness.invalid/\n", i, vkey)
		fmt.Fprintf(&names, " w%d", i)
	}
	return fmt.Sprintf("%sgroup everybody all%s\nquorum everybody\n", &lines, &names)
}
