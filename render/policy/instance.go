package policy

import (
	"bytes"
	"crypto/sha256"
	"encoding"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/flexgw/flexgw/schema/ir"
)

// InstanceHash names what an Effect's Enforce holds: equal for equal values, whatever pointers, maps and empty lists they are
// made of, and another one as soon as anything in it differs. Secrets count with their text, which the hash does not show.
//
// It fails on what it cannot see, for a change there would leave the instance its old name and the daemon its old
// configuration: unexported fields, functions and channels. A type that marshals itself (encoding.BinaryMarshaler: times,
// addresses, URLs) and a message count as what they marshal to. Values that contain themselves fail too.
func InstanceHash(enforce any) (string, error) {
	var e encoder
	if err := e.value(reflect.ValueOf(enforce), 0); err != nil {
		return "", fmt.Errorf("hash a %T: %w", enforce, err)
	}
	sum := sha256.Sum256(e.b.Bytes())
	return hex.EncodeToString(sum[:6]), nil
}

// maxDepth bounds values that contain themselves.
const maxDepth = 100

// encoder writes values so that two of them give the same bytes only when they are equal: every value starts with its
// kind, and every text with its length.
type encoder struct{ b bytes.Buffer }

func (e *encoder) number(n uint64) { e.b.Write(binary.AppendUvarint(nil, n)) }

func (e *encoder) text(kind string, b []byte) {
	e.b.WriteString(kind)
	e.number(uint64(len(b)))
	e.b.Write(b)
}

func (e *encoder) value(v reflect.Value, depth int) error {
	if depth > maxDepth {
		return errors.New("it is too deep")
	}
	if !v.IsValid() {
		e.b.WriteByte('0')
		return nil
	}
	if v.Kind() != reflect.Pointer && v.Kind() != reflect.Interface {
		if done, err := e.itself(v); done {
			return err
		}
	}
	switch v.Kind() {
	case reflect.Bool:
		e.b.WriteByte('b')
		if v.Bool() {
			e.number(1)
			return nil
		}
		e.number(0)
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		e.b.WriteByte('i')
		e.number(uint64(v.Int()))
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		e.b.WriteByte('u')
		e.number(v.Uint())
	case reflect.Float32, reflect.Float64:
		e.b.WriteByte('f')
		e.number(math.Float64bits(v.Float()))
	case reflect.String:
		e.text("s", []byte(v.String()))
	case reflect.Slice, reflect.Array:
		return e.list(v, depth)
	case reflect.Map:
		return e.mapping(v, depth)
	case reflect.Struct:
		return e.fields(v, depth)
	case reflect.Pointer:
		if v.IsNil() {
			e.b.WriteByte('0')
			return nil
		}
		if done, err := e.itself(v); done {
			return err
		}
		e.b.WriteByte('*')
		return e.value(v.Elem(), depth+1)
	case reflect.Interface:
		if v.IsNil() {
			e.b.WriteByte('0')
			return nil
		}
		e.text("t", []byte(v.Elem().Type().String()))
		return e.value(v.Elem(), depth+1)
	default:
		return fmt.Errorf("a %s cannot be compared", v.Type())
	}
	return nil
}

// itself writes what knows how it is written.
func (e *encoder) itself(v reflect.Value) (done bool, err error) {
	switch x := v.Interface().(type) {
	case ir.Secret:
		e.text("s", []byte(x.Reveal()))
		return true, nil
	case proto.Message:
		b, err := proto.MarshalOptions{Deterministic: true}.Marshal(x)
		e.text("m", b)
		return true, err
	case encoding.BinaryMarshaler:
		if embeds(v.Type()) {
			return false, nil // the method may be that of a part
		}
		b, err := x.MarshalBinary()
		e.text("m", b)
		return true, err
	}
	return false, nil
}

func embeds(t reflect.Type) bool {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return t.Kind() == reflect.Struct && slices.ContainsFunc(reflect.VisibleFields(t), func(f reflect.StructField) bool { return f.Anonymous })
}

func (e *encoder) list(v reflect.Value, depth int) error {
	e.b.WriteByte('l')
	e.number(uint64(v.Len()))
	for i := range v.Len() {
		if err := e.value(v.Index(i), depth+1); err != nil {
			return fmt.Errorf("[%d]: %w", i, err)
		}
	}
	return nil
}

func (e *encoder) mapping(v reflect.Value, depth int) error {
	entries := make([][]byte, 0, v.Len())
	for k, x := range v.Seq2() {
		var entry encoder
		if err := entry.value(k, depth+1); err != nil {
			return fmt.Errorf("key %v: %w", k, err)
		}
		if err := entry.value(x, depth+1); err != nil {
			return fmt.Errorf("[%v]: %w", k, err)
		}
		entries = append(entries, entry.b.Bytes())
	}
	slices.SortFunc(entries, bytes.Compare)
	e.b.WriteByte('m')
	e.number(uint64(len(entries)))
	for _, b := range entries {
		e.text("e", b)
	}
	return nil
}

func (e *encoder) fields(v reflect.Value, depth int) error {
	e.b.WriteByte('{')
	for i := range v.NumField() {
		f := v.Type().Field(i)
		if !f.IsExported() {
			return fmt.Errorf("%s: unexported, so a change of it would not be seen", f.Name)
		}
		e.text("n", []byte(f.Name))
		if err := e.value(v.Field(i), depth+1); err != nil {
			return fmt.Errorf("%s: %w", f.Name, err)
		}
	}
	e.b.WriteByte('}')
	return nil
}
