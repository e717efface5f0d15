package schema_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/flexgw/flexgw/schema"
	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/fix"
	"github.com/flexgw/flexgw/schema/ir"
	"github.com/flexgw/flexgw/schema/source"
	"github.com/flexgw/flexgw/schema/syntax"
	"github.com/flexgw/flexgw/schema/testkit"
)

// stub is a small policy. The real ones have tests of their own.
type stub struct {
	name    string
	schema  string
	targets ir.Target
	place   ir.Place
	decode  func(*syntax.Node) (any, diag.List)
}

func (s *stub) Name() string                             { return s.name }
func (s *stub) ConfigSchema() []byte                     { return []byte(s.schema) }
func (s *stub) Targets() ir.Target                       { return s.targets }
func (s *stub) Place() ir.Place                          { return s.place }
func (s *stub) Guard(any) ir.Guard                       { return ir.GuardNone }
func (s *stub) Shares(any) bool                          { return false }
func (s *stub) Validity(any, *syntax.Node) []ir.Validity { return nil }
func (s *stub) Since() string                            { return "1.0.0" }
func (s *stub) Enforced() bool                           { return true }
func (s *stub) Decode(n *syntax.Node) (any, diag.List) {
	if s.decode != nil {
		return s.decode(n)
	}
	return n.Value(), nil
}

type credentials struct {
	Username string    `json:"username"`
	Password ir.Secret `json:"password"`
}

func decodeCredentials(n *syntax.Node) (any, diag.List) {
	return credentials{n.Get("username").Text, ir.NewSecret(n.Get("password").Text)}, nil
}

type catalog struct {
	types map[string]schema.PolicyType
	names []string
}

func (c catalog) Lookup(name string) (schema.PolicyType, bool) { t, ok := c.types[name]; return t, ok }
func (c catalog) Names() []string                              { return c.names }
func (c catalog) Known(name string) (string, bool) {
	if name == "client-id-enforcement-flex" {
		return "it needs contracts from the platform", true
	}
	return "", false
}

func (c catalog) Custom(d *schema.Definition) (schema.PolicyType, diag.List) {
	if d.Extension.ID.Name == "broken-impl" {
		return nil, nil
	}
	text := `{"type": "object"}`
	if d.Complete {
		text = string(d.Config.JSON(true))
	}
	return &stub{name: d.Extension.ID.Name, schema: text, targets: ir.TargetAPI, decode: func(n *syntax.Node) (any, diag.List) { return d.Config.Fill(n), d.Config.Check(n) }}, nil
}

const tlsSchema = `{"type": "object", "properties": {
	"certificate": {"type": "object", "properties": {"key": {"type": "string", "writeOnly": true}, "crt": {"type": "string"}}, "required": ["key", "crt"], "additionalProperties": false},
	"minversion": {"type": ["string", "number"]}, "alpn": {"type": "array", "items": {"type": "string"}, "uniqueItems": true}}, "additionalProperties": false}`

func newCatalog() catalog {
	c := catalog{types: map[string]schema.PolicyType{}}
	for _, s := range []*stub{
		{name: "cors-flex", targets: ir.TargetAPI, place: ir.First, schema: `{"type": "object", "properties": {"publicResource": {"type": "boolean"}}, "additionalProperties": false}`},
		{name: "header-injection-flex", targets: ir.TargetAPI, schema: `{"type": "object", "properties": {"inboundHeaders": {"type": "array", "items": {"$ref": "#/$defs/header"}}, "outboundHeaders": {"type": "array", "items": {"$ref": "#/$defs/header"}}}, "additionalProperties": false,
			"$defs": {"header": {"type": "object", "properties": {"key": {"type": "string", "minLength": 1}, "value": {"type": "string"}}, "required": ["key", "value"], "additionalProperties": false}}}`},
		{name: "http-basic-authentication-flex", targets: ir.TargetAPI, decode: decodeCredentials, schema: `{"type": "object", "properties": {"username": {"type": "string"}, "password": {"type": "string", "writeOnly": true}}, "required": ["username", "password"], "additionalProperties": false}`},
		{name: "idle-timeout-flex", targets: ir.TargetUpstream, schema: `{"type": "object", "properties": {"timeout": {"type": "number", "exclusiveMinimum": 0}}, "required": ["timeout"], "additionalProperties": false}`},
		{name: "ip-allowlist-flex", targets: ir.TargetAPI, schema: `{"type": "object", "properties": {"ips": {"type": "array", "minItems": 1, "items": {"type": "string", "pattern": "^[0-9./]+$"}}}, "required": ["ips"], "additionalProperties": false}`},
		{name: "message-logging-flex", targets: ir.TargetAPI | ir.TargetUpstream, schema: `{"type": "object", "properties": {"level": {"enum": ["DEBUG", "INFO", "WARN", "ERROR"]}, "source": {"oneOf": [
			{"type": "object", "properties": {"file": {"type": "string"}}, "required": ["file"]}, {"type": "object", "properties": {"url": {"type": "string", "maxLength": 20}}, "required": ["url"]}, {"type": "string"}]}}, "additionalProperties": false}`},
		{name: "rate-limiting-flex", targets: ir.TargetAPI, schema: `{"type": "object", "properties": {"exposeHeaders": {"type": "boolean"}, "rateLimits": {"type": "array", "minItems": 1, "items": {"type": "object",
			"properties": {"maximumRequests": {"type": "integer", "minimum": 1}, "timePeriodInMilliseconds": {"type": "integer", "minimum": 1}}, "required": ["maximumRequests", "timePeriodInMilliseconds"], "additionalProperties": false}}}, "required": ["rateLimits"], "additionalProperties": false}`},
		{name: "tls", targets: ir.TargetAPI, place: ir.Outside, schema: tlsSchema},
		{name: "tls-outbound", targets: ir.TargetUpstream, place: ir.Outside, schema: tlsSchema},
	} {
		c.types[s.name] = s
		c.names = append(c.names, s.name)
	}
	slices.Sort(c.names)
	return c
}

