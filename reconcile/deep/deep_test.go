package deep_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	mutationv3 "github.com/envoyproxy/go-control-plane/envoy/config/common/mutation_rules/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	basicauthv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/basic_auth/v3"
	headermutationv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/header_mutation/v3"
	luav3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/lua/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"github.com/google/go-cmp/cmp"

	"github.com/flexgw/flexgw/reconcile/deep"
	"github.com/flexgw/flexgw/reconcile/envoy"
	"github.com/flexgw/flexgw/render"
	"github.com/flexgw/flexgw/render/policy"
	"github.com/flexgw/flexgw/schema"
	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/ir"
	"github.com/flexgw/flexgw/schema/source"
)

// catalog has policies that pass on whatever they are given, so that Envoy is the first to see what is wrong with it.
type catalog []policy.Type

func (c catalog) Type(name string) (policy.Type, bool) {
	for _, t := range c {
		if t.Name() == name {
			return t, true
		}
	}
	return policy.Type{}, false
}

func (c catalog) All() []policy.Type { return c }

func (c catalog) Lookup(name string) (schema.PolicyType, bool) {
	t, ok := c.Type(name)
	return t, ok
}

func (c catalog) Names() []string {
	var names []string
	for _, t := range c {
		names = append(names, t.Name())
	}
	return names
}

func (c catalog) Known(string) (string, bool) { return "", false }

func (c catalog) Custom(*schema.Definition) (schema.PolicyType, diag.List) { return nil, nil }

// serviceOut declares the Service out at an address.
func serviceOut(address string) string {
	return `---
apiVersion: gateway.mulesoft.com/v1alpha1
kind: Service
metadata: {name: out}
spec: {address: "` + address + `"}
`
}

// boundOut binds a policy to the Service out, as "out-" and a name; config is in flow style.
func boundOut(name, policy, config string) string {
	return `---
apiVersion: gateway.mulesoft.com/v1alpha1
kind: PolicyBinding
metadata: {name: out-` + name + `}
spec:
  targetRef: {kind: Service, name: out}
  policyRef: {name: ` + policy + `}
  config: ` + config + `
`
}

type raw struct {
	Value string   `flex:"value"`
	Other string   `flex:"other"`
	List  []string `flex:"list"`
}

const rawSchema = `{"$schema":"https://json-schema.org/draft/2020-12/schema","type":"object","additionalProperties":false,"properties":{
"value":{"type":"string"},"other":{"type":"string"},"list":{"type":"array","items":{"type":"string"}}}}`

func define(name string, targets ir.Target, place ir.Place, effect func(c *raw, in policy.Input) policy.Effect) policy.Type {
	return policy.Define(policy.Spec[raw]{Name: name, Schema: []byte(rawSchema), Targets: targets, Place: place,
		Effect: func(c *raw, in policy.Input) (policy.Effect, error) { return effect(c, in), nil }})
}

func inline(s string) *corev3.DataSource {
	return &corev3.DataSource{Specifier: &corev3.DataSource_InlineString{InlineString: s}}
}

