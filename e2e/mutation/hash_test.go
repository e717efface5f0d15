package mutation

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"reflect"
	"sort"

	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/syntax"
)

// hasher makes one number of a value and all that it points to, unexported fields included; places are left out.
type hasher struct {
	hash.Hash
	seen map[uintptr]int
}

func newHasher() *hasher { return &hasher{sha256.New(), map[uintptr]int{}} }

func (h *hasher) sum() string { return hex.EncodeToString(h.Sum(nil)) }

func (h *hasher) value(v any) { h.walk(reflect.ValueOf(v)) }

var (
	rangeType = reflect.TypeFor[diag.Range]()
	nodeType  = reflect.TypeFor[syntax.Node]()
)

func (h *hasher) walk(v reflect.Value) {
	if !v.IsValid() {
		fmt.Fprint(h, "nil;")
		return
	}
	if v.Type() == rangeType || v.Type() == nodeType {
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			fmt.Fprint(h, "nil;")
			return
		}
		if n, ok := h.seen[v.Pointer()]; ok {
			fmt.Fprintf(h, "*%d;", n)
			return
		}
		h.seen[v.Pointer()] = len(h.seen)
		h.walk(v.Elem())
	case reflect.Interface:
		fmt.Fprint(h, v.Kind())
		h.walk(v.Elem())
	case reflect.Struct:
		for i := range v.NumField() {
			if name := v.Type().Field(i).Name; name == "Revision" || name == "Type" || name == "state" || name == "sizeCache" {
				continue
			}
			h.walk(v.Field(i))
		}
	case reflect.Slice, reflect.Array:
		fmt.Fprintf(h, "%d[", v.Len())
		for i := range v.Len() {
			h.walk(v.Index(i))
		}
	case reflect.Map:
		keys := v.MapKeys()
		sort.Slice(keys, func(i, j int) bool { return fmt.Sprint(keys[i]) < fmt.Sprint(keys[j]) })
		for _, k := range keys {
			h.walk(k)
			h.walk(v.MapIndex(k))
		}
	case reflect.String:
		fmt.Fprintf(h, "%q;", v.String())
	case reflect.Func, reflect.Chan, reflect.UnsafePointer:
	case reflect.Bool:
		fmt.Fprint(h, v.Bool(), ";")
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		fmt.Fprint(h, v.Int(), ";")
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		fmt.Fprint(h, v.Uint(), ";")
	case reflect.Float32, reflect.Float64:
		fmt.Fprint(h, v.Float(), ";")
	default:
		panic(v.Kind())
	}
}
