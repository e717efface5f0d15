package syntax

import (
	"encoding/json"
	"fmt"
	"math"
	"math/big"
	"reflect"
	"strconv"
	"strings"
	"sync"

	"github.com/flexgw/flexgw/schema/diag"
)

// NodeDecoder is a type that decodes itself. It is asked with a pointer to the value to fill.
type NodeDecoder interface {
	DecodeNode(n *Node) diag.List
}

// Decode fills v, a non-nil pointer, from n: structs by their tags `flex:"name"` (the case of keys does not matter, an
// exact match wins), string and Text from any scalar as it was written, bool and numbers from quoted text too, pointers,
// slices, maps with string keys, any (as Value says), *Node (n itself) and types with a DecodeNode method. Null and
// absent leave the zero value. Keys that no field asks for are ignored. What does not fit is decode/type at the value;
// everything else is filled all the same.
//
// It panics when v is of a type it cannot fill, which only a wrong build can cause.
func (n *Node) Decode(v any) diag.List {
	p := reflect.ValueOf(v)
	if p.Kind() != reflect.Pointer || p.IsNil() {
		panic(fmt.Sprintf("syntax: Decode into %T", v))
	}
	if n == nil {
		return nil
	}
	var ds diag.List
	planOf(p.Type().Elem())(n, p.Elem(), &ds)
	return ds
}

// plan fills a value of one type.
type plan func(n *Node, v reflect.Value, ds *diag.List)

// plans keeps what planOf found out, by reflect.Type. It is a cache of pure results, the one package variable that
// changes.
var plans sync.Map

var (
	textType    = reflect.TypeFor[Text]()
	nodeType    = reflect.TypeFor[*Node]()
	decoderType = reflect.TypeFor[NodeDecoder]()
)

func planOf(t reflect.Type) plan {
	if p, ok := plans.Load(t); ok {
		return p.(plan)
	}
	// A type may contain itself: until its plan is made, a stand-in waits for it.
	var once sync.Once
	var made plan
	build := func() { made = newPlan(t) }
	standIn := plan(func(n *Node, v reflect.Value, ds *diag.List) {
		once.Do(build)
		made(n, v, ds)
	})
	if p, loaded := plans.LoadOrStore(t, standIn); loaded {
		return p.(plan)
	}
	once.Do(build)
	plans.Store(t, made)
	return made
}

func newPlan(t reflect.Type) plan {
	switch {
	case t == textType:
		return decodeText
	case t == nodeType:
		return func(n *Node, v reflect.Value, _ *diag.List) { v.Set(reflect.ValueOf(n)) }
	case reflect.PointerTo(t).Implements(decoderType):
		return func(n *Node, v reflect.Value, ds *diag.List) {
			*ds = append(*ds, v.Addr().Interface().(NodeDecoder).DecodeNode(n)...)
		}
	}
	switch t.Kind() {
	case reflect.String:
		return decodeString
	case reflect.Bool:
		return decodeBool
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return decodeInt
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return decodeUint
	case reflect.Float32, reflect.Float64:
		return decodeFloat
	case reflect.Interface:
		if t.NumMethod() == 0 {
			return decodeAny
		}
	case reflect.Pointer:
		return pointerPlan(t)
	case reflect.Slice:
		return slicePlan(t)
	case reflect.Map:
		if t.Key().Kind() == reflect.String {
			return mapPlan(t)
		}
	case reflect.Struct:
		return structPlan(t)
	}
	panic("syntax: Decode cannot fill a " + t.String())
}

func mismatch(n *Node, ds *diag.List, want string) {
	*ds = append(*ds, diag.Diagnostic{Severity: diag.Error, Code: "decode/type", Subject: n.underline(),
		Summary: "expected " + want + ", found " + describe(n), Hint: "write " + want + " here"})
}

// underline is the range of a scalar, and the first line of anything else.
func (n *Node) underline() diag.Range {
	if n.Kind == Scalar {
		return n.Range
	}
	return n.head()
}

func decodeText(n *Node, v reflect.Value, ds *diag.List) {
	if n.Kind != Scalar {
		mismatch(n, ds, "a text")
		return
	}
	t := v.Addr().Interface().(*Text)
	t.Range = n.Range
	if n.Scalar != nil {
		t.Value = n.Text
	}
}

func decodeString(n *Node, v reflect.Value, ds *diag.List) {
	switch {
	case n.Kind != Scalar:
		mismatch(n, ds, "a text")
	case n.Scalar != nil:
		v.SetString(n.Text)
	}
}

func decodeBool(n *Node, v reflect.Value, ds *diag.List) {
	b, ok := n.Scalar.(bool)
	if !ok && n.Kind == Scalar && n.Scalar != nil {
		b, ok = plain(strings.TrimSpace(n.Text)).(bool)
	}
	switch {
	case n.IsNull():
	case !ok:
		mismatch(n, ds, "true or false")
	default:
		v.SetBool(b)
	}
}

