package dataweave

import (
	"encoding/base64"
	"errors"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"
)

// Value is null (nil), a bool, a float64, a string, a []any, a map[string]any, or Bytes within an evaluation.
type Value = any

// Bytes is a binary value: what fromBase64 gives. String functions take it as text; a result may not be one.
type Bytes []byte

// Env is what an expression sees. Roots holds attributes, authentication, payload and vars; what is missing is null. The names
// in attributes.headers are in lower case. UUID gives a new identifier each time; nil makes uuid() an error.
type Env struct {
	Roots map[string]any
	UUID  func() string
}

// Eval gives the value of e. An error means that the request that caused it must fail: the product answers 500 then.
func Eval(e Expr, env Env) (Value, error) {
	v, err := env.eval(e)
	if err != nil {
		return nil, err
	}
	if _, ok := v.(Bytes); ok {
		return nil, fmt.Errorf("the result is binary; wrap it with %s(…, 'UTF-8')", ToString)
	}
	return v, nil
}

func (env Env) eval(e Expr) (Value, error) {
	switch e := e.(type) {
	case *Bool:
		return e.Value, nil
	case *Number:
		return e.Value, nil
	case *String:
		return e.Value, nil
	case *Array:
		return env.evalAll(e.Items)
	case *Var:
		return env.lookUp(e)
	case *Select:
		x, err := env.eval(e.X)
		if err != nil {
			return nil, err
		}
		return selectKey(x, e.Key)
	case *Index:
		return env.index(e)
	case *Call:
		return env.call(e)
	case *Binary:
		return env.binary(e)
	case *Not:
		b, err := env.condition(e.X)
		return !b && err == nil, err
	case *If:
		return env.choose(e)
	}
	return nil, nil
}

func (env Env) evalAll(list []Expr) ([]any, error) {
	values := make([]any, len(list))
	for i, e := range list {
		v, err := env.eval(e)
		if err != nil {
			return nil, err
		}
		values[i] = v
	}
	return values, nil
}

func (env Env) lookUp(v *Var) (Value, error) {
	x := env.Roots[v.Path[0]]
	for i, key := range v.Path[1:] {
		if i == 1 && v.isHeaders(2) {
			key = lowerASCII(key)
		}
		var err error
		if x, err = selectKey(x, key); err != nil {
			return nil, err
		}
	}
	return x, nil
}

// selectKey collects the key from each object of an array.
func selectKey(x Value, key string) (Value, error) {
	switch x := x.(type) {
	case nil:
		return nil, nil
	case map[string]any:
		return x[key], nil
	case []any:
		found := []any{}
		for _, item := range x {
			if object, ok := item.(map[string]any); ok {
				if v, ok := object[key]; ok {
					found = append(found, v)
				}
			}
		}
		return found, nil
	}
	return nil, fmt.Errorf("%s has no keys", kindOf(x))
}

func (env Env) index(e *Index) (Value, error) {
	x, err := env.eval(e.X)
	if err != nil {
		return nil, err
	}
	n, err := env.eval(e.N)
	if err != nil {
		return nil, err
	}
	if key, ok := n.(string); ok {
		if v, ok := e.X.(*Var); ok && len(v.Path) == 2 && v.isHeaders(2) {
			key = lowerASCII(key)
		}
		return selectKey(x, key)
	}
	f, ok := n.(float64)
	if !ok || f != math.Trunc(f) {
		return nil, fmt.Errorf("%s is no index", kindOf(n))
	}
	switch x := x.(type) {
	case nil:
		return nil, nil
	case []any:
		return element(x, f), nil
	case string:
		var all []any
		for _, r := range x {
			all = append(all, string(r))
		}
		return element(all, f), nil
	}
	return nil, fmt.Errorf("%s has no elements", kindOf(x))
}

func element(list []any, f float64) Value {
	if f < 0 {
		f += float64(len(list))
	}
	if f < 0 || f >= float64(len(list)) {
		return nil
	}
	return list[int(f)]
}

func (env Env) condition(e Expr) (bool, error) {
	v, err := env.eval(e)
	if err != nil {
		return false, err
	}
	b, ok := v.(bool)
	if !ok {
		return false, fmt.Errorf("%s is neither true nor false", kindOf(v))
	}
	return b, nil
}

func (env Env) choose(e *If) (Value, error) {
	yes, err := env.condition(e.Cond)
	switch {
	case err != nil:
		return nil, err
	case yes:
		return env.eval(e.Then)
	}
	return env.eval(e.Else)
}

