package cache

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"
)

// Encode writes a plain value: numbers, texts, lists, maps with texts for keys, pointers and structs with exported fields, and in
// an `any` what JSON can say. It refuses others, so that a field of a new kind is noticed and not lost. The same value gives the
// same bytes. A text that comes again is written once; an empty list and none are the same.
func Encode(v any) ([]byte, error) {
	e := encoder{texts: map[string]uint64{}}
	if err := e.value(reflect.ValueOf(v)); err != nil {
		return nil, err
	}
	return e.out, nil
}

// Decode reads into what v points to a value of the very type that was given to Encode. Bytes of anything else give an error, or
// some value, and take no more memory than their length accounts for.
func Decode(b []byte, v any) error {
	d := decoder{in: b}
	p := reflect.ValueOf(v)
	if p.Kind() != reflect.Pointer || p.IsNil() {
		return fmt.Errorf("cannot decode into %T", v)
	}
	if err := d.value(p.Elem(), 0); err != nil {
		return err
	}
	if len(d.in) > 0 {
		return errBad
	}
	return nil
}

var errBad = errors.New("not what was encoded")

// deepest bounds how deep a value may be: nothing that is encoded is nearly so deep.
const deepest = 200

type encoder struct {
	out   []byte
	texts map[string]uint64
}

func (e *encoder) uint(n uint64) { e.out = binary.AppendUvarint(e.out, n) }

// text writes a text, or which one it is of those that were written before.
func (e *encoder) text(s string) {
	if n, again := e.texts[s]; again {
		e.uint(n<<1 | 1)
		return
	}
	e.texts[s] = uint64(len(e.texts))
	e.uint(uint64(len(s)) << 1)
	e.out = append(e.out, s...)
}

func (e *encoder) value(v reflect.Value) error {
	switch v.Kind() {
	case reflect.Bool:
		n := uint64(0)
		if v.Bool() {
			n = 1
		}
		e.uint(n)
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		e.out = binary.AppendVarint(e.out, v.Int())
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		e.uint(v.Uint())
	case reflect.String:
		e.text(v.String())
	case reflect.Slice:
		e.uint(uint64(v.Len()))
		return e.items(v)
	case reflect.Array:
		return e.items(v)
	case reflect.Struct:
		t := v.Type()
		for i := range v.NumField() {
			if !t.Field(i).IsExported() {
				return fmt.Errorf("%s has the field %s, which cannot be encoded", t, t.Field(i).Name)
			}
			if err := e.value(v.Field(i)); err != nil {
				return err
			}
		}
	case reflect.Pointer:
		if v.IsNil() {
			e.uint(0)
			return nil
		}
		e.uint(1)
		return e.value(v.Elem())
	case reflect.Map:
		if v.Type().Key().Kind() != reflect.String {
			return fmt.Errorf("%s cannot be encoded", v.Type())
		}
		keys := v.MapKeys()
		slices.SortFunc(keys, func(a, b reflect.Value) int { return cmpText(a.String(), b.String()) })
		e.uint(uint64(len(keys)))
		for _, k := range keys {
			e.text(k.String())
			if err := e.value(v.MapIndex(k)); err != nil {
				return err
			}
		}
	case reflect.Interface:
		return e.any(v.Interface())
	default:
		return fmt.Errorf("%s cannot be encoded", v.Type())
	}
	return nil
}

func cmpText(a, b string) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

func (e *encoder) items(v reflect.Value) error {
	for i := range v.Len() {
		if err := e.value(v.Index(i)); err != nil {
			return err
		}
	}
	return nil
}

// What stands in an `any`.
const (
	anyNil = iota
	anyBool
	anyText
	anyNumber
	anyList
	anyMap
)

func (e *encoder) any(v any) error {
	switch v := v.(type) {
	case nil:
		e.uint(anyNil)
	case bool:
		e.uint(anyBool)
		return e.value(reflect.ValueOf(v))
	case string:
		e.uint(anyText)
		e.text(v)
	case json.Number:
		e.uint(anyNumber)
		e.text(v.String())
	case []any:
		e.uint(anyList)
		e.uint(uint64(len(v)))
		for _, x := range v {
			if err := e.any(x); err != nil {
				return err
			}
		}
	case map[string]any:
		e.uint(anyMap)
		e.uint(uint64(len(v)))
		for _, k := range slices.Sorted(maps.Keys(v)) {
			e.text(k)
			if err := e.any(v[k]); err != nil {
				return err
			}
		}
	default:
		return fmt.Errorf("%T cannot be encoded", v)
	}
	return nil
}

type decoder struct {
	in    []byte
	texts []string
}

