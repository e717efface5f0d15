package cli_test

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/flexgw/flexgw/cli"
	"github.com/flexgw/flexgw/reconcile/anypoint"
	"github.com/flexgw/flexgw/reconcile/anypoint/sim"
	"github.com/flexgw/flexgw/reconcile/api"
	"github.com/flexgw/flexgw/reconcile/usage"
)

// station is a host whose commands are run in this process, and a simulator.
type station struct {
	t     *testing.T
	dir   string // where commands work
	state string
	sim   *sim.Sim
	file  *anypoint.File
	at    uint64
}

func newStation(t *testing.T) *station {
	t.Helper()
	s, err := sim.Open(sim.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	x := &station{t: t, dir: t.TempDir(), state: t.TempDir(), sim: s}
	x.write("ca.pem", s.CA())
	x.write("token", []byte("sim-token"))
	x.file = x.register("edge")
	return x
}

func (x *station) path(name string) string { return filepath.Join(x.dir, name) }

func (x *station) write(name string, b []byte) {
	x.t.Helper()
	if err := os.WriteFile(x.path(name), b, 0o600); err != nil {
		x.t.Fatal(err)
	}
}

// register makes a gateway of that name, with its registration in a folder of that name.
func (x *station) register(name string) *anypoint.File {
	x.t.Helper()
	if err := os.MkdirAll(x.path(name), 0o700); err != nil {
		x.t.Fatal(err)
	}
	x.ok("register", "--token-file", x.path("token"), "--organization", sim.DefaultOrganization, "--anypoint-url", x.sim.URL(), "--ca-file", x.path("ca.pem"), "--output-directory", x.path(name), name)
	f, err := anypoint.ReadFile(filepath.Join(x.path(name), anypoint.FileName))
	if err != nil {
		x.t.Fatal(err)
	}
	return f
}

func (x *station) run(args ...string) (stdout, stderr string, code int) {
	x.t.Helper()
	var out, errs bytes.Buffer
	code = cli.Alone(append([]string{"flexgw"}, args...), cli.Env{Stdin: strings.NewReader(""), Stdout: &out, Stderr: &errs, Getenv: func(name string) (string, bool) {
		if name == "XDG_RUNTIME_DIR" { // where no daemon runs
			return x.dir, true
		}
		return "", false
	}})
	return out.String(), errs.String(), code
}

func (x *station) ok(args ...string) string {
	x.t.Helper()
	out, errs, code := x.run(args...)
	if code != 0 {
		x.t.Fatalf("%q: exit code %d\n%s%s", args, code, out, errs)
	}
	return out
}

func (x *station) fails(want int, words string, args ...string) {
	x.t.Helper()
	if out, errs, code := x.run(args...); code != want || !strings.Contains(errs, words) {
		x.t.Errorf("%q: exit code %d, want %d and %q in\n%s%s", args, code, want, words, out, errs)
	}
}

// count is what a daemon did that does not run any more.
func (x *station) count(of *anypoint.File, api string, n uint64) {
	x.t.Helper()
	l, err := usage.Open(filepath.Join(x.state, "usage"), usage.Options{})
	if err != nil {
		x.t.Fatal(err)
	}
	defer l.Close()
	id := usage.Identity{}
	if of != nil {
		id = usage.Identity{Agent: of.AgentID, Asset: of.AssetName, MeteringSchema: of.MeteringSchemaID, Organization: of.OrganizationID, Environment: of.EnvironmentID}
	}
	x.at += n
	if err := l.SetIdentity(id); err != nil {
		x.t.Fatal(err)
	}
	if err := l.Count(usage.Position{Turn: 1, Offset: x.at}, []usage.Count{{API: api, Hour: time.Now().UTC().Truncate(time.Hour), N: n}}); err != nil {
		x.t.Fatal(err)
	}
}

func (x *station) show() (u api.Usage) {
	x.t.Helper()
	if err := json.Unmarshal([]byte(x.ok("usage", "show", "--state-dir", x.state, "--output", "json")), &u); err != nil {
		x.t.Fatal(err)
	}
	return u
}

// TestUsageByHand carries usage from a host without a network to a station, and what became of it back.
func TestUsageByHand(t *testing.T) {
	t.Parallel()
	x := newStation(t)
	x.fails(3, "no usage in", "usage", "show", "--state-dir", x.state)
	x.count(nil, "default/early", 2)
	if u := x.show(); u.Requests.Unregistered != 2 || u.Requests.Waiting != 0 || u.Registration != nil || u.Condition.Reason != "NotRunning" {
		t.Errorf("%+v", u)
	}
	registration := []string{"--state-dir", x.state, "--registration", x.file.Path}
	if out, errs, code := x.run(append([]string{"usage", "export"}, registration...)...); code != 0 || out != "" || !strings.Contains(errs, "nothing waits") {
		t.Errorf("%d %s%s", code, out, errs)
	}

	x.count(x.file, "default/orders", 40)
	x.count(x.file, "shop/basket", 2)
	x.count(x.file, "", 5)
	text := x.ok("usage", "show", "--state-dir", x.state)
	for _, want := range []string{"registration  edge (" + x.file.AgentID + ")", "requests      42 counted, 0 reported, 42 waiting, 2 without a registration, 5 on paths of no API", "HOUR (UTC)", "default/orders", "(no API)", "default/early (unregistered)"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in\n%s", want, text)
		}
	}

	bundle := x.path("bundle.tar.gz")
	if out := x.ok(append([]string{"usage", "export", "--output-file", bundle}, registration...)...); out != bundle+"\n" {
		t.Errorf("%q", out)
	}
	first, err := os.ReadFile(bundle)
	if err != nil {
		t.Fatal(err)
	}
	x.ok(append([]string{"usage", "export", "--output-file", bundle}, registration...)...)
	if again, err := os.ReadFile(bundle); err != nil || !bytes.Equal(first, again) {
		t.Error("exported again, it is another bundle")
	}
	if u := x.show(); u.Requests.Waiting != 42 {
		t.Errorf("what was exported waits until it is acknowledged: %+v", u.Requests)
	}

	// -o is --output, as everywhere: a name of a file is none of its formats, and a format none of a file.
	x.fails(2, "the file that the command makes is named by --output-file", append([]string{"usage", "export", "-o", x.path("other.tar.gz")}, registration...)...)
	x.fails(2, "the file that the command makes is named by --output-file", "usage", "import", bundle, "-o", "-", "--registration", x.file.Path)
	if out := x.ok(append([]string{"usage", "export", "-o", "json", "--output-file", bundle}, registration...)...); !strings.Contains(out, `"result": "exported"`) {
		t.Errorf("%q", out)
	}

	// At the station.
	x.fails(2, "needs --registration", "usage", "import", bundle)
	other := x.register("other")
	x.fails(3, "it is of the registration of", "usage", "import", bundle, "--registration", other.Path)
	x.write("broken.tar.gz", append(bytes.Clone(first[:len(first)-40]), first[len(first)-20:]...))
	x.fails(3, "gzipped tar", "usage", "import", x.path("broken.tar.gz"), "--registration", x.file.Path)
	if err := x.sim.SetFaults(sim.Fault{Next: 1, Status: sim.Outcome{Code: 503}, Path: anypoint.PathMetering}); err != nil {
		t.Fatal(err)
	}
	x.fails(3, "503", "usage", "import", bundle, "--registration", x.file.Path)
	// A registration that another one has replaced, and one that was carried alone.
	copied, err := os.ReadFile(x.file.Path)
	if err != nil {
		t.Fatal(err)
	}
	kept, alone := x.file.Path+".bak", filepath.Join(t.TempDir(), anypoint.FileName)
	for _, path := range []string{kept, alone} {
		if err := os.WriteFile(path, copied, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	x.ok("usage", "import", bundle, "--registration", kept)
	x.fails(3, "is not trusted", "usage", "import", bundle, "--registration", alone)
	x.ok("usage", "import", bundle, "--registration", alone, "--ca-file", x.path("ca.pem"))
	ack := bundle + ".ack.json"
	for range 2 { // twice does no harm
		if out := x.ok("usage", "import", bundle, "--registration", x.file.Path); out != ack+"\n" {
			t.Errorf("%q", out)
		}
	}
	if got := x.sim.State().Usage; got["default/orders"] != 40 || got["shop/basket"] != 2 || len(got) != 2 {
		t.Errorf("the platform has %v", got)
	}

	// Back at the host.
	forged := x.path("forged.json")
	b, err := os.ReadFile(ack)
	if err != nil {
		t.Fatal(err)
	}
	x.write("forged.json", bytes.Replace(b, []byte(`"acked": [`), []byte(`"acked": [99,`), 1))
	x.fails(3, "not signed with the key of this registration", append([]string{"usage", "export", "--ack", forged}, registration...)...)
	x.fails(3, "must be signed", "usage", "export", "--ack", ack, "--state-dir", x.state)
	x.fails(2, "leave --output-file out", append([]string{"usage", "export", "--ack", ack, "--output-file", bundle}, registration...)...)
	x.fails(3, "it is for the registration of "+x.file.AgentID, "usage", "export", "--ack", ack, "--state-dir", x.state, "--registration", other.Path)
	if out := x.ok(append([]string{"usage", "export", "--ack", ack}, registration...)...); out != "the platform has 42 requests of edge; 0 still to be reported\n" {
		t.Errorf("%q", out)
	}
	x.ok(append([]string{"usage", "export", "--ack", ack}, registration...)...) // twice does no harm here either
	if u := x.show(); u.Requests.Reported != 42 || u.Requests.Waiting != 0 || u.Spool.Batches != 0 {
		t.Errorf("%+v %+v", u.Requests, u.Spool)
	}
	x.count(x.file, "default/orders", 3)
	x.ok(append([]string{"usage", "export", "--output-file", bundle}, registration...)...)
	x.ok("usage", "import", bundle, "--registration", x.file.Path)
	if got := x.sim.State().Usage["default/orders"]; got != 43 || len(x.sim.State().Unexpected) > 0 {
		t.Errorf("the platform has %d requests, unexpected %v", got, x.sim.State().Unexpected)
	}
}

// TestUsageFacts: what these commands do, programs read from one object on standard output, and people from standard error.
func TestUsageFacts(t *testing.T) {
	t.Parallel()
	x := newStation(t)
	facts := func(words string, args ...string) map[string]any {
		t.Helper()
		out, said, code := x.run(args...)
		var v map[string]any
		if err := json.Unmarshal([]byte(out), &v); code != 0 || err != nil || v["schemaVersion"] != 1.0 || !strings.Contains(said, words) {
			t.Errorf("%q: %d, %v: %s%s", args, code, err, out, said)
		}
		return v
	}
	wants := func(got map[string]any, want map[string]any) {
		t.Helper()
		want["schemaVersion"] = 1.0
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("-want +got\n%s", diff)
		}
	}
	of := []string{"--state-dir", x.state, "--registration", x.file.Path}
	export := append([]string{"usage", "export"}, of...)
	x.count(x.file, "default/shop", 42)
	bundle, ack := x.path("b.tar.gz"), x.path("b.tar.gz.ack.json")
	wants(facts("42 requests in 1 batch, signed", append(export, "--output-file", bundle, "--output", "json")...),
		map[string]any{"result": "exported", "file": bundle, "batches": 1.0, "requests": 42.0, "signed": true})
	// The bundle itself goes to standard output: the facts need another place.
	x.fails(2, "both go to standard output", append(export, "--output-file", "-", "--output", "json")...)
	if out := x.ok(append(export, "--output-file", "-", "--output", "json="+x.path("facts.json"))...); !strings.HasPrefix(out, "\x1f\x8b") {
		t.Errorf("no bundle: %q", out)
	}
	if b, err := os.ReadFile(x.path("facts.json")); err != nil || !strings.Contains(string(b), `"result": "exported"`) {
		t.Errorf("%s, %v", b, err)
	}
	wants(facts("the platform has 1 of 1 batch", "usage", "import", bundle, "--registration", x.file.Path, "--output", "json"),
		map[string]any{"result": "delivered", "agentId": x.file.AgentID, "assetName": "edge", "file": ack, "batches": 1.0, "acknowledged": 1.0, "refused": []any{}})
	wants(facts("the platform has 42 requests of edge; 0 still", append(export, "--ack", ack, "--output", "json")...),
		map[string]any{"result": "acknowledged", "agentId": x.file.AgentID, "assetName": "edge", "reported": 42.0, "waiting": 0.0, "setAside": 0.0, "ackedSeq": 1.0})
	wants(facts("nothing waits to be reported", append(export, "--output", "json")...), map[string]any{"result": "nothing", "batches": 0.0, "requests": 0.0, "signed": false})

	// A daemon that answers a flush.
	socket := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	reported := api.Usage{SchemaVersion: api.SchemaVersion, Registration: &api.UsageRegistration{AgentID: x.file.AgentID, AssetName: "edge"}, Spool: api.UsageSpool{AckedSeq: 7},
		Hours: []api.UsageHour{{AgentID: x.file.AgentID, API: "default/shop", Counted: 42, Reported: 42}}}
	d := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != api.UsageFlushPath {
			t.Errorf("asked %s", r.URL.Path)
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(reported)
	})}
	go func() { _ = d.Serve(l) }()
	t.Cleanup(func() { d.Close() })
	wants(facts("reported: the platform has 42 requests of edge, up to batch 7", "usage", "flush", "--socket", socket, "--output", "json"),
		map[string]any{"result": "reported", "agentId": x.file.AgentID, "assetName": "edge", "reported": 42.0, "waiting": 0.0, "setAside": 0.0, "ackedSeq": 7.0})
}

