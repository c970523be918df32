package main

// The kubelets' HTTPS endpoint, one for all simulated nodes: exec, attach, logs and port-forward,
// with processes of this machine in a scratch folder in place of a container.
// API servers speak SPDY to it whatever kubectl speaks to them, as long as the Node object does not
// declare WebSocket support; so the protocols are left to k8s.io/cri-streaming.

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"k8s.io/cri-streaming/pkg/streaming/portforward"
	"k8s.io/cri-streaming/pkg/streaming/remotecommand"
	utilexec "k8s.io/utils/exec"
)

const (
	// kubeletClient is the user as which API servers sign in here.
	kubeletClient = "kube-apiserver-kubelet-client"

	streamIdleTimeout   = 10 * time.Minute
	streamCreateTimeout = 30 * time.Second
	// outputTimeout bounds the wait for a command's output once the command itself has ended: what
	// it left in the background may hold the pipe.
	outputTimeout = 5 * time.Second
)

// kubelet serves the streams of every pod; it implements the interfaces of cri-streaming.
type kubelet struct {
	ctx     context.Context // ends with the testbed, and every command with it
	dir     string          // has a folder for each pod that a command ran in
	port    int
	backend string // host and port that every port of every pod leads to
}

// startKubelet listens on a free port of 127.0.0.1 until ctx ends.
func startKubelet(ctx context.Context, dir string, ca *authority) (*kubelet, error) {
	listener, err := listenTLS(ca)
	if err != nil {
		return nil, err
	}
	backend, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("cannot listen for forwarded connections: %w", err)
	}
	k := &kubelet{
		ctx: ctx, dir: dir, port: listener.Addr().(*net.TCPAddr).Port,
		backend: backend.Addr().String(),
	}
	serveUntil(ctx, backend, http.HandlerFunc(serveEcho))
	serveUntil(ctx, listener, k.routes())
	return k, nil
}

// listenTLS accepts only those who hold a certificate of the run's authority: whoever gets in can
// run commands.
func listenTLS(ca *authority) (net.Listener, error) {
	p, err := ca.server("kubelet")
	if err != nil {
		return nil, err
	}
	certificate, err := tls.X509KeyPair(p.certificate, p.key)
	if err != nil {
		return nil, fmt.Errorf("the kubelets' certificate is not usable: %w", err)
	}
	trusted := x509.NewCertPool()
	trusted.AddCert(ca.certificate)
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{
		Certificates: []tls.Certificate{certificate},
		ClientAuth:   tls.RequireAndVerifyClientCert,
		ClientCAs:    trusted,
		MinVersion:   tls.VersionTLS12,
	})
	if err != nil {
		return nil, fmt.Errorf("cannot listen for the kubelets: %w", err)
	}
	return listener, nil
}

func serveUntil(ctx context.Context, listener net.Listener, handler http.Handler) {
	server := &http.Server{Handler: handler, ErrorLog: log.New(io.Discard, "", 0)}
	go server.Serve(listener)
	context.AfterFunc(ctx, func() { server.Close() })
}

func (k *kubelet) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/exec/{namespace}/{pod}/{container}", k.serveExec)
	mux.HandleFunc("/attach/{namespace}/{pod}/{container}", k.serveAttach)
	mux.HandleFunc("/portForward/{namespace}/{pod}", k.servePortForward)
	mux.HandleFunc("/containerLogs/{namespace}/{pod}/{container}", serveLogs)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user := r.TLS.PeerCertificates[0].Subject.CommonName; user != kubeletClient {
			http.Error(w, user+" is no API server", http.StatusForbidden)
			return
		}
		mux.ServeHTTP(w, r)
	})
}

