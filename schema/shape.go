package schema

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math/big"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/syntax"
)

// types is a set of JSON types. The zero set allows every type.
type types uint8

const (
	tNull types = 1 << iota
	tBool
	tInteger
	tNumber
	tString
	tArray
	tObject
)

var typeNames = map[string]types{"null": tNull, "boolean": tBool, "integer": tInteger, "number": tNumber, "string": tString, "array": tArray, "object": tObject}

// shape is one JSON Schema, compiled to walk a *syntax.Node without building a tree first (design.md, decision 3). It
// knows the keywords that our schemas use; any other is an error when the schema is compiled.
type shape struct {
	types      types
	never      bool // the schema `false`
	props      map[string]*shape
	names      []string          // of props, sorted
	fold       map[string]string // of props, by lower case
	required   []string
	closed     bool // additionalProperties: false
	additional *shape
	patterns   []patternShape
	dependent  map[string][]string
	minProps   int
	maxProps   int
	items      *shape
	minItems   int
	maxItems   int
	unique     bool
	enum       []any // string, bool, json.Number or nil
	hasEnum    bool
	min, max   *big.Rat
	exMin      *big.Rat
	exMax      *big.Rat
	minLen     int
	maxLen     int
	pattern    *regexp.Regexp
	ref        *shape
	allOf      []*shape
	anyOf      []*shape
	oneOf      []*shape
	not        *shape
	when       *shape // if
	then, els  *shape
	hidden     bool               // writeOnly: its values are never shown
	mistakes   map[string]mistake // x-mistakes: what known wrong names were meant to be

	flat []*shape // this shape and all that it is composed of
	want types    // what flat allows together; zero: everything
}

// mistake is an entry of the keyword x-mistakes: what a field that the schema does not have was meant to be. The keyword
// stands beside `properties` of the object in which the mistake is made: a mapping from the wrong name to where the field
// belongs, `"to"`, or to `{"to": …, "hint": …}`, of which one may be missing. `to` is a path from that object, with "/"
// between its steps: another name ("maxAge"), a place further in ("https/basicAuth", "originGroups/0/origins") or further
// out ("../../keySelector", where each ".." leaves an object or a list).
type mistake struct {
	to   []string
	hint string
}

type patternShape struct {
	name  *regexp.Regexp
	shape *shape
}

// judge is a compiled schema with the library that explains what it refuses.
type judge struct {
	root    *shape
	explain func() (*jsonschema.Schema, error)
	normals sync.Pool // *normal
}

func newJudge(text []byte) (*judge, error) {
	s, err := compileShape(text)
	if err != nil {
		return nil, err
	}
	return &judge{root: s, explain: sync.OnceValues(func() (*jsonschema.Schema, error) { return compileLibrary(text) })}, nil
}

// Shape judges a tree that is no declaration by a JSON Schema, and returns it in the schema's spelling of keys. The list has
// an Error when it does not fit. The error is a mistake in the schema.
func Shape(text []byte, n *syntax.Node) (*syntax.Node, diag.List, error) {
	j, err := newJudge(text)
	if err != nil {
		return nil, nil, err
	}
	c := j.check(n, nil, diag.Range{}, nil, false)
	return c.node, WithSteps(c.ds), nil
}

func compileLibrary(text []byte) (*jsonschema.Schema, error) {
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("schema.json", doc); err != nil {
		return nil, err
	}
	return c.Compile("schema.json")
}

func compileShape(text []byte) (*shape, error) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var doc any
	if err := d.Decode(&doc); err != nil {
		return nil, fmt.Errorf("read schema: %w", err)
	}
	c := shapeCompiler{doc: doc, refs: map[string]*shape{}}
	root := c.compile(doc, "#")
	if c.err != nil {
		return nil, c.err
	}
	for _, s := range c.all {
		s.flat = flatten(s)
		s.want = wanted(s, nil)
	}
	return root, nil
}

type shapeCompiler struct {
	doc  any
	refs map[string]*shape
	all  []*shape
	err  error
}

func (c *shapeCompiler) fail(at, format string, args ...any) {
	if c.err == nil {
		c.err = fmt.Errorf("schema %s: %s", at, fmt.Sprintf(format, args...))
	}
}

// ignoredKeywords say nothing about what is allowed.
var ignoredKeywords = []string{"$schema", "$id", "$comment", "$defs", "title", "description", "default", "examples", "deprecated", "readOnly", "format"}