// TestUsageOfSeveralGatewaysSaysWhose: after the registration was replaced by another gateway's, rows and sums can be told apart.
func TestUsageOfSeveralGatewaysSaysWhose(t *testing.T) {
	t.Parallel()
	x := newStation(t)
	x.count(x.file, "default/hello", 3)
	if text := x.ok("usage", "show", "--state-dir", x.state); strings.Contains(text, "GATEWAY") || strings.Contains(text, "\ngateway ") {
		t.Errorf("there is one gateway only:\n%s", text)
	}
	other := x.register("other")
	x.count(other, "default/hello", 4)
	x.count(nil, "default/hello", 5)
	text := x.ok("usage", "show", "--state-dir", x.state)
	for _, want := range []string{
		`(?m)^requests      7 counted, 0 reported, 7 waiting, 5 without a registration$`,
		`(?m)^gateway       edge \(` + x.file.AgentID + `\): 3 counted, 0 reported, 3 waiting$`,
		`(?m)^gateway       other \(` + other.AgentID + `\): 4 counted, 0 reported, 4 waiting$`,
		`(?m)^HOUR \(UTC\) +API +GATEWAY +COUNTED`,
		`(?m) default/hello +edge +3 `, `(?m) default/hello +other +4 `, `(?m) default/hello \(unregistered\) +- +5 `,
	} {
		if !regexp.MustCompile(want).MatchString(text) {
			t.Errorf("%s is not in\n%s", want, text)
		}
	}
	names := map[string]string{}
	for _, h := range x.show().Hours {
		names[h.AgentID] = h.AssetName
	}
	if len(names) != 3 || names[x.file.AgentID] != "edge" || names[other.AgentID] != "other" || names[""] != "" {
		t.Errorf("%v", names)
	}
	same := *other // as of a gateway that was deleted and made again under its name
	same.AgentID = "dddddddd-0000-4000-8000-00000000d001"
	x.count(&same, "default/hello", 6)
	text = x.ok("usage", "show", "--state-dir", x.state)
	for _, want := range []string{`default/hello +edge +3 `, `default/hello +other \(` + other.AgentID + `\) +4 `, `default/hello +other \(` + same.AgentID + `\) +6 `} {
		if !regexp.MustCompile(want).MatchString(text) {
			t.Errorf("%s is not in\n%s", want, text)
		}
	}
}