// passing are policies of which Envoy judges the configuration alone.
func passing() catalog {
	return catalog{
		define("auth", ir.TargetAPI, ir.Ordered, func(c *raw, _ policy.Input) policy.Effect {
			return policy.Effect{Filters: []policy.Filter{{Config: &basicauthv3.BasicAuth{Users: inline(c.Value)}}}}
		}),
		define("header", ir.TargetAPI, ir.Ordered, func(c *raw, _ policy.Input) policy.Effect {
			m := &headermutationv3.HeaderMutation{Mutations: &headermutationv3.Mutations{}}
			for _, v := range append(c.List, c.Value) {
				m.Mutations.RequestMutations = append(m.Mutations.RequestMutations, &mutationv3.HeaderMutation{Action: &mutationv3.HeaderMutation_Append{
					Append: &corev3.HeaderValueOption{Header: &corev3.HeaderValue{Key: "x-a", Value: v}}}})
			}
			return policy.Effect{Filters: []policy.Filter{{Config: m}}}
		}),
		define("lua", ir.TargetAPI, ir.Ordered, func(c *raw, _ policy.Input) policy.Effect {
			return policy.Effect{Filters: []policy.Filter{{Name: "script", Config: &luav3.Lua{DefaultSourceCode: inline(c.Value)}}}}
		}),
		define("lua-out", ir.TargetUpstream, ir.Ordered, func(c *raw, _ policy.Input) policy.Effect {
			return policy.Effect{Upstream: &policy.Upstream{Filters: []policy.Filter{{Config: &luav3.Lua{DefaultSourceCode: inline(c.Value)}}}}}
		}),
		define("rewrite", ir.TargetAPI, ir.Ordered, func(c *raw, _ policy.Input) policy.Effect {
			return policy.Effect{Route: &routev3.Route{Action: &routev3.Route_Route{Route: &routev3.RouteAction{
				HostRewriteSpecifier: &routev3.RouteAction_HostRewritePathRegex{HostRewritePathRegex: &matcherv3.RegexMatchAndSubstitute{
					Pattern: &matcherv3.RegexMatcher{Regex: c.Value}, Substitution: "x"}}}}}}
		}),
		define("tls", ir.TargetAPI, ir.Outside, func(c *raw, in policy.Input) policy.Effect {
			return policy.Effect{
				Secrets: []*tlsv3.Secret{{Name: in.ID + ".pair", Type: &tlsv3.Secret_TlsCertificate{TlsCertificate: &tlsv3.TlsCertificate{
					CertificateChain: inline(c.Value), PrivateKey: inline(c.Other)}}}},
				Downstream: &tlsv3.DownstreamTlsContext{CommonTlsContext: &tlsv3.CommonTlsContext{
					TlsCertificateSdsSecretConfigs: []*tlsv3.SdsSecretConfig{{Name: in.ID + ".pair", SdsConfig: policy.ADS()}}}}}
		}),
		define("tls-outbound", ir.TargetUpstream, ir.Outside, func(c *raw, _ policy.Input) policy.Effect {
			return policy.Effect{Upstream: &policy.Upstream{Unverified: true, TLS: &tlsv3.UpstreamTlsContext{
				CommonTlsContext: &tlsv3.CommonTlsContext{TlsParams: &tlsv3.TlsParameters{CipherSuites: c.List}}}}}
		}),
	}
}

// trial renders a file.
func trial(t *testing.T, text string) (*render.Trial, source.Set) {
	t.Helper()
	set := source.NewSet([]source.File{source.NewFile("gateway.yaml", []byte(text))})
	g, l := schema.Load(set, schema.Options{Policies: passing()})
	if g == nil {
		t.Fatal(l)
	}
	r, l := render.Render(g, passing(), render.Options{Files: "/nowhere"}, nil)
	if r == nil {
		t.Fatal(l)
	}
	return render.NewTrial(g, passing(), r), set
}

// said are diagnostics in one line each, without hints.
func said(v deep.Verdict, t *render.Trial, set source.Set) []string {
	var lines []string
	for _, d := range v.Diagnostics(t, func(at diag.Range, words string) (diag.Range, bool) { return schema.Quoted(set, at, words) }) {
		lines = append(lines, d.String())
	}
	return lines
}

// many is a gateway of n APIs with a header each; marked maps the number of an API to what its header says.
func many(n int, marked map[int]string) string {
	var b strings.Builder
	for i := range n {
		value := fmt.Sprintf("fine-%d", i)
		if m, ok := marked[i]; ok {
			value = m
		}
		fmt.Fprintf(&b, `---
apiVersion: gateway.mulesoft.com/v1alpha1
kind: ApiInstance
metadata:
  name: api-%d
spec:
  address: http://0.0.0.0:%d/team%d/api-%d
  services: {up: {address: "http://svc%d.example.org:80", routes: [{rules: [{path: /x}]}, {rules: [{path: "/y/.*"}]}]}}
  policies:
    - policyRef: {name: header}
      config:
        value: %q
`, i, 8081+i%3, i%7, i, i%5, value)
	}
	return b.String()
}

