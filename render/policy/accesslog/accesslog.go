// Package accesslog is the "access-log" policy: a line in the log for every request.
//
// The product does not document it, and public files use it without a configuration; what it would take is not known. The
// documented way is message-logging-flex.
//
// Source: none; it is seen in public declarations of early versions.
package accesslog

import (
	_ "embed"
	"fmt"
	"strings"

	"github.com/flexgw/flexgw/render/policy"
	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/ir"
	"github.com/flexgw/flexgw/schema/syntax"
)

//go:embed accesslog.schema.json
var schema []byte

//go:embed accesslog.md
var page []byte

//go:embed accesslog.codes.md
var codes []byte

// Type is the policy.
var Type = policy.Define(policy.Spec[config]{
	Name:    "access-log",
	Schema:  schema,
	Page:    page,
	Codes:   codes,
	Targets: ir.TargetAPI,
	Since:   "1.0.0",
	Check:   check,
})

// config keeps the names of the fields alone.
type config struct{ fields []string }

// DecodeNode implements syntax.NodeDecoder.
func (c *config) DecodeNode(n *syntax.Node) diag.List {
	for _, f := range n.Fields {
		c.fields = append(c.fields, f.Name)
	}
	return nil
}

func check(c *config, at policy.Locator) diag.List {
	f := policy.Findings{At: at}
	const hint = "bind message-logging-flex instead: it is documented, and says what is logged"
	if len(c.fields) > 0 {
		f.Warn("accesslog/unknown-config", fmt.Sprintf("nothing is known of a configuration of access-log: %s cannot be checked", strings.Join(c.fields, ", ")), hint)
		return f.List
	}
	f.Note("accesslog/undocumented", "the policy access-log is not documented, and may go away", hint)
	return f.List
}
