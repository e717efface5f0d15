package sandbox

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Run runs a program to its end. The error is an *UnavailableError, or that of starting the program, or ctx's.
//
// The filter and Landlock belong to a thread, and a child inherits them: so they are put on a thread that starts the program,
// waits for it, and is thrown away. No second copy of ourselves is needed to set up the walls.
func Run(ctx context.Context, c Command) (Result, error) {
	if c.Limit == 0 {
		c.Limit = defaultLimit
	}
	limited, cancel := context.WithTimeout(ctx, c.Limit)
	defer cancel()
	type answer struct {
		Result
		error
	}
	answers := make(chan answer, 1)
	onThread(func() {
		layers, err := confine(c)
		if err != nil {
			answers <- answer{error: &UnavailableError{err}}
			return
		}
		r, err := start(limited, c, layers)
		answers <- answer{r, err}
	})
	a := <-answers
	switch {
	case a.error != nil:
		return a.Result, a.error
	case ctx.Err() != nil:
		return a.Result, ctx.Err()
	}
	a.Result.TimedOut = limited.Err() != nil && a.Result.Signal != ""
	return a.Result, nil
}

// onThread runs f on a thread that nothing else runs on afterwards. It waits until there is one.
func onThread(f func()) {
	started := make(chan struct{})
	go func() {
		runtime.LockOSThread()
		if unix.Gettid() == unix.Getpid() {
			// The first thread of a process cannot end before the process: held here, it is not the one that is taken.
			onThread(f)
			runtime.UnlockOSThread()
			close(started)
			return
		}
		close(started)
		f() // and never unlocked: the thread ends with this function
	}()
	<-started
}

// confine puts the walls around this thread.
func confine(c Command) (Layers, error) {
	var l Layers
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return l, fmt.Errorf("no_new_privs: %w", err)
	}
	if !c.without.Landlock {
		err := restrictWrites(c.Dir)
		l.Landlock = err == nil
	}
	if err := filterCalls(!l.Landlock); err != nil {
		return l, fmt.Errorf("a system call filter (seccomp) cannot be set: %w", err)
	}
	l.Namespaces = !c.without.Namespaces
	return l, nil
}

// start starts the program, in namespaces of its own if the kernel lets us make them, and waits for its end.
func start(ctx context.Context, c Command, l Layers) (Result, error) {
	out := &ends{limit: keptOutput}
	var cmd *exec.Cmd
	var err error
	busy := 0
	for {
		cmd = command(ctx, c, l)
		cmd.Stdout, cmd.Stderr = out, out
		err = cmd.Start()
		if errors.Is(err, syscall.ETXTBSY) && busy < 10 {
			// Just written, and a fork of another goroutine still holds it open (golang issue 22315).
			busy++
			time.Sleep(10 * time.Millisecond)
			continue
		}
		// A container may not make namespaces, and root loses its way around permissions in them: then without.
		if err == nil || !l.Namespaces || errors.Is(err, syscall.ENOENT) {
			break
		}
		l.Namespaces = false
	}
	r := Result{Layers: l}
	if err != nil {
		return r, err
	}
	limitResources(cmd.Process.Pid)
	err = cmd.Wait()
	r.Output = out.String()
	var ended *exec.ExitError
	if err != nil && !errors.As(err, &ended) && !errors.Is(err, exec.ErrWaitDelay) && ctx.Err() == nil {
		return r, err
	}
	r.Code = cmd.ProcessState.ExitCode()
	if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		r.Signal = status.Signal().String()
	}
	return r, nil
}

func command(ctx context.Context, c Command, l Layers) *exec.Cmd {
	cmd := exec.CommandContext(ctx, c.Path, c.Args...)
	cmd.Dir = c.Dir
	cmd.Env = []string{"PATH=/usr/local/bin:/usr/bin:/bin", "HOME=" + c.Dir, "TMPDIR=" + c.Dir, "LC_ALL=C"}
	// The thread that starts it lives as long as it does, so its death is that of our process: prctl(2), PR_SET_PDEATHSIG.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL}
	if l.Namespaces {
		// No user is mapped, so the program has no capability, and files keep their owners all the same.
		cmd.SysProcAttr.Cloneflags = unix.CLONE_NEWUSER | unix.CLONE_NEWNET | unix.CLONE_NEWPID | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS
	}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second // for what it may have left holding its streams
	return cmd
}

// limitResources keeps a program that went wrong from taking the host with it, and its memory, which may hold keys, off the
// disk. It had a few milliseconds without limits.
func limitResources(pid int) {
	for _, l := range []struct {
		resource int
		most     uint64
	}{{unix.RLIMIT_CORE, 0}, {unix.RLIMIT_DATA, memoryLimit}, {unix.RLIMIT_FSIZE, fileLimit}} {
		_ = unix.Prlimit(pid, l.resource, &unix.Rlimit{Cur: l.most, Max: l.most}, nil) // it may have ended already
	}
}