// critic answers like Envoy: it says the first thing that it finds.
type critic struct {
	asked int
	words func(config []byte) error
}

func (c *critic) ask(_ context.Context, x envoy.Candidate) error {
	c.asked++
	return c.words(x.Data)
}

// dislikes refuses texts, and repeats them in its words or not.
func dislikes(repeat bool, texts ...string) func([]byte) error {
	return func(config []byte) error {
		first, at := "", len(config)
		for _, text := range texts {
			if i := bytes.Index(config, []byte(text)); i >= 0 && i < at {
				first, at = text, i
			}
		}
		switch {
		case first == "":
			return nil
		case repeat:
			return &envoy.RefusedError{Message: "unknown thing: " + first}
		}
		return &envoy.RefusedError{Message: "no"}
	}
}

func TestOneRunWhenAllIsWell(t *testing.T) {
	t.Parallel()
	x, _ := trial(t, many(1000, nil))
	c := &critic{words: dislikes(true, "bad")}
	v, err := deep.Judge(t.Context(), x, deep.Options{Ask: c.ask})
	if err != nil || len(v.Findings) > 0 || v.Fell() || v.Runs != 1 || c.asked != 1 {
		t.Errorf("%+v, %v", v, err)
	}
}

func TestEveryBadObjectIsFoundAtItsLine(t *testing.T) {
	t.Parallel()
	marked := map[int]string{0: "bad-0.", 13: "bad-13.", 14: "bad-14.", 59: "bad-59."}
	var texts []string
	for _, m := range marked {
		texts = append(texts, m)
	}
	for _, repeat := range []bool{true, false} {
		x, set := trial(t, many(60, marked))
		c := &critic{words: dislikes(repeat, texts...)}
		v, err := deep.Judge(t.Context(), x, deep.Options{Ask: c.ask})
		if err != nil {
			t.Fatal(err)
		}
		var want []string
		for i := range 60 {
			if m, ok := marked[i]; ok && repeat {
				want = append(want, fmt.Sprintf("gateway.yaml:%d:16: error: Envoy refuses policy \"header\": unknown thing: %s [envoy/rejected]", 12*i+12, m))
			} else if ok {
				want = append(want, fmt.Sprintf("gateway.yaml:%d:25: error: Envoy refuses policy \"header\": no [envoy/rejected]", 12*i+10))
			}
		}
		if diff := cmp.Diff(want, said(v, x, set)); diff != "" {
			t.Errorf("repeat %v (-want +got):\n%s", repeat, diff)
		}
		// With a hint: everything, the frame, the parts, and two for each that is bad. Else two for each halving.
		most := 3 + 2*len(marked)
		if !repeat {
			most = 100
		}
		if c.asked > most || c.asked != v.Runs {
			t.Errorf("repeat %v: asked %d times (%d said), want at most %d", repeat, c.asked, v.Runs, most)
		}
	}
}

