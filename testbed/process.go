package main

// Child processes that cannot outlive this one: started, watched, stopped.
// Which programs run, and with what flags, is in components.go.

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"k8s.io/klog/v2"
)

const (
	// stopTimeout is what a component gets to finish, such as to send its audit events.
	stopTimeout = 60 * time.Second
	// tailLines is how much of a dead component's log is shown.
	tailLines = 20
)

// startProcess runs a component in dir, its output in NAME.log there. It returns how to stop it:
// by a call that returns once it has ended.
// died is called when it ends without having been asked to, or cannot be started at all.
func startProcess(
	name, dir, program string, args []string, died func(error),
) (stop func(), err error) {
	log, err := os.Create(filepath.Join(dir, name+".log"))
	if err != nil {
		return nil, fmt.Errorf("cannot create the log of %s: %w", name, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, log, log
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = stopTimeout
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		defer log.Close()
		err := runTied(cmd)
		if err == nil {
			err = errors.New("exit status 0")
		}
		if ctx.Err() == nil {
			died(fmt.Errorf("%s ended by itself, %w; its log ends:\n%s",
				name, err, tail(log.Name())))
		} else if cmd.ProcessState.String() == "signal: killed" {
			klog.Warningf("%s did not end within %s and was killed: what it had not yet written "+
				"or sent is lost", name, stopTimeout)
		}
	}()
	return func() { cancel(); <-ended }, nil
}

// runTied runs cmd to its end, and has the kernel kill it when this program ends in any way. The
// kernel takes the thread that started a child for its parent, so that thread is held meanwhile.
// A group of its own keeps a Ctrl-C at the terminal from reaching cmd before its turn.
func runTied(cmd *exec.Cmd) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	return cmd.Run()
}

// tail returns the last lines of a file, or why there are none.
func tail(path string) string {
	content, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimRight(string(content), "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-tailLines):], "\n")
}