// TestUsageOfAnEarlierRegistration goes by hand with its own registration, beside a daemon and without one, and leaves what waits for the
// one in force alone.
func TestUsageOfAnEarlierRegistration(t *testing.T) {
	t.Parallel()
	for _, running := range []bool{false, true} {
		t.Run(fmt.Sprintf("running %t", running), func(t *testing.T) {
			t.Parallel()
			x := newStation(t)
			x.count(x.file, "default/orders", 40)
			other := x.register("other")
			x.count(other, "default/orders", 5)
			at := []string{"--state-dir", x.state}
			if running {
				socket := filepath.Join(t.TempDir(), "s")
				stop := cli.ServeUsage(t, x.state, socket, other)
				defer stop()
				at = []string{"--socket", socket}
			}
			by := func(args ...string) []string { return append(append([]string{"usage"}, args...), at...) }
			bundle := x.path("b.tar.gz")
			x.fails(3, "nowhere.yaml", by("export", "--registration", x.path("nowhere.yaml"))...)
			if _, said, code := x.run(by("export", "--output-file", bundle, "--registration", x.file.Path)...); code != 0 || !strings.Contains(said, "40 requests in 1 batch, signed") {
				t.Fatalf("%d %s", code, said)
			}
			x.ok("usage", "import", bundle, "--registration", x.file.Path)
			ack := bundle + ".ack.json"
			x.fails(3, "nowhere.yaml", by("export", "--ack", ack, "--registration", x.path("nowhere.yaml"))...)
			x.fails(3, "it is for the registration of "+x.file.AgentID, by("export", "--ack", ack, "--registration", other.Path)...)
			if running {
				x.fails(3, "it is for the registration of "+x.file.AgentID, by("export", "--ack", ack)...)
			}
			if out := x.ok(by("export", "--ack", ack, "--registration", x.file.Path)...); out != "the platform has 40 requests of edge; 0 still to be reported\n" {
				t.Errorf("%q", out)
			}
			x.write("forged.json", bytes.Replace(readFile(t, ack), []byte(`"acked": [`), []byte(`"acked": [99,`), 1))
			x.fails(3, "not signed with the key of this registration", by("export", "--ack", x.path("forged.json"), "--registration", x.file.Path)...)
			var u api.Usage
			if err := json.Unmarshal([]byte(x.ok(by("show", "--output", "json")...)), &u); err != nil || u.Requests.Reported != 40 || u.Requests.Waiting != 5 || u.Requests.SetAside != 0 {
				t.Errorf("%v: %+v", err, u.Requests)
			}
			if _, said, code := x.run(by("export", "--output-file", bundle, "--registration", other.Path)...); code != 0 || !strings.Contains(said, "5 requests in 1 batch, signed") {
				t.Errorf("%d %s", code, said)
			}
		})
	}
}

