package envoy

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/flexgw/flexgw/reconcile/disk"
)

// Options of Start and Adopt.
type Options struct {
	StateDir      string        // where the lock, the record and the log are; made when there is none
	Binary        string        // from Find
	BootstrapPath string        // its file; the content is hashed, to know an Envoy with another one
	Bootstrap     []byte        // in place of the file, where a full disk does not take it; it stands on the command line then
	AdminSocket   string        // as in the bootstrap
	BaseID        uint32        // 0: BaseID(StateDir)
	Concurrency   int           // worker threads; 0: one per CPU
	DrainTime     time.Duration // how long a listener that goes still takes connections; 0: Envoy's own 600 s
	LogPath       string        // "": StateDir/envoy.log. A file and not a pipe: it must outlive the daemon
}

// The bounds of what Envoy is waited for.
const (
	startLimit  = 20 * time.Second // from exec to an answer of the admin interface
	adoptLimit  = 5 * time.Second  // for one that holds the lock
	termLimit   = 5 * time.Second  // from SIGTERM to SIGKILL
	lockPoll    = 100 * time.Millisecond
	quietFor    = 500 * time.Millisecond // without a request, connections are only kept alive
	logLimit    = 16 << 20               // bytes; a longer log is set aside at the next start
	envoyPrefix = "ENVOY_"
)

func (o Options) lockPath() string   { return filepath.Join(o.StateDir, "envoy.lock") }
func (o Options) recordPath() string { return filepath.Join(o.StateDir, "envoy.json") }

func (o Options) logPath() string {
	if o.LogPath != "" {
		return o.LogPath
	}
	return filepath.Join(o.StateDir, "envoy.log")
}

func (o Options) baseID() uint32 {
	if o.BaseID != 0 {
		return o.BaseID
	}
	return BaseID(o.StateDir)
}

func (o Options) bootstrap() ([]byte, error) {
	if o.Bootstrap != nil {
		return o.Bootstrap, nil
	}
	return os.ReadFile(o.BootstrapPath)
}

func (o Options) args() []string {
	config := []string{"--config-path", o.BootstrapPath}
	if o.Bootstrap != nil {
		config = []string{"--config-yaml", string(o.Bootstrap)}
	}
	args := append(config,
		// With hot restart Envoy asks for SIGTERM at its parent's death (PR_SET_PDEATHSIG), which for Linux is the death of
		// the thread that started it, prctl(2). It also keeps no shared memory without it. The base id is then a name.
		"--disable-hot-restart",
		"--base-id", strconv.FormatUint(uint64(o.baseID()), 10),
		"--file-flush-interval-msec", "100",
		"--log-path", o.logPath(),
		"--log-level", "info",
	)
	if o.Concurrency > 0 {
		args = append(args, "--concurrency", strconv.Itoa(o.Concurrency))
	}
	if o.DrainTime > 0 {
		args = append(args, "--drain-time-s", strconv.Itoa(max(1, int(o.DrainTime.Round(time.Second)/time.Second))))
	}
	return args
}

// record is what is remembered of a started Envoy.
type record struct {
	PID       int       `json:"pid"`
	Bootstrap string    `json:"bootstrap"` // SHA-256 of the file
	Binary    string    `json:"binary"`
	Admin     string    `json:"admin"` // its socket
	Started   time.Time `json:"started"`
}

// RunningError says that an Envoy, or something else, holds the lock of the state folder.
type RunningError struct {
	StateDir string
	PID      int // as recorded; 0: unknown
}

func (e *RunningError) Error() string {
	if e.PID == 0 {
		return fmt.Sprintf("an Envoy of %s is running already", e.StateDir)
	}
	return fmt.Sprintf("an Envoy of %s is running already (process %d)", e.StateDir, e.PID)
}

// Process is one running Envoy. It goes on when the daemon ends.
type Process struct {
	PID     int
	Version string
	Adopted bool // somebody else started it
	Admin   *Admin

	options Options
	handle  *os.Process
	done    chan struct{}
	err     error
}

// Done is closed when the process has ended; Err then says how.
func (p *Process) Done() <-chan struct{} { return p.done }

