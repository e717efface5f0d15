// Package sandbox runs one program that can read and compute, and nothing else: it reaches no network, asks no name server
// and writes no file but in one folder.
//
// It does not hide files from the program, and knows nothing of what it runs. Linux on amd64 and arm64 only; elsewhere Run
// refuses.
package sandbox

import "time"

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
