package main

// What can be checked without a control plane: certificates, options, and the status of pods.
// That the testbed works is seen by the tests that run against it.

import (
	"crypto/x509"
	"encoding/pem"
	"io"
	"slices"
	"testing"

	core "k8s.io/api/core/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestCertificatesVerify(t *testing.T) {
	ca, other := must(newAuthority())(t), must(newAuthority())(t)
	client := parse(t, must(ca.client("alice@example.com", "platform"))(t))
	server := parse(t, must(ca.server("kube-apiserver", "kubernetes"))(t))

	check := func(ok bool, c *x509.Certificate, by *authority, use x509.ExtKeyUsage, host string) {
		t.Helper()
		roots := x509.NewCertPool()
		roots.AddCert(by.certificate)
		_, err := c.Verify(x509.VerifyOptions{
			Roots: roots, DNSName: host, KeyUsages: []x509.ExtKeyUsage{use},
		})
		if (err == nil) != ok {
			t.Errorf("%s for %q: valid should be %t: %v", c.Subject, host, ok, err)
		}
	}
	check(true, client, ca, x509.ExtKeyUsageClientAuth, "")
	check(false, client, ca, x509.ExtKeyUsageServerAuth, "")
	check(false, client, other, x509.ExtKeyUsageClientAuth, "")
	for _, host := range []string{"127.0.0.1", "localhost", "kubernetes"} {
		check(true, server, ca, x509.ExtKeyUsageServerAuth, host)
	}
	check(false, server, ca, x509.ExtKeyUsageServerAuth, "example.com")
	if client.Subject.CommonName != "alice@example.com" ||
		!slices.Equal(client.Subject.Organization, []string{"platform"}) {
		t.Errorf("not alice of platform: %s", client.Subject)
	}
}

func TestOptions(t *testing.T) {
	check := func(ok bool, args ...string) options {
		t.Helper()
		o, err := parseOptions(args, io.Discard)
		if (err == nil) != ok {
			t.Errorf("%q: accepted should be %t: %v", args, ok, err)
		}
		return o
	}
	check(false, "--apiservers=0")
	check(false, "--audit-log=/log")
	check(false, "left over")
	check(false, "--audit-policy=/p", "--apiservers=3",
		"--audit-webhook-config=/a", "--audit-webhook-config=/b")
	check(false, "--audit-policy=/p", "--audit-policy=/q", "--apiservers=3")
	none := check(true)
	one := check(true, "--audit-policy=/p", "--audit-log=/a/audit.log", "--apiservers=2",
		"--audit-webhook-config=/w", "--apiserver-arg=--v=1", "--apiserver-arg=--v=2")
	each := check(true, "--audit-policy=/p", "--audit-policy=/q", "--audit-log=/log", "--apiservers=2",
		"--audit-webhook-config=/w1", "--audit-webhook-config=/w2")
	for _, c := range [][2]string{
		{none.auditLogOf(1), ""}, {of(none.auditWebhooks, 0), ""},
		{one.auditLogOf(0), "/a/audit.log"}, {one.auditLogOf(1), "/a/audit-2.log"},
		{of(one.auditWebhooks, 1), "/w"}, {of(each.auditWebhooks, 1), "/w2"},
		{of(one.auditPolicies, 1), "/p"}, {of(each.auditPolicies, 1), "/q"},
		{each.auditLogOf(1), "/log-2"},
	} {
		if c[0] != c[1] {
			t.Errorf("got %q, want %q", c[0], c[1])
		}
	}
	args := apiServerArgs(&one, 1, 1)
	if !slices.Contains(args, "--audit-log-path=/a/audit-2.log") ||
		!slices.Equal(args[len(args)-2:], []string{"--v=1", "--v=2"}) {
		t.Errorf("flags are missing, or in the wrong order: %q", args)
	}
}

func TestPodsSettle(t *testing.T) {
	yes := true
	always := core.ContainerRestartPolicyAlways
	debugger := core.EphemeralContainer{}
	debugger.Name = "debugger"
	pod := core.Pod{Spec: core.PodSpec{
		InitContainers: []core.Container{{Name: "init"}, {Name: "sidecar", RestartPolicy: &always}},
		Containers:     []core.Container{{Name: "main"}},
	}}
	settle := func(phase core.PodPhase) core.PodStatus {
		t.Helper()
		if isSettled(&pod) {
			t.Errorf("settled before it is %s", phase)
		}
		pod.Status = podStatus(&pod, "10.0.0.1", meta.Now())
		if !isSettled(&pod) || pod.Status.Phase != phase {
			t.Errorf("%s, not %s", pod.Status.Phase, phase)
		}
		return pod.Status
	}
	status := settle(core.PodRunning)
	if status.InitContainerStatuses[0].State.Terminated == nil ||
		status.InitContainerStatuses[1].State.Running == nil ||
		status.ContainerStatuses[0].State.Running == nil {
		t.Errorf("not what a running pod has: %v", status)
	}
	pod.Spec.EphemeralContainers = append(pod.Spec.EphemeralContainers, debugger)
	if settle(core.PodRunning).EphemeralContainerStatuses[0].State.Running == nil {
		t.Error("the ephemeral container does not run")
	}
	pod.OwnerReferences = []meta.OwnerReference{{Kind: "Job", Controller: &yes}}
	if settle(core.PodSucceeded).ContainerStatuses[0].State.Terminated == nil {
		t.Error("a Job's container does not end")
	}
}

func parse(t *testing.T, p pair) *x509.Certificate {
	block, _ := pem.Decode(p.certificate)
	return must(x509.ParseCertificate(block.Bytes))(t)
}

// must returns a value that was made without an error, or ends the test.
func must[T any](value T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return value
	}
}
