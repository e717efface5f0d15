package chaos

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

func TestMain(m *testing.M) {
	code := m.Run()
	if folder != "" {
		os.RemoveAll(folder)
	}
	os.Exit(code)
}

// folder holds what binary built; "" until then.
var folder string

// binary is flexgw, built once from this checkout.
var binary = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "flexgw-chaos-")
	if err != nil {
		return "", err
	}
	folder = dir
	path := filepath.Join(dir, "flexgw")
	out, err := exec.Command("go", "build", "-o", path, "github.com/flexgw/flexgw").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return path, nil
})

// daemon is one `flexgw run`, which may be killed and run again.
type daemon struct {
	t          testing.TB
	path       string
	dir, state string
	args       []string
	cmd        *exec.Cmd
	exited     chan struct{}
	mu         sync.Mutex
	said       bytes.Buffer
}

func newDaemon(t testing.TB, args ...string) *daemon {
	t.Helper()
	if testing.Short() {
		t.Skip("a real Envoy is left out with -short")
	}
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	d := &daemon{t: t, path: path, dir: t.TempDir(), state: t.TempDir(), args: args}
	t.Cleanup(func() {
		d.stop()
		if t.Failed() {
			text := d.log()
			t.Logf("flexgw said:\n%s", text[max(0, len(text)-6000):])
		}
	})
	return d
}

func (d *daemon) Write(p []byte) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.said.Write(p)
}

func (d *daemon) log() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.said.String()
}

func (d *daemon) run() {
	d.t.Helper()
	d.cmd = exec.Command(d.path, append([]string{"run", "--state-dir", d.state, "--drain-time", "1s", d.dir}, d.args...)...)
	d.mu.Lock()
	d.said.Reset()
	d.mu.Unlock()
	d.cmd.Stdout, d.cmd.Stderr = d, d
	d.exited = make(chan struct{})
	if err := d.cmd.Start(); err != nil {
		d.t.Fatal(err)
	}
	cmd, exited := d.cmd, d.exited
	go func() {
		_ = cmd.Wait()
		close(exited)
	}()
}

// kill ends the daemon, and only it, with no chance to say goodbye.
func (d *daemon) kill() {
	_ = d.cmd.Process.Kill()
	<-d.exited
}

// stop ends daemon and Envoy.
func (d *daemon) stop() {
	if d.cmd == nil {
		return
	}
	_ = d.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-d.exited:
	case <-time.After(20 * time.Second):
		d.t.Error("flexgw did not end within 20 s after SIGTERM")
		d.kill()
	}
}

func (d *daemon) ready() {
	d.t.Helper()
	d.until(60*time.Second, func() error {
		if !strings.Contains("\n"+d.log(), "\nready ") {
			return fmt.Errorf("it is not ready")
		}
		return nil
	})
}

// until repeats check until it returns nil.
func (d *daemon) until(limit time.Duration, check func() error) {
	d.t.Helper()
	late := time.Now().Add(limit)
	for {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(late) {
			d.t.Fatalf("not within %s: %v", limit, err)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// envoyPID is the Envoy of the state folder, as its peer on the admin socket is known to the kernel.
func (d *daemon) envoyPID() int {
	d.t.Helper()
	c, err := net.Dial("unix", filepath.Join(d.state, "envoy-admin.sock"))
	if err != nil {
		d.t.Fatal(err)
	}
	defer c.Close()
	raw, err := c.(*net.UnixConn).SyscallConn()
	if err != nil {
		d.t.Fatal(err)
	}
	pid := 0
	if err := raw.Control(func(fd uintptr) {
		if peer, e := syscall.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED); e == nil {
			pid = int(peer.Pid)
		}
	}); err != nil || pid == 0 {
		d.t.Fatalf("whose the admin socket is cannot be told: %v", err)
	}
	return pid
}

// put replaces a file by a rename.
func (d *daemon) put(name, text string) {
	d.t.Helper()
	temp := filepath.Join(d.dir, "."+name+".new")
	if err := os.WriteFile(temp, []byte(text), 0o644); err != nil {
		d.t.Fatal(err)
	}
	if err := os.Rename(temp, filepath.Join(d.dir, name)); err != nil {
		d.t.Fatal(err)
	}
}