func (k *kubelet) serveExec(w http.ResponseWriter, r *http.Request) {
	options, err := remotecommand.NewOptions(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	remotecommand.ServeExec(w, r, k, podFolder(r), "", r.PathValue("container"),
		r.URL.Query()["command"], options, streamIdleTimeout, streamCreateTimeout,
		remotecommand.SupportedStreamingProtocols)
}

func (k *kubelet) serveAttach(w http.ResponseWriter, r *http.Request) {
	options, err := remotecommand.NewOptions(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	remotecommand.ServeAttach(w, r, k, podFolder(r), "", r.PathValue("container"),
		options, streamIdleTimeout, streamCreateTimeout,
		remotecommand.SupportedStreamingProtocols)
}

func (k *kubelet) servePortForward(w http.ResponseWriter, r *http.Request) {
	options, err := portforward.NewV4Options(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	portforward.ServePortForward(w, r, k, podFolder(r), "", options,
		streamIdleTimeout, streamCreateTimeout, portforward.SupportedProtocols)
}

// podFolder names the folder of the pod that a request is for. No namespace has a "_" in its name.
func podFolder(r *http.Request) string {
	return r.PathValue("namespace") + "_" + r.PathValue("pod")
}

// serveLogs has the same two lines for every container, with timestamps whether asked for or not.
func serveLogs(w http.ResponseWriter, r *http.Request) {
	now := time.Now().UTC().Format(time.RFC3339Nano)
	fmt.Fprintf(w, "%s %s: started\n", now, r.PathValue("container"))
	fmt.Fprintf(w, "%s %s: ready\n", now, r.PathValue("container"))
}

// serveEcho answers what a pod was asked, through a forwarded port or the API server's proxy.
func serveEcho(w http.ResponseWriter, r *http.Request) {
	fmt.Fprintf(w, "%s %s\n", r.Method, r.URL)
	io.Copy(w, r.Body)
}

// ExecInContainer runs a command in the pod's folder. It has no terminal, with --tty neither.
func (k *kubelet) ExecInContainer(
	_ context.Context, pod, _, _ string, command []string, in io.Reader, out, errs io.WriteCloser,
	_ bool, _ <-chan remotecommand.TerminalSize, _ time.Duration,
) error {
	if len(command) == 0 {
		return errors.New("no command: add one after --")
	}
	dir := filepath.Join(k.dir, pod)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("cannot create the folder of pod %s: %w", pod, err)
	}
	cmd := exec.CommandContext(k.ctx, command[0], command[1:]...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, out, errs
	if errs == nil {
		cmd.Stderr = out
	}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = outputTimeout
	if err := feed(cmd, in); err != nil {
		return err
	}
	return withExitCode(runTied(cmd))
}

// feed copies in to the command. Not by setting cmd.Stdin: a command may end while its input, such
// as a terminal, stays open, and that would be waited for.
func feed(cmd *exec.Cmd, in io.Reader) error {
	if in == nil {
		return nil
	}
	pipe, err := cmd.StdinPipe()
	if err != nil {
		return fmt.Errorf("cannot open the input of %s: %w", cmd.Path, err)
	}
	go func() {
		defer pipe.Close()
		io.Copy(pipe, in)
	}()
	return nil
}

// withExitCode turns the error of a command that failed into the one that kubectl gets the code of.
func withExitCode(err error) error {
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return utilexec.CodeExitError{Err: err, Code: exit.ExitCode()}
	}
	return err
}

// AttachContainer says one line, and listens for as long as there is somebody to listen to.
func (k *kubelet) AttachContainer(
	_ context.Context, _, _, container string, in io.Reader, out, _ io.WriteCloser,
	_ bool, _ <-chan remotecommand.TerminalSize,
) error {
	if out != nil {
		fmt.Fprintf(out, "attached to %s\n", container)
	}
	if in != nil {
		io.Copy(io.Discard, in)
	}
	return nil
}

// PortForward connects a stream to the one backend there is, whatever the pod and the port.
func (k *kubelet) PortForward(
	_ context.Context, _, _ string, _ int32, stream io.ReadWriteCloser,
) error {
	conn, err := net.Dial("tcp", k.backend)
	if err != nil {
		return fmt.Errorf("cannot reach the testbed's own backend: %w", err)
	}
	defer conn.Close()
	go func() {
		io.Copy(conn, stream)
		conn.(*net.TCPConn).CloseWrite()
	}()
	_, err = io.Copy(stream, conn)
	return err
}
