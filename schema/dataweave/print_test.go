package dataweave

import (
	"fmt"
	"strconv"
	"strings"
)

// Text prints e in its canonical form, #[ and ] included. Parsing it again gives the same tree, places aside.
func Text(e Expr) string {
	var b strings.Builder
	b.WriteString("#[")
	printExpr(&b, e, 0)
	b.WriteByte(']')
	return b.String()
}

// How tightly an expression holds together, and how tightly its place asks for.
const (
	looseLevel   = iota // if
	infixLevel          // functions between their arguments
	logicalLevel        // and four levels from here
	tightLevel   = logicalLevel + 4
)

func level(e Expr) int {
	switch e := e.(type) {
	case *If:
		return looseLevel
	case *Binary:
		if l, ok := levelOf(e.Op); ok {
			return logicalLevel + l
		}
		return infixLevel
	}
	return tightLevel
}

func printExpr(b *strings.Builder, e Expr, want int) {
	if level(e) < want {
		b.WriteByte('(')
		defer b.WriteByte(')')
	}
	switch e := e.(type) {
	case *Null:
		b.WriteString("null")
	case *Bool:
		b.WriteString(strconv.FormatBool(e.Value))
	case *Number:
		b.WriteString(FormatNumber(e.Value))
	case *String:
		printString(b, e.Value)
	case *Array:
		b.WriteByte('[')
		printList(b, e.Items)
		b.WriteByte(']')
	case *Var:
		b.WriteString(e.Path[0])
		for _, key := range e.Path[1:] {
			printKey(b, key)
		}
	case *Select:
		printSelected(b, e.X)
		printKey(b, e.Key)
	case *Index:
		printSelected(b, e.X)
		b.WriteByte('[')
		printExpr(b, e.N, looseLevel)
		b.WriteByte(']')
	case *Call:
		b.WriteString(e.Name + "(")
		printList(b, e.Args)
		b.WriteByte(')')
	case *Not:
		b.WriteString("not(")
		printExpr(b, e.X, looseLevel)
		b.WriteByte(')')
	case *Binary:
		printBinary(b, e)
	case *If:
		b.WriteString("if (")
		printExpr(b, e.Cond, looseLevel)
		b.WriteString(") ")
		printExpr(b, e.Then, looseLevel)
		b.WriteString(" else ")
		printExpr(b, e.Else, looseLevel)
	}
}

// printBinary puts parentheses around every comparison beside a function: see checkLooseness.
func printBinary(b *strings.Builder, e *Binary) {
	own := level(e)
	left, right := own, own+1
	if own == infixLevel {
		right = tightLevel
		if level(e.X) != infixLevel {
			left = tightLevel
		}
	}
	printExpr(b, e.X, left)
	b.WriteString(" " + e.Op + " ")
	printExpr(b, e.Y, right)
}

// printSelected prints what a selector stands behind.
func printSelected(b *strings.Builder, x Expr) {
	switch x.(type) {
	case *Call, *Index, *Array, *String, *Var:
		printExpr(b, x, tightLevel)
	default:
		b.WriteByte('(')
		printExpr(b, x, looseLevel)
		b.WriteByte(')')
	}
}

func printList(b *strings.Builder, list []Expr) {
	for i, e := range list {
		if i > 0 {
			b.WriteString(", ")
		}
		printExpr(b, e, looseLevel)
	}
}

func printKey(b *strings.Builder, key string) {
	if key != "" && isLetter(key[0]) && nameEnd(key, 0) == len(key) && !strings.Contains(key, ":") {
		b.WriteString("." + key)
		return
	}
	b.WriteByte('[')
	printString(b, key)
	b.WriteByte(']')
}

func printString(b *strings.Builder, s string) {
	b.WriteByte('\'')
	for _, c := range []byte(s) {
		switch {
		case c == '\'' || c == '\\' || c == '$':
			b.WriteString("\\" + string(rune(c)))
		case c < 0x20 || c == 0x7f:
			fmt.Fprintf(b, "\\u%04x", c)
		default:
			b.WriteByte(c)
		}
	}
	b.WriteByte('\'')
}