func (c *shapeCompiler) compile(doc any, at string) *shape {
	s := &shape{maxProps: -1, maxItems: -1, maxLen: -1}
	c.refs[at] = s // before the parts: a schema may refer to itself
	c.all = append(c.all, s)
	m, ok := doc.(map[string]any)
	if !ok {
		b, isBool := doc.(bool)
		if !isBool {
			c.fail(at, "is neither an object nor a boolean")
		}
		s.never = !b
		return s
	}
	for _, k := range slices.Sorted(maps.Keys(m)) {
		c.keyword(s, k, m[k], at)
	}
	return s
}

func (c *shapeCompiler) keyword(s *shape, k string, v any, at string) {
	sub := at + "/" + k
	switch k {
	case "type":
		s.types = c.types(v, sub)
	case "properties":
		s.props, s.fold = map[string]*shape{}, map[string]string{}
		for name, p := range c.object(v, sub) {
			s.props[name] = c.compile(p, sub+"/"+escapePointer(name))
			s.fold[strings.ToLower(name)] = name
		}
		s.names = slices.Sorted(maps.Keys(s.props))
	case "required":
		s.required = c.strings(v, sub)
	case "additionalProperties":
		if v == false {
			s.closed = true
		} else {
			s.additional = c.compile(v, sub)
		}
	case "patternProperties":
		m := c.object(v, sub)
		for _, name := range slices.Sorted(maps.Keys(m)) {
			s.patterns = append(s.patterns, patternShape{c.regexp(name, sub), c.compile(m[name], sub+"/"+escapePointer(name))})
		}
	case "dependentRequired":
		s.dependent = map[string][]string{}
		for name, l := range c.object(v, sub) {
			s.dependent[name] = c.strings(l, sub)
		}
	case "minProperties":
		s.minProps = c.int(v, sub)
	case "maxProperties":
		s.maxProps = c.int(v, sub)
	case "items":
		s.items = c.compile(v, sub)
	case "minItems":
		s.minItems = c.int(v, sub)
	case "maxItems":
		s.maxItems = c.int(v, sub)
	case "uniqueItems":
		s.unique = v == true
	case "enum":
		s.hasEnum = true
		l, _ := v.([]any)
		for _, e := range l {
			s.enum = append(s.enum, c.scalar(e, sub))
		}
	case "const":
		s.hasEnum, s.enum = true, []any{c.scalar(v, sub)}
	case "minimum":
		s.min = c.number(v, sub)
	case "maximum":
		s.max = c.number(v, sub)
	case "exclusiveMinimum":
		s.exMin = c.number(v, sub)
	case "exclusiveMaximum":
		s.exMax = c.number(v, sub)
	case "minLength":
		s.minLen = c.int(v, sub)
	case "maxLength":
		s.maxLen = c.int(v, sub)
	case "pattern":
		text, _ := v.(string)
		s.pattern = c.regexp(text, sub)
	case "$ref":
		s.ref = c.ref(v, sub)
	case "allOf":
		s.allOf = c.list(v, sub)
	case "anyOf":
		s.anyOf = c.list(v, sub)
	case "oneOf":
		s.oneOf = c.list(v, sub)
	case "not":
		s.not = c.compile(v, sub)
	case "if":
		s.when = c.compile(v, sub)
	case "then":
		s.then = c.compile(v, sub)
	case "else":
		s.els = c.compile(v, sub)
	case "writeOnly":
		s.hidden = v == true
	case "x-mistakes":
		s.mistakes = c.mistakes(v, sub)
	default:
		if !slices.Contains(ignoredKeywords, k) && !strings.HasPrefix(k, "x-") {
			c.fail(at, "keyword %q is not supported", k)
		}
	}
}

func (c *shapeCompiler) mistakes(v any, at string) map[string]mistake {
	out := map[string]mistake{}
	for name, x := range c.object(v, at) {
		var m mistake
		to, simple := x.(string)
		if !simple {
			for k, part := range c.object(x, at+"/"+name) {
				text, ok := part.(string)
				switch {
				case ok && k == "to":
					to = text
				case ok && k == "hint":
					m.hint = text
				default:
					c.fail(at, "the mistake %q has the part %q, expected the texts to and hint", name, k)
				}
			}
		}
		if to != "" {
			m.to = strings.Split(to, "/")
		}
		if to == "" && m.hint == "" || slices.Contains(m.to, "") {
			c.fail(at, "the mistake %q says neither where the field belongs nor a hint", name)
		}
		out[strings.ToLower(name)] = m
	}
	return out
}