func (d *decoder) uint() (uint64, error) {
	n, size := binary.Uvarint(d.in)
	if size <= 0 {
		return 0, errBad
	}
	d.in = d.in[size:]
	return n, nil
}

// length is how many things follow, each of which takes a byte at least.
func (d *decoder) length() (int, error) {
	n, err := d.uint()
	if err != nil || n > uint64(len(d.in)) {
		return 0, errBad
	}
	return int(n), nil
}

func (d *decoder) text() (string, error) {
	n, err := d.uint()
	if err != nil {
		return "", err
	}
	again := n&1 == 1
	switch n >>= 1; {
	case again && n < uint64(len(d.texts)):
		return d.texts[n], nil
	case again || n > uint64(len(d.in)):
		return "", errBad
	}
	s := string(d.in[:n])
	d.in = d.in[n:]
	d.texts = append(d.texts, s)
	return s, nil
}

func (d *decoder) value(v reflect.Value, depth int) error {
	if depth > deepest {
		return errBad
	}
	switch v.Kind() {
	case reflect.Bool:
		n, err := d.uint()
		v.SetBool(n == 1)
		return bad(err, n > 1)
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		n, size := binary.Varint(d.in)
		if size <= 0 || v.OverflowInt(n) {
			return errBad
		}
		d.in = d.in[size:]
		v.SetInt(n)
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		n, err := d.uint()
		if err != nil || v.OverflowUint(n) {
			return errBad
		}
		v.SetUint(n)
	case reflect.String:
		s, err := d.text()
		v.SetString(s)
		return err
	case reflect.Slice:
		n, err := d.length()
		if err != nil || n == 0 {
			return err
		}
		return d.list(v, n, depth)
	case reflect.Array:
		for i := range v.Len() {
			if err := d.value(v.Index(i), depth+1); err != nil {
				return err
			}
		}
	case reflect.Struct:
		for i := range v.NumField() {
			f := v.Field(i)
			if !f.CanSet() {
				return errBad
			}
			if err := d.value(f, depth+1); err != nil {
				return err
			}
		}
	case reflect.Pointer:
		n, err := d.uint()
		if err != nil || n != 1 {
			return bad(err, n > 1)
		}
		v.Set(reflect.New(v.Type().Elem()))
		return d.value(v.Elem(), depth+1)
	case reflect.Map:
		return d.mapping(v, depth)
	case reflect.Interface:
		x, err := d.any(depth + 1)
		if err == nil && x != nil {
			v.Set(reflect.ValueOf(x))
		}
		return err
	default:
		return errBad
	}
	return nil
}

func bad(err error, is bool) error {
	if err == nil && is {
		return errBad
	}
	return err
}

// list grows as it is read: a length alone, which anybody can write, takes no memory.
func (d *decoder) list(v reflect.Value, n, depth int) error {
	const atOnce = 1024
	for i := range n {
		if i == v.Len() {
			v.Grow(min(n-i, max(atOnce, i)))
			v.SetLen(min(n, v.Cap()))
		}
		if err := d.value(v.Index(i), depth+1); err != nil {
			return err
		}
	}
	v.SetLen(n)
	return nil
}

func (d *decoder) mapping(v reflect.Value, depth int) error {
	n, err := d.length()
	if err != nil || n == 0 {
		return err
	}
	if v.Type().Key().Kind() != reflect.String {
		return errBad
	}
	v.Set(reflect.MakeMap(v.Type()))
	for range n {
		k, err := d.text()
		if err != nil {
			return err
		}
		x := reflect.New(v.Type().Elem()).Elem()
		if err := d.value(x, depth+1); err != nil {
			return err
		}
		v.SetMapIndex(reflect.ValueOf(k).Convert(v.Type().Key()), x)
	}
	return nil
}

func (d *decoder) any(depth int) (any, error) {
	what, err := d.uint()
	if err != nil || depth > deepest || what > math.MaxUint8 {
		return nil, errBad
	}
	switch what {
	case anyNil:
		return nil, nil
	case anyBool:
		n, err := d.uint()
		return n == 1, bad(err, n > 1)
	case anyText:
		return d.text()
	case anyNumber:
		s, err := d.text()
		return json.Number(s), err
	case anyList:
		n, err := d.length()
		list := []any{}
		for i := 0; err == nil && i < n; i++ {
			var x any
			x, err = d.any(depth + 1)
			list = append(list, x)
		}
		return list, err
	case anyMap:
		n, err := d.length()
		m := map[string]any{}
		for i := 0; err == nil && i < n; i++ {
			var k string
			if k, err = d.text(); err == nil {
				m[k], err = d.any(depth + 1)
			}
		}
		return m, err
	}
	return nil, errBad
}