// Err is nil while the process runs, and when it ended with status 0. Of an adopted process only the end is known.
func (p *Process) Err() error {
	select {
	case <-p.done:
		return p.err
	default:
		return nil
	}
}

// Start starts an Envoy and returns when its admin interface answers, which is before it is ready. It returns a
// *RunningError when the state folder has an Envoy already. When ctx ends first, the new process is killed; afterwards ctx
// has no hold over it.
func Start(ctx context.Context, o Options) (*Process, error) {
	bootstrap, err := o.bootstrap()
	if err != nil {
		return nil, fmt.Errorf("start envoy: %w", err)
	}
	if err := os.MkdirAll(o.StateDir, 0o700); err != nil {
		return nil, fmt.Errorf("start envoy: %w", err)
	}
	lock, err := o.lock()
	if err != nil {
		return nil, err
	}
	defer lock.Unlock() // Envoy has the descriptor too by then, and with it the lock
	logged, err := openLog(o.logPath())
	if err != nil {
		return nil, fmt.Errorf("start envoy: %w", err)
	}
	defer logged.Close()
	before, _ := logged.Seek(0, io.SeekEnd)

	cmd, err := o.exec(lock, logged)
	if err != nil {
		return nil, fmt.Errorf("start envoy: %w", err)
	}
	p := &Process{PID: cmd.Process.Pid, Admin: NewAdmin(o.AdminSocket), options: o, handle: cmd.Process, done: make(chan struct{})}
	go func() {
		p.err = cmd.Wait()
		close(p.done)
	}()
	if err := p.begin(ctx, record{PID: p.PID, Bootstrap: sum(bootstrap), Binary: o.Binary, Admin: o.AdminSocket, Started: time.Now().UTC()}); err != nil {
		_ = p.handle.Kill()
		<-p.done
		p.clean()
		if said := lastLogged(o.logPath(), before); said != "" {
			err = fmt.Errorf("%w: %s", err, said)
		}
		return nil, fmt.Errorf("start envoy: %w", err)
	}
	return p, nil
}

func (o Options) lock() (*Lock, error) {
	lock, err := LockFile(o.lockPath()) // who only looks holds it for a moment, and is waited for
	switch {
	case errors.Is(err, ErrLocked):
		r, _ := o.read()
		return nil, &RunningError{StateDir: o.StateDir, PID: r.PID}
	case err != nil:
		return nil, fmt.Errorf("start envoy: %w", err)
	}
	return lock, nil
}

// masking guards the mask of this process, which has one.
var masking sync.Mutex

func (o Options) exec(lock *Lock, logged *os.File) (*exec.Cmd, error) {
	for try := 0; ; try++ {
		cmd := exec.Command(o.Binary, o.args()...)
		cmd.Env = environment(os.Environ())
		cmd.Stdout, cmd.Stderr = logged, logged
		cmd.ExtraFiles = []*os.File{lock.file}
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // what happens at the daemon's terminal is not for Envoy
		// What Envoy makes, its access logs above all, is for this user alone. A mask is of a process: a file that the daemon makes in this
		// moment is for it alone, too.
		masking.Lock()
		mask := syscall.Umask(0o077)
		err := cmd.Start()
		syscall.Umask(mask)
		masking.Unlock()
		if try == 10 || !errors.Is(err, syscall.ETXTBSY) { // see run
			return cmd, err
		}
		time.Sleep(10 * time.Millisecond << min(try, 4))
	}
}

// environment leaves out what is the daemon's: declarations may take secrets from it.
func environment(all []string) []string {
	keep := map[string]bool{"PATH": true, "HOME": true, "TMPDIR": true, "TZ": true, "LANG": true, "LC_ALL": true, "LD_LIBRARY_PATH": true}
	var env []string
	for _, kv := range all {
		name, _, _ := strings.Cut(kv, "=")
		if keep[name] || strings.HasPrefix(name, envoyPrefix) {
			env = append(env, kv)
		}
	}
	return env
}

func openLog(path string) (*os.File, error) {
	if _, err := setAside(path, logLimit); err != nil {
		return nil, err
	}
	return os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
}