// TestABundleOnStandardInput has no name, and so its acknowledgement has none.
func TestABundleOnStandardInput(t *testing.T) {
	t.Parallel()
	x := newStation(t)
	x.fails(2, "usage import - needs --output-file FILE", "usage", "import", "-", "--registration", x.file.Path)
	x.fails(3, "-: a gzipped tar is expected", "usage", "import", "-", "--registration", x.file.Path, "--output-file", x.path("a.json"))
}

// TestAnAcknowledgementOfBeforeARenewal: what was signed with the key of before is taken where the registration of before is named, also
// beside a daemon that has the new one.
func TestAnAcknowledgementOfBeforeARenewal(t *testing.T) {
	t.Parallel()
	x := newStation(t)
	x.count(x.file, "default/orders", 40)
	x.write("before.yaml", readFile(t, x.file.Path))
	bundle := x.path("b.tar.gz")
	ack := bundle + ".ack.json"
	x.ok("usage", "export", "--state-dir", x.state, "--registration", x.path("before.yaml"), "--output-file", bundle)
	x.ok("usage", "import", bundle, "--registration", x.file.Path)
	x.write("secret", []byte(sim.ClientSecret))
	x.ok("renew", x.file.Path, "--client-id", sim.ClientID, "--client-secret-file", x.path("secret"))
	renewed, err := anypoint.ReadFile(x.file.Path)
	if err != nil || renewed.Key.Equal(x.file.Key) {
		t.Fatalf("not renewed: %v", err)
	}
	socket := filepath.Join(t.TempDir(), "s")
	defer cli.ServeUsage(t, x.state, socket, renewed)()
	x.fails(3, "not signed with the key of this registration", "usage", "export", "--ack", ack, "--socket", socket)
	x.fails(3, "not signed with the key of this registration", "usage", "export", "--ack", ack, "--socket", socket, "--registration", x.file.Path)
	if out := x.ok("usage", "export", "--ack", ack, "--socket", socket, "--registration", x.path("before.yaml")); out != "the platform has 40 requests of edge; 0 still to be reported\n" {
		t.Errorf("%q", out)
	}
}

