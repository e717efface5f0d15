package expr

import (
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"unicode"

	mutationv3 "github.com/envoyproxy/go-control-plane/envoy/config/common/mutation_rules/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	headermutationv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/header_mutation/v3"
	luav3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/lua/v3"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/flexgw/flexgw/render/policy"
)

//go:embed expr.lua
var interpreter string

// InternalPrefix starts the names of request headers that are ours alone. SetHeader takes away what a client sent under such a
// name; RemoveHeaders takes ours away before the upstream sees it.
const InternalPrefix = "x-flexgw-"

// Program is what one filter evaluates: its steps in order, until one refuses.
type Program struct {
	Request  []Step
	Response []Step
	// Sees replaces Input.Earlier, for a policy that reads its own findings (the claims of the token it has checked). The zero
	// value: Input.Earlier.
	Sees policy.Published
}

// Step is one thing that a Program does. The constructors below make them; the other fields may be set on the result.
type Step struct {
	Value Expr
	// Optional: a null value does nothing (SetHeader still removes). Else null is a failure.
	Optional bool
	// Lenient: an expression that fails counts as null.
	Lenient bool
	// As says how the value becomes text.
	As Form

	kind     string // header, metadata, require
	name     string
	nameExpr *Expr
	mode     string // of a header: append, set, or "" for replace
	space    string // of metadata
	status   int
	body     string
}

// Form says how a value becomes text.
type Form uint8

// The forms. Clean is for headers that others read: no control characters, no blanks around it; arrays and objects are a
// failure. Key is for what only we read: any value, percent-encoded to visible ASCII, so that values that differ stay different.
// Address is the first of several addresses separated by commas, without port and brackets, IPv4 in its short form.
const (
	Clean Form = iota
	Key
	Address
)

// AppendHeader adds a header, or a value to it. content-type and access-control-allow-origin are replaced, as the product does.
func AppendHeader(name string, value Expr) Step {
	return Step{kind: "header", mode: "append", name: strings.ToLower(name), Value: value}
}

// AppendHeaderNamed is AppendHeader for a name that is an expression. A name that is none, or one that decides how a message is
// read or routed (host, content-length, transfer-encoding …), is a failure.
func AppendHeaderNamed(name, value Expr) Step {
	if s, ok := name.Literal(); ok {
		return AppendHeader(s, value)
	}
	return Step{kind: "header", mode: "append", nameExpr: &name, Value: value}
}

// SetHeader replaces a header by one value. With Optional, null leaves the message without the header.
func SetHeader(name string, value Expr) Step {
	return Step{kind: "header", mode: "set", name: strings.ToLower(name), Value: value}
}

// SetMetadata writes dynamic metadata, as a string.
func SetMetadata(namespace, key string, value Expr) Step {
	return Step{kind: "metadata", space: namespace, name: key, Value: value}
}

// Require refuses the request with a status and a JSON body unless the value is true. False and null are refused so; a value
// that is no boolean is a failure, unless the step is Lenient.
func Require(value Expr, status int, body string) Step {
	return Step{kind: "require", Value: value, status: status, body: body}
}

// Filter is the Lua filter that carries the program out, and the script that it reads, which belongs into Effect.Files. A failure
// answers 500, on a response too; only a response whose request never passed this filter is left alone.
func (p Program) Filter(suffix string, in policy.Input) (policy.Filter, policy.File) {
	data := script()
	return policy.Filter{Name: suffix, Config: &luav3.Lua{
		DefaultSourceCode: &corev3.DataSource{Specifier: &corev3.DataSource_Filename{Filename: in.Path(data, ".lua")}},
		StatPrefix:        "expr",
		ClearRouteCache:   wrapperspb.Bool(false),
		SharedVmId:        vmID(),
		FilterContext:     p.context(in.Earlier, in.ID+"."+suffix),
	}}, policy.File{Ext: ".lua", Data: data}
}

// RemoveHeaders is the filter that takes request headers away.
func RemoveHeaders(suffix string, names ...string) policy.Filter {
	m := &headermutationv3.Mutations{}
	for _, name := range names {
		m.RequestMutations = append(m.RequestMutations, &mutationv3.HeaderMutation{Action: &mutationv3.HeaderMutation_Remove{Remove: name}})
	}
	return policy.Filter{Name: suffix, Config: &headermutationv3.HeaderMutation{Mutations: m}}
}

// context is what the script works from; name tells the filter from all others of the chain.
func (p Program) context(earlier policy.Published, name string) *structpb.Struct {
	n := &nodes{sees: p.Sees}
	if n.sees.Principal.IsZero() && n.sees.Claims.IsZero() && n.sees.ClientID.IsZero() {
		n.sees = earlier
	}
	fields := map[string]*structpb.Value{
		"request":  n.steps(p.Request),
		"response": n.steps(p.Response),
	}
	if len(p.Response) > 0 {
		fields["capture"] = structpb.NewStringValue(name)
	}
	fields["nodes"] = structpb.NewListValue(&structpb.ListValue{Values: n.list})
	return &structpb.Struct{Fields: fields}
}

func (n *nodes) steps(steps []Step) *structpb.Value {
	list := &structpb.ListValue{}
	for _, s := range steps {
		f := map[string]*structpb.Value{
			"step": structpb.NewStringValue(s.kind), "value": structpb.NewNumberValue(float64(n.lower(s.Value.tree))),
			"form": structpb.NewStringValue([...]string{"clean", "key", "address"}[s.As]),
		}
		for key, on := range map[string]bool{"optional": s.Optional, "lenient": s.Lenient, "append": s.mode == "append", "set": s.mode == "set"} {
			if on {
				f[key] = structpb.NewBoolValue(true)
			}
		}
		for key, text := range map[string]string{"name": s.name, "namespace": s.space, "body": s.body} {
			if text != "" {
				f[key] = structpb.NewStringValue(text)
			}
		}
		if s.nameExpr != nil {
			f["namenode"] = structpb.NewNumberValue(float64(n.lower(s.nameExpr.tree)))
		}
		if s.status != 0 {
			f["status"] = structpb.NewStringValue(strconv.Itoa(s.status))
		}
		list.Values = append(list.Values, structpb.NewStructValue(&structpb.Struct{Fields: f}))
	}
	return structpb.NewListValue(list)
}

// The script is the same for all, so it is made once; nothing changes it.
var (
	script = sync.OnceValue(makeScript)
	vmID   = sync.OnceValue(func() string {
		sum := sha256.Sum256(script())
		return "flexgw.expr." + hex.EncodeToString(sum[:4])
	})
)

// makeScript is the interpreter with the ranges of letters outside ASCII, so that lower and upper mean what Eval means.
func makeScript() []byte {
	var b strings.Builder
	b.WriteString("local CASES = {\n")
	for _, r := range unicode.CaseRanges {
		switch {
		case r.Hi < 0x80:
		case r.Delta[unicode.UpperCase] > unicode.MaxRune:
			fmt.Fprintf(&b, "{%d,%d,false},\n", r.Lo, r.Hi)
		default:
			fmt.Fprintf(&b, "{%d,%d,%d,%d},\n", r.Lo, r.Hi, r.Delta[unicode.UpperCase], r.Delta[unicode.LowerCase])
		}
	}
	b.WriteString("}\n")
	b.WriteString(interpreter)
	return []byte(b.String())
}
