package syntax

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/flexgw/flexgw/schema/diag"
)

// Get is the value of the field of exactly this name, or nil. It may be called on nil.
func (n *Node) Get(name string) *Node {
	if f := n.Field(name); f != nil {
		return f.Value
	}
	return nil
}

// Field is the field of exactly this name, or nil. It may be called on nil.
func (n *Node) Field(name string) *Field {
	if n == nil {
		return nil
	}
	if i := indexOf(n.Fields, name); i >= 0 {
		return &n.Fields[i]
	}
	return nil
}

// Fold is the field of this name, or else the first whose name differs from it only in case, or nil.
func (n *Node) Fold(name string) *Field {
	if f := n.Field(name); f != nil || n == nil {
		return f
	}
	for i := range n.Fields {
		if strings.EqualFold(n.Fields[i].Name, name) {
			return &n.Fields[i]
		}
	}
	return nil
}

// walk follows path as far as it goes. key is the field through which the node it ends at was reached, nil for a root
// and for an item of a sequence; rest is what could not be followed.
func (n *Node) walk(path []string) (at *Node, key *Field, rest []string) {
	for i, name := range path {
		switch n.Kind {
		case Mapping:
			f := n.Field(name)
			if f == nil {
				return n, key, path[i:]
			}
			n, key = f.Value, f
		case Sequence:
			j, err := strconv.Atoi(name)
			if err != nil || j < 0 || j >= len(n.Items) {
				return n, key, path[i:]
			}
			n, key = n.Items[j], nil
		default:
			return n, key, path[i:]
		}
	}
	return n, key, nil
}

// At follows path (names of fields, decimal indices of items) and returns the deepest node reached, and whether that
// was the whole path.
func (n *Node) At(path ...string) (*Node, bool) {
	at, _, rest := n.walk(path)
	return at, len(rest) == 0
}

// Locate is the range to underline for path: of its value when there is one; else, for what is missing, of the key of
// the object that lacks it, or of that object's first line where it has no key.
func (n *Node) Locate(path ...string) diag.Range {
	at, key, rest := n.walk(path)
	switch {
	case len(rest) == 0, at.Kind == Scalar:
		return at.Range
	case key != nil:
		return key.Range
	}
	return at.head()
}

// KeyRange is the range of the key of the field that path ends at, or what Locate says when it ends elsewhere.
func (n *Node) KeyRange(path ...string) diag.Range {
	_, key, rest := n.walk(path)
	if key != nil {
		return key.Range
	}
	if len(rest) == 0 {
		at, _ := n.At(path...)
		return at.head()
	}
	return n.Locate(path...)
}

var unescape = strings.NewReplacer("~1", "/", "~0", "~")

// SplitPointer are the tokens of a JSON Pointer (RFC 6901), unescaped.
func SplitPointer(pointer string) []string {
	if pointer == "" {
		return nil
	}
	tokens := strings.Split(strings.TrimPrefix(pointer, "/"), "/")
	for i, t := range tokens {
		tokens[i] = unescape.Replace(t)
	}
	return tokens
}

// head is the first line of a node, as far as the node's own parts show it.
func (n *Node) head() diag.Range {
	r := n.Range
	if r.End.Line == r.Start.Line {
		return r
	}
	r.End = r.Start
	extend := func(o diag.Range) bool {
		if o.File != r.File || o.Start.Line != r.Start.Line || o.Start.Offset < r.Start.Offset {
			return false
		}
		if o.End.Line == r.Start.Line {
			r.End = o.End
		}
		return o.End.Line == r.Start.Line
	}
	for i := range n.Fields {
		if !extend(n.Fields[i].Range) || !extend(n.Fields[i].Value.Range) {
			break
		}
	}
	for _, item := range n.Items {
		if !extend(item.head()) {
			break
		}
	}
	return r
}

// Value is n as a plain Go value: map[string]any, []any, string, bool, json.Number or nil. It shares nothing with n.
func (n *Node) Value() any {
	if n == nil {
		return nil
	}
	switch n.Kind {
	case Mapping:
		m := make(map[string]any, len(n.Fields))
		for i := range n.Fields {
			m[n.Fields[i].Name] = n.Fields[i].Value.Value()
		}
		return m
	case Sequence:
		l := make([]any, len(n.Items))
		for i := range n.Items {
			l[i] = n.Items[i].Value()
		}
		return l
	}
	return n.Scalar
}

// IsNull reports whether n is absent or null.
func (n *Node) IsNull() bool { return n == nil || n.Kind == Scalar && n.Scalar == nil }

// describe names what n is, for a message.
func describe(n *Node) string {
	switch n.Kind {
	case Mapping:
		return "a mapping"
	case Sequence:
		return "a list"
	}
	switch v := n.Scalar.(type) {
	case nil:
		return "null"
	case bool:
		return strconv.FormatBool(v)
	case json.Number:
		return "the number " + v.String()
	}
	return fmt.Sprintf("the text %s", quote(n.Text))
}