func (env Env) binary(e *Binary) (Value, error) {
	switch e.Op {
	case And, Or:
		x, err := env.condition(e.X)
		if err != nil || x == (e.Op == Or) {
			return x, err
		}
		return env.condition(e.Y)
	case Default:
		x, err := env.eval(e.X)
		if err != nil || x != nil {
			return x, err
		}
		return env.eval(e.Y)
	}
	args, err := env.evalAll([]Expr{e.X, e.Y})
	if err != nil {
		return nil, err
	}
	x, y := args[0], args[1]
	switch e.Op {
	case Equal:
		return same(x, y), nil
	case NotEqual:
		return !same(x, y), nil
	case AtLeast:
		return atLeast(x, y, 1)
	case AtMost:
		return atLeast(x, y, -1)
	case Contains:
		return contains(x, y)
	case Minus:
		return minus(x, y)
	}
	return concat(x, y)
}

// same compares without converting: '1' is not 1. Binary is compared as the text it holds.
func same(x, y Value) bool { return reflect.DeepEqual(plain(x), plain(y)) }

func plain(v Value) Value {
	if b, ok := v.(Bytes); ok {
		return string(b)
	}
	return v
}

// atLeast compares x with y, y taken as the type of x (https://docs.mulesoft.com/dataweave/latest/dw-operators). Sign -1 turns it round.
func atLeast(x, y Value, sign int) (Value, error) {
	switch x := plain(x).(type) {
	case float64:
		f, ok := number(y)
		if !ok {
			return nil, fmt.Errorf("%s cannot be compared with a number", kindOf(y))
		}
		if sign < 0 {
			return x <= f, nil
		}
		return x >= f, nil
	case string:
		s, ok := text(y)
		if !ok {
			return nil, fmt.Errorf("%s cannot be compared with a string", kindOf(y))
		}
		return strings.Compare(x, s)*sign >= 0, nil
	}
	return nil, fmt.Errorf("%s has no order", kindOf(x))
}

func number(v Value) (float64, bool) {
	switch v := plain(v).(type) {
	case float64:
		return v, true
	case string:
		return parseNumber(v)
	}
	return 0, false
}

// parseNumber takes decimal numbers only, without blanks, names, underscores or hexadecimal digits.
func parseNumber(s string) (float64, bool) {
	if s == "" || strings.Trim(s, "0123456789+-.eE") != "" {
		return 0, false
	}
	f, err := strconv.ParseFloat(s, 64)
	return f, err == nil
}

// FormatNumber writes a number as the language does: no exponent and no fraction where none is needed.
func FormatNumber(f float64) string {
	if -1e15 < f && f < 1e15 {
		return strconv.FormatFloat(f, 'f', -1, 64)
	}
	return strconv.FormatFloat(f, 'g', -1, 64)
}

// text is the string that a simple value converts to where a string is wanted. Null converts to nothing.
func text(v Value) (string, bool) {
	switch v := v.(type) {
	case string:
		return v, true
	case Bytes:
		return string(v), true
	case float64:
		return FormatNumber(v), true
	case bool:
		return strconv.FormatBool(v), true
	}
	return "", false
}

func contains(x, y Value) (Value, error) {
	switch x := plain(x).(type) {
	case nil:
		return false, nil
	case []any:
		for _, item := range x {
			if same(item, y) {
				return true, nil
			}
		}
		return false, nil
	case string:
		s, ok := text(y)
		if !ok {
			return nil, fmt.Errorf("a string cannot contain %s", kindOf(y))
		}
		return strings.Contains(x, s), nil
	}
	return nil, fmt.Errorf("%s cannot contain anything", kindOf(x))
}

func concat(x, y Value) (Value, error) {
	a, aok := x.([]any)
	b, bok := y.([]any)
	if aok && bok {
		return append(append([]any{}, a...), b...), nil
	}
	s, sok := text(x)
	t, tok := text(y)
	if !sok || !tok {
		return nil, fmt.Errorf("++ joins two strings or two arrays, not %s and %s", kindOf(x), kindOf(y))
	}
	return s + t, nil
}

func minus(x, y Value) (Value, error) {
	switch x := x.(type) {
	case []any:
		if y, ok := y.([]any); ok {
			rest := []any{}
			for _, item := range x {
				if in, _ := contains(y, item); in != true {
					rest = append(rest, item)
				}
			}
			return rest, nil
		}
	case map[string]any:
		return minusKeys(x, y)
	}
	return nil, fmt.Errorf("-- cannot take %s from %s", kindOf(y), kindOf(x))
}

func minusKeys(x map[string]any, y Value) (Value, error) {
	rest := map[string]any{}
	for key, v := range x {
		var gone bool
		switch y := y.(type) {
		case string:
			gone = key == y
		case []any:
			in, _ := contains(y, key)
			gone = in == true
		case map[string]any:
			other, ok := y[key]
			gone = ok && same(v, other)
		default:
			return nil, fmt.Errorf("-- cannot take %s from an object", kindOf(y))
		}
		if !gone {
			rest[key] = v
		}
	}
	return rest, nil
}

