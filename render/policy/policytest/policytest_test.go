package policytest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	basicauthv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/basic_auth/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/flexgw/flexgw/render/policy"
	"github.com/flexgw/flexgw/schema/ir"
)

func TestProperties(t *testing.T) {
	t.Parallel()
	got, err := Properties([]byte(`{"type":"object","required":["b"],"properties":{
		"b":{"type":"array","items":{"type":"object","properties":{"c":{"type":["string","integer"],"default":"x","description":"d"}}}},
		"a":{"$ref":"#/$defs/m"},
		"o":{"oneOf":[{"type":"string"},{"type":"object","properties":{"p":{"type":"boolean"}}}]}},
		"$defs":{"m":{"type":"object","description":"m","additionalProperties":{"type":"object","properties":{"z":{"type":"number"}}}}}}`))
	if err != nil {
		t.Fatal(err)
	}
	want := []Property{
		{Path: "b", Type: "list of object", Required: true}, {Path: "b[].c", Type: "string or integer", Default: "x", HasDefault: true, Description: "d"},
		{Path: "a", Type: "object", Description: "m"}, {Path: "a.*.z", Type: "number"}, {Path: "o", Type: "string or object"}, {Path: "o.p", Type: "boolean"},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("-want +got\n%s", d)
	}
}

func TestLint(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ schema, want string }{
		{`{"type":"object","additionalProperties":false,"properties":{"a":{"type":"string","description":"d"}}}`, ""},
		{`{"type":"object","properties":{}}`, "the configuration does not say additionalProperties: false"},
		{`{"type":"object","additionalProperties":true}`, "the configuration does not say additionalProperties: false"},
		{`{"type":"object","additionalProperties":false,"properties":{"a":{"type":"string"}}}`, "a has no description"},
		{`{"type":"object","additionalProperties":false,"properties":{"a":{"description":"d","type":"array","items":{"type":"object"}}}}`, "a[] does not say additionalProperties: false"},
		{`{"type":"object","additionalProperties":{"type":"object"}}`, ".* does not say additionalProperties: false"},
		{`{"type":"object","additionalProperties":false,"required":["b"],"properties":{}}`, "the configuration requires b, which it does not have"},
		{`{"$defs":{"x":{"type":"object"}}}`, "$defs.x does not say additionalProperties: false"},
		{`[]`, "the schema is not an object"},
		{`{`, "the schema is not JSON: EOF"},
	} {
		if got := strings.Join(Lint([]byte(tc.schema)), "\n"); got != tc.want {
			t.Errorf("%s: got %q, want %q", tc.schema, got, tc.want)
		}
	}
}

func TestRedactedHidesWhatEnvoyCallsSensitive(t *testing.T) {
	t.Parallel()
	text := func(s string) *corev3.DataSource {
		return &corev3.DataSource{Specifier: &corev3.DataSource_InlineString{InlineString: s}}
	}
	for _, m := range []proto.Message{
		&basicauthv3.BasicAuth{Users: text("alice:hunter2"), Realm: "mule-realm"},
		&tlsv3.Secret{Name: "s", Type: &tlsv3.Secret_TlsCertificate{TlsCertificate: &tlsv3.TlsCertificate{PrivateKey: text("hunter2")}}},
		&corev3.TypedExtensionConfig{Name: "in an Any", TypedConfig: packed(t, &basicauthv3.BasicAuth{Users: text("alice:hunter2")})},
		text(`{"keys":[{"kty":"oct","k":"hunter2"}]}`),
		&tlsv3.Secret{Name: "s", Type: &tlsv3.Secret_GenericSecret{GenericSecret: &tlsv3.GenericSecret{Secret: text("hunter2")}}},
	} {
		before := proto.Clone(m)
		d := dump{}
		d.message("m", m)
		text, err := d.yaml()
		if err != nil {
			t.Fatal(err)
		}
		if got := string(text); strings.Contains(got, "hunter2") || !strings.Contains(got, "[redacted]") || len(d.problems) > 0 {
			t.Errorf("got %s %v", got, d.problems)
		}
		if !proto.Equal(before, m) {
			t.Errorf("%T was changed", m)
		}
	}
}

func packed(t *testing.T, m proto.Message) *anypb.Any {
	t.Helper()
	a, err := anypb.New(m)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestSourceCodes(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"a.go":         "package a\n\nconst x = \"area/one\"\n\n// area/comment\nvar y = []string{`area/two`, \"other/three\", \"area/Bad\"}\n",
		"a_test.go":    "package a\n\nconst z = \"area/test\"\n",
		"enforce/e.go": "package enforce\n\nconst x = \"area/deep\"\n",
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := sourceCodes(dir, "area")
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"area/deep", "area/one", "area/two"}, got); d != "" {
		t.Errorf("-want +got\n%s", d)
	}
}

func TestBlocks(t *testing.T) {
	t.Parallel()
	lines := strings.SplitAfter("a\n```yaml flexgw:ok\nx: 1\n```\n```text\n```\n", "\n")
	got := blocks(lines)
	want := []block{{"yaml flexgw:ok", 2, 3}, {"text", 5, 5}}
	if d := cmp.Diff(want, got, cmp.AllowUnexported(block{})); d != "" {
		t.Errorf("-want +got\n%s", d)
	}
}

// TestEffectsSeeTheWholeInstance shows that a policy whose instances the daemon could not tell apart fails its tests, and
// that secrets of one that it can are not in its goldens.
func TestEffectsSeeTheWholeInstance(t *testing.T) {
	t.Parallel()
	type blind struct{ secret ir.Secret }
	type seeing struct{ Secret ir.Secret }
	effect := func(enforce any) (string, error) {
		d := dump{typ: policy.Define(policy.Spec[struct{}]{Name: "p", Effect: func(*struct{}, policy.Input) (policy.Effect, error) {
			return policy.Effect{Enforce: enforce}, nil
		}})}
		err := d.binding(&ir.Binding{Made: &struct{}{}}, nil, nil, &ir.Settings{}, nil)
		text, _ := d.yaml()
		return string(text), err
	}
	if _, err := effect(blind{ir.NewSecret("hunter2")}); err == nil || !strings.Contains(err.Error(), "unexported") {
		t.Errorf("got %v, want an error about the unexported field", err)
	}
	got, err := effect(seeing{ir.NewSecret("hunter2")})
	if err != nil || strings.Contains(got, "hunter2") || !strings.Contains(got, "[redacted]") {
		t.Errorf("got %s, %v", got, err)
	}
}
