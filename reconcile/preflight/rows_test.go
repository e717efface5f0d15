package preflight_test

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/flexgw/flexgw/reconcile/preflight"
)

// The branches of checks that the tests of whole tables do not come by.

func TestClusterThatSaysYes(t *testing.T) {
	t.Parallel()
	n := newInternet(t)
	w := world(t, good())
	n.join(&w)
	server := `,"serverVersion":{"gitVersion":"v1.30.0"}`
	w.Run = func(_ context.Context, name string, args ...string) ([]byte, error) {
		switch {
		case name != "kubectl":
			return nil, exec.ErrNotFound
		case args[0] == "auth":
			return []byte("yes\n"), nil
		case args[0] == "version":
			return []byte(`{"clientVersion":{"gitVersion":"v1.33.1"}` + server + `}`), nil
		}
		return nil, &exec.ExitError{Stderr: []byte("the server asks for credentials\nmore\n")}
	}
	o := preflight.Options{Cluster: true}
	found := run(t, w, o)
	want(t, find(t, found, "cluster.rights", "Kubernetes"), preflight.OK, "yes")
	want(t, find(t, found, "cluster.kubernetes", "Kubernetes"), preflight.OK, "v1.30.0")
	if r := find(t, found, "cluster.ingress", "Kubernetes"); r.Severity != preflight.Warn || r.Observed != "the cluster does not answer: the server asks for credentials" {
		t.Errorf("%+v", r)
	}
	server = ""
	want(t, find(t, run(t, w, o), "cluster.kubernetes", "Kubernetes"), preflight.Warn, "the cluster does not say its version")
}

// Whose file it is decides who may read it: its owner, its group, everybody.
func TestWhoMayReadTheFiles(t *testing.T) {
	t.Parallel()
	const name = "/etc/flexgw/registration.yaml"
	uid, gid := strconv.Itoa(os.Getuid()), strconv.Itoa(os.Getgid())
	judge := func(t *testing.T, mode os.FileMode, user, groups string) preflight.Result {
		t.Helper()
		w := world(t, with(map[string]string{name: "x", "/proc/self/status": "Uid:\t" + user + "\t" + user + "\t" + user + "\t" + user + "\nGid:\t4242\t4242\t4242\t4242\nGroups:\t" + groups + "\n"}))
		if err := os.Chmod(filepath.Join(w.Root, name), mode); err != nil {
			t.Fatal(err)
		}
		o := offline()
		o.Registration.Path = name
		return find(t, run(t, w, o), "files.registration", name)
	}
	want(t, judge(t, 0o600, uid, ""), preflight.OK, "mode 0600")
	want(t, judge(t, 0o640, "4242", gid), preflight.OK, "mode 0640")
	want(t, judge(t, 0o600, "4242", gid), preflight.Error, "user gw may not read it")
	want(t, judge(t, 0o640, "4242", ""), preflight.Error, "user gw may not read it")
	if os.Getuid() != 0 {
		want(t, judge(t, 0o040, uid, gid), preflight.Error, "may not read it") // its owner, and no member of the group
	}

	o := offline()
	o.Product = true
	const conf = "/usr/local/share/mulesoft/flex-gateway/conf.d"
	w := world(t, with(map[string]string{conf: "a file", "/etc/group": "root:x:0:\n"}))
	want(t, find(t, run(t, w, o), "files.directory", conf), preflight.Error, "is no folder")
	want(t, find(t, run(t, w, o), "files.group", "user gw"), preflight.Warn, "no group flex on this host")
}

func TestOtherSystemsAndProcessors(t *testing.T) {
	t.Parallel()
	w := world(t, good())
	w.OS = "darwin"
	o := onFabric()
	o.Declared = []preflight.Declared{declared("0.0.0.0:8081")}
	found := run(t, w, o)
	for id, subject := range map[string]string{"ports.in_use": "0.0.0.0:8081/tcp", "fabric.ports": "5000/tcp, all nodes to controller nodes", "clock.synchronised": "time service", "resources.cpu": "flexgw"} {
		want(t, find(t, found, id, subject), preflight.Skipped, "not looked at on darwin")
	}
	w = world(t, good())
	w.Arch = "arm64"
	o = offline()
	o.Envoy = "$FLEXGW_ENVOY"
	want(t, find(t, run(t, w, o), "host.architecture", "processor"), preflight.Info, "arm64")
	w = world(t, good())
	w.Getenv = func(name string) (string, bool) {
		return map[string]string{"KUBERNETES_SERVICE_HOST": "10.0.0.1"}[name], name == "KUBERNETES_SERVICE_HOST"
	}
	want(t, find(t, run(t, w, offline()), "host.container", "Kubernetes"), preflight.OK, "a pod")
}

// An authority that this host does not know, of a product that is known to open TLS; and one where TLS may be opened.
func TestUnknownAuthorities(t *testing.T) {
	t.Parallel()
	const platform, usage = "anypoint.mulesoft.com:443", "metering.ingestion.us-east-1.prod.cloudhub.io:443"
	n := newInternet(t)
	w := world(t, good())
	n.join(&w)
	ca := newAuthority(t, "Netskope CA")
	for _, addr := range []string{platform, usage} {
		n.certs[host(addr)] = ca.issue(t, host(addr), today.Add(-time.Hour), today.Add(time.Hour))
	}
	found := run(t, w, preflight.Options{})
	want(t, find(t, found, "network.passthrough", usage), preflight.Error, "a product that opens TLS (Netskope)")
	r := find(t, found, "network.chain", platform)
	if want(t, r, preflight.Error, "which this host does not know"); !strings.Contains(r.Hint, "--inspection-ca-file") {
		t.Errorf("hint %q", r.Hint)
	}
	if r := find(t, found, "network.chain", usage); strings.Contains(r.Hint, "--inspection-ca-file") {
		t.Errorf("a client certificate does not get through: hint %q", r.Hint)
	}
	want(t, find(t, found, "network.passthrough", platform), preflight.Info, "Netskope")

	// What nobody has words for is said as it is.
	w.Resolve = func(context.Context, string) ([]netip.Addr, error) {
		return nil, errors.New("the name server is on fire")
	}
	want(t, find(t, run(t, w, preflight.Options{}), "network.dns", platform), preflight.Error, "the name server is on fire")
}
