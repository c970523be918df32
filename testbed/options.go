package main

// The command line: what a run can be asked for, checked before anything starts.
// What the options mean to the components is in components.go.

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// options is the command line as it was understood. Its paths are absolute, because the components
// run in a folder of their own.
type options struct {
	bin           string   // where the components' programs are
	dir           string   // folder to work in, or "" for a temporary one
	apiServers    int      // how many kube-apiservers share the one etcd
	nodes         int      // how many nodes are simulated
	auditPolicies []string // one for all API servers, or one for each; none to record nothing
	auditLog      string   // of the first API server, or "" for none
	auditWebhooks []string // one for all API servers, or one for each
	apiServerArgs []string // further flags of every kube-apiserver
}

// parseOptions reads the command line; usage goes to out.
func parseOptions(args []string, out io.Writer) (options, error) {
	var o options
	flags := flag.NewFlagSet("testbed", flag.ContinueOnError)
	flags.SetOutput(out)
	path := func(name string, to *string, usage string) {
		flags.Func(name, usage, func(value string) (err error) {
			*to, err = filepath.Abs(value)
			return err
		})
	}
	path("bin", &o.bin, "folder of etcd, kubectl and the components (default: this program's)")
	path("dir", &o.dir, "folder to work in, kept at the end (default: a temporary one)")
	flags.IntVar(&o.apiServers, "apiservers", 1, "API servers to start")
	flags.IntVar(&o.nodes, "nodes", 3, "nodes to simulate")
	paths := func(name string, to *[]string, usage string) {
		flags.Func(name, usage, func(value string) error {
			value, err := filepath.Abs(value)
			*to = append(*to, value)
			return err
		})
	}
	paths("audit-policy", &o.auditPolicies, "audit policy: one for all API servers, or repeated, "+
		"one for each")
	path("audit-log", &o.auditLog, "audit log of the first API server; "+
		"further ones have -2, -3, ... before the extension")
	paths("audit-webhook-config", &o.auditWebhooks, "kubeconfig of the audit webhook: one for all "+
		"API servers, or repeated, one for each")
	flags.Func("apiserver-arg", "a further flag of every API server, as "+
		"--apiserver-arg=--name=value; may be repeated", func(value string) error {
		o.apiServerArgs = append(o.apiServerArgs, value)
		return nil
	})
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	if flags.NArg() > 0 {
		return o, fmt.Errorf("unexpected argument %q: write flags as --name=value", flags.Arg(0))
	}
	return o, o.complete()
}

// complete fills in what was left out, and refuses what the components would silently ignore.
func (o *options) complete() error {
	if o.bin == "" {
		self, err := os.Executable()
		if err != nil {
			return fmt.Errorf("cannot tell where this program is, give --bin: %w", err)
		}
		o.bin = filepath.Dir(self)
	}
	if o.apiServers < 1 || o.nodes < 1 {
		return errors.New("--apiservers and --nodes have to be at least 1")
	}
	for name, given := range map[string][]string{
		"--audit-policy": o.auditPolicies, "--audit-webhook-config": o.auditWebhooks,
	} {
		if n := len(given); n > 1 && n != o.apiServers {
			return fmt.Errorf("%s was given %d times for %d API servers: "+
				"give it once, or once for each", name, n, o.apiServers)
		}
	}
	if len(o.auditPolicies) == 0 && (o.auditLog != "" || len(o.auditWebhooks) > 0) {
		return errors.New("without --audit-policy an API server records nothing: add it")
	}
	return nil
}

// auditLogOf returns the audit log of the API server with this index, or "".
func (o *options) auditLogOf(index int) string {
	if o.auditLog == "" {
		return ""
	}
	extension := filepath.Ext(o.auditLog)
	return strings.TrimSuffix(o.auditLog, extension) + suffix(index) + extension
}

// of returns what was given for the API server with this index, or "".
func of(given []string, index int) string {
	switch len(given) {
	case 0:
		return ""
	case 1:
		return given[0]
	default:
		return given[index]
	}
}

// suffix tells what belongs to the second and further API servers from what belongs to the first.
func suffix(index int) string {
	if index == 0 {
		return ""
	}
	return fmt.Sprintf("-%d", index+1)
}
