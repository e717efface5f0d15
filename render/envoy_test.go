package render

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/flexgw/flexgw/reconcile/envoy"
	"github.com/flexgw/flexgw/schema/ir"
)

// envoyPath is a real Envoy, found the way that the command finds it.
func envoyPath(t *testing.T) string {
	t.Helper()
	if testing.Short() {
		t.Skip("a real Envoy is left out with -short")
	}
	found, err := findEnvoy()
	if err != nil {
		t.Fatal(err)
	}
	return found.Path
}

var findEnvoy = sync.OnceValues(func() (envoy.Found, error) {
	return envoy.Find(context.Background(), envoy.FindOptions{Choice: "auto"})
})

// accepted checks a bootstrap with `envoy --mode validate`.
func accepted(t *testing.T, m proto.Message) {
	t.Helper()
	path := envoyPath(t)
	b, err := JSON(m)
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "envoy.json")
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(path, "--mode", "validate", "-c", name, "--log-level", "error").CombinedOutput()
	if err != nil || !bytes.Contains(out, []byte("OK")) {
		t.Errorf("%v\n%s\n%s", err, out, b)
	}
}

func TestBootstrapAccepted(t *testing.T) {
	t.Parallel()
	d := t.TempDir()
	accepted(t, Bootstrap(BootstrapOptions{NodeID: "n", XDSSocket: d + "/x", EnforceSocket: d + "/e", AdminSocket: d + "/a", MaxHeapBytes: 1 << 30}))
}

func TestStaticAccepted(t *testing.T) {
	t.Parallel()
	s := settings()
	u := service(s, "plain", "http", "127.0.0.1", 9001)
	v := service(s, "secure", "https", "secure.internal", 443)
	k := service(s, "keyed", "h2", "127.0.0.1", 9002, bind("credential", "key", pair{"", "s3cr3t"}))
	z := service(s, "own-tls", "https", "10.0.0.1", 443, bind("tls-out", "out", pair{"", "h2 http/1.1"}))
	hash := "W6ph5Mm5Pz8GgiULbPgzG37mj9g="
	g := gateway(s, []*ir.Upstream{k, u, v, z}, listen("127.0.0.1:8081",
		api(s, "none", "/none", u),
		api(s, "all", "/all", v, bind("inject", "i1", pair{"x-a", "1"}), bind("auth", "a", pair{"alice", hash}, method("POST|PUT")),
			bind("inject", "i2", pair{"x-b", "2"}), bind("cors", "c", pair{"", "https://a.example"}), bind("limit", "l", pair{}), bind("timeout", "t", pair{"", "3s"}),
			bind("body", "b", pair{}), bind("script", "lua", pair{"http://x/y", "1"})),
		api(s, "keyed", "/keyed", k), api(s, "own", "/own", z)))
	res, l := Render(g, fakes(), Options{Files: t.TempDir(), UsageLog: "/dev/null"}, nil)
	if len(l) > 0 {
		t.Fatal(l)
	}
	m, err := Static(res, BootstrapOptions{NodeID: "n", EnforceSocket: "/tmp/e", AdminSocket: "/tmp/a"}, true)
	if err != nil {
		t.Fatal(err)
	}
	accepted(t, m)
}
