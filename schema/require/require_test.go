package require_test

import (
	"fmt"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/flexgw/flexgw/schema"
	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/ir"
	"github.com/flexgw/flexgw/schema/require"
	"github.com/flexgw/flexgw/schema/source"
	"github.com/flexgw/flexgw/schema/syntax"
	"github.com/flexgw/flexgw/schema/testkit"
)

// stub is a small policy. The command's own tests run rules with the real ones.
type stub struct {
	name    string
	schema  string
	targets ir.Target
	place   ir.Place
	guard   ir.Guard
}

func (s stub) Name() string                             { return s.name }
func (s stub) ConfigSchema() []byte                     { return []byte(s.schema) }
func (s stub) Targets() ir.Target                       { return s.targets }
func (s stub) Place() ir.Place                          { return s.place }
func (s stub) Guard(any) ir.Guard                       { return s.guard }
func (stub) Shares(any) bool                            { return false }
func (s stub) Validity(any, *syntax.Node) []ir.Validity { return nil }
func (s stub) Since() string                            { return "1.0.0" }
func (s stub) Enforced() bool                           { return true }
func (s stub) Decode(n *syntax.Node) (any, diag.List)   { return n.Value(), nil }

type catalog struct{}

var stubs = []stub{
	{"cors-flex", `{"type": "object", "properties": {"publicResource": {"type": "boolean"}}, "additionalProperties": false}`, ir.TargetAPI, ir.First, ir.GuardNone},
	{"http-basic-authentication-flex", `{"type": "object", "properties": {"username": {"type": "string"}, "password": {"type": "string", "writeOnly": true}}, "required": ["username", "password"], "additionalProperties": false}`, ir.TargetAPI, ir.Ordered, ir.Authenticates},
	{"idle-timeout-flex", `{"type": "object", "properties": {"timeout": {"type": "number"}}, "additionalProperties": false}`, ir.TargetUpstream, ir.Ordered, ir.GuardNone},
	{"rate-limiting-flex", `{"type": "object", "properties": {"rateLimits": {"type": "array", "items": {"type": "object", "properties": {"maximumRequests": {"type": "integer", "minimum": 1}, "timePeriodInMilliseconds": {"type": "integer"}}, "required": ["maximumRequests"], "additionalProperties": false}}}, "required": ["rateLimits"], "additionalProperties": false}`, ir.TargetAPI, ir.Ordered, ir.Restricts},
	{"tls", `{"type": "object", "properties": {"certificate": {"type": "object", "properties": {"key": {"type": "string", "writeOnly": true}, "crt": {"type": "string"}}, "additionalProperties": false}, "minversion": {"type": "string"}}, "additionalProperties": false}`, ir.TargetAPI, ir.Outside, ir.GuardNone},
}

func (catalog) Lookup(name string) (schema.PolicyType, bool) {
	i := slices.IndexFunc(stubs, func(s stub) bool { return s.name == name })
	if i < 0 {
		return nil, false
	}
	return stubs[i], true
}
func (catalog) Names() []string                                          { return nil }
func (catalog) Known(string) (string, bool)                              { return "", false }
func (catalog) Custom(*schema.Definition) (schema.PolicyType, diag.List) { return nil, nil }

func reserved(area string) bool { return area == "link" || area == "project" }

// judged is what rules say of declarations. Files below rules/ are rules, those below beside/ may be imported.
func judged(files []testkit.File, limit time.Duration, partial bool) (wrong, ds diag.List, rules *require.Rules) {
	var own, beside, rest []source.File
	for _, f := range files {
		file := source.NewFile(f.Name, f.Data)
		switch {
		case strings.HasPrefix(f.Name, "rules/lib/"), strings.HasPrefix(f.Name, "rules/cue.mod/"):
			beside = append(beside, file)
		case strings.HasPrefix(f.Name, "rules/"):
			own = append(own, file)
		default:
			rest = append(rest, file)
		}
	}
	rules, wrong = require.Load(own, require.LoadOptions{Beside: beside, Reserved: reserved})
	set := source.NewSet(rest)
	g, found := schema.Load(set, schema.Options{Policies: catalog{}, Salvage: true, Partial: partial})
	for _, d := range found {
		if d.Severity == diag.Error {
			ds = append(ds, d)
		}
	}
	return wrong, append(ds, rules.Check(set, g, require.Options{Policies: catalog{}, Found: found, Limit: limit, Partial: partial})...).Sort(), rules
}

// shown is all that a diagnostic says.
func shown(l diag.List) string {
	var b strings.Builder
	for _, d := range l {
		fmt.Fprintf(&b, "%s:%d-%d:%d: %s: %s [%s]\n", d.Subject, d.Subject.Start.Offset, d.Subject.End.Offset, d.Subject.End.Column, d.Severity, d.Summary, d.Code)
		if d.Hint != "" {
			fmt.Fprintf(&b, "  hint: %s\n", d.Hint)
		}
		if !d.Object.IsZero() || d.Path != "" {
			fmt.Fprintf(&b, "  of: %s %s\n", d.Object, d.Path)
		}
		for _, r := range d.Related {
			fmt.Fprintf(&b, "  %s: %s\n", r.Subject, r.Summary)
		}
	}
	return b.String()
}

func TestCases(t *testing.T) {
	t.Parallel()
	testkit.Run(t, "testdata/*.txtar", func(t *testing.T, c *testkit.Case) {
		_, partial := c.Flag("partial")
		wrong, ds, _ := judged(c.Files, 0, partial)
		if strings.HasPrefix(c.Name, "bad-") {
			c.Want(t, "want/rules", []byte(shown(wrong)))
		} else if len(wrong) > 0 {
			t.Fatalf("the rules are wrong:\n%s", shown(wrong))
		}
		if strings.HasPrefix(c.Name, "ok-") && len(ds) > 0 {
			t.Errorf("reported:\n%s", shown(ds))
		}
		if !strings.HasPrefix(c.Name, "ok-") {
			c.Want(t, "want/diagnostics", []byte(shown(ds)))
		}
		for _, d := range ds {
			text := ""
			for _, f := range c.Files {
				if f.Name == d.Subject.File {
					text = string(f.Data)
				}
			}
			if path.Ext(d.Subject.File) != ".cue" && d.Subject.End.Offset > len(text) || d.Subject.Start.IsZero() {
				t.Errorf("%s is not in the file", d)
			}
		}
	})
}