func (c *shapeCompiler) types(v any, at string) types {
	var t types
	names := []string{}
	if one, ok := v.(string); ok {
		names = append(names, one)
	} else {
		names = c.strings(v, at)
	}
	for _, n := range names {
		bit, ok := typeNames[n]
		if !ok {
			c.fail(at, "there is no type %q", n)
		}
		t |= bit
	}
	if t&tNumber != 0 {
		t |= tInteger
	}
	return t
}

func (c *shapeCompiler) object(v any, at string) map[string]any {
	m, ok := v.(map[string]any)
	if !ok {
		c.fail(at, "is not an object")
	}
	return m
}

func (c *shapeCompiler) strings(v any, at string) []string {
	l, ok := v.([]any)
	if !ok {
		c.fail(at, "is not a list of strings")
	}
	var out []string
	for _, e := range l {
		s, ok := e.(string)
		if !ok {
			c.fail(at, "is not a list of strings")
		}
		out = append(out, s)
	}
	return out
}

func (c *shapeCompiler) int(v any, at string) int {
	n, _ := v.(json.Number)
	i, err := strconv.Atoi(n.String())
	if err != nil {
		c.fail(at, "is not a whole number")
	}
	return i
}

func (c *shapeCompiler) number(v any, at string) *big.Rat {
	n, _ := v.(json.Number)
	r, ok := new(big.Rat).SetString(n.String())
	if !ok {
		c.fail(at, "is not a number")
	}
	return r
}

func (c *shapeCompiler) regexp(text, at string) *regexp.Regexp {
	re, err := regexp.Compile(text)
	if err != nil {
		c.fail(at, "%v", err)
	}
	return re
}

func (c *shapeCompiler) scalar(v any, at string) any {
	switch v.(type) {
	case nil, string, bool, json.Number:
		return v
	}
	c.fail(at, "only scalars are supported here")
	return nil
}

func (c *shapeCompiler) list(v any, at string) []*shape {
	l, ok := v.([]any)
	if !ok {
		c.fail(at, "is not a list")
	}
	var out []*shape
	for i, e := range l {
		out = append(out, c.compile(e, at+"/"+strconv.Itoa(i)))
	}
	return out
}

// ref finds a local reference: "#" or "#/a/b".
func (c *shapeCompiler) ref(v any, at string) *shape {
	text, _ := v.(string)
	if !strings.HasPrefix(text, "#") {
		c.fail(at, "only local references are supported, not %q", text)
		return nil
	}
	if s, ok := c.refs[text]; ok {
		return s
	}
	doc := c.doc
	for _, token := range syntax.SplitPointer(text[1:]) {
		m, _ := doc.(map[string]any)
		var ok bool
		if doc, ok = m[token]; !ok {
			c.fail(at, "nothing is at %q", text)
			return nil
		}
	}
	return c.compile(doc, text)
}

var pointerEscaper = strings.NewReplacer("~", "~0", "/", "~1")

func escapePointer(s string) string { return pointerEscaper.Replace(s) }

// flatten lists s and every shape that speaks about the same value.
func flatten(s *shape) []*shape {
	var out []*shape
	var add func(*shape)
	add = func(s *shape) {
		if s == nil || slices.Contains(out, s) {
			return
		}
		out = append(out, s)
		add(s.ref)
		for _, l := range [][]*shape{s.allOf, s.anyOf, s.oneOf} {
			for _, x := range l {
				add(x)
			}
		}
		add(s.then)
		add(s.els)
	}
	add(s)
	return out
}

// wanted is the set of types that s allows, as far as its keywords say; zero: all.
func wanted(s *shape, seen []*shape) types {
	if slices.Contains(seen, s) {
		return 0
	}
	seen = append(seen, s)
	t := s.types
	narrow := func(o types) {
		switch {
		case o == 0:
		case t == 0:
			t = o
		default:
			t &= o
		}
	}
	if s.hasEnum {
		var e types
		for _, v := range s.enum {
			e |= typeOfScalar(v)
		}
		narrow(e)
	}
	if s.ref != nil {
		narrow(wanted(s.ref, seen))
	}
	for _, x := range s.allOf {
		narrow(wanted(x, seen))
	}
	for _, l := range [][]*shape{s.anyOf, s.oneOf} {
		var u types
		all := len(l) == 0
		for _, x := range l {
			w := wanted(x, seen)
			all = all || w == 0
			u |= w
		}
		if !all {
			narrow(u)
		}
	}
	return t
}