// TestTheSecondTimeNobodyIsAsked: answers are kept by content, those to parts too, and places are those of now.
func TestTheSecondTimeNobodyIsAsked(t *testing.T) {
	t.Parallel()
	binary := filepath.Join(t.TempDir(), "envoy")
	if err := os.WriteFile(binary, []byte("one"), 0o755); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "cache")
	text := many(20, map[int]string{3: "bad-3.", 17: "bad-17."})
	judge := func(text, version string) (deep.Verdict, []string, int) {
		x, set := trial(t, text)
		c := &critic{words: dislikes(true, "bad-3.", "bad-17.")}
		v, err := deep.Judge(t.Context(), x, deep.Options{Ask: c.ask, Cache: deep.OpenCache(dir), Envoy: envoy.Found{Path: binary, Version: version}})
		if err != nil {
			t.Fatal(err)
		}
		return v, said(v, x, set), c.asked
	}
	first, words, asked := judge(text, "1.40.0")
	if asked == 0 || len(first.Findings) != 2 || first.Kept > 0 {
		t.Errorf("first: %d asked, %+v", asked, first)
	}
	second, again, asked := judge(text, "1.40.0")
	if asked != 0 || second.Kept != first.Runs || !slices.Equal(words, again) {
		t.Errorf("second: asked %d times, %d kept of %d, %v", asked, second.Kept, first.Runs, again)
	}
	_, moved, asked := judge("# a comment\n"+text, "1.40.0")
	if asked != 0 || len(moved) != 2 || !strings.HasPrefix(moved[0], fmt.Sprintf("gateway.yaml:%d:", 12*3+13)) {
		t.Errorf("moved: asked %d times, %v", asked, moved)
	}
	if _, _, asked = judge(strings.Replace(text, "fine-1", "fine-x", 1), "1.40.0"); asked == 0 {
		t.Error("another content: nobody was asked")
	}
	if err := os.WriteFile(binary, []byte("two"), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, _, asked = judge(text, "1.40.0"); asked == 0 {
		t.Error("another binary: nobody was asked")
	}
	if _, _, asked = judge(text, "1.40.1"); asked == 0 {
		t.Error("another version: nobody was asked")
	}
	info, err := os.Stat(dir)
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the cache: %v, %v", info, err)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "new-*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// TestABadCacheIsNoCache: whatever lies there.
func TestABadCacheIsNoCache(t *testing.T) {
	t.Parallel()
	binary := filepath.Join(t.TempDir(), "envoy")
	if err := os.WriteFile(binary, []byte("x"), 0o755); err != nil {
		t.Fatal(err)
	}
	x, _ := trial(t, many(5, map[int]string{3: "bad-3."}))
	run := func(dir string) int {
		c := &critic{words: dislikes(true, "bad-3.")}
		v, err := deep.Judge(t.Context(), x, deep.Options{Ask: c.ask, Cache: deep.OpenCache(dir), Envoy: envoy.Found{Path: binary, Version: "1.40.0"}})
		if err != nil || len(v.Findings) != 1 {
			t.Errorf("%s: %+v, %v", dir, v, err)
		}
		return c.asked
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	whole := run(file) // a folder that cannot be made
	if again := run(file); again != whole {
		t.Errorf("asked %d and %d times", whole, again)
	}
	dir := t.TempDir()
	run(dir)
	answers, err := filepath.Glob(filepath.Join(dir, "answer-*"))
	if err != nil || len(answers) != whole {
		t.Fatalf("%d answers, %v", len(answers), err)
	}
	for i, path := range answers { // broken in several ways
		var err error
		switch i % 3 {
		case 0:
			err = os.WriteFile(path, []byte("yes, but"), 0o600)
		case 1:
			err = os.Truncate(path, 0)
		case 2:
			if err = os.Remove(path); err == nil {
				err = os.Mkdir(path, 0o700)
			}
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if again := run(dir); again != whole {
		t.Errorf("asked %d times, want %d", again, whole)
	}
}

func TestTheCacheStaysSmall(t *testing.T) {
	t.Parallel()
	binary := filepath.Join(t.TempDir(), "envoy")
	if err := os.WriteFile(binary, []byte("x"), 0o755); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	foreign := filepath.Join(dir, "thesis.md") // --deep-cache may name any folder
	if err := errors.Join(os.WriteFile(foreign, []byte("x"), 0o644), os.Chtimes(foreign, time.Unix(0, 0), time.Unix(0, 0))); err != nil {
		t.Fatal(err)
	}
	cache := deep.OpenCache(dir).Most(10)
	for i := range 25 {
		x, _ := trial(t, many(1, map[int]string{0: fmt.Sprint("n", i)}))
		if _, err := deep.Judge(t.Context(), x, deep.Options{Ask: (&critic{words: dislikes(true)}).ask, Cache: cache, Envoy: envoy.Found{Path: binary, Version: "1.40.0"}}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := os.Stat(foreign); err != nil {
		t.Errorf("a file that is none of the cache's: %v", err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) > 11 || len(entries) < 6 {
		t.Errorf("%d files, %v", len(entries), err)
	}
	x, _ := trial(t, many(1, map[int]string{0: "n24"})) // the newest is there
	v, err := deep.Judge(t.Context(), x, deep.Options{Ask: (&critic{words: dislikes(true)}).ask, Cache: cache, Envoy: envoy.Found{Path: binary, Version: "1.40.0"}})
	if err != nil || v.Kept != 1 {
		t.Errorf("%+v, %v", v, err)
	}
}

// TestACrashIsNoRefusal: what Envoy fails on is told apart, and the rest is judged all the same.
func TestACrashIsNoRefusal(t *testing.T) {
	t.Parallel()
	x, set := trial(t, many(50, map[int]string{7: "crash-7.", 30: "bad-30."}))
	refuse := dislikes(true, "bad-30.")
	c := &critic{words: func(b []byte) error {
		if bytes.Contains(b, []byte("crash-7.")) {
			return &envoy.FailedError{How: "it crashed (segmentation fault)", Said: "Caught Segmentation fault"}
		}
		return refuse(b)
	}}
	v, err := deep.Judge(t.Context(), x, deep.Options{Ask: c.ask})
	if err != nil || !v.Fell() || v.Failed != nil {
		t.Errorf("%+v, %v", v, err)
	}
	want := []string{
		fmt.Sprintf("gateway.yaml:%d:25: error: Envoy fails on policy \"header\", and says neither yes nor no: envoy came to no verdict: it crashed (segmentation fault); its last words: Caught Segmentation fault [envoy/validator-failed]", 12*7+10),
		fmt.Sprintf("gateway.yaml:%d:16: error: Envoy refuses policy \"header\": unknown thing: bad-30. [envoy/rejected]", 12*30+12),
	}
	if diff := cmp.Diff(want, said(v, x, set)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// TestAnEnvoyThatFailsOnEverything blames no declaration.
func TestAnEnvoyThatFailsOnEverything(t *testing.T) {
	t.Parallel()
	x, set := trial(t, many(5, nil))
	for _, c := range []struct {
		name  string
		err   error
		asked int
		want  string
	}{
		{"crash", &envoy.FailedError{How: "it crashed (aborted)"}, 2, "envoy came to no verdict: it crashed (aborted)"},
		{"hang", &envoy.FailedError{How: "it did not answer in time", Limited: true}, 1, "envoy came to no verdict: it did not answer in time"},
		{"missing", fmt.Errorf("run envoy: %w", os.ErrNotExist), 1, "run envoy: file does not exist"},
		{"refuses the frame", &envoy.RefusedError{Message: "IPv4 addresses are not supported on this machine"}, 2, "it does not take an empty configuration: IPv4 addresses are not supported on this machine"},
	} {
		k := &critic{words: func([]byte) error { return c.err }}
		v, err := deep.Judge(t.Context(), x, deep.Options{Ask: k.ask})
		want := []string{"error: Envoy could not be asked, so nothing is known of what it takes: " + c.want + " [envoy/validator-failed]"}
		if got := said(v, x, set); err != nil || k.asked != c.asked || !v.Fell() || !slices.Equal(got, want) {
			t.Errorf("%s: asked %d times, %v, %q", c.name, k.asked, err, got)
		}
	}
}

// TestTooMuchIsBounded: with everything wrong, runs end, and that there is more is said.
func TestTooMuchIsBounded(t *testing.T) {
	t.Parallel()
	x, set := trial(t, many(100, nil))
	c := &critic{words: dislikes(false, "fine-")}
	v, err := deep.Judge(t.Context(), x, deep.Options{Ask: c.ask, Runs: 30})
	got := said(v, x, set)
	if err != nil || c.asked > 30 || len(v.Findings) == 0 || v.Unsettled == 0 || !strings.Contains(strings.Join(got, "\n"), fmt.Sprintf("Envoy refuses more, somewhere in %d parts", v.Unsettled)) {
		t.Errorf("asked %d times, %d findings, %d unsettled, %v\n%s", c.asked, len(v.Findings), v.Unsettled, err, strings.Join(got, "\n"))
	}
}

// TestWhatIsWrongTogether is reported at all of it.
func TestWhatIsWrongTogether(t *testing.T) {
	t.Parallel()
	x, set := trial(t, many(8, map[int]string{2: "one.", 5: "two."}))
	c := &critic{words: func(b []byte) error {
		if bytes.Contains(b, []byte("one.")) && bytes.Contains(b, []byte("two.")) {
			return &envoy.RefusedError{Message: "not both"}
		}
		return nil
	}}
	v, err := deep.Judge(t.Context(), x, deep.Options{Ask: c.ask})
	if got := said(v, x, set); err != nil || len(got) != 1 || !strings.Contains(got[0], " others: not both [envoy/rejected]") {
		t.Errorf("%v, %q", err, got)
	}
}

// auth is a gateway whose only policy has a secret.
func auth(secret string) string {
	return `apiVersion: gateway.mulesoft.com/v1alpha1
kind: ApiInstance
metadata: {name: a}
spec:
  address: http://0.0.0.0:8081
  services: {up: {address: "http://a.example.org:80"}}
  policies:
    - policyRef: {name: auth}
      config: {value: ` + secret + `}
`
}

// TestSecretsStayHidden: whatever Envoy repeats.
func TestSecretsStayHidden(t *testing.T) {
	t.Parallel()
	x, set := trial(t, auth(`"alice:swordfish"`))
	cache := t.TempDir()
	binary := filepath.Join(cache, "envoy")
	if err := os.WriteFile(binary, nil, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, e := range []error{&envoy.RefusedError{Message: "bad line alice:swordfish here"}, &envoy.FailedError{How: "it crashed", Said: "at alice:swordfish"}} {
		c := &critic{words: func(b []byte) error {
			if bytes.Contains(b, []byte("swordfish")) {
				return e
			}
			return nil
		}}
		v, err := deep.Judge(t.Context(), x, deep.Options{Ask: c.ask, Cache: deep.OpenCache(filepath.Join(cache, "c")), Envoy: envoy.Found{Path: binary, Version: "1.40.0"}})
		got := strings.Join(said(v, x, set), "\n")
		if err != nil || len(v.Findings) != 1 || strings.Contains(got, "swordfish") || !strings.Contains(got, "[redacted]") {
			t.Errorf("%v: %s", err, got)
		}
		files, _ := filepath.Glob(filepath.Join(cache, "c", "*"))
		for _, f := range files {
			if b, _ := os.ReadFile(f); bytes.Contains(b, []byte("swordfish")) {
				t.Errorf("%s: %s", f, b)
			}
		}
	}
}

// TestSecretsStayHiddenInEveryForm: Envoy quotes what it was given as protobuf's text and JSON do.
func TestSecretsStayHiddenInEveryForm(t *testing.T) {
	t.Parallel()
	const secret = `pa"ss\ü<1>`
	x, set := trial(t, auth(`'`+secret+`'`))
	for name, form := range map[string]string{
		"as it is": secret, "text format": `pa\"ss\\\303\274<1>`, "text format with UTF-8": `pa\"ss\\ü<1>`, "JSON": `pa\"ss\\ü<1>`, "JSON for HTML": `pa\"ss\\ü\u003c1\u003e`,
		"base64": base64.StdEncoding.EncodeToString([]byte(secret)), "base64 of URLs": base64.URLEncoding.EncodeToString([]byte(secret)),
	} {
		c := &critic{words: func(b []byte) error {
			if bytes.Contains(b, []byte(`pa"ss`)) {
				return &envoy.RefusedError{Message: "value: <" + form + "> is bad"}
			}
			return nil
		}}
		v, err := deep.Judge(t.Context(), x, deep.Options{Ask: c.ask})
		if got := strings.Join(said(v, x, set), "\n"); err != nil || strings.Contains(got, form) || !strings.Contains(got, "value: <[redacted]") {
			t.Errorf("%s: %v: %s", name, err, got)
		}
	}
}

func TestJudgeEndsWithItsContext(t *testing.T) {
	t.Parallel()
	x, _ := trial(t, many(5, nil))
	ctx, cancel := context.WithCancel(t.Context())
	_, err := deep.Judge(ctx, x, deep.Options{Ask: func(context.Context, envoy.Candidate) error { cancel(); return context.Canceled }})
	if !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
