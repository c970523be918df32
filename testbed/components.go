package main

// The command lines of etcd and the Kubernetes components: everything that is set differently from
// their defaults, with the reason where it is not plain.
// Starting and stopping them in order is in main.go.

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"

	"k8s.io/client-go/util/keyutil"
)

// etcdURL is a socket in the working folder, in which etcd and the API servers run: etcd has no
// authentication here, and nobody else on the machine should get at it.
const etcdURL = "unix://etcd.sock"

// keepTrafficHere makes this program and all that it starts send HTTP requests that are not for
// this machine to the backend. Requests through pods/proxy and services/proxy are such: nobody has
// the address of a simulated pod, and it must not be looked for in a network.
func keepTrafficHere(backend string) error {
	for name, value := range map[string]string{
		"HTTP_PROXY": "http://" + backend, "HTTPS_PROXY": "http://" + backend,
		"NO_PROXY": "", "no_proxy": "",
	} {
		if err := os.Setenv(name, value); err != nil {
			return fmt.Errorf("cannot set %s for the components: %w", name, err)
		}
	}
	return nil
}

func etcdArgs() []string {
	return []string{
		"--data-dir=etcd",
		"--listen-client-urls=" + etcdURL,
		"--listen-peer-urls=unix://etcd-peer.sock",
		// Has to be host:port by etcd's rules; the API servers never ask for it.
		"--advertise-client-urls=http://127.0.0.1:2379",
		// Nothing is read back after a crash.
		"--unsafe-no-fsync",
		"--log-level=warn",
	}
}

// apiServerArgs returns the flags of the API server with this index.
func apiServerArgs(o *options, index, port int) []string {
	args := []string{
		"--etcd-servers=" + etcdURL,
		"--bind-address=127.0.0.1",
		"--secure-port=" + strconv.Itoa(port),
		// Loopback is refused; this address is reserved for examples, and nobody dials it.
		"--advertise-address=192.0.2.1",
		"--endpoint-reconciler-type=none",
		"--service-cluster-ip-range=10.96.0.0/16",
		"--tls-cert-file=pki/apiserver.crt",
		"--tls-private-key-file=pki/apiserver.key",
		"--client-ca-file=pki/ca.crt",
		"--authorization-mode=Node,RBAC",
		"--enable-admission-plugins=NodeRestriction",
		"--allow-privileged=true",
		"--service-account-issuer=https://kubernetes.default.svc",
		"--service-account-key-file=pki/serviceaccounts.key",
		"--service-account-signing-key-file=pki/serviceaccounts.key",
		"--kubelet-preferred-address-types=InternalIP",
		"--kubelet-certificate-authority=pki/ca.crt",
		"--kubelet-client-certificate=pki/kubelet-client.crt",
		"--kubelet-client-key=pki/kubelet-client.key",
		"--shutdown-delay-duration=0",
		// By default watches end after the audit webhook has, which never hears of it then.
		"--shutdown-watch-termination-grace-period=5s",
	}
	for name, value := range map[string]string{
		"--audit-policy-file":         of(o.auditPolicies, index),
		"--audit-log-path":            o.auditLogOf(index),
		"--audit-webhook-config-file": of(o.auditWebhooks, index),
	} {
		if value != "" {
			args = append(args, name+"="+value)
		}
	}
	return append(args, o.apiServerArgs...)
}

func controllerManagerArgs() []string {
	return []string{
		"--kubeconfig=controller-manager.kubeconfig",
		// As in every real cluster: each controller is a user of its own in the audit log.
		"--use-service-account-credentials",
		"--service-account-private-key-file=pki/serviceaccounts.key",
		"--root-ca-file=pki/ca.crt",
		"--cluster-signing-cert-file=pki/ca.crt",
		"--cluster-signing-key-file=pki/ca.key",
		// It creates this folder, by default one of the machine.
		"--flex-volume-plugin-dir=flexvolume",
		"--leader-elect=false",
		"--secure-port=0",
	}
}

func schedulerArgs() []string {
	return []string{
		"--kubeconfig=scheduler.kubeconfig",
		"--leader-elect=false",
		"--secure-port=0",
	}
}

// writePKI puts the files that the flags above name into dir/pki.
func writePKI(dir string, ca *authority) error {
	own, err := ca.pair()
	if err != nil {
		return err
	}
	server, err := ca.server("kube-apiserver", "kubernetes.default.svc")
	if err != nil {
		return err
	}
	client, err := ca.client(kubeletClient)
	if err != nil {
		return err
	}
	tokens, err := keyutil.MakeEllipticPrivateKeyPEM()
	if err != nil {
		return fmt.Errorf("cannot draw the key that signs tokens: %w", err)
	}
	for name, content := range map[string][]byte{
		"ca.crt": own.certificate, "ca.key": own.key,
		"apiserver.crt": server.certificate, "apiserver.key": server.key,
		"kubelet-client.crt": client.certificate, "kubelet-client.key": client.key,
		"serviceaccounts.key": tokens,
	} {
		if err := os.WriteFile(filepath.Join(dir, "pki", name), content, 0o600); err != nil {
			return fmt.Errorf("cannot write a certificate or key: %w", err)
		}
	}
	return nil
}

// freePorts returns ports of this machine that nobody listened on a moment ago.
func freePorts(count int) ([]int, error) {
	ports := make([]int, count)
	for i := range ports {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, fmt.Errorf("cannot find a free port: %w", err)
		}
		// Held until all are found, so that none is found twice.
		defer listener.Close()
		ports[i] = listener.Addr().(*net.TCPAddr).Port
	}
	return ports, nil
}