// numeral is the number that a scalar holds, quoted or not.
func numeral(n *Node) (json.Number, bool) {
	switch s := n.Scalar.(type) {
	case json.Number:
		return s, true
	case string:
		num, ok := plain(strings.TrimSpace(s)).(json.Number)
		return num, ok
	}
	return "", false
}

// whole is num in decimal digits, when it is a whole number: 1e3 and 10.0 are.
func whole(num json.Number) (string, bool) {
	s := num.String()
	if !strings.ContainsAny(s, ".eE") {
		return s, true
	}
	r, ok := new(big.Rat).SetString(s)
	if !ok || !r.IsInt() {
		return "", false
	}
	return r.Num().String(), true
}

func decodeInt(n *Node, v reflect.Value, ds *diag.List) {
	if n.IsNull() {
		return
	}
	bits := v.Type().Bits()
	if num, ok := numeral(n); ok {
		if s, ok := whole(num); ok {
			if i, err := strconv.ParseInt(s, 10, bits); err == nil {
				v.SetInt(i)
				return
			}
			mismatch(n, ds, fmt.Sprintf("a whole number of at most %d bits", bits))
			return
		}
	}
	mismatch(n, ds, "a whole number")
}

func decodeUint(n *Node, v reflect.Value, ds *diag.List) {
	if n.IsNull() {
		return
	}
	bits := v.Type().Bits()
	if num, ok := numeral(n); ok {
		if s, ok := whole(num); ok {
			if i, err := strconv.ParseUint(s, 10, bits); err == nil {
				v.SetUint(i)
				return
			}
			mismatch(n, ds, fmt.Sprintf("a whole number from 0 to %d", uint64(math.MaxUint64)>>(64-bits)))
			return
		}
	}
	mismatch(n, ds, "a whole number")
}

func decodeFloat(n *Node, v reflect.Value, ds *diag.List) {
	if n.IsNull() {
		return
	}
	if num, ok := numeral(n); ok {
		if f, err := strconv.ParseFloat(num.String(), v.Type().Bits()); err == nil {
			v.SetFloat(f)
			return
		}
	}
	mismatch(n, ds, "a number")
}

func decodeAny(n *Node, v reflect.Value, _ *diag.List) {
	if x := n.Value(); x != nil {
		v.Set(reflect.ValueOf(x))
	}
}

func pointerPlan(t reflect.Type) plan {
	elem := t.Elem()
	inner := planOf(elem)
	return func(n *Node, v reflect.Value, ds *diag.List) {
		if n.IsNull() {
			return
		}
		p := reflect.New(elem)
		inner(n, p.Elem(), ds)
		v.Set(p)
	}
}

func slicePlan(t reflect.Type) plan {
	inner := planOf(t.Elem())
	return func(n *Node, v reflect.Value, ds *diag.List) {
		switch {
		case n.IsNull():
			return
		case n.Kind != Sequence:
			mismatch(n, ds, "a list")
			return
		}
		s := reflect.MakeSlice(t, len(n.Items), len(n.Items))
		for i, item := range n.Items {
			inner(item, s.Index(i), ds)
		}
		v.Set(s)
	}
}

func mapPlan(t reflect.Type) plan {
	elem := t.Elem()
	inner := planOf(elem)
	return func(n *Node, v reflect.Value, ds *diag.List) {
		switch {
		case n.IsNull():
			return
		case n.Kind != Mapping:
			mismatch(n, ds, "a mapping")
			return
		}
		m := reflect.MakeMapWithSize(t, len(n.Fields))
		for i := range n.Fields {
			e := reflect.New(elem).Elem()
			inner(n.Fields[i].Value, e, ds)
			m.SetMapIndex(reflect.ValueOf(n.Fields[i].Name).Convert(t.Key()), e)
		}
		v.Set(m)
	}
}

type fieldPlan struct {
	name  string
	index []int
	fill  plan
}

func structPlan(t reflect.Type) plan {
	var fields []fieldPlan
	exact, folded := map[string]int{}, map[string]int{}
	for _, f := range reflect.VisibleFields(t) {
		name, ok := f.Tag.Lookup("flex")
		if !ok || name == "" || name == "-" || !f.IsExported() {
			continue
		}
		exact[name] = len(fields)
		folded[strings.ToLower(name)] = len(fields)
		fields = append(fields, fieldPlan{name, f.Index, planOf(f.Type)})
	}
	find := func(key string) int {
		if i, ok := exact[key]; ok {
			return i
		}
		if i, ok := folded[strings.ToLower(key)]; ok {
			return i
		}
		return -1
	}
	return func(n *Node, v reflect.Value, ds *diag.List) {
		switch {
		case n.IsNull():
			return
		case n.Kind != Mapping:
			mismatch(n, ds, "a mapping")
			return
		}
		for i := range n.Fields {
			f := &n.Fields[i]
			j := find(f.Name)
			if j < 0 {
				continue
			}
			p := &fields[j]
			if f.Name != p.name && n.Field(p.name) != nil {
				continue // the key in its proper case stands beside it
			}
			p.fill(f.Value, v.FieldByIndex(p.index), ds)
		}
	}
}
