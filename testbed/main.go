// Testbed runs a Kubernetes cluster on this machine for end-to-end tests, without containers: etcd,
// API servers, controller manager and scheduler as child processes, and simulated nodes.
//
// It prints one line of JSON when all is ready, serves until its standard input ends or it is
// signalled, and leaves nothing behind. README.md has its contract.
package main

// This file has the order in which things start and stop.
// The command lines of the components are in components.go; the users in users.go.

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// errAsked is why a run ends that was asked to.
var errAsked = errors.New("asked to stop")

func main() {
	options, err := parseOptions(os.Args[1:], os.Stderr)
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err == nil {
		err = run(options)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "testbed:", err)
		os.Exit(1)
	}
}

// run starts everything, says so, and stops everything when asked or when a component died.
func run(o options) error {
	began := time.Now()
	ctx, end := context.WithCancelCause(context.Background())
	go endWhenAsked(end)

	dir, removeDir, err := makeFolder(o.dir)
	if err != nil {
		return err
	}
	defer removeDir()
	bed := &testbed{options: o, dir: dir, died: end}
	defer bed.stop()
	ready, err := bed.start(ctx)
	if err == nil {
		fmt.Fprintf(os.Stderr, "testbed: ready after %.1f s\n", time.Since(began).Seconds())
		err = json.NewEncoder(os.Stdout).Encode(ready)
	}
	if err == nil {
		<-ctx.Done()
	}
	// A component that died explains whatever failed because of it.
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	end(errAsked)
	if errors.Is(err, errAsked) {
		return nil
	}
	return err
}

// endWhenAsked ends the run on a signal, or when whoever holds our standard input is gone.
func endWhenAsked(end context.CancelCauseFunc) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	go func() {
		io.Copy(io.Discard, os.Stdin)
		end(errAsked)
	}()
	<-signals
	end(errAsked)
}

// makeFolder returns the folder to work in, and what to do with it at the end.
func makeFolder(dir string) (string, func(), error) {
	if dir == "" {
		dir, err := os.MkdirTemp("", "testbed-")
		if err != nil {
			return "", nil, fmt.Errorf("cannot create a temporary folder, give --dir: %w", err)
		}
		return dir, func() { os.RemoveAll(dir) }, nil
	}
	if _, err := os.Stat(filepath.Join(dir, "etcd")); err == nil {
		return "", nil, fmt.Errorf("%s has the data of an earlier run: remove it, or give another "+
			"--dir", dir)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", nil, fmt.Errorf("cannot create the folder to work in: %w", err)
	}
	return dir, func() {}, nil
}

// testbed is what runs.
type testbed struct {
	options
	dir     string
	died    context.CancelCauseFunc // called with the reason when a component ends by itself
	ca      *authority
	servers []server
	kubelet *kubelet
	stops   []func() // of the components, in the order of their start
}

// server is one API server.
type server struct {
	URL      string `json:"url"`
	AuditLog string `json:"auditLog,omitempty"`
}

// readyLine is what the testbed tells whoever started it.
type readyLine struct {
	Dir         string            `json:"dir"`
	Kubectl     string            `json:"kubectl"`
	APIServers  []server          `json:"apiservers"`
	Kubeconfigs map[string]string `json:"kubeconfigs"`
}

// start returns once everything is usable.
func (b *testbed) start(ctx context.Context) (*readyLine, error) {
	if err := b.prepare(); err != nil {
		return nil, err
	}
	var err error
	if b.kubelet, err = startKubelet(ctx, filepath.Join(b.dir, "pods"), b.ca); err != nil {
		return nil, err
	}
	if err := keepTrafficHere(b.kubelet.backend); err != nil {
		return nil, err
	}
	if err := b.startServers(ctx); err != nil {
		return nil, err
	}
	if err := b.startControllers(); err != nil {
		return nil, err
	}
	if err := b.startNodes(ctx); err != nil {
		return nil, err
	}
	admin, err := b.client(0, adminUser, adminGroup)
	if err != nil {
		return nil, err
	}
	kubeconfigs, err := b.writeKubeconfigs(ctx, admin)
	if err != nil {
		return nil, err
	}
	if err := awaitUsable(ctx, admin, b.nodes); err != nil {
		return nil, err
	}
	return &readyLine{b.dir, filepath.Join(b.bin, "kubectl"), b.servers, kubeconfigs}, nil
}

// prepare checks the programs, and makes the files that the components read.
func (b *testbed) prepare() (err error) {
	for _, program := range []string{"etcd", "kube-apiserver", "kube-controller-manager",
		"kube-scheduler", "kubectl"} {
		if _, err := os.Stat(filepath.Join(b.bin, program)); err != nil {
			return fmt.Errorf("%s is missing, build it as README.md says: %w", program, err)
		}
	}
	for _, dir := range []string{"pki", "pods"} {
		if err := os.MkdirAll(filepath.Join(b.dir, dir), 0o700); err != nil {
			return fmt.Errorf("cannot create a folder to work in: %w", err)
		}
	}
	if b.ca, err = newAuthority(); err != nil {
		return err
	}
	return writePKI(b.dir, b.ca)
}

// startServers starts etcd and the API servers, and waits until these are ready.
func (b *testbed) startServers(ctx context.Context) error {
	if err := b.launch("etcd", "", etcdArgs()); err != nil {
		return err
	}
	ports, err := freePorts(b.apiServers)
	if err != nil {
		return err
	}
	for i, port := range ports {
		err := b.launch("kube-apiserver", suffix(i), apiServerArgs(&b.options, i, port))
		if err != nil {
			return err
		}
		url := "https://127.0.0.1:" + strconv.Itoa(port)
		b.servers = append(b.servers, server{URL: url, AuditLog: b.auditLogOf(i)})
	}
	for i, s := range b.servers {
		client, err := b.client(i, adminUser, adminGroup)
		if err != nil {
			return err
		}
		if err := awaitServer(ctx, client, s.URL); err != nil {
			return err
		}
	}
	return nil
}

// startControllers starts what gives up if there is no API server that is ready.
func (b *testbed) startControllers() error {
	if err := b.writeComponentKubeconfigs(); err != nil {
		return err
	}
	if err := b.launch("kube-controller-manager", "", controllerManagerArgs()); err != nil {
		return err
	}
	return b.launch("kube-scheduler", "", schedulerArgs())
}

// launch starts a component; the suffix tells it from others of the same program.
func (b *testbed) launch(program, suffix string, args []string) error {
	stop, err := startProcess(program+suffix, b.dir, filepath.Join(b.bin, program), args, b.died)
	if err != nil {
		return err
	}
	b.stops = append(b.stops, stop)
	return nil
}

// startNodes starts the nodes, spread over the API servers.
func (b *testbed) startNodes(ctx context.Context) error {
	for i := range b.nodes {
		name := fmt.Sprintf("node-%d", i+1)
		client, err := b.client(i%len(b.servers), "system:node:"+name, "system:nodes")
		if err != nil {
			return err
		}
		n := &node{
			name: name, client: client, kubeletPort: b.kubelet.port,
			subnet: fmt.Sprintf("198.18.%d", i), addresses: map[types.UID]string{},
		}
		if err := n.start(ctx); err != nil {
			return err
		}
	}
	return nil
}

// stop ends the components, each before those that it needs. The nodes have ended with the context.
func (b *testbed) stop() {
	for _, stop := range slices.Backward(b.stops) {
		stop()
	}
}
