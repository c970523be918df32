package main

// What is waited for: API servers that say they are ready, and a cluster that pods can be created
// in and will run.

import (
	"context"
	"errors"
	"fmt"
	"time"

	core "k8s.io/api/core/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

const (
	// readyTimeout is for each step; all take a few seconds on an idle machine.
	readyTimeout  = 2 * time.Minute
	readyInterval = 100 * time.Millisecond
)

// awaitServer waits until an API server is ready.
func awaitServer(ctx context.Context, client kubernetes.Interface, url string) error {
	return await(ctx, url+" to be ready", func(ctx context.Context) error {
		return client.Discovery().RESTClient().Get().AbsPath("/readyz").Do(ctx).Error()
	})
}

// awaitUsable waits until pods can be created, and run.
func awaitUsable(ctx context.Context, client kubernetes.Interface, nodes int) error {
	for _, namespace := range []string{core.NamespaceDefault, ciNamespace} {
		what := "the default service account of " + namespace
		err := await(ctx, what, func(ctx context.Context) error {
			accounts := client.CoreV1().ServiceAccounts(namespace)
			_, err := accounts.Get(ctx, "default", meta.GetOptions{})
			return err
		})
		if err != nil {
			return err
		}
	}
	return await(ctx, "the nodes to take pods", func(ctx context.Context) error {
		list, err := client.CoreV1().Nodes().List(ctx, meta.ListOptions{})
		if err != nil {
			return err
		}
		return takePods(list.Items, nodes)
	})
}

// takePods tells what is missing for this many nodes to take pods.
func takePods(list []core.Node, count int) error {
	if len(list) != count {
		return fmt.Errorf("%d of %d nodes are registered", len(list), count)
	}
	for _, n := range list {
		// A new node is tainted until the controller manager has seen that it is ready.
		if len(n.Spec.Taints) > 0 {
			return fmt.Errorf("node %s has the taint %s", n.Name, n.Spec.Taints[0].Key)
		}
	}
	return nil
}

// await repeats a check until it returns nil.
func await(ctx context.Context, what string, check func(context.Context) error) error {
	ctx, cancel := context.WithTimeoutCause(ctx, readyTimeout,
		errors.New("too slow: see the logs in --dir"))
	defer cancel()
	for {
		err := check(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waited for %s: %w (last: %w)", what, context.Cause(ctx), err)
		case <-time.After(readyInterval):
		}
	}
}
