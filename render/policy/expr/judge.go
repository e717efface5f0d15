package expr

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/flexgw/flexgw/schema/dataweave"
	"github.com/flexgw/flexgw/schema/diag"
)

// Judge reads a field of a policy that is judged, but not carried out yet. It refuses what the product refuses, and nothing
// that only flexgw cannot do. The tree is nil exactly when the list holds an Error. At is the place of the whole scalar.
func Judge(text string, at diag.Range, use Use) (dataweave.Expr, diag.List) {
	tree, diags := dataweave.Parse(text, dataweave.At(text, at))
	if diags.HasErrors() {
		return nil, diags
	}
	for _, v := range dataweave.Vars(tree) {
		known(v, use, &diags)
	}
	textOnly(tree, &diags)
	diags = append(diags, odd(text, tree, at)...)
	if diags.HasErrors() {
		return nil, diags
	}
	return tree, diags
}

// known reports variables that the place of an expression does not have. It is false for those.
func known(v *dataweave.Var, use Use, diags *diag.List) bool {
	switch {
	case len(v.Path) > 1 && v.Path[0] == "attributes" && v.Path[1] == "statusCode" && !use.Response:
		*diags = append(*diags, diag.Diagnostic{
			Severity: diag.Error, Code: "expr/no-response-yet", Subject: v.Range(),
			Summary: "attributes.statusCode is not known yet where this is computed: the request is still on its way", Hint: "use it where responses are worked on, or leave it out",
		})
	case len(v.Path) > 1 && v.Path[0] == "vars" && v.Path[1] == "claimSet" && !use.ClaimSet:
		*diags = append(*diags, diag.Diagnostic{
			Severity: diag.Error, Code: "expr/no-claim-set", Subject: v.Range(), Summary: "vars.claimSet is known to the JWT policy only",
			Hint: "behind that policy, write authentication.properties.claims",
		})
	default:
		return true
	}
	return false
}

// textOnly refuses an expression whose result is binary.
func textOnly(e dataweave.Expr, diags *diag.List) {
	if b := binaryResult(e); b != nil {
		*diags = append(*diags, diag.Diagnostic{
			Severity: diag.Error, Code: "expr/binary-result", Subject: b.Range(), Summary: "the result is binary, a string is needed",
			Hint: "write " + dataweave.ToString + "(…, 'UTF-8') around it",
		})
	}
}

// bare is text that was meant as an expression: a variable with a member, perhaps with half of #[ ] around it.
var bare = regexp.MustCompile(`^\s*[#\[]?\s*(attributes|authentication|payload|vars)(\.['"\w]|\[\s*['"\w])`)

// within is an expression inside of text.
var within = regexp.MustCompile(`#\[([^\[\]]*(?:\[[^\[\]]*\][^\[\]]*)*)\]`)

// odd warns of what the product takes, but hardly as it was meant.
func odd(text string, tree dataweave.Expr, at diag.Range) diag.List {
	if !dataweave.IsExpression(text) {
		if m := within.FindStringSubmatchIndex(text); m != nil && !strings.Contains(text, "\n") {
			before, inner, after := text[:m[0]], text[m[2]:m[3]], text[m[1]:]
			meant := "(" + inner + ")"
			if before != "" {
				meant = "'" + before + "' ++ " + meant
			}
			if after != "" {
				meant += " ++ '" + after + "'"
			}
			return diag.List{{Severity: diag.Warning, Code: "expr/plain-text", Subject: at,
				Summary: fmt.Sprintf("%q is taken as the text that it is: an expression is the whole value, or none", text), Hint: fmt.Sprintf("write %q if a part of it is meant as one", "#["+meant+"]")}}
		}
		if !bare.MatchString(text) {
			return nil
		}
		meant := strings.TrimPrefix(strings.TrimSpace(text), "#")
		switch {
		case !strings.HasPrefix(meant, "["):
			meant = "#[" + meant + "]"
		case strings.HasSuffix(meant, "]"):
			meant = "#" + meant
		default:
			meant = "#" + meant + "]"
		}
		return diag.List{{Severity: diag.Warning, Code: "expr/plain-text", Subject: at,
			Summary: fmt.Sprintf("%q is taken as the text that it is, not as an expression", text), Hint: fmt.Sprintf("write %q if it is meant as one", meant)}}
	}
	var l diag.List
	for _, v := range dataweave.Vars(tree) {
		if len(v.Path) < 3 || !slices.Equal(v.Path[:2], []string{"attributes", "headers"}) {
			continue
		}
		if name := v.Path[2]; strings.ToLower(name) != name {
			l = append(l, diag.Diagnostic{Severity: diag.Warning, Code: "expr/header-case", Subject: v.Range(),
				Summary: fmt.Sprintf("the names in attributes.headers are lower case, so the product never finds %q", name), Hint: fmt.Sprintf("write %q", strings.ToLower(name)),
				Edits: []diag.Edit{{Op: diag.Reword, At: v.Range(), Name: name, Value: strings.ToLower(name)}}})
		}
	}
	return l
}

// Condition is a field that decides something.
type Condition struct {
	Tree  dataweave.Expr // nil: it is none, which the list says
	Never bool           // it is always false
	Not   dataweave.Type // what it gives instead of true or false; "": it may give one of them
}

// JudgeCondition is Judge for a field whose value is true or false. The plain texts true and false are conditions too.
func JudgeCondition(text string, at diag.Range, use Use) (Condition, diag.List) {
	if !dataweave.IsExpression(text) {
		switch strings.ToLower(strings.TrimSpace(text)) {
		case "true":
			return Condition{Tree: &dataweave.Bool{Value: true}}, nil
		case "false":
			return Condition{Tree: &dataweave.Bool{}, Never: true}, nil
		}
	}
	tree, l := Judge(text, at, use)
	c := Condition{Tree: tree}
	if tree == nil {
		return c, l
	}
	if b, ok := tree.(*dataweave.Bool); ok {
		c.Never = !b.Value
	}
	if typ := dataweave.TypeOf(tree); typ != dataweave.TypeBool && typ != dataweave.TypeUnknown {
		c.Not = typ
	}
	return c, l
}
