package cli_test

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/flexgw/flexgw/"

// ban says what packages below a prefix must not import directly, and why. Prefixes of our own packages are relative.
type ban struct {
	who    string   // "" is every package
	except []string // prefixes that may
	what   []string // import path prefixes; our own without the module
	why    string
}

var bans = []ban{
	{"schema", nil, []string{"render", "reconcile", "cli", "github.com/envoyproxy/"}, "schema never learns that Envoy exists"},
	{"schema/gcl", nil, []string{"schema$", "schema/v1alpha1", "schema/ir"}, "a language of its own: who extends whom is schema's to find"},
	{"schema/cue", nil, []string{"schema$", "schema/syntax", "render", "reconcile", "os"}, "the text of a package, whoever reads it"},
	{"cli/review", nil, []string{"cli$", "docs", "schema$", "schema/source", "reconcile", "os", "net$", "net/http", "time"}, "a comparison is written from values: the same input gives the same bytes, whoever opens the file"},
	{"render/diff", nil, []string{"schema$", "schema/syntax", "render/policy/*"}, "diff compares models and resources: what a policy's change means, the policy type says"},
	{"schema/export", nil, []string{"os", "net/http", "schema/syntax"}, "schemas in, bytes out: cli writes the files"},
	{"render", nil, []string{"reconcile", "cli"}, "render is pure and knows nothing of delivery"},
	{"render", []string{"render/policy/enforce", "/enforce", "render/policy/policytest"}, []string{"net/http", "os", "log/slog"}, "render touches nothing; a policy's enforce gets the world from its Env"},
	{"render/policy", []string{"render/policy/all", "render/policy/policytest"}, []string{"render$", "render/policy/*"}, "policies know neither each other nor the renderer"},
	{"cli", nil, []string{"schema/v1alpha1", "schema/syntax", "render/policy/*"}, "cli puts parts together: it knows no kind, no tree and no single policy"},
	{"cli/cache", nil, []string{"cli$", "cli/report", "cli/review", "docs", "schema", "render", "reconcile$", "reconcile/deep", "reconcile/envoy", "reconcile/store", "reconcile/watch", "net$", "net/http"}, "bytes under keys: what they mean, and what a key is made of, its caller knows"},
	{"cli/lsp", nil, []string{"cli$", "cli/report", "docs", "schema$", "schema/ir", "schema/source", "render", "reconcile", "os", "net$", "net/http"}, "a protocol and its texts: what there is to say comes from its House, which opens the files"},
	{"cli/report", nil, []string{"cli$", "docs", "schema$", "schema/ir", "schema/source", "render", "reconcile", "os", "net$", "net/http", "time"}, "a report is written from values: the same input gives the same bytes, whoever opens the file"},
	{"reconcile", nil, []string{"cli", "schema$", "schema/v1alpha1"}, "reconcile moves what others decided"},
	{"reconcile/envoy", nil, []string{"schema", "render"}, "one Envoy process, whatever it serves"},
	{"reconcile/deep", nil, []string{"reconcile/deliver", "reconcile/watch", "reconcile/store", "reconcile/enforce"}, "asking about resources delivers none of them"},
	{"reconcile/deliver/flex", nil, []string{"render", "schema$"}, "a copy of declarations: no resource is made"},
	{"reconcile/api", nil, []string{"render", "reconcile$", "reconcile/deliver", "reconcile/store"}, "requests and answers: a Daemon decides"},
	{"reconcile/sandbox", nil, []string{"schema", "render", "reconcile", "cli"}, "walls do not depend on who is behind them"},
	{"reconcile/crowd", nil, []string{"schema", "render", "reconcile", "cli"}, "who gives way does not depend on what is said"},
	{"reconcile/peercred", nil, []string{"schema", "render", "reconcile", "cli"}, "who is at the other end does not depend on what is said"},
	{"reconcile/disk", nil, []string{"schema", "render", "reconcile", "cli", "net"}, "bytes and names: what a file is for does not matter to how it is written"},
	{"reconcile/probe", nil, []string{"reconcile$", "reconcile/deliver", "reconcile/envoy", "reconcile/store", "reconcile/watch", "reconcile/status", "os/exec"}, "asking what is served decides nothing, and knows nobody that does"},
	{"reconcile/enforce", nil, []string{"schema", "render$", "render/policy$", "reconcile/deliver"}, "the request path shares nothing with the reconciler"},
	{"reconcile/gate", nil, []string{"schema$", "schema/v1alpha1", "schema/syntax", "schema/ir", "schema/project", "render", "cli", "reconcile$", "reconcile/deliver", "reconcile/enforce", "reconcile/status", "reconcile/egress"}, "who may come in does not depend on what is served behind the door; schema/diag makes visible what strangers wrote"},
	{"reconcile/metrics", nil, []string{"reconcile/deliver/xds", "reconcile/egress", "reconcile/envoy", "reconcile/store", "reconcile/watch"}, "figures come in as functions: whoever asks for metrics changes nothing"},
	{"reconcile/notify", nil, []string{"render", "reconcile/deliver", "reconcile/egress", "reconcile/store"}, "it posts what it is told with the client that it is given"},
	{"reconcile/preflight", nil, []string{"schema$", "schema/v1alpha1", "schema/syntax", "schema/diag", "schema/source", "schema/project", "render", "cli", "reconcile$", "reconcile/anypoint", "reconcile/deliver", "reconcile/envoy", "reconcile/store", "reconcile/usage", "reconcile/watch"}, "a host is judged by tables: what is declared, and registered, comes in as values; of egress it knows what proxies answer"},
	{"reconcile/systemd", nil, []string{"schema", "render", "reconcile", "cli"}, "words and sockets of a service manager: what a daemon does with them does not matter"},
	{"reconcile/rollout", nil, []string{"schema", "render", "reconcile", "os", "net"}, "when something may happen does not depend on what it is"},
	{"reconcile/anypoint", nil, []string{"schema$", "schema/v1alpha1", "schema/project", "schema/require", "schema/sops", "render", "cli", "reconcile$", "reconcile/deliver", "reconcile/egress", "reconcile/store", "reconcile/watch", "reconcile/usage", "os/exec"}, "what the platform is told does not depend on what is served, and its clients are handed in; a registration is a file of YAML with places, and its key an ir.Secret"},
	{"reconcile/usage", nil, []string{"schema", "render", "cli", "reconcile$", "reconcile/deliver", "reconcile/egress", "reconcile/envoy", "reconcile/store", "reconcile/watch", "net$", "os/exec"}, "lines of a file are counted whoever writes them, and sent with the client that is handed in"},
	{"reconcile/anypoint/sim", nil, []string{"schema", "render", "cli", "reconcile$", "reconcile/api", "reconcile/deliver", "reconcile/egress", "reconcile/envoy", "reconcile/preflight", "reconcile/status", "reconcile/store", "reconcile/systemd", "reconcile/usage", "reconcile/watch", "os/exec"}, "the other side of the wire: it knows what goes over it and how to keep files, and nothing of a gateway"},
	{"reconcile/trust", nil, []string{"schema$", "schema/v1alpha1", "schema/syntax", "schema/ir", "schema/source", "render", "cli", "reconcile$", "reconcile/deliver", "reconcile/egress", "net$", "net/http", "os/exec"}, "whom to trust follows from the bytes of commits and the files of keys alone: no network, no other program"},
	{"reconcile/hook", nil, []string{"schema$", "schema/v1alpha1", "schema/syntax", "schema/ir", "schema/source", "render", "cli", "reconcile$", "reconcile/deliver", "reconcile/egress", "reconcile/store", "reconcile/watch", "os/exec"}, "strangers speak to it: it knows nothing, and can only say that somebody should look"},
	{"", []string{"reconcile/trust"}, []string{"github.com/ProtonMail/", "github.com/smallstep/pkcs7"}, "only trust knows the libraries of OpenPGP and CMS"},
	{"schema/sops$", nil, []string{"schema$", "schema/v1alpha1", "schema/ir", "render", "reconcile", "os", "net", "net/http"}, "values in, values out: keys are handed in, and no service is asked"},
	{"", []string{"schema/sops"}, []string{"filippo.io/"}, "only sops knows age"},
	{"", []string{"cli", "render/policy/all"}, []string{"render/policy/all"}, "only cli knows every policy"},
	{"schema/require", nil, []string{"os", "net/http", "time", "schema/project", "schema/v1alpha1"}, "rules and declarations in, diagnostics out: cli reads the files and has the clock, project judges what is found"},
	{"e2e/harness", nil, []string{"schema", "render", "reconcile", "cli"}, "the command from outside, as users have it"},
	{"e2e/ports", nil, []string{"schema", "render", "reconcile", "cli", "e2e"}, "ports, whoever listens: tests of every room import it"},
	{"", []string{"e2e"}, []string{"e2e/harness", "e2e/ports"}, "only tests import it"},
	{"", []string{"schema/syntax"}, []string{"go.yaml.in/"}, "only syntax knows a YAML library"},
	{"", []string{"schema/syntax", "schema/require"}, []string{"cuelang.org/"}, "only syntax reads CUE, and only require, whose rules are values of CUE, evaluates it"},
	{"", []string{"schema$", "schema/testkit"}, []string{"github.com/santhosh-tekuri/"}, "only schema knows the JSON Schema library, and tests"},
	{"", []string{"reconcile/watch"}, []string{"github.com/go-git/"}, "only watch knows Git"},
	{"", []string{"render/policy/graphqlschema"}, []string{"github.com/vektah/"}, "only graphqlschema knows the GraphQL library"},
	{"", []string{"reconcile/metrics"}, []string{"github.com/prometheus/"}, "only metrics knows Prometheus' library"},
	{"", []string{"cli/lsp"}, []string{"github.com/sourcegraph/"}, "only lsp speaks JSON-RPC"},
	{"", []string{"cli"}, []string{"github.com/urfave/"}, "only cli knows the command line library"},
}

