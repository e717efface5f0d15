package cache

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/flexgw/flexgw/schema/diag"
)

// filled sets everything in a value to something that is not its zero, everywhere something else.
func filled(t *testing.T, v reflect.Value, n *int) {
	t.Helper()
	*n++
	switch v.Kind() {
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int32:
		v.SetInt(int64(*n) - 20)
	case reflect.Uint8:
		v.SetUint(uint64(*n%200) + 1)
	case reflect.String:
		v.SetString(fmt.Sprint("text ", *n))
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 3, 3))
		for i := range 3 {
			filled(t, v.Index(i), n)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			filled(t, v.Field(i), n)
		}
	case reflect.Interface:
		v.Set(reflect.ValueOf(map[string]any{"a": []any{"x", json.Number("1.50"), true, nil, map[string]any{}}, "b": false}))
	default:
		t.Fatalf("%s is not filled", v.Type())
	}
}

// TestNothingIsLost: a diagnostic comes back whole, also what it will have one day.
func TestNothingIsLost(t *testing.T) {
	t.Parallel()
	type all struct {
		List  diag.List
		Ptr   *diag.Range
		None  *diag.Range
		Map   map[string]int
		Array [3]uint16
		Time  int64
	}
	var l diag.List
	n := 0
	filled(t, reflect.ValueOf(&l).Elem(), &n)
	l = append(l, diag.Diagnostic{}, l[0])
	want := all{List: l, Ptr: &l[0].Subject, Map: map[string]int{"b": 2, "a": -1}, Array: [3]uint16{1, 2, 65535}, Time: -1 << 63}
	b, err := Encode(want)
	if err != nil {
		t.Fatal(err)
	}
	var got all
	if err := Decode(b, &got); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("-want +got\n%s", d)
	}
	again, err := Encode(got)
	if err != nil || !bytes.Equal(b, again) {
		t.Errorf("the same value gives other bytes, %v", err)
	}
	for i := range b {
		var part all
		if Decode(b[:i], &part) == nil {
			t.Errorf("the first %d bytes are enough", i)
		}
	}
	if Decode(append(b, 0), &got) == nil {
		t.Error("a byte too many is taken")
	}
}

func TestRefused(t *testing.T) {
	t.Parallel()
	for _, v := range []any{struct{ F func() }{}, struct{ hidden int }{}, struct{ F float64 }{}, struct{ M map[int]string }{M: map[int]string{}}, struct{ V any }{V: 1}} {
		if _, err := Encode(v); err == nil {
			t.Errorf("%T is encoded", v)
		}
	}
	if Decode(nil, diag.List{}) == nil {
		t.Error("decoded into a value")
	}
}

// FuzzDecode: whatever the bytes are, they are refused, or are a value that is encoded and decoded to itself.
func FuzzDecode(f *testing.F) {
	type value struct {
		List  diag.List
		Names []string
		Map   map[string]*diag.Pos
		Bytes []byte
	}
	b, err := Encode(value{diag.List{{Summary: "s", Edits: []diag.Edit{{Op: diag.Set, Value: []any{"a", json.Number("1")}}}}}, []string{"a", "a", "b"}, map[string]*diag.Pos{"x": {Line: 1}}, []byte{1}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte{})
	f.Add(bytes.Repeat([]byte{0xff}, 20))
	f.Fuzz(func(t *testing.T, b []byte) {
		var v, w value
		if Decode(b, &v) != nil {
			return
		}
		again, err := Encode(v)
		if err != nil {
			t.Fatal(err)
		}
		if err := Decode(again, &w); err != nil {
			t.Fatal(err)
		}
		third, err := Encode(w)
		if err != nil || !bytes.Equal(again, third) {
			t.Fatalf("%x became %x", again, third)
		}
	})
}
