// Package harness is what tests with a real Envoy share: the command built once, ports, a daemon that may be killed and run
// again, and requests on connections that must stay open.
//
// It knows nothing of what is declared, and judges no answer but its status.
package harness

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/flexgw/flexgw/e2e/ports"
)

// alone is the variable that tells a process that it is one of Inside; its value is the command.
const alone = "FLEXGW_TEST_ALONE"

// build is the command in a folder of its own; dir is "" until somebody wants it.
var build struct {
	sync.Once
	dir string
	err error
}

// Main runs the tests of a package whose tests use Binary, and returns the exit code.
func Main(m *testing.M) int {
	// What is ignored here, under nohup, the daemons would ignore too; what is handled here they begin with as it is by default.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP)
	code := m.Run()
	if build.dir != "" {
		os.RemoveAll(build.dir)
	}
	return code
}

// Binary is the path of flexgw, built from this checkout once for each run of a package's tests. With -short the test is left out.
func Binary(t testing.TB) string {
	t.Helper()
	if testing.Short() {
		t.Skip("a real Envoy is left out with -short")
	}
	if binary := os.Getenv(alone); binary != "" {
		return binary
	}
	build.Do(func() {
		if build.dir, build.err = os.MkdirTemp("", "flexgw-e2e-"); build.err != nil {
			return
		}
		out, err := exec.Command("go", "build", "-o", filepath.Join(build.dir, "flexgw"), "github.com/flexgw/flexgw").CombinedOutput()
		if err != nil {
			build.err = fmt.Errorf("go build: %w\n%s", err, out)
		}
	})
	if build.err != nil {
		t.Fatal(build.err)
	}
	return filepath.Join(build.dir, "flexgw")
}

// Command runs a flexgw command, for two minutes at most, and returns what it printed and its exit code.
func Command(t testing.TB, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, Binary(t), args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// FreePort is a port of loopback that nobody listens on and that no other test was given.
func FreePort(t testing.TB) int { return ports.Free(t) }

// BusyPort is an address of loopback, host:port, that is taken until the test ends or free is called.
func BusyPort(t testing.TB) (address string, free func()) {
	t.Helper()
	address = ports.Addr(t)
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	free = func() { l.Close() }
	t.Cleanup(free)
	return address, free
}

// patience is for what a test waits for. Only what never comes may take so long, on whatever machine and beside whatever load.
const patience = 2 * time.Minute

// Until repeats check until it returns nil. A check that goes on failing for two minutes fails the test: how fast something is, no test
// learns from it.
func Until(t testing.TB, check func() error) {
	t.Helper()
	late := time.Now().Add(patience)
	for {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(late) {
			t.Fatalf("not within %s: %v", patience, err)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// Replace puts a file into place by a rename; its folder is made.
func Replace(t testing.TB, path, text string) {
	t.Helper()
	dir, name := filepath.Split(path)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	temp := filepath.Join(dir, "."+name+".new")
	if err := os.WriteFile(temp, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(temp, path); err != nil {
		t.Fatal(err)
	}
}