// ours is all of our packages that a policy may import, beside what is below its own folder: the contract, the helpers that
// policies share (docs/decisions/0001), and what configurations and their places are made of.
var ours = []string{
	"render/policy", "render/policy/enforce", "render/policy/expr", "render/policy/graphqlschema", "render/policy/iplist", "render/policy/messagelog", "render/policy/tlscheck", "render/policy/urlcheck", "render/match",
	"schema/dataweave", "schema/diag", "schema/ir", "schema/regex", "schema/syntax",
}

// strangers are the imports of ours that a package of a policy must not have. Packages that are no policy's have none.
func strangers(pkg string, imports []string) []string {
	name, ok := strings.CutPrefix(pkg, "render/policy/")
	folder := strings.Split(name, "/")[0]
	if !ok || slices.Contains([]string{"all", "policytest"}, folder) {
		return nil
	}
	var bad []string
	for _, imp := range imports {
		own := under(imp, "render/policy/"+folder)
		if room := strings.Split(imp, "/")[0]; slices.Contains([]string{"schema", "render", "reconcile", "cli"}, room) && !own && !slices.Contains(ours, imp) {
			bad = append(bad, imp)
		}
	}
	return bad
}

func TestPoliciesImportTheContractAlone(t *testing.T) {
	t.Parallel()
	for pkg, imports := range packages(t) {
		for _, imp := range strangers(pkg, imports) {
			t.Errorf("%s imports %s: a policy knows the contract, what policies share, and its own enforce", pkg, imp)
		}
	}
	got := strangers("render/policy/cors", []string{"schema", "schema/ir", "schema/v1alpha1", "render", "render/policy/tls", "render/policy/cors/enforce", "fmt", "reconcile/egress"})
	if want := []string{"schema", "schema/v1alpha1", "render", "render/policy/tls", "reconcile/egress"}; !slices.Equal(got, want) {
		t.Errorf("strangers: got %v, want %v", got, want)
	}
}