func typeOfScalar(v any) types {
	switch v := v.(type) {
	case nil:
		return tNull
	case bool:
		return tBool
	case json.Number:
		if isWhole(v) {
			return tInteger
		}
		return tNumber
	}
	return tString
}

func typeOf(n *syntax.Node) types {
	switch n.Kind {
	case syntax.Mapping:
		return tObject
	case syntax.Sequence:
		return tArray
	}
	return typeOfScalar(n.Scalar)
}

func isWhole(n json.Number) bool {
	if !strings.ContainsAny(string(n), ".eE") {
		return true
	}
	r, ok := new(big.Rat).SetString(string(n))
	return ok && r.IsInt()
}

// verdict judges one tree. Nodes in wild stand for values that are not known (an unset $VARIABLE): they are taken as
// right wherever they stand, and with sure, as wrong. So without sure, false means that no values make n right; with it,
// true means that all do.
type verdict struct {
	wild map[*syntax.Node][]*syntax.Node
	sure bool
}

// other is the verdict that takes unknown values the other way.
func (j verdict) other() verdict { return verdict{j.wild, !j.sure} }

func (j verdict) ok(s *shape, n *syntax.Node) bool {
	if len(j.wild) > 0 {
		if _, ok := j.wild[n]; ok {
			return !j.sure
		}
	}
	if s.never {
		return false
	}
	t := typeOf(n)
	if s.types != 0 && s.types&t == 0 {
		return false
	}
	if s.hasEnum && !slices.ContainsFunc(s.enum, func(v any) bool { return n.Kind == syntax.Scalar && equalScalar(v, n.Scalar) }) {
		return false
	}
	switch t {
	case tObject:
		if !j.object(s, n) {
			return false
		}
	case tArray:
		if !j.array(s, n) {
			return false
		}
	case tString:
		if !s.text(n.Scalar.(string)) {
			return false
		}
	case tInteger, tNumber:
		if !s.number(n.Scalar.(json.Number)) {
			return false
		}
	}
	return j.composed(s, n)
}

func (j verdict) composed(s *shape, n *syntax.Node) bool {
	if s.ref != nil && !j.ok(s.ref, n) {
		return false
	}
	for _, x := range s.allOf {
		if !j.ok(x, n) {
			return false
		}
	}
	if len(s.anyOf) > 0 && !slices.ContainsFunc(s.anyOf, func(x *shape) bool { return j.ok(x, n) }) {
		return false
	}
	if len(s.oneOf) > 0 && !j.one(s.oneOf, n) {
		return false
	}
	if s.not != nil && j.other().ok(s.not, n) {
		return false
	}
	return s.when == nil || j.branch(s, n)
}

// one reports whether n fits exactly one of several.
func (j verdict) one(several []*shape, n *syntax.Node) bool {
	fits, others := 0, 0 // others: those that it fits, taken the other way
	for _, x := range several {
		mine := j.ok(x, n)
		if mine {
			fits++
		}
		if len(j.wild) > 0 && j.other().ok(x, n) || len(j.wild) == 0 && mine {
			others++
		}
	}
	if j.sure {
		return fits == 1 && others == 1
	}
	return fits > 0 && others <= 1
}

// branch judges n by if, then and else.
func (j verdict) branch(s *shape, n *syntax.Node) bool {
	holds, fails := j.ok(s.when, n), !j.other().ok(s.when, n) // both, of unknown values: either may be; with sure neither
	then := func() bool { return s.then == nil || j.ok(s.then, n) }
	els := func() bool { return s.els == nil || j.ok(s.els, n) }
	if j.sure {
		return (fails || then()) && (holds || els())
	}
	return holds && then() || fails && els()
}

func (j verdict) object(s *shape, n *syntax.Node) bool {
	if len(n.Fields) < s.minProps || s.maxProps >= 0 && len(n.Fields) > s.maxProps {
		return false
	}
	for _, name := range s.required {
		if n.Field(name) == nil {
			return false
		}
	}
	for name, needs := range s.dependent {
		if n.Field(name) == nil {
			continue
		}
		for _, need := range needs {
			if n.Field(need) == nil {
				return false
			}
		}
	}
	for i := range n.Fields {
		f := &n.Fields[i]
		p, known := s.props[f.Name]
		if known && !j.ok(p, f.Value) {
			return false
		}
		for _, pp := range s.patterns {
			if pp.name.MatchString(f.Name) {
				known = true
				if !j.ok(pp.shape, f.Value) {
					return false
				}
			}
		}
		if known {
			continue
		}
		if s.closed || s.additional != nil && !j.ok(s.additional, f.Value) {
			return false
		}
	}
	return true
}

