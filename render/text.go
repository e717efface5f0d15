package render

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

// JSON prints a message with Envoy's own field names, in the order of the fields; the same message gives the same bytes.
func JSON(m proto.Message) ([]byte, error) {
	raw, err := compactJSON(m)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	if err := json.Indent(&b, raw, "", "  "); err != nil {
		return nil, err
	}
	b.WriteByte('\n')
	return b.Bytes(), nil
}

// compactJSON takes out the whitespace that protojson varies on purpose from build to build.
func compactJSON(m proto.Message) ([]byte, error) {
	raw, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("print %s: %w", m.ProtoReflect().Descriptor().FullName(), err)
	}
	var b bytes.Buffer
	if err := json.Compact(&b, raw); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// yamlOf turns JSON into YAML and keeps the order of members.
func yamlOf(raw []byte) ([]byte, error) {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	v, err := readOrdered(d)
	if err != nil {
		return nil, err
	}
	y := yamlPrinter{}
	switch {
	case isEmpty(v) || !isCollection(v):
		y.inline(v, 0)
		y.b.WriteByte('\n')
	default:
		y.block(v, 0)
	}
	return y.b.Bytes(), nil
}

// member is one member of a JSON object.
type member struct {
	name  string
	value any
}

type object []member

// readOrdered reads one JSON value: an object, a []any, or a scalar.
func readOrdered(d *json.Decoder) (any, error) {
	t, err := d.Token()
	if err != nil {
		return nil, err
	}
	switch t {
	case json.Delim('{'):
		o := object{}
		for d.More() {
			name, err := d.Token()
			if err != nil {
				return nil, err
			}
			v, err := readOrdered(d)
			if err != nil {
				return nil, err
			}
			o = append(o, member{name.(string), v})
		}
		_, err = d.Token()
		return o, err
	case json.Delim('['):
		l := []any{}
		for d.More() {
			v, err := readOrdered(d)
			if err != nil {
				return nil, err
			}
			l = append(l, v)
		}
		_, err = d.Token()
		return l, err
	}
	return t, nil
}

type yamlPrinter struct{ b bytes.Buffer }

func isCollection(v any) bool {
	switch v.(type) {
	case object, []any:
		return true
	}
	return false
}

func isEmpty(v any) bool {
	switch x := v.(type) {
	case object:
		return len(x) == 0
	case []any:
		return len(x) == 0
	}
	return false
}

func (y *yamlPrinter) indent(n int) { y.b.WriteString(strings.Repeat("  ", n)) }

// block prints a collection that is not empty; the cursor is at the start of a line.
func (y *yamlPrinter) block(v any, depth int) {
	switch x := v.(type) {
	case object:
		for _, m := range x {
			y.indent(depth)
			y.member(m, depth)
		}
	case []any:
		for _, e := range x {
			y.indent(depth)
			y.b.WriteString("- ")
			y.element(e, depth)
		}
	}
}

func (y *yamlPrinter) member(m member, depth int) {
	y.b.WriteString(yamlKey(m.name))
	y.b.WriteByte(':')
	y.value(m.value, depth)
}

// element prints what follows "- ": the first member of an object stands on the same line.
func (y *yamlPrinter) element(e any, depth int) {
	o, ok := e.(object)
	if !ok || len(o) == 0 {
		if l, ok := e.([]any); ok && len(l) > 0 {
			y.b.WriteByte('\n')
			y.block(l, depth+1)
			return
		}
		y.inline(e, depth+1)
		y.b.WriteByte('\n')
		return
	}
	y.member(o[0], depth+1)
	for _, m := range o[1:] {
		y.indent(depth + 1)
		y.member(m, depth+1)
	}
}

// value prints what follows "name:".
func (y *yamlPrinter) value(v any, depth int) {
	if isCollection(v) && !isEmpty(v) {
		y.b.WriteByte('\n')
		if _, list := v.([]any); list {
			y.block(v, depth)
			return
		}
		y.block(v, depth+1)
		return
	}
	y.b.WriteByte(' ')
	y.inline(v, depth+1)
	y.b.WriteByte('\n')
}

// inline prints a scalar or an empty collection; depth is where the lines of a block scalar stand.
func (y *yamlPrinter) inline(v any, depth int) {
	switch x := v.(type) {
	case nil:
		y.b.WriteString("null")
	case bool:
		y.b.WriteString(strconv.FormatBool(x))
	case json.Number:
		y.b.WriteString(x.String())
	case object:
		y.b.WriteString("{}")
	case []any:
		y.b.WriteString("[]")
	case string:
		y.text(x, depth)
	}
}

func (y *yamlPrinter) text(s string, depth int) {
	switch {
	case literalBlock(s):
		y.b.WriteString("|")
		if !strings.HasSuffix(s, "\n") {
			y.b.WriteByte('-')
		}
		for line := range strings.SplitSeq(strings.TrimSuffix(s, "\n"), "\n") {
			y.b.WriteByte('\n')
			if line != "" {
				y.indent(depth)
				y.b.WriteString(line)
			}
		}
	case plainText(s):
		y.b.WriteString(s)
	default:
		y.b.WriteString(quoted(s))
	}
}

func yamlKey(s string) string {
	if plainText(s) {
		return s
	}
	return quoted(s)
}

// quoted is a double-quoted scalar with every rune escaped that YAML may not hold or that nobody can see.
func quoted(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\t':
			b.WriteString(`\t`)
		case unicode.IsPrint(r):
			b.WriteRune(r)
		case r > 0xffff:
			fmt.Fprintf(&b, `\U%08x`, r)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// literalBlock reports whether s reads well, and back unchanged, as a literal block scalar.
func literalBlock(s string) bool {
	if !strings.Contains(s, "\n") || strings.HasSuffix(s, "\n\n") || strings.TrimSpace(s) == "" || s[0] == ' ' || s[0] == '\n' || s[0] == '\t' || !utf8.ValidString(s) {
		return false
	}
	for _, r := range s {
		if r != '\n' && r != '\t' && !unicode.IsPrint(r) || r == 0xfeff {
			return false
		}
	}
	return true
}

// reservedWords read as something else than text in some YAML.
var reservedWords = map[string]bool{"null": true, "true": true, "false": true, "yes": true, "no": true, "on": true, "off": true, "y": true, "n": true}

// plainText reports whether s needs no quotes: a word that cannot be taken for anything else.
func plainText(s string) bool {
	if s == "" || reservedWords[strings.ToLower(s)] {
		return false
	}
	for i, r := range s {
		letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r == '_' || r == '/'
		if !letter && (i == 0 || !strings.ContainsRune("0123456789.-", r)) {
			return false
		}
	}
	return true
}