// TestCases loads every case twice, with a fresh memo and with one that has seen it, and compares diagnostics and model.
// Lines "env: A=b", "partial: true", "require-env: true" and "target: 1.6" of a case's comment set options.
func TestCases(t *testing.T) {
	t.Parallel()
	testkit.Run(t, "testdata/*.txtar", func(t *testing.T, c *testkit.Case) {
		env := map[string]string{}
		if v, ok := c.Flag("env"); ok {
			for _, pair := range strings.Fields(v) {
				k, v, _ := strings.Cut(pair, "=")
				env[k] = v
			}
		}
		_, partial := c.Flag("partial")
		_, require := c.Flag("require-env")
		var target ir.Release
		if v, ok := c.Flag("target"); ok {
			var err error
			if target, err = ir.ParseRelease(v); err != nil {
				t.Fatal(err)
			}
		}
		o := schema.Options{Policies: newCatalog(), Partial: partial, RequireEnv: require, Target: target, Memo: &schema.Memo{},
			Getenv: func(name string) (string, bool) { v, ok := env[name]; return v, ok }}
		g, ds := schema.Load(c.Set(), o)
		again, ds2 := schema.Load(c.Set(), o)
		ds, ds2 = ds.Together(), ds2.Together()
		if lines(ds) != lines(ds2) || dump(g) != dump(again) {
			t.Errorf("the second load differs:\n%s\n%s", lines(ds2), dump(again))
		}
		if g != nil {
			for i := range g.Listeners {
				if g.Listeners[i] != again.Listeners[i] {
					t.Error("nothing changed, yet a listener is another pointer")
				}
			}
		}
		checkFixes(t, c.Set(), o)
		c.Want(t, "want/diagnostics", []byte(lines(schema.Resolve(c.Set(), ds))))
		if _, quiet := c.Flag("model"); !quiet {
			c.Want(t, "want/ir.yaml", []byte(dump(g)))
		}
	})
}

// checkFixes holds that making all fixes comes to an end, and keeps every comment.
func checkFixes(t *testing.T, set source.Set, o schema.Options) {
	t.Helper()
	o.Memo = nil
	check := func(set source.Set) diag.List {
		_, ds := schema.Load(set, o)
		return schema.Resolve(set, ds)
	}
	r, err := fix.Apply(set, check)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range r.Left {
		if len(d.Fixes) > 0 {
			t.Errorf("a fix is never made: %v", d)
		}
	}
	for _, c := range r.Changed {
		if before, after := bytes.Count(c.Before, []byte("# ")), bytes.Count(c.After, []byte("# ")); before != after {
			t.Errorf("%s had %d comments and has %d:\n%s", c.Name, before, after, c.After)
		}
	}
	if again, err := fix.Apply(r.Set, check); err != nil || len(again.Changed) > 0 {
		t.Errorf("a second time changes %d files: %v", len(again.Changed), err)
	}
}

func lines(ds diag.List) string {
	var b strings.Builder
	for _, d := range ds {
		fmt.Fprintln(&b, d)
		if d.Hint != "" {
			fmt.Fprintln(&b, "  hint:", d.Hint)
		}
		for _, f := range d.Fixes {
			fmt.Fprintf(&b, "  fix: %s to %s: %s\n", f.Range, strings.TrimPrefix(diag.Range{Start: f.Range.End}.String(), ":"), f.Text)
		}
		for _, r := range d.Related {
			fmt.Fprintf(&b, "  %s: %s\n", r.Subject, r.Summary)
		}
	}
	return b.String()
}

