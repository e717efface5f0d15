package preflight_test

import (
	"context"
	"debug/elf"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/flexgw/flexgw/reconcile/envoy"
	"github.com/flexgw/flexgw/reconcile/preflight"
)

// The real /proc of this host, with this test as what is in the way.
func TestThisHost(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("reads /proc")
	}
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	state := t.TempDir()
	lock, err := envoy.LockFile(filepath.Join(state, "daemon.lock"))
	if err != nil {
		t.Fatal(err)
	}
	w := preflight.World{
		OS: runtime.GOOS, Arch: runtime.GOARCH, Now: time.Now, Getenv: os.LookupEnv, Held: envoy.Held, Kernel: preflight.AskKernel,
		Need: preflight.Need{Arch: envoy.PinnedArch, Glibc: envoy.PinnedGlibc(), Requirement: envoy.PinnedRequirement, WheelPlatform: envoy.PinnedPlatform},
	}
	o := preflight.Options{Profile: preflight.Fabric, NoNetwork: true, StateDirs: []string{state}, Declared: []preflight.Declared{{Addr: netip.MustParseAddrPort(l.Addr().String()), By: "ns/a"}}}
	found := run(t, w, o)
	r := find(t, found, "ports.in_use", l.Addr().String()+"/tcp")
	self, err := os.ReadFile("/proc/self/comm") // whatever this binary is called
	if err != nil {
		t.Fatal(err)
	}
	if want(t, r, preflight.Error, "on "+l.Addr().String()); !strings.Contains(r.Observed, strings.TrimSpace(string(self))) {
		t.Errorf("who holds it: %q", r.Observed)
	}
	want(t, find(t, found, "instance.flexgw", "flexgw"), preflight.Info, "a daemon works in "+state)
	if r := find(t, found, "resources.memory", "flexgw"); r.Severity != preflight.OK {
		t.Errorf("a host that runs these tests: %+v", r)
	}
	if err := lock.Unlock(); err != nil {
		t.Fatal(err)
	}
	l.Close()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) { // what another test is starting holds both for a moment
		found = run(t, w, o)
		port, daemon := find(t, found, "ports.in_use", l.Addr().String()+"/tcp"), find(t, found, "instance.flexgw", "flexgw")
		if port.Severity == preflight.OK && daemon.Severity == preflight.OK {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("given back, and still held: %+v, %+v", port, daemon)
		}
	}
}

// The tag of the wheel is what preflight judges a host by: the Envoy that comes with it must not need a newer C library.
func TestEnvoyNeedsWhatItsWheelSays(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("needs Envoy")
	}
	found, err := envoy.Find(context.Background(), envoy.FindOptions{})
	if err != nil {
		t.Fatal(err)
	}
	f, err := elf.Open(found.Path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	needs, err := f.DynamicVersionNeeds()
	if err != nil {
		t.Fatal(err)
	}
	newest, limit := [2]int{}, envoy.PinnedGlibc()
	for _, n := range needs {
		for _, v := range n.Needs {
			var x [2]int
			if k, _ := fmt.Sscanf(v.Dep, "GLIBC_%d.%d", &x[0], &x[1]); k == 2 && slices.Compare(newest[:], x[:]) < 0 {
				newest = x
			}
		}
	}
	if newest == [2]int{} || slices.Compare(newest[:], limit[:]) > 0 {
		t.Errorf("%s needs glibc %v, its wheel says %v", found.Path, newest, limit)
	}
	if !strings.Contains(envoy.PinnedPlatform, fmt.Sprintf("_%d_%d_", limit[0], limit[1])) {
		t.Errorf("%s is not %v", envoy.PinnedPlatform, limit)
	}
}
