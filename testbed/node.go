package main

// Simulated nodes: each registers a Node, keeps it alive with a Lease, and does to the pods bound
// to it what a kubelet would, with the user and the rights of one. No container ever runs.
// What a pod's status says is in pod.go; the endpoint for exec and logs in kubelet.go.

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	core "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/pkg/version"
	"k8s.io/client-go/tools/cache"
	"k8s.io/component-helpers/apimachinery/lease"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"
)

const (
	// Those of a kubelet; the control plane gives a node up after 50 s.
	leaseSeconds  = 40
	leaseInterval = 10 * time.Second
	// resyncInterval is after what time a pod that could not be updated is tried again.
	resyncInterval = 5 * time.Second
)

// node is one simulated node.
type node struct {
	name        string
	subnet      string // of its pods' addresses, in the range reserved for tests of networks
	client      kubernetes.Interface
	kubeletPort int
	addresses   map[types.UID]string // of pods, given out once and for all
}

// start registers the node and serves it until ctx ends.
func (n *node) start(ctx context.Context) error {
	_, err := n.client.CoreV1().Nodes().Create(ctx, n.object(), meta.CreateOptions{})
	if err != nil {
		return fmt.Errorf("cannot register node %s: %w", n.name, err)
	}
	if err := n.watchPods(ctx); err != nil {
		return err
	}
	heartbeat := lease.NewController(clock.RealClock{}, n.client, n.name, leaseSeconds, nil,
		leaseInterval, n.name, core.NamespaceNodeLease, nil)
	go heartbeat.Run(ctx)
	return nil
}

// watchPods has sync called for every pod of this node, now and whenever one changes.
func (n *node) watchPods(ctx context.Context) error {
	mine := informers.WithTweakListOptions(func(o *meta.ListOptions) {
		o.FieldSelector = fields.OneTermEqualSelector("spec.nodeName", n.name).String()
	})
	factory := informers.NewSharedInformerFactoryWithOptions(n.client, resyncInterval, mine)
	sync := func(object any) {
		if err := n.sync(ctx, object.(*core.Pod)); err != nil && ctx.Err() == nil {
			klog.Warningf("%s tries again in %s: %v", n.name, resyncInterval, err)
		}
	}
	pods := factory.Core().V1().Pods().Informer()
	_, err := pods.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    sync,
		UpdateFunc: func(_, object any) { sync(object) },
	})
	if err != nil {
		return fmt.Errorf("cannot watch the pods of %s: %w", n.name, err)
	}
	factory.StartWithContext(ctx)
	return nil
}

// sync brings a pod's status to what the pod asks for, or ends the pod.
func (n *node) sync(ctx context.Context, pod *core.Pod) error {
	pods := n.client.CoreV1().Pods(pod.Namespace)
	if pod.DeletionTimestamp != nil {
		now, uid := int64(0), pod.UID
		err := pods.Delete(ctx, pod.Name, meta.DeleteOptions{
			GracePeriodSeconds: &now,
			Preconditions:      &meta.Preconditions{UID: &uid},
		})
		return ignoreGone(err)
	}
	if isSettled(pod) {
		return nil
	}
	status := podStatus(pod, n.podAddress(pod.UID), meta.Now())
	// Like a kubelet's, a patch: whatever else changed the pod meanwhile is no conflict.
	patch, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"uid": pod.UID},
		"status":   status,
	})
	if err != nil {
		return fmt.Errorf("cannot encode the status of pod %s: %w", pod.Name, err)
	}
	_, err = pods.Patch(ctx, pod.Name, types.StrategicMergePatchType, patch,
		meta.PatchOptions{}, "status")
	return ignoreGone(err)
}

// ignoreGone drops errors that say that the pod is no more, or another one of its name.
func ignoreGone(err error) error {
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil
	}
	return err
}

// podAddress returns the address of a pod. Not by the pod's status: it can be older than the patch
// that gave it one, and a pod must not get two. Handlers run one at a time, so no lock is needed.
func (n *node) podAddress(uid types.UID) string {
	if n.addresses[uid] == "" {
		n.addresses[uid] = fmt.Sprintf("%s.%d", n.subnet, 1+len(n.addresses)%250)
	}
	return n.addresses[uid]
}

// object is the Node that a kubelet would register.
func (n *node) object() *core.Node {
	room := core.ResourceList{
		core.ResourceCPU:              resource.MustParse("64"),
		core.ResourceMemory:           resource.MustParse("256Gi"),
		core.ResourceEphemeralStorage: resource.MustParse("1Ti"),
		core.ResourcePods:             resource.MustParse("110"),
	}
	return &core.Node{
		ObjectMeta: meta.ObjectMeta{Name: n.name, Labels: map[string]string{
			core.LabelHostname: n.name, core.LabelOSStable: "linux", core.LabelArchStable: "amd64",
		}},
		Status: core.NodeStatus{
			Capacity:    room,
			Allocatable: room,
			Conditions: []core.NodeCondition{{
				Type: core.NodeReady, Status: core.ConditionTrue, Reason: "KubeletReady",
				LastHeartbeatTime: meta.Now(), LastTransitionTime: meta.Now(),
			}},
			Addresses: []core.NodeAddress{
				{Type: core.NodeInternalIP, Address: "127.0.0.1"},
				{Type: core.NodeHostName, Address: n.name},
			},
			DaemonEndpoints: core.NodeDaemonEndpoints{
				KubeletEndpoint: core.DaemonEndpoint{Port: int32(n.kubeletPort)},
			},
			NodeInfo: core.NodeSystemInfo{
				KubeletVersion:  version.Get().GitVersion,
				OperatingSystem: "linux", Architecture: "amd64",
			},
		},
	}
}