func (env Env) call(e *Call) (Value, error) {
	args, err := env.evalAll(e.Args)
	if err != nil {
		return nil, err
	}
	switch e.Name {
	case "uuid":
		if env.UUID == nil {
			return nil, errors.New("no source of identifiers")
		}
		return env.UUID(), nil
	case "sizeOf":
		return sizeOf(args[0])
	case ToBinary, ToString:
		return recode(e.Name, args[0], args[1])
	case FromBase64, ToBase64:
	default:
		if args[0] == nil {
			return nil, nil
		}
	}
	texts := make([]string, len(args))
	for i, a := range args {
		var ok bool
		if texts[i], ok = text(a); !ok {
			return nil, fmt.Errorf("%s takes strings, not %s", e.Name, kindOf(a))
		}
	}
	return textFunction(e.Name, texts)
}

func textFunction(name string, arg []string) (Value, error) {
	switch name {
	case "lower":
		return strings.ToLower(arg[0]), nil
	case "upper":
		return strings.ToUpper(arg[0]), nil
	case "trim":
		return strings.Trim(arg[0], trimmed), nil
	case "splitBy":
		var parts []any
		for _, s := range strings.Split(arg[0], arg[1]) {
			parts = append(parts, s)
		}
		if parts == nil {
			parts = []any{}
		}
		return parts, nil
	case ToBase64:
		return base64.StdEncoding.EncodeToString([]byte(arg[0])), nil
	case FromBase64:
		b, err := base64.StdEncoding.WithPadding(base64.NoPadding).DecodeString(strings.TrimRight(arg[0], "="))
		if err != nil {
			return nil, errors.New("the text is not base64")
		}
		return Bytes(b), nil
	}
	return substring(name, arg[0], arg[1]), nil
}

// trimmed is what trim takes away: blanks and control characters.
const trimmed = "\x00\x01\x02\x03\x04\x05\x06\x07\x08\t\n\v\f\r\x0e\x0f\x10\x11\x12\x13\x14\x15\x16\x17\x18\x19\x1a\x1b\x1c\x1d\x1e\x1f "

// substring gives nothing when the separator is not there. For an empty separator it does what the language documents:
// https://docs.mulesoft.com/dataweave/latest/dw-strings-functions-substringafter and its neighbours.
func substring(name, s, sep string) Value {
	if sep == "" {
		runes := []rune(s)
		switch {
		case name == SubstringAfterLast:
			return nil
		case name == SubstringBefore || len(runes) == 0:
			return ""
		case name == SubstringAfter:
			return string(runes[1:])
		}
		return string(runes[:len(runes)-1])
	}
	i := strings.Index(s, sep)
	if name == SubstringAfterLast || name == SubstringBeforeLast {
		i = strings.LastIndex(s, sep)
	}
	switch {
	case i < 0:
		return ""
	case name == SubstringBefore || name == SubstringBeforeLast:
		return s[:i]
	}
	return s[i+len(sep):]
}

func sizeOf(v Value) (Value, error) {
	switch v := v.(type) {
	case nil:
		return 0.0, nil
	case []any:
		return float64(len(v)), nil
	case map[string]any:
		return float64(len(v)), nil
	case string:
		return float64(len([]rune(v))), nil
	case Bytes:
		return float64(len(v)), nil
	}
	return nil, fmt.Errorf("%s has no size", kindOf(v))
}

// recode knows the encodings that text over HTTP comes in.
func recode(name string, v, encoding Value) (Value, error) {
	enc, _ := encoding.(string)
	s, ok := text(v)
	if !ok {
		return nil, fmt.Errorf("%s does not take %s", name, kindOf(v))
	}
	switch strings.ToUpper(enc) {
	case "UTF-8", "UTF8":
	case "ISO-8859-1", "US-ASCII", "ASCII":
		return recodeBytes(name, s)
	default:
		return nil, fmt.Errorf("the encoding %q is not known", enc)
	}
	if name == ToBinary {
		return Bytes(s), nil
	}
	return strings.ToValidUTF8(s, "\uFFFD"), nil
}

func recodeBytes(name, s string) (Value, error) {
	var b []byte
	if name == ToString {
		var r []rune
		for _, c := range []byte(s) {
			r = append(r, rune(c))
		}
		return string(r), nil
	}
	for _, r := range s {
		if r > 0xff {
			r = '?'
		}
		b = append(b, byte(r))
	}
	return Bytes(b), nil
}

func kindOf(v Value) string {
	switch v.(type) {
	case nil:
		return "null"
	case bool:
		return "a boolean"
	case float64:
		return "a number"
	case string:
		return "a string"
	case []any:
		return "an array"
	case map[string]any:
		return "an object"
	case Bytes:
		return "a binary"
	}
	return fmt.Sprintf("a %T", v)
}
