// Package sandbox runs one program that can read and compute, and nothing else: it reaches no network, asks no name server
// and writes no file but in one folder.
//
// It does not hide files from the program, and knows nothing of what it runs. Linux on amd64 and arm64 only; elsewhere Run
// refuses.
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

// Command is what to run.
type Command struct {
	Path  string // absolute
	Args  []string
	Dir   string        // the working directory, and the only folder that may be written to; absolute
	Limit time.Duration // from start to end; 0: a minute

	without Layers // left out by tests
}

// Layers are the walls beside the one that always stands, the system call filter. Each holds by itself what it is for; which of
// them there are depends on the kernel and on what a container is allowed.
type Layers struct {
	Namespaces bool // user, network, process, IPC and host name namespaces of its own: no network, no other process
	Landlock   bool // writes below Command.Dir only. Without it, nothing can be written at all
}

// Result is how a program ended.
type Result struct {
	Code     int    // exit status; -1: ended by a signal
	Signal   string // "segmentation fault"; "" unless a signal ended it
	TimedOut bool   // it was killed at the limit
	Output   string // what it said on both of its streams: the first and the last 128 KiB
	Layers   Layers
}

// UnavailableError says that this host cannot confine a program, so that none was run.
type UnavailableError struct{ Err error }

func (e *UnavailableError) Error() string { return "no sandbox on this host: " + e.Err.Error() }

func (e *UnavailableError) Unwrap() error { return e.Err }

const (
	defaultLimit = time.Minute
	keptOutput   = 128 << 10 // bytes of either end
	leftOut      = "\n[…]\n"
	memoryLimit  = 8 << 30  // bytes of data; Envoy has 0.5 GB of them with 10,000 APIs
	fileLimit    = 64 << 20 // bytes of one file in Command.Dir
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

// ends keeps the first and the last bytes written to it.
type ends struct {
	limit      int // of each
	head, tail []byte
	lost       bool
}

func (e *ends) Write(b []byte) (int, error) {
	n := len(b)
	k := min(n, e.limit-len(e.head))
	e.head = append(e.head, b[:k]...)
	e.tail = append(e.tail, b[k:]...)
	if len(e.tail) > 2*e.limit {
		e.tail = append(e.tail[:0], e.tail[len(e.tail)-e.limit:]...)
		e.lost = true
	}
	return n, nil
}

func (e *ends) String() string {
	tail := e.tail[max(0, len(e.tail)-e.limit):]
	if e.lost || len(tail) < len(e.tail) {
		return string(e.head) + leftOut + string(tail)
	}
	return string(e.head) + string(tail)
}
