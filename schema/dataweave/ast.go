// Package dataweave parses the expressions that Flex Gateway accepts in policy fields, and says where they stop.
//
// It knows the subset that the product's documentation lists for its gateway, not the whole language: there are no object
// literals, no lambdas, no headers and no user functions, and each of those is a diagnostic at its own column. It decides
// nothing about Envoy. Eval is the reference meaning: whatever carries an expression out elsewhere is held to it.
//
// # Precedence
//
// From the tightest to the loosest, as the language documents it
// (https://docs.mulesoft.com/dataweave/latest/dataweave-flow-control-precedence):
//
//	x.key  x['key']  x[n]  f(x)
//	>=  <=
//	==  !=
//	and
//	or
//	default  ++  --  contains  splitBy  (every function between its arguments; left to right)
//	not       (reaches as far to the right as it can: not a or b is not (a or b))
//	if (c) a else b
//
// A function between its arguments takes in whole comparisons, so `a contains b or c` is `a contains (b or c)`. That reading
// can only fail on every request, so it is refused with the parentheses that were probably meant.
package dataweave

import "github.com/flexgw/flexgw/schema/diag"

// Expr is a node of a parsed expression: one of the pointer types below.
type Expr interface {
	// Span is where the node stands in the text given to Parse, in bytes, end exclusive, parentheses around it left out.
	Span() (start, end int)
	// Range is the same place in the user's file. It is zero when Parse had no Mapper.
	Range() diag.Range
}

// Place is the part that all nodes share.
type Place struct {
	Start, End int
	At         diag.Range
}

// Span implements Expr.
func (p Place) Span() (start, end int) { return p.Start, p.End }

// Range implements Expr.
func (p Place) Range() diag.Range { return p.At }

type (
	// Null is the literal null.
	Null struct{ Place }
	// Bool is true or false.
	Bool struct {
		Place
		Value bool
	}
	// Number is a 64-bit float.
	Number struct {
		Place
		Value float64
	}
	// String is a literal, escapes undone.
	String struct {
		Place
		Value string
	}
	// Array is an array literal.
	Array struct {
		Place
		Items []Expr
	}
	// Var is a root (attributes, authentication, payload or vars) and the constant keys selected from it, however they were
	// written: attributes.headers.'x-a' and attributes.headers['x-a'] both have the path attributes, headers, x-a.
	// Keys keep their case; header names are compared without it (see HeaderName).
	Var struct {
		Place
		Path []string // at least the root
	}
	// Select is a constant key of something that is not a Var.
	Select struct {
		Place
		X   Expr
		Key string
	}
	// Index is X[N] where N is not a string literal. A negative number counts from the end.
	Index struct {
		Place
		X, N Expr
	}
	// Call is a function with its arguments, however it was written. Name is a key of Functions.
	Call struct {
		Place
		Name string
		Args []Expr
	}
	// Binary is one of the Ops between two operands. contains(a, b) is a Binary too.
	Binary struct {
		Place
		Op   string
		X, Y Expr
	}
	// Not is logical negation.
	Not struct {
		Place
		X Expr
	}
	// If is if (Cond) Then else Else.
	If struct {
		Place
		Cond, Then, Else Expr
	}
)

// The operators a Binary can hold.
const (
	Concat   = "++"
	Minus    = "--"
	Equal    = "=="
	NotEqual = "!="
	AtLeast  = ">="
	AtMost   = "<="
	And      = "and"
	Or       = "or"
	Default  = "default"
	Contains = "contains"
)

// The functions of modules, which must be written with their full names.
const (
	SubstringAfter      = "dw::core::Strings::substringAfter"
	SubstringAfterLast  = "dw::core::Strings::substringAfterLast"
	SubstringBefore     = "dw::core::Strings::substringBefore"
	SubstringBeforeLast = "dw::core::Strings::substringBeforeLast"
	ToBase64            = "dw::core::Binaries::toBase64"
	FromBase64          = "dw::core::Binaries::fromBase64"
	ToBinary            = "dw::util::Coercions::toBinary"
	ToString            = "dw::util::Coercions::toString"
)

// Functions returns the functions of the subset and how many arguments each takes. contains, ++ and -- are among them.
func Functions() map[string]int {
	return map[string]int{
		Concat: 2, Minus: 2, Contains: 2, "lower": 1, "upper": 1, "trim": 1, "splitBy": 2, "sizeOf": 1, "uuid": 0,
		SubstringAfter: 2, SubstringAfterLast: 2, SubstringBefore: 2, SubstringBeforeLast: 2,
		ToBase64: 1, FromBase64: 1, ToBinary: 2, ToString: 2,
	}
}

// Children returns the direct operands of e, in the order in which they are written.
func Children(e Expr) []Expr {
	switch e := e.(type) {
	case *Array:
		return e.Items
	case *Select:
		return []Expr{e.X}
	case *Index:
		return []Expr{e.X, e.N}
	case *Call:
		return e.Args
	case *Binary:
		return []Expr{e.X, e.Y}
	case *Not:
		return []Expr{e.X}
	case *If:
		return []Expr{e.Cond, e.Then, e.Else}
	}
	return nil
}

// Walk calls f for e and all below it, parents first. Where f answers false, it does not go deeper.
func Walk(e Expr, f func(Expr) bool) {
	if e == nil || !f(e) {
		return
	}
	for _, c := range Children(e) {
		Walk(c, f)
	}
}

// Vars returns every Var in e, in the order in which they are written.
func Vars(e Expr) []*Var {
	var all []*Var
	Walk(e, func(e Expr) bool {
		if v, ok := e.(*Var); ok {
			all = append(all, v)
		}
		return true
	})
	return all
}

// HeaderName returns the header that v selects, in lower case, when v is attributes.headers.<name> and nothing below it.
func (v *Var) HeaderName() (string, bool) {
	if len(v.Path) == 3 && v.isHeaders(2) {
		return lowerASCII(v.Path[2]), true
	}
	return "", false
}

// isHeaders reports whether the first n elements of the path are attributes.headers.
func (v *Var) isHeaders(n int) bool {
	return n >= 2 && len(v.Path) >= 2 && v.Path[0] == "attributes" && v.Path[1] == "headers"
}

// Phase says when the value of an expression is known.
type Phase uint8

// The phases. Anytime needs nothing of the message: it holds literals only.
const (
	Anytime  Phase = iota
	Request        // needs the request: its line, query, addresses, or what policies found out about the caller
	Response       // needs the response: its status
	Either         // needs headers only, so it means those of the message at hand
	Both           // needs the request and the response
)

// PhaseOf tells what e needs. attributes.headers means the headers of the direction in which an expression stands; it does not
// turn a Request expression into anything else, because the two can be evaluated together only on the request.
func PhaseOf(e Expr) Phase {
	p := Anytime
	for _, v := range Vars(e) {
		p = p.with(phaseOfVar(v))
	}
	return p
}

func phaseOfVar(v *Var) Phase {
	switch {
	case v.isHeaders(len(v.Path)), v.Path[0] == "payload":
		return Either
	case v.Path[0] == "attributes" && len(v.Path) > 1 && v.Path[1] == "statusCode":
		return Response
	}
	return Request
}

func (p Phase) with(o Phase) Phase {
	switch {
	case p == o, o == Anytime, o == Either && p != Anytime:
		return p
	case p == Anytime, p == Either:
		return o
	}
	return Both
}
