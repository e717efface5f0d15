package anypoint

import (
	"bytes"
	"regexp"
	"slices"
	"strings"

	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/syntax"
)

// Beside is what else a file with the name of a registration declares.
type Beside struct {
	// Rest is the text without the registration, which is blank there, so that every place is the same; nil: nothing else is declared.
	// Of a text that cannot be read it is all of it, if a kind of something else stands in it. So it is of one that is longer than any registration.
	Rest     []byte
	Readable bool // false: what Rest says was guessed
	Pair     bool // a key pair is in it, whole or not: none is expected in CertificateName
}

// Split says what of a text is no registration. It judges by kinds alone: a registration that is cut or broken is one too.
func Split(src []byte) Beside {
	if len(src) > maxFile {
		return guess(src)
	}
	_, docs, list := trees(FileName, src)
	if list.HasErrors() {
		return guess(src)
	}
	b := Beside{Readable: true}
	var ours []int // lines, from 1
	others := false
	for _, d := range docs {
		if ofRegistration(d.Root) {
			ours = append(ours, int(d.Range.Start.Line))
			b.Pair = b.Pair || kindOf(d.Root) == "Secret"
			continue
		}
		others = others || d.Root != nil && !d.Root.IsNull()
	}
	if others {
		b.Rest = blankened(src, ours)
	}
	return b
}

// kindLine finds kinds in a text that is no YAML (any more).
var kindLine = regexp.MustCompile(`(?m)(?:^|[{,]\s*)["']?kind["']?\s*:\s*["']?([A-Za-z]+)`)

func guess(src []byte) Beside {
	b := Beside{}
	for _, m := range kindLine.FindAllSubmatch(src, -1) {
		switch kind := string(m[1]); {
		case !registrationKind(kind):
			b.Rest = src
		case kind == "Secret":
			b.Pair = true
		}
	}
	return b
}

func kindOf(root *syntax.Node) string {
	if k := root.Get("kind"); k != nil {
		return k.Text
	}
	return ""
}

// registrationKind reports whether a kind, which may be cut or misspelt, is one of a registration's.
func registrationKind(kind string) bool {
	kinds := []string{"Configuration", "Secret"}
	return slices.ContainsFunc(kinds, func(k string) bool { return strings.HasPrefix(k, kind) }) || diag.Nearest(kind, kinds) != ""
}

// ofRegistration reports whether a document, which may be cut, is one of a registration's: a Configuration of nothing but the connection,
// a Secret, or the beginning of one.
func ofRegistration(root *syntax.Node) bool {
	if root == nil || root.IsNull() {
		return false
	}
	kind, spec := kindOf(root), root.Get("spec")
	switch {
	case root.Kind != syntax.Mapping:
		return true // no declaration is one
	case kind == "":
		return spec == nil && root.Get("apiVersion") != nil
	case !registrationKind(kind):
		return false
	case spec == nil || spec.Kind != syntax.Mapping || strings.HasPrefix("Secret", kind) || diag.Nearest(kind, []string{"Secret"}) != "":
		return true
	}
	for _, f := range spec.Fields {
		if diag.Nearest(f.Name, []string{"platformConnection"}) == "" {
			return false // it sets something else too
		}
	}
	return true
}

// blankened is a text without the documents that begin at the lines, in order. A document ends before the next line of three hyphens.
func blankened(src []byte, begin []int) []byte {
	var out []byte
	lines := bytes.SplitAfter(src, []byte("\n"))
	for from := 0; from < len(lines); {
		to := from + 1
		for to < len(lines) && !separates(lines[to]) {
			to++
		}
		ours := slices.ContainsFunc(begin, func(line int) bool { return from < line && line <= to })
		for i, line := range lines[from:to] {
			if !ours {
				out = append(out, line...)
				continue
			}
			keep := 0
			if i == 0 && separates(line) {
				keep = 3
			}
			out = append(out, line[:keep]...)
			for _, c := range line[keep:] {
				if c != '\n' && c != '\r' {
					c = ' '
				}
				out = append(out, c)
			}
		}
		from = to
	}
	return out
}

func separates(line []byte) bool {
	rest, ok := bytes.CutPrefix(line, []byte("---"))
	return ok && (len(bytes.TrimSpace(rest)) == 0 || rest[0] == ' ' || rest[0] == '\t')
}
