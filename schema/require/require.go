// Package require judges declarations by an organisation's own rules, which are written in CUE (docs/rules.md).
//
// It sees the objects as they are declared together with what the linked model makes of them, and answers with diagnostics at
// the places of the declarations. It opens no file, and it does not decide which severities and exceptions a repository has:
// package project does. Beside schema/syntax it is the only package that knows the CUE library, since a rule is a value of CUE
// that is unified with each object.
package require

import (
	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/syntax"
)

// Rule is what is known of a rule without an object at hand.
type Rule struct {
	Code     diag.Code
	Kind     string // of the objects that it is about
	Message  string // as it is written, with the \(expressions) of CUE in it
	Hint     string // the same; may be empty
	Page     string // where it can be read; may be empty
	Severity diag.Severity
	At       diag.Range // of its code in the file of rules
}

// Rules are all rules of a repository. The nil Rules are none.
type Rules struct {
	packages []*pack
	rules    []*rule // in the order of the files
}

// pack is a package of CUE with rules in it.
type pack struct {
	cue    syntax.CUEPackage
	linked bool // something in it speaks of the linked model
	config bool // and of configurations
}

// rule is a Rule and how it is evaluated.
type rule struct {
	Rule
	index     int    // in Rules.rules
	pack      int    // index in Rules.packages
	spine     *spine // what of an object it looks at
	dependent bool   // its constraints speak of the object at hand
	speaks    bool   // its texts do
	said      *spine // what of it they speak of
	alone     bool   // one of them does, and no other rule is needed for it
}

// All are the rules that can be asked, in the order of the files.
func (r *Rules) All() []Rule {
	if r == nil {
		return nil
	}
	var out []Rule
	for _, x := range r.rules {
		out = append(out, x.Rule)
	}
	return out
}

// Find is the rule of a code.
func (r *Rules) Find(code diag.Code) (Rule, bool) {
	for _, x := range r.All() {
		if x.Code == code {
			return x, true
		}
	}
	return Rule{}, false
}

// Kinds are what rules can be about. Gateway is the whole model.
var kinds = []string{"ApiInstance", "Service", "PolicyBinding", "Configuration", "Extension", gatewayKind}

const gatewayKind = "Gateway"

// bad is a mistake in a file of rules.
func bad(at diag.Range, summary, hint string) diag.Diagnostic {
	return diag.Diagnostic{Severity: diag.Error, Code: "project/bad-rule", Subject: at, Summary: summary, Hint: hint}
}