// dump is the model in a stable form, without what is at its default. Secrets print as [redacted].
func dump(g *ir.Gateway) string {
	if g == nil {
		return ""
	}
	d := &dumper{}
	d.settings(g.Settings)
	if p := g.ForwardProxy; p != nil {
		d.line(0, "proxy %s of %s, as %q with %q (%s), not for %q", p.Address, p.Origin.Object, p.Username, p.Password.Reveal(), p.Password, p.NoProxy)
	}
	for _, l := range g.Listeners {
		d.line(0, "listener %s", l.Addr)
		if l.TLS != nil {
			d.binding(1, "tls", l.TLS)
		}
		for _, a := range l.APIs {
			d.line(1, "api %s/%s base %q at %s", a.Origin.Object.Namespace, a.Origin.Object.Name, a.BasePath, a.Address)
			for _, r := range a.Routes {
				d.line(2, "route %s order %d", r.Name, r.Order)
				d.rules(3, r.Rules)
				for _, s := range r.To {
					d.line(3, "to %s weight %d prefix %q", s.Upstream.Name, s.Weight, s.Prefix)
				}
			}
			for _, b := range a.Bindings {
				d.binding(2, "policy", b)
			}
		}
	}
	for _, u := range g.Upstreams {
		d.line(0, "upstream %s %s://%s:%d", u.Name, u.Scheme, u.Host, u.Port)
		for _, b := range u.Bindings {
			d.binding(1, "policy", b)
		}
	}
	for _, p := range g.Probes {
		d.line(0, "probe %s of %s", p.Origin.Object, p.API.Origin.Object)
		d.line(1, "%d times within %s, every %s", p.Attempts, p.Timeout, p.Period)
		if h := p.HTTP; h != nil {
			d.line(1, "%s %s of host %q, body %q, expecting %v, %v and %q", h.Method, h.Path, h.Host, h.Body.Reveal(), h.Status, h.Wanted, h.Contains)
			d.probeHeaders(h.Headers)
		}
		if c := p.GRPC; c != nil {
			d.line(1, "grpc %q of host %q, expecting %v", c.Service, c.Host, c.Status)
			d.probeHeaders(c.Headers)
		}
		if p.TLS != nil {
			d.line(1, "tls %q", p.TLS.ServerName)
			if c := p.TLS.Client; c != nil {
				d.line(2, "as %q, key %q", c.Certificate, c.Key.Reveal())
			}
		}
	}
	return d.String()
}

type dumper struct{ strings.Builder }

func (d *dumper) line(indent int, format string, args ...any) {
	d.WriteString(strings.Repeat("  ", indent))
	fmt.Fprintf(d, format+"\n", args...)
}

func (d *dumper) probeHeaders(headers []ir.ProbeHeader) {
	for _, x := range headers {
		d.line(2, "%s: %q hidden %t", x.Name, x.Value.Reveal(), x.Hidden)
	}
}

func (d *dumper) settings(s *ir.Settings) {
	std := ir.Settings{StreamIdle: 300e9, UpstreamIdle: 60e9, UpstreamResponse: 15e9, ConnectionIdle: 60e9, RewriteHost: true, ForwardClientCert: "SANITIZE"}
	own := *s
	own.Origins = nil
	if got, def := fmt.Sprintf("%+v", own), fmt.Sprintf("%+v", std); got != def {
		d.line(0, "settings %s", got)
	}
}

func (d *dumper) binding(indent int, what string, b *ir.Binding) {
	d.line(indent, "%s %s %s/%s order %d%s", what, b.Policy, b.Origin.Object.Namespace, b.Origin.Object.Name, b.Order, map[bool]string{true: " automated"}[b.Automated])
	if len(b.Unresolved()) > 0 {
		d.line(indent+1, "unresolved %s", strings.Join(b.Unresolved(), ", "))
	} else {
		text, err := json.Marshal(b.Config())
		if err != nil {
			text = []byte(err.Error())
		}
		d.line(indent+1, "config %s", text)
	}
	d.rules(indent+1, b.Rules)
}

func (d *dumper) rules(indent int, rules []ir.Match) {
	for _, m := range rules {
		var parts []string
		for _, p := range []struct {
			name string
			p    ir.Pattern
		}{{"path", m.Path}, {"host", m.Host}, {"method", m.Method}} {
			if !p.p.IsZero() {
				parts = append(parts, p.name+" "+p.p.Text)
			}
		}
		for _, h := range m.Headers {
			parts = append(parts, "header "+h.Name+" "+h.Text)
		}
		d.line(indent, "when %s", strings.Join(parts, ", "))
	}
}
