package syntax

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/format"
	"cuelang.org/go/cue/literal"
	"cuelang.org/go/cue/parser"
	"cuelang.org/go/cue/scanner"
	"cuelang.org/go/cue/token"

	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/source"
)

// formatCUE is Format of a package.
func formatCUE(u Unit, order func(root *Node) (top, metadata []string)) (out []Formatted, ds diag.List) {
	if !slices.ContainsFunc(append(slices.Clone(u.Files), u.cue.imported(u.Files)...), func(f source.File) bool { return writesOurs(f, order) }) {
		return nil, nil
	}
	r := newCUERun(u)
	for _, f := range u.Files {
		if f.Beside || r.parse(f) == nil {
			continue // what is wrong is in r.ds
		}
		x, _ := read(f)
		switch text, reason := formattedCUE(x); {
		case reason != "":
			ds = append(ds, notFormatted(f.Name, reason))
		case !bytes.Equal(text, x.src):
			out = append(out, Formatted{f.Name, text})
		}
	}
	return out, append(ds, r.ds...)
}

// writesOurs reports whether a file has a text that order knows as an apiVersion.
func writesOurs(f source.File, order func(root *Node) (top, metadata []string)) (ours bool) {
	defer func() { // as in head
		if recover() != nil {
			ours = false
		}
	}()
	x, _ := read(f)
	if x == nil || tooDeepCUE(x.src) >= 0 {
		return false
	}
	file, err := parser.ParseFile(f.Name, x.src)
	if err != nil {
		return true // for all we know
	}
	ast.Walk(file, func(n ast.Node) bool {
		if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING && !ours {
			if s, err := literal.Unquote(lit.Value); err == nil {
				top, _ := order(&Node{Kind: Mapping, Fields: []Field{{Name: "apiVersion", Value: &Node{Kind: Scalar, Scalar: s, Text: s}}}})
				ours = len(top) > 0
			}
		}
		return !ours
	}, nil)
	return ours
}

func formattedCUE(x *index) (text []byte, reason string) {
	defer func() { // as in formatted
		if r := recover(); r != nil {
			text, reason = nil, fmt.Sprintf("the formatter fails on it (%v)", r)
		}
	}()
	text, err := format.Source(x.src)
	switch {
	case err != nil:
		return nil, "CUE's own formatter refuses it"
	case !keeps(cueComments(x.name, x.src), cueComments(x.name, text), false):
		return nil, "a comment would be lost"
	case !slices.Equal(cueWords(x.name, x.src), cueWords(x.name, text)):
		return nil, "it would not be read as the same"
	}
	return text, ""
}

// cueWords are the words of a file, without what only its layout decides: commas, and the indent of texts of several lines.
func cueWords(name string, src []byte) (words []string) {
	var s scanner.Scanner
	s.Init(token.NewFile(name, -1, len(src)), src, nil, 0)
	for {
		_, kind, text := s.Scan()
		switch kind {
		case token.EOF:
			return words
		case token.COMMA:
			continue
		case token.INTERPOLATION: // its end is scanned by who knows where it is
			lines := strings.Split(text, "\n")
			for i := range lines {
				lines[i] = strings.TrimLeft(lines[i], " \t")
			}
			text = strings.Join(lines, "\n")
		case token.STRING:
			if s, err := literal.Unquote(text); err == nil {
				text = s
			}
		}
		words = append(words, kind.String()+" "+text)
	}
}