func TestLayers(t *testing.T) {
	t.Parallel()
	for pkg, imports := range packages(t) {
		for _, b := range bans {
			if !under(pkg, b.who) || slices.ContainsFunc(b.except, func(p string) bool { return under(pkg, p) || strings.HasPrefix(p, "/") && strings.HasSuffix(pkg, p) }) {
				continue
			}
			for _, imp := range imports {
				if slices.ContainsFunc(b.what, func(w string) bool { return banned(pkg, imp, w) }) {
					t.Errorf("%s imports %s: %s", pkg, imp, b.why)
				}
			}
		}
	}
}

// under reports whether a package is at or below a prefix; with a trailing $ only at it.
func under(pkg, prefix string) bool {
	if p, exact := strings.CutSuffix(prefix, "$"); exact {
		return pkg == p
	}
	return prefix == "" || pkg == prefix || strings.HasPrefix(pkg, prefix+"/")
}

func banned(pkg, imp, what string) bool {
	if what == "render/policy/*" { // single policies: folders that are neither the contract's nor a policy's own
		name, ok := strings.CutPrefix(imp, "render/policy/")
		shared := []string{"enforce", "expr", "graphqlschema", "iplist", "messagelog", "tlscheck", "urlcheck", "policytest", "all"}
		return ok && !slices.Contains(shared, strings.Split(name, "/")[0]) && !under(imp, pkg) && !under(pkg, strings.TrimSuffix(imp, "/enforce"))
	}
	if strings.HasSuffix(what, "/") {
		return strings.HasPrefix(imp, what)
	}
	return under(imp, what)
}

// packages lists our packages with their direct imports, ours relative to the module; tests are left out.
func packages(t *testing.T) map[string][]string {
	t.Helper()
	cmd := exec.Command("go", "list", "-json=ImportPath,Imports", module+"...")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	list := map[string][]string{}
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p struct {
			ImportPath string
			Imports    []string
		}
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		for i, imp := range p.Imports {
			p.Imports[i] = strings.TrimPrefix(imp, module)
		}
		list[strings.TrimPrefix(p.ImportPath, module)] = p.Imports
	}
	if len(list) < 20 {
		t.Fatalf("go list found %d packages only", len(list))
	}
	return list
}

func TestLayersRulesBite(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		pkg, imp, what string
		want           bool
	}{
		{"render/policy/cors", "render/policy/jwtvalidation", "render/policy/*", true},
		{"render/policy/cors", "render/policy/cors/enforce", "render/policy/*", false},
		{"render/policy/cors", "render/policy/expr", "render/policy/*", false},
		{"render/policy/cors", "render", "render$", true},
		{"cli", "render/policy/cors", "render/policy/*", true},
		{"cli", "render/policy/all", "render/policy/*", false},
		{"cli", "render/policy", "render/policy/*", false},
		{"render/policy/cors", "render/policy", "render$", false},
		{"schema/ir", "github.com/envoyproxy/go-control-plane/envoy/config/core/v3", "github.com/envoyproxy/", true},
	} {
		if got := banned(c.pkg, c.imp, c.what); got != c.want {
			t.Errorf("%s importing %s against %s: got %v", c.pkg, c.imp, c.what, got)
		}
	}
}
