package main

// Who there is: an administrator, two people, a service account of CI, and the components; and how
// each gets a kubeconfig. Apart from the administrator and the components nobody has any rights.
// Tests grant those, as the administrator.

import (
	"context"
	"fmt"
	"path/filepath"

	authentication "k8s.io/api/authentication/v1"
	core "k8s.io/api/core/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"
)

const (
	adminUser  = "admin"
	adminGroup = "system:masters"

	ciNamespace = "ci"
	ciAccount   = "deployer"
	// ciTokenSeconds lets CI's token outlive any run.
	ciTokenSeconds = int64(24 * 60 * 60)
)

// people are the users with a client certificate: by the name of their kubeconfig, user and groups.
var people = map[string][]string{
	"admin": {adminUser, adminGroup},
	"alice": {"alice@example.com", "platform"},
	"bob":   {"bob@example.com", "developers"},
}

// writeKubeconfigs writes one for each user and API server, and returns their paths by name.
func (b *testbed) writeKubeconfigs(
	ctx context.Context, admin kubernetes.Interface,
) (map[string]string, error) {
	token, err := createCI(ctx, admin)
	if err != nil {
		return nil, err
	}
	logins := map[string]*api.Config{}
	for i := range b.servers {
		for name, user := range people {
			config, err := b.login(i, user[0], user[1:]...)
			if err != nil {
				return nil, err
			}
			logins[name+suffix(i)] = config
		}
		logins["ci"+suffix(i)] = b.kubeconfig(i, ciAccount, &api.AuthInfo{Token: token})
	}
	paths := map[string]string{}
	for name, config := range logins {
		if paths[name], err = b.writeKubeconfig(name, config); err != nil {
			return nil, err
		}
	}
	return paths, nil
}

// writeKubeconfig writes NAME.kubeconfig, and returns its path.
func (b *testbed) writeKubeconfig(name string, config *api.Config) (string, error) {
	path := filepath.Join(b.dir, name+".kubeconfig")
	if err := clientcmd.WriteToFile(*config, path); err != nil {
		return "", fmt.Errorf("cannot write the kubeconfig of %s: %w", name, err)
	}
	return path, nil
}

// writeComponentKubeconfigs writes those that the controller manager and the scheduler are started
// with; both talk to the first API server.
func (b *testbed) writeComponentKubeconfigs() error {
	for _, name := range []string{"controller-manager", "scheduler"} {
		config, err := b.login(0, "system:kube-"+name)
		if err != nil {
			return err
		}
		if _, err := b.writeKubeconfig(name, config); err != nil {
			return err
		}
	}
	return nil
}

// createCI creates CI's service account, and returns a token for it.
func createCI(ctx context.Context, admin kubernetes.Interface) (string, error) {
	namespace := &core.Namespace{ObjectMeta: meta.ObjectMeta{Name: ciNamespace}}
	_, err := admin.CoreV1().Namespaces().Create(ctx, namespace, meta.CreateOptions{})
	if err != nil {
		return "", fmt.Errorf("cannot create the namespace %s: %w", ciNamespace, err)
	}
	accounts := admin.CoreV1().ServiceAccounts(ciNamespace)
	account := &core.ServiceAccount{ObjectMeta: meta.ObjectMeta{Name: ciAccount}}
	if _, err := accounts.Create(ctx, account, meta.CreateOptions{}); err != nil {
		return "", fmt.Errorf("cannot create the service account %s: %w", ciAccount, err)
	}
	seconds := ciTokenSeconds
	request := &authentication.TokenRequest{
		Spec: authentication.TokenRequestSpec{ExpirationSeconds: &seconds},
	}
	token, err := accounts.CreateToken(ctx, ciAccount, request, meta.CreateOptions{})
	if err != nil {
		return "", fmt.Errorf("cannot get a token for %s: %w", ciAccount, err)
	}
	return token.Status.Token, nil
}

// login issues a client certificate, and describes access to an API server with it.
func (b *testbed) login(index int, user string, groups ...string) (*api.Config, error) {
	p, err := b.ca.client(user, groups...)
	if err != nil {
		return nil, err
	}
	auth := &api.AuthInfo{ClientCertificateData: p.certificate, ClientKeyData: p.key}
	return b.kubeconfig(index, user, auth), nil
}

// kubeconfig describes access to an API server for whoever auth stands for.
func (b *testbed) kubeconfig(index int, user string, auth *api.AuthInfo) *api.Config {
	config := api.NewConfig()
	config.Clusters["testbed"] = &api.Cluster{
		Server:               b.servers[index].URL,
		CertificateAuthority: filepath.Join(b.dir, "pki", "ca.crt"),
	}
	config.AuthInfos[user] = auth
	config.Contexts["testbed"] = &api.Context{Cluster: "testbed", AuthInfo: user}
	config.CurrentContext = "testbed"
	return config
}

// client returns a client of the testbed's own. It sends as fast as it is asked to: client-go's
// limit would only make the pods of a larger test start late.
func (b *testbed) client(index int, user string, groups ...string) (kubernetes.Interface, error) {
	kubeconfig, err := b.login(index, user, groups...)
	if err != nil {
		return nil, err
	}
	config, err := clientcmd.NewDefaultClientConfig(*kubeconfig, nil).ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("the testbed's own kubeconfig is not usable: %w", err)
	}
	config.QPS = -1
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("cannot make a client for %s: %w", config.Host, err)
	}
	return client, nil
}
