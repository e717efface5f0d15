package harness

import (
	"bytes"
	"cmp"
	"encoding/json"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Daemon is one `flexgw run`, which may be killed and run again. Make one with NewDaemon; it has not been run then.
type Daemon struct {
	Dir      string   // of the declarations
	Source   string   // what it follows; "": Dir
	State    string   // its state folder
	Args     []string // more arguments of `flexgw run`
	Env      []string // NAME=VALUE, beside the environment
	NoSource bool     // Dir is not followed, nor anything else
	Binary   string   // the command; "": built from this checkout
	Within   []string // files of control groups that take its number before it begins, so that its children are in them too

	Process *os.Process     // of the last Run; nil before the first
	Exited  <-chan struct{} // closed when that has ended

	t    testing.TB
	code int
	mu   sync.Mutex
	said bytes.Buffer
}

// NewDaemon is a daemon with folders of its own.
func NewDaemon(t testing.TB) *Daemon {
	t.Helper()
	return &Daemon{t: t, Dir: t.TempDir(), State: t.TempDir()}
}

// Run starts it, and forgets what an earlier run said. It is stopped when the test ends; what it said is shown when that failed.
func (d *Daemon) Run() {
	d.t.Helper()
	args := append([]string{"run", "--state-dir", d.State, "--drain-time", "2s"}, d.Args...)
	if d.NoSource {
		args = append(args, "--no-source")
	} else {
		args = append(args, cmp.Or(d.Source, d.Dir))
	}
	binary := d.Binary
	if binary == "" {
		binary = Binary(d.t)
	}
	cmd := exec.Command(binary, args...)
	if len(d.Within) > 0 {
		cmd = exec.Command("sh", append([]string{"-c", `for f in ` + strings.Join(d.Within, " ") + `; do echo $$ >"$f" || exit; done; exec "$0" "$@"`, binary}, args...)...)
	}
	cmd.Env = append(os.Environ(), d.Env...)
	cmd.Stdout, cmd.Stderr = d, d
	d.mu.Lock()
	d.said.Reset()
	d.mu.Unlock()
	if err := cmd.Start(); err != nil {
		d.t.Fatal(err)
	}
	if d.Process == nil {
		d.t.Cleanup(d.end)
	}
	exited := make(chan struct{})
	d.Process, d.Exited = cmd.Process, exited
	go func() {
		_ = cmd.Wait()
		d.code = cmd.ProcessState.ExitCode()
		close(exited)
	}()
}

func (d *Daemon) end() {
	d.Stop()
	d.endEnvoy()
	if d.t.Failed() {
		text := d.Log()
		d.t.Logf("flexgw said:\n%s", text[max(0, len(text)-20_000):])
	}
}

// Kill ends the daemon, and only it, with no chance to say goodbye.
func (d *Daemon) Kill() {
	_ = d.Process.Kill()
	<-d.Exited
}

// Stop ends the daemon with its Envoy as a supervisor would, and returns the exit code.
func (d *Daemon) Stop() int {
	d.t.Helper()
	if d.Process == nil {
		return -1
	}
	_ = d.Process.Signal(syscall.SIGTERM)
	select {
	case <-d.Exited:
	case <-time.After(patience):
		d.t.Errorf("flexgw did not stop within %s after SIGTERM", patience)
		d.Kill()
	}
	return d.code
}

// endEnvoy ends the Envoy of a daemon that was killed: it serves on for the next daemon, and there is none.
func (d *Daemon) endEnvoy() {
	c, err := net.Dial("unix", filepath.Join(d.State, "envoy-admin.sock"))
	if err != nil {
		return // it has ended, or there was none
	}
	c.Close()
	var started struct {
		PID int `json:"pid"`
	}
	text, err := os.ReadFile(filepath.Join(d.State, "envoy.json"))
	if err == nil {
		err = json.Unmarshal(text, &started)
	}
	if err != nil || started.PID <= 0 {
		d.t.Errorf("an Envoy runs on, and which it is cannot be told: %v", err)
		return
	}
	_ = syscall.Kill(started.PID, syscall.SIGTERM)
}

// WaitReady waits until it says that it serves.
func (d *Daemon) WaitReady() {
	d.t.Helper()
	d.WaitLog(`(?m)^ready `)
}

// WaitLog waits until what it said matches, as patiently as Until.
func (d *Daemon) WaitLog(pattern string) {
	d.t.Helper()
	re := regexp.MustCompile(pattern)
	late := time.Now().Add(patience)
	for !re.MatchString(d.Log()) {
		select {
		case <-d.Exited:
			d.t.Fatalf("flexgw ended with %d before it said %q:\n%s", d.code, pattern, d.Log())
		case <-time.After(5 * time.Millisecond):
		}
		if time.Now().After(late) {
			d.t.Fatalf("flexgw did not say %q in %s:\n%s", pattern, patience, d.Log())
		}
	}
}

// Log is what it said, on both streams.
func (d *Daemon) Log() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.said.String()
}

// Write takes what the process says.
func (d *Daemon) Write(p []byte) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.said.Write(p)
}

// Put puts one declaration file into place by a rename.
func (d *Daemon) Put(name, text string) {
	d.t.Helper()
	Replace(d.t, filepath.Join(d.Dir, filepath.FromSlash(name)), text)
}
