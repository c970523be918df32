package main

// What a simulated node says about a pod: all its containers run, or, in a pod of a Job, have
// ended. A function of the pod alone, without any API; node.go sends the result.

import (
	"fmt"

	core "k8s.io/api/core/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// isSettled tells whether the pod's status already says what podStatus would say.
func isSettled(pod *core.Pod) bool {
	return pod.Status.Phase == phaseOf(pod) &&
		len(pod.Status.EphemeralContainerStatuses) == len(pod.Spec.EphemeralContainers)
}

// podStatus returns the status that the pod settles in.
func podStatus(pod *core.Pod, address string, now meta.Time) core.PodStatus {
	phase := phaseOf(pod)
	ready := phase == core.PodRunning
	status := core.PodStatus{
		Phase:     phase,
		HostIP:    "127.0.0.1",
		HostIPs:   []core.HostIP{{IP: "127.0.0.1"}},
		PodIP:     address,
		PodIPs:    []core.PodIP{{IP: address}},
		StartTime: pod.Status.StartTime,
		Conditions: []core.PodCondition{
			condition(core.PodInitialized, true, now),
			condition(core.ContainersReady, ready, now),
			condition(core.PodReady, ready, now),
		},
	}
	if status.StartTime == nil {
		status.StartTime = &now
	}
	for _, c := range pod.Spec.InitContainers {
		// One that restarts always is a sidecar, and runs as long as the pod.
		runs := ready && c.RestartPolicy != nil
		status.InitContainerStatuses = append(status.InitContainerStatuses,
			containerStatus(pod, c.Name, c.Image, runs, *status.StartTime))
	}
	for _, c := range pod.Spec.Containers {
		status.ContainerStatuses = append(status.ContainerStatuses,
			containerStatus(pod, c.Name, c.Image, ready, *status.StartTime))
	}
	for _, c := range pod.Spec.EphemeralContainers {
		status.EphemeralContainerStatuses = append(status.EphemeralContainerStatuses,
			containerStatus(pod, c.Name, c.Image, ready, now))
	}
	return status
}

// phaseOf returns the phase that the pod settles in. The pods of Jobs end at once, so that the Job
// does; all others run, also those that may end, because tests want to exec into them.
func phaseOf(pod *core.Pod) core.PodPhase {
	if owner := meta.GetControllerOf(pod); owner != nil && owner.Kind == "Job" {
		return core.PodSucceeded
	}
	return core.PodRunning
}

func condition(kind core.PodConditionType, holds bool, since meta.Time) core.PodCondition {
	status := core.ConditionFalse
	if holds {
		status = core.ConditionTrue
	}
	return core.PodCondition{Type: kind, Status: status, LastTransitionTime: since}
}

func containerStatus(
	pod *core.Pod, name, image string, runs bool, since meta.Time,
) core.ContainerStatus {
	id := fmt.Sprintf("testbed://%s/%s", pod.UID, name)
	state := core.ContainerState{Running: &core.ContainerStateRunning{StartedAt: since}}
	if !runs {
		state = core.ContainerState{Terminated: &core.ContainerStateTerminated{
			Reason: "Completed", StartedAt: since, FinishedAt: since, ContainerID: id,
		}}
	}
	return core.ContainerStatus{
		Name: name, Image: image, ImageID: image, ContainerID: id,
		Ready: runs, Started: &runs, State: state,
	}
}