func readFile(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestAnExportHasTheHourThatRuns, however often it was exported before.
func TestAnExportHasTheHourThatRuns(t *testing.T) {
	t.Parallel()
	x := newStation(t)
	bundle := x.path("b.tar.gz")
	for n := uint64(1); n <= 15; n++ {
		x.count(x.file, "default/orders", 1)
		if _, said, code := x.run("usage", "export", "--state-dir", x.state, "--registration", x.file.Path, "--output-file", bundle); code != 0 || !strings.Contains(said, plural(n)+" in ") {
			t.Fatalf("%d: %d %s", n, code, said)
		}
	}
}

func plural(n uint64) string {
	if n == 1 {
		return "1 request"
	}
	return fmt.Sprintf("%d requests", n)
}

// TestUnsignedBundlesNeedAWord: without the registration a bundle is not signed, and is not taken by accident.
func TestUnsignedBundlesNeedAWord(t *testing.T) {
	t.Parallel()
	x := newStation(t)
	x.count(x.file, "default/orders", 7)
	bundle, ack := x.path("b.tar.gz"), x.path("a.json")
	x.ok("usage", "export", "--state-dir", x.state, "--output-file", bundle)
	x.fails(3, "--unsigned takes it", "usage", "import", bundle, "--registration", x.file.Path)
	x.ok("usage", "import", bundle, "--registration", x.file.Path, "--unsigned", "--output-file", ack)
	x.ok("usage", "export", "--ack", ack, "--state-dir", x.state, "--registration", x.file.Path)
	if u := x.show(); u.Requests.Reported != 7 {
		t.Errorf("%+v", u.Requests)
	}
}

// TestAnUnsignedBundleLeavesASignedOne of the same name alone, unless somebody says otherwise.
func TestAnUnsignedBundleLeavesASignedOne(t *testing.T) {
	t.Parallel()
	x := newStation(t)
	x.count(x.file, "default/orders", 7)
	bundle := x.path("b.tar.gz")
	unsigned := []string{"usage", "export", "--state-dir", x.state, "--output-file", bundle}
	signed := append(unsigned, "--registration", x.file.Path)
	x.ok(unsigned...)
	x.ok(unsigned...) // over one that is not signed either
	x.ok(signed...)
	before := readFile(t, bundle)
	x.fails(3, bundle+" is there and signed, and this bundle is not: nothing was written", unsigned...)
	if link := x.path("link"); os.Symlink(bundle, link) != nil || !bytes.Equal(before, readFile(t, bundle)) {
		t.Error("the signed one is gone")
	} else {
		x.fails(3, "--force writes over it", "usage", "export", "--state-dir", x.state, "--output-file", link)
	}
	x.ok(signed...)
	x.ok("usage", "import", bundle, "--registration", x.file.Path)
	x.ok(append(unsigned, "--force")...)
	x.fails(3, "--unsigned takes it", "usage", "import", bundle, "--registration", x.file.Path)
	x.write("notes.txt", []byte("mine"))
	x.ok("usage", "export", "--state-dir", x.state, "--output-file", x.path("notes.txt"))
}

// TestWhatThePlatformRefusesIsSetAside: a bundle with a batch that it will never take goes through, and the host is told.
func TestWhatThePlatformRefusesIsSetAside(t *testing.T) {
	t.Parallel()
	x := newStation(t)
	x.count(x.file, "default/orders", 7)
	bundle := x.path("b.tar.gz")
	x.ok("usage", "export", "--state-dir", x.state, "--registration", x.file.Path, "--output-file", bundle)
	if err := x.sim.SetFaults(sim.Fault{Next: 1, Status: sim.Outcome{Code: 422}, Message: "not today", Path: anypoint.PathMetering}); err != nil {
		t.Fatal(err)
	}
	x.fails(3, "batch 1 was refused, and is not to be sent again: ", "usage", "import", bundle, "--registration", x.file.Path)
	if out := x.ok("usage", "export", "--ack", bundle+".ack.json", "--state-dir", x.state, "--registration", x.file.Path); out != "the platform has 0 requests of edge; 0 still to be reported; 7 set aside (flexgw usage show says why)\n" {
		t.Errorf("%q", out)
	}
	if u := x.show(); u.Requests.SetAside != 7 || len(u.SetAside) != 1 || !strings.Contains(u.SetAside[0].Why, "not today") {
		t.Errorf("%+v %+v", u.Requests, u.SetAside)
	}
	if text := x.ok("usage", "show", "--state-dir", x.state); !strings.Contains(text, "set aside     batch 1 of "+x.file.AgentID+", 7 requests") {
		t.Error(text)
	}
	// What was set aside is in the next bundle; taken after all, it is reported.
	x.ok("usage", "export", "--state-dir", x.state, "--registration", x.file.Path, "--output-file", bundle)
	x.ok("usage", "import", bundle, "--registration", x.file.Path)
	x.ok("usage", "export", "--ack", bundle+".ack.json", "--state-dir", x.state, "--registration", x.file.Path)
	if u := x.show(); u.Requests.Reported != 7 || u.Requests.SetAside != 0 {
		t.Errorf("%+v", u.Requests)
	}
}

// TestForgetUsage: what was counted for a gateway that is gone can be given up, beside a daemon and without one, and is shown as that.
func TestForgetUsage(t *testing.T) {
	t.Parallel()
	for _, running := range []bool{false, true} {
		t.Run(fmt.Sprintf("running %t", running), func(t *testing.T) {
			t.Parallel()
			x := newStation(t)
			at := []string{"--state-dir", x.state}
			by := func(args ...string) []string { return append(append([]string{"usage"}, args...), at...) }
			x.count(x.file, "default/orders", 40)
			x.ok(append(by("export", "--output-file", x.path("b.tar.gz")), "--registration", x.file.Path)...)
			other := x.register("other")
			x.count(other, "default/orders", 5)
			x.aside(1, "gone")
			if running {
				socket := filepath.Join(t.TempDir(), "s")
				defer cli.ServeUsage(t, x.state, socket, other)()
				at = []string{"--socket", socket}
			}
			show := func() (u api.Usage) {
				t.Helper()
				if err := json.Unmarshal([]byte(x.ok(by("show", "--output", "json")...)), &u); err != nil {
					t.Fatal(err)
				}
				return u
			}
			if u := show(); u.Requests.SetAside != 40 || u.Hours[0].SetAside+u.Hours[1].SetAside != 40 || len(u.SetAside) != 1 || u.SetAside[0].AssetName != "edge" {
				t.Errorf("%+v", u)
			}
			text := x.ok(by("show")...)
			for _, want := range []string{`(?m)^HOUR \(UTC\) +API +GATEWAY +COUNTED +REPORTED +WAITING +SET ASIDE$`, `(?m) default/orders +edge +40 +0 +0 +40$`, `(?m) default/orders +other +5 +0 +5 +0$`} {
				if !regexp.MustCompile(want).MatchString(text) {
					t.Errorf("%s is not in\n%s", want, text)
				}
			}
			x.fails(2, "usage forget gives up 40 requests in 1 batch of edge ("+x.file.AgentID+"), and asks first; nobody can be asked here, so say --yes", by("forget")...)
			x.fails(2, `--gateway "nobody": nothing was counted for it; something is set aside of edge (`+x.file.AgentID+")", by("forget", "--yes", "--gateway", "nobody")...)
			if out := x.ok(by("forget", "--yes", "--gateway", "other")...); out != "nothing is set aside\n" {
				t.Errorf("%q", out)
			}
			if u := show(); u.Requests.SetAside != 40 || u.Requests.GivenUp != 0 {
				t.Errorf("%+v", u.Requests)
			}
			var facts map[string]any
			out := x.ok(by("forget", "--yes", "--gateway", x.file.AgentID, "--output", "json")...)
			if err := json.Unmarshal([]byte(out), &facts); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(map[string]any{"schemaVersion": 1.0, "result": "forgotten", "batches": 1.0, "requests": 40.0,
				"gateways": []any{map[string]any{"agentId": x.file.AgentID, "assetName": "edge", "batches": 1.0, "requests": 40.0}}}, facts); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
			if out := x.ok(by("forget", "--yes")...); out != "nothing is set aside\n" {
				t.Errorf("%q", out)
			}
			if u := show(); u.Requests.SetAside != 0 || u.Requests.GivenUp != 40 || u.Requests.Waiting != 5 || u.Requests.Counted != 45 || len(u.SetAside) != 0 {
				t.Errorf("%+v", u.Requests)
			}
			text = x.ok(by("show")...)
			for _, want := range []string{`(?m)^requests      45 counted, 0 reported, 5 waiting, 40 given up$`, `(?m)^gateway       edge .*, 40 given up$`, `(?m) default/orders +edge +40 +0 +0 +40$`, `WAITING +GIVEN UP`} {
				if !regexp.MustCompile(want).MatchString(text) {
					t.Errorf("%s is not in\n%s", want, text)
				}
			}
		})
	}
}

// aside has a batch set aside, as a daemon would.
func (x *station) aside(seq uint64, why string) {
	x.t.Helper()
	l, err := usage.Open(filepath.Join(x.state, "usage"), usage.Options{})
	if err != nil {
		x.t.Fatal(err)
	}
	defer l.Close()
	if err := l.Quarantine(seq, why); err != nil {
		x.t.Fatal(err)
	}
}

func TestUsageIsNotGuessedAtTheRealPlatform(t *testing.T) {
	t.Parallel()
	x := newStation(t)
	x.count(x.file, "default/orders", 7)
	bundle := x.path("b.tar.gz")
	x.ok("usage", "export", "--state-dir", x.state, "--registration", x.file.Path, "--output-file", bundle)
	text, err := os.ReadFile(x.file.Path)
	if err != nil {
		t.Fatal(err)
	}
	stranger := strangerFor(t, x)
	x.write("registration.yaml", bytes.Replace(text, []byte(x.file.Metering), []byte(stranger+"/ingestion/api/v1/metering"), 1))
	x.fails(3, "does not say that it understands flexgw's usage reports", "usage", "import", bundle, "--registration", x.path("registration.yaml"))
}

// strangerFor is a server that the registration's authority vouches for, and that knows nothing of flexgw.
func strangerFor(t *testing.T, x *station) string {
	t.Helper()
	stranger := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet {
			t.Errorf("it was sent %s %s", r.Method, r.URL)
		}
		http.NotFound(w, r)
	}))
	stranger.StartTLS()
	t.Cleanup(stranger.Close)
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: stranger.Certificate().Raw})
	x.write("registration-ca.pem", ca)
	return stranger.URL
}

func TestUsageWords(t *testing.T) {
	t.Parallel()
	x := newStation(t)
	x.fails(2, `no command "usage shwo" (did you mean "show"?)`, "usage", "shwo")
	x.fails(2, "takes one BUNDLE", "usage", "import")
	x.fails(2, "--ack is empty", "usage", "export", "--ack", "")
	x.fails(3, "no daemon", "usage", "flush", "--socket", x.path("s"))
	x.fails(3, "no daemon runs", "usage", "show")
	x.fails(2, "usage import needs --registration", "usage", "import", "x")
	x.fails(3, "nowhere", "usage", "import", x.path("nowhere"), "--registration", x.file.Path)
	if out := x.ok("usage", "--help"); !strings.Contains(out, "flush") {
		t.Error(out)
	}
}