// setAside renames a log that has grown beyond a limit.
func setAside(path string, limit int64) (bool, error) {
	if info, err := os.Stat(path); err != nil || info.Size() <= limit {
		return false, nil
	}
	return true, os.Rename(path, path+".1")
}

// rotate sets the log of a running Envoy aside when it has grown beyond a limit, and has Envoy open a new one.
func (p *Process) rotate(ctx context.Context, limit int64) {
	if done, err := setAside(p.options.logPath(), limit); done && err == nil {
		_, _ = p.Admin.Post(ctx, "/reopen_logs") // else it writes into the old one, which is no worse
	}
}

// begin waits for the admin interface, and writes down what was started.
func (p *Process) begin(ctx context.Context, r record) error {
	ctx, cancel := context.WithTimeoutCause(ctx, startLimit, fmt.Errorf("no answer on %s within %v", p.Admin.socket, startLimit))
	defer cancel()
	for {
		if pid, err := p.Admin.PID(ctx); err == nil && pid == p.PID {
			if info, err := p.Admin.ServerInfo(ctx); err == nil {
				p.Version = info.Version
				if err := p.options.write(r); err != nil && !disk.Full(err) {
					return err
				}
				return nil // an Envoy without a record serves all the same, and is adopted as one of an unknown bootstrap
			}
		}
		select {
		case <-p.done:
			if p.err != nil {
				return fmt.Errorf("it ended at once: %w", p.err)
			}
			return errors.New("it ended at once")
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func (o Options) write(r record) error {
	b, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return disk.Write(o.recordPath(), append(b, '\n'), 0o600)
}

func (o Options) read() (record, error) {
	var r record
	b, err := os.ReadFile(o.recordPath())
	if err != nil {
		return r, err
	}
	return r, json.Unmarshal(b, &r)
}

func sum(b []byte) string {
	s := sha256.Sum256(b)
	return hex.EncodeToString(s[:])
}

// lastLogged is the last line of weight in a log, from an offset on.
func lastLogged(path string, from int64) (said string) {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	if _, err := f.Seek(from, io.SeekStart); err != nil {
		return ""
	}
	s := bufio.NewScanner(f)
	s.Buffer(nil, 1<<20)
	for s.Scan() {
		line := s.Text()
		// An unknown flag is told without a level.
		if strings.Contains(line, "[critical]") || strings.Contains(line, "[error]") || strings.HasPrefix(line, "PARSE ERROR") || strings.HasPrefix(strings.TrimSpace(line), "Couldn't find match") {
			said = line
		}
	}
	if said == "" {
		return ""
	}
	return Clean(said)
}

// Adopt finds the Envoy that a former daemon left in the state folder. p is nil when there is none: then nothing holds
// the lock, whatever sockets and records lie about. same tells whether it was started with the bootstrap that
// BootstrapPath holds now; if not, it serves all the same, and may lack what a new daemon counts on. An error means that
// something holds the lock but does not answer as an Envoy on the admin socket.
func Adopt(ctx context.Context, o Options) (p *Process, same bool, err error) {
	if free, err := o.free(); err != nil || free {
		return nil, false, err
	}
	ctx, cancel := context.WithTimeout(ctx, adoptLimit)
	defer cancel()
	for {
		p, err = adopt(ctx, o)
		if r, readErr := o.read(); err != nil && readErr == nil && r.Admin != "" && r.Admin != o.AdminSocket {
			// Started when runtime folders were elsewhere.
			moved := o
			moved.AdminSocket = r.Admin
			p, err = adopt(ctx, moved)
		}
		if err == nil {
			break
		}
		if free, freeErr := o.free(); freeErr != nil || free {
			return nil, false, freeErr
		}
		select {
		case <-ctx.Done():
			r, _ := o.read()
			return nil, false, fmt.Errorf("adopt envoy: %w, but does not answer on %s: %w", &RunningError{o.StateDir, r.PID}, o.AdminSocket, err)
		case <-time.After(20 * time.Millisecond):
		}
	}
	// A record of another process is a former Envoy's: nothing is known of this one's bootstrap.
	r, readErr := o.read()
	bootstrap, bootErr := o.bootstrap()
	same = readErr == nil && bootErr == nil && r.PID == p.PID && r.Bootstrap == sum(bootstrap)
	return p, same, nil
}

func adopt(ctx context.Context, o Options) (*Process, error) {
	admin := NewAdmin(o.AdminSocket)
	pid, err := admin.PID(ctx)
	if err != nil {
		return nil, err
	}
	if pid <= 0 || pid == os.Getpid() {
		return nil, fmt.Errorf("process %d is not an Envoy", pid)
	}
	handle, err := os.FindProcess(pid) // a pidfd: a signal never reaches a later process of that number
	if err != nil {
		return nil, err
	}
	info, err := admin.ServerInfo(ctx)
	if err != nil {
		return nil, err
	}
	if info.BaseID != o.baseID() {
		return nil, fmt.Errorf("process %d has base id %d, expected %d", pid, info.BaseID, o.baseID())
	}
	p := &Process{PID: pid, Version: info.Version, Adopted: true, Admin: admin, options: o, handle: handle, done: make(chan struct{})}
	go p.watchLock()
	return p, nil
}

// watchLock is how the end of a process that is not our child is noticed, a zombie's too: its lock goes.
func (p *Process) watchLock() {
	defer close(p.done)
	for {
		if free, err := p.options.free(); err == nil && free {
			return
		} else if errors.Is(err, os.ErrNotExist) && p.handle.Signal(syscall.Signal(0)) != nil {
			return // the state folder was deleted under it
		}
		time.Sleep(lockPoll)
	}
}

// free reports whether nobody holds the lock of the state folder.
func (o Options) free() (bool, error) {
	held, err := Held(o.lockPath())
	if err != nil {
		return false, fmt.Errorf("adopt envoy: %w", err)
	}
	return !held, nil
}

// Stop drains and ends the process: health fails, listeners drain, and when no request runs any more, or after drain,
// SIGTERM. Without a connection it ends at once; connections that are only kept alive are given half a second without
// a request. SIGKILL follows a SIGTERM that does not help within 5 s. When ctx ends, the draining is cut short, not the end.
// It returns when the process has ended.
func (p *Process) Stop(ctx context.Context, drain time.Duration) error {
	if drain > 0 {
		p.drain(ctx, drain)
	}
	if err := p.handle.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("stop envoy: %w", err)
	}
	if !p.ended(termLimit) {
		_ = p.handle.Kill()
		if !p.ended(termLimit) {
			return fmt.Errorf("stop envoy: process %d does not end", p.PID)
		}
	}
	p.clean()
	return nil
}

func (p *Process) ended(within time.Duration) bool {
	select {
	case <-p.done:
		return true
	case <-time.After(within):
		return false
	}
}

// clean removes what Envoy leaves behind: its socket, and our record.
func (p *Process) clean() {
	_ = os.Remove(p.options.AdminSocket)
	_ = os.Remove(p.options.recordPath())
}

func (p *Process) drain(ctx context.Context, limit time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	_ = Drain(ctx, p.Admin, p.done) // what can not be drained is ended all the same
}

// Drain fails health, drains listeners, and returns nil when there is nothing left to wait for, gone is closed, or ctx ends:
// nobody may wait for longer. An error means that Envoy does not answer: there is nothing to be waited for either.
func Drain(ctx context.Context, admin *Admin, gone <-chan struct{}) error {
	if err := admin.Drain(ctx); err != nil {
		return err
	}
	var last Traffic
	quiet := time.Now()
	for {
		began := time.Now()
		now, err := admin.Traffic(ctx)
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		if now.Requests > 0 || now.Total != last.Total && last != (Traffic{}) {
			quiet = time.Now()
		}
		if now.Requests == 0 && (now.Connections == 0 || time.Since(quiet) >= quietFor) {
			return nil
		}
		last = now
		// Asking costs the main thread; leave it most of its time.
		pause := max(50*time.Millisecond, 4*time.Since(began))
		if now.Requests == 0 {
			pause = min(pause, max(time.Millisecond, quietFor-time.Since(quiet)))
		}
		select {
		case <-gone:
			return nil
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
	}
}
