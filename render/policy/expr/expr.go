// Package expr turns an expression of a policy's field into something that Envoy evaluates.
//
// There are three ways, the cheapest first. A policy asks for them in this order:
//
//   - Literal: the value is known now.
//   - RequestHeader, RemoteAddress, Format: Envoy has it ready, in a matcher, a descriptor or a substitution format.
//   - a Program: one shipped Lua script, the same for all, walks the expression, which it gets as data. No text of the user is
//     ever code. The script sets headers and metadata and refuses requests; where it cannot evaluate, it answers 500, as the
//     product does, and it cleans what it writes into headers that others read.
//
// A value that a response needs of its request is kept when the request passes. Whatever none of these can do is an error at
// its own place in the expression. The package knows no policy: what a failing or a missing value means is told by each Step.
package expr

import (
	"fmt"
	"strings"

	"github.com/flexgw/flexgw/schema/dataweave"
	"github.com/flexgw/flexgw/schema/diag"
)

// Use says where an expression is evaluated.
type Use struct {
	Response bool // on the response; attributes of the request are kept for it
	ClaimSet bool // vars.claimSet means the claims of Input.Earlier (the jwt policy's own fields)
}

// Expr is an expression that can be carried out. The zero Expr is null.
type Expr struct {
	tree dataweave.Expr
	use  Use
}

// Compile reads a field: #[…], or plain text, which is a literal. At is the place of the whole scalar.
func Compile(text string, at diag.Range, use Use) (Expr, diag.List) {
	tree, diags := dataweave.Parse(text, dataweave.At(text, at))
	if diags.HasErrors() {
		return Expr{}, diags
	}
	e, more := Of(tree, use)
	return e, append(append(diags, more...), odd(text, tree, at)...)
}

// Of takes an expression that a policy has put together itself.
func Of(tree dataweave.Expr, use Use) (Expr, diag.List) {
	var diags diag.List
	check(tree, use, &diags)
	textOnly(tree, &diags)
	if diags.HasErrors() {
		return Expr{}, diags
	}
	return Expr{tree: tree, use: use}, diags
}

// Tree is the parsed expression; nil for the zero Expr.
func (e Expr) Tree() dataweave.Expr { return e.tree }

// Literal is the text of an expression that needs nothing of a message. It is false for one whose value is no text.
func (e Expr) Literal() (string, bool) {
	if e.tree == nil || dataweave.PhaseOf(e.tree) != dataweave.Anytime {
		return "", false
	}
	v, err := dataweave.Eval(e.tree, dataweave.Env{})
	switch v := v.(type) {
	case string:
		return v, err == nil
	case float64:
		return dataweave.FormatNumber(v), err == nil
	case bool:
		return fmt.Sprint(v), err == nil
	}
	return "", false
}

// RequestHeader names the header, in lower case, that the expression is, when it is nothing else and stands on the request.
func (e Expr) RequestHeader() (string, bool) {
	v, ok := e.tree.(*dataweave.Var)
	if !ok || e.use.Response {
		return "", false
	}
	return v.HeaderName()
}

// RemoteAddress reports whether the expression is the address of the peer and nothing else.
func (e Expr) RemoteAddress() bool {
	v, ok := e.tree.(*dataweave.Var)
	return ok && len(v.Path) == 2 && v.Path[0] == "attributes" && v.Path[1] == "remoteAddress"
}

// Format is an Envoy substitution format of the same value. It is given only where the value is always there and cannot hold
// what would split a message: text, the method and the request line, on the request.
func (e Expr) Format() (string, bool) {
	if s, ok := e.Literal(); ok {
		return strings.ReplaceAll(s, "%", "%%"), true
	}
	if e.use.Response {
		return "", false
	}
	switch x := e.tree.(type) {
	case *dataweave.Binary:
		a, aok := Expr{tree: x.X, use: e.use}.Format()
		b, bok := Expr{tree: x.Y, use: e.use}.Format()
		return a + b, x.Op == dataweave.Concat && aok && bok
	case *dataweave.Var:
		f, ok := formats()[strings.Join(x.Path, ".")]
		return f, ok
	}
	return "", false
}

func formats() map[string]string {
	return map[string]string{
		"attributes.method":      "%REQ(:METHOD)%",
		"attributes.requestPath": "%PATH(NQ:PATH)%",
		"attributes.requestUri":  "%REQ(:PATH)%",
	}
}

// instead is what to do without a function.
const instead = "write the expression without it, or leave this binding to the product for now"

// check reports what the script cannot do.
func check(e dataweave.Expr, use Use, diags *diag.List) {
	unsupported := func(e dataweave.Expr, what, hint string) {
		*diags = append(*diags, diag.Diagnostic{
			Severity: diag.Error, Code: "expr/not-supported-yet", Subject: e.Range(), Summary: what + " is not supported yet", Hint: hint,
		})
	}
	dataweave.Walk(e, func(e dataweave.Expr) bool {
		switch e := e.(type) {
		case *dataweave.Var:
			checkVar(e, use, unsupported, diags)
		case *dataweave.Binary:
			if e.Op == dataweave.Minus {
				unsupported(e, "-- in an expression", instead)
			}
		case *dataweave.Call:
			if _, ok := functions()[e.Name]; !ok && !recodesUTF8(e) {
				unsupported(e, e.Name, instead)
			}
		case *dataweave.Index:
			if isHeaders(e.X) {
				check(e.N, use, diags)
				return false
			}
		}
		return true
	})
}

func isHeaders(e dataweave.Expr) bool {
	v, ok := e.(*dataweave.Var)
	return ok && len(v.Path) == 2 && v.Path[0] == "attributes" && v.Path[1] == "headers"
}

// recodesUTF8 reports whether e turns a string into a binary or back without changing a byte.
func recodesUTF8(e *dataweave.Call) bool {
	if e.Name != dataweave.ToString && e.Name != dataweave.ToBinary {
		return false
	}
	enc, ok := e.Args[1].(*dataweave.String)
	return ok && strings.EqualFold(enc.Value, "UTF-8")
}

func checkVar(v *dataweave.Var, use Use, unsupported func(dataweave.Expr, string, string), diags *diag.List) {
	if !known(v, use, diags) {
		return
	}
	var path [3]string
	copy(path[:], v.Path)
	name := func() string { return strings.Join(v.Path, ".") }
	switch path[0] {
	case "attributes":
		if len(v.Path) == 1 || len(v.Path) == 2 && path[1] == "headers" {
			unsupported(v, "the whole of "+name(), "select one: "+name()+".name")
		}
	case "authentication":
		if path[1] != "principal" && path[1] != "clientId" && (path[1] != "properties" || path[2] != "claims") {
			unsupported(v, name(), "take authentication.principal, .clientId or .properties.claims")
		}
	case "vars":
		if path[1] != "claimSet" {
			unsupported(v, name(), "no policy sets it")
		}
	default:
		unsupported(v, name(), "take a header or another attribute: bodies are not read yet")
	}
}

// binaryResult finds the part of e that is its result and binary.
func binaryResult(e dataweave.Expr) dataweave.Expr {
	switch e := e.(type) {
	case *dataweave.Call:
		if e.Name == dataweave.FromBase64 || e.Name == dataweave.ToBinary {
			return e
		}
	case *dataweave.If:
		if b := binaryResult(e.Then); b != nil {
			return b
		}
		return binaryResult(e.Else)
	case *dataweave.Binary:
		if e.Op != dataweave.Default {
			return nil
		}
		if b := binaryResult(e.X); b != nil {
			return b
		}
		return binaryResult(e.Y)
	}
	return nil
}