func (j verdict) array(s *shape, n *syntax.Node) bool {
	if len(n.Items) < s.minItems || s.maxItems >= 0 && len(n.Items) > s.maxItems {
		return false
	}
	if s.items != nil {
		for _, item := range n.Items {
			if !j.ok(s.items, item) {
				return false
			}
		}
	}
	return !s.unique || j.distinct(n)
}

// distinct reports whether no two items of a list are equal.
func (j verdict) distinct(n *syntax.Node) bool {
	if len(j.wild) == 0 {
		return !hasTwins(n)
	}
	known := *n
	known.Items = slices.DeleteFunc(slices.Clone(n.Items), j.holds)
	return (!j.sure || len(known.Items) == len(n.Items) || len(n.Items) < 2) && !hasTwins(&known)
}

// holds reports whether there is an unknown value in n.
func (j verdict) holds(n *syntax.Node) bool {
	if _, ok := j.wild[n]; ok {
		return true
	}
	return slices.ContainsFunc(n.Fields, func(f syntax.Field) bool { return j.holds(f.Value) }) || slices.ContainsFunc(n.Items, j.holds)
}

func (s *shape) text(v string) bool {
	if s.minLen > 0 || s.maxLen >= 0 {
		n := utf8.RuneCountInString(v)
		if n < s.minLen || s.maxLen >= 0 && n > s.maxLen {
			return false
		}
	}
	return s.pattern == nil || s.pattern.MatchString(v)
}

func (s *shape) number(v json.Number) bool {
	if s.min == nil && s.max == nil && s.exMin == nil && s.exMax == nil {
		return true
	}
	r, ok := new(big.Rat).SetString(v.String())
	if !ok {
		return false
	}
	return (s.min == nil || r.Cmp(s.min) >= 0) && (s.max == nil || r.Cmp(s.max) <= 0) &&
		(s.exMin == nil || r.Cmp(s.exMin) > 0) && (s.exMax == nil || r.Cmp(s.exMax) < 0)
}

func equalScalar(a, b any) bool {
	x, xOK := a.(json.Number)
	y, yOK := b.(json.Number)
	if !xOK || !yOK {
		return a == b
	}
	if x == y {
		return true
	}
	r, ok := new(big.Rat).SetString(x.String())
	q, ok2 := new(big.Rat).SetString(y.String())
	return ok && ok2 && r.Cmp(q) == 0
}

// hasTwins reports whether two items of a list are equal.
func hasTwins(n *syntax.Node) bool {
	_, _, found := twins(n)
	return found
}

func twins(n *syntax.Node) (first, second int, found bool) {
	seen := make(map[string]int, len(n.Items))
	for i, item := range n.Items {
		k := canonical(item)
		if at, ok := seen[k]; ok {
			return at, i, true
		}
		seen[k] = i
	}
	return 0, 0, false
}

// canonical is the same text for equal values and for no others.
func canonical(n *syntax.Node) string {
	var b strings.Builder
	writeCanonical(&b, n)
	return b.String()
}

func writeCanonical(b *strings.Builder, n *syntax.Node) {
	switch n.Kind {
	case syntax.Mapping:
		order := make([]int, len(n.Fields))
		for i := range order {
			order[i] = i
		}
		slices.SortFunc(order, func(x, y int) int { return strings.Compare(n.Fields[x].Name, n.Fields[y].Name) })
		b.WriteByte('{')
		for _, i := range order {
			b.WriteString(strconv.Quote(n.Fields[i].Name))
			b.WriteByte(':')
			writeCanonical(b, n.Fields[i].Value)
			b.WriteByte(',')
		}
		b.WriteByte('}')
	case syntax.Sequence:
		b.WriteByte('[')
		for _, item := range n.Items {
			writeCanonical(b, item)
			b.WriteByte(',')
		}
		b.WriteByte(']')
	default:
		switch v := n.Scalar.(type) {
		case string:
			b.WriteString(strconv.Quote(v))
		case json.Number:
			if r, ok := new(big.Rat).SetString(v.String()); ok {
				b.WriteString(r.RatString())
				return
			}
			b.WriteString(v.String())
		default:
			fmt.Fprint(b, v)
		}
	}
}
