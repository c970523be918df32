// Command oracle asks verifiers of transparency logs that others wrote what they think of ours.
//
// Requests come as JSON lines on standard input, one line of verdicts for each goes to standard
// output, in the same order; README.md has the protocol. What has to be accepted, and what refused,
// is left to whoever asks.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
)

// The oracles, by the names that verdicts have.
const (
	xmod            = "x/mod"
	transparencyDev = "transparency-dev"
)

// request is what is asked; which fields it has depends on the check.
type request struct {
	Check string `json:"check"`

	File      []byte   `json:"file"` // a proof file
	Note      []byte   `json:"note"` // a checkpoint with its signatures
	Log       string   `json:"log"`  // the log's vkey; its name is the origin
	Witnesses []string `json:"witnesses"`

	Entry []byte   `json:"entry"`
	Index uint64   `json:"index"`
	Size  uint64   `json:"size"`
	Root  []byte   `json:"root"`
	Path  [][]byte `json:"path"`

	Old     uint64 `json:"old"`
	OldRoot []byte `json:"old_root"`
	New     uint64 `json:"new"`
	NewRoot []byte `json:"new_root"`

	Folder  string            `json:"folder"`  // a log as tlog-tiles lays it out
	Instead map[string][]byte `json:"instead"` // files of it that are others

	Entries [][]byte `json:"entries"`
	Before  string   `json:"before"` // what stands before and behind the number in an entry
	Behind  string   `json:"behind"`
}

// verdict is what an oracle says.
type verdict struct {
	Oracle   string `json:"oracle"`
	Accepted bool   `json:"accepted"`
	Why      string `json:"why,omitempty"` // it was refused
}

type answer struct {
	Verdicts []verdict `json:"verdicts"`
}

// check is one oracle's; it returns why it refuses.
type check func(*request) error

// checks has what can be asked, and who answers.
var checks = map[string]map[string]check{
	"proof":           {xmod: xmodProof, transparencyDev: merkleProof},
	"checkpoint":      {xmod: xmodCheckpoint, transparencyDev: formatsCheckpoint},
	"inclusion":       {xmod: xmodInclusion, transparencyDev: merkleInclusion},
	"consistency":     {xmod: xmodConsistency, transparencyDev: merkleConsistency},
	"tiles":           {xmod: xmodTiles},
	"root":            {xmod: xmodRoot, transparencyDev: merkleRoot},
	"root-of-numbers": {xmod: xmodRootOfNumbers, transparencyDev: merkleRootOfNumbers},
}

func main() {
	log.SetFlags(0)
	if err := serve(os.Stdin, os.Stdout); err != nil {
		log.Fatal(err)
	}
}

// serve answers until its input ends. A request that cannot be read is an error: as a refusal it
// would look like a verdict.
func serve(in io.Reader, out io.Writer) error {
	lines, answers := bufio.NewReader(in), bufio.NewWriter(out)
	defer answers.Flush()
	encoder := json.NewEncoder(answers)
	encoder.SetEscapeHTML(false)
	for {
		line, err := lines.ReadBytes('\n')
		if errors.Is(err, io.EOF) && len(line) == 0 {
			return answers.Flush()
		}
		if err != nil {
			return err
		}
		var r request
		if err := json.Unmarshal(line, &r); err != nil {
			return err
		}
		oracles, ok := checks[r.Check]
		if !ok {
			return fmt.Errorf("there is no check %q", r.Check)
		}
		if err := encoder.Encode(ask(oracles, &r)); err != nil {
			return err
		}
		// Whoever asks one thing at a time gets an answer before asking the next.
		if lines.Buffered() == 0 {
			if err := answers.Flush(); err != nil {
				return err
			}
		}
	}
}

func ask(oracles map[string]check, r *request) answer {
	var a answer
	for _, name := range []string{xmod, transparencyDev} {
		if ask, ok := oracles[name]; ok {
			v := verdict{Oracle: name, Accepted: true}
			if err := ask(r); err != nil {
				v = verdict{Oracle: name, Why: err.Error()}
			}
			a.Verdicts = append(a.Verdicts, v)
		}
	}
	return a
}
