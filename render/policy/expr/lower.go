package expr

import (
	"slices"
	"strings"

	"google.golang.org/protobuf/types/known/structpb"

	"github.com/flexgw/flexgw/render/policy"
	"github.com/flexgw/flexgw/schema/dataweave"
)

// nodes is the program of the script: a flat list, because nested data would run into protobuf's limit of 100 levels. A node
// is its operation and its operands, which are numbers of nodes, counted from 1, or constants.
type nodes struct {
	list []*structpb.Value
	sees policy.Published
}

func (n *nodes) add(op string, operands ...any) int {
	values := []*structpb.Value{structpb.NewStringValue(op)}
	for _, o := range operands {
		switch o := o.(type) {
		case int:
			values = append(values, structpb.NewNumberValue(float64(o)))
		case float64:
			values = append(values, structpb.NewNumberValue(o))
		case bool:
			values = append(values, structpb.NewBoolValue(o))
		case string:
			values = append(values, structpb.NewStringValue(strings.ToValidUTF8(o, "\uFFFD")))
		}
	}
	n.list = append(n.list, structpb.NewListValue(&structpb.ListValue{Values: values}))
	return len(n.list)
}

func (n *nodes) all(list []dataweave.Expr) []any {
	numbers := make([]any, len(list))
	for i, e := range list {
		numbers[i] = n.lower(e)
	}
	return numbers
}

// functions are those that the script has, by its own names.
func functions() map[string]string {
	return map[string]string{
		"lower": "lower", "upper": "upper", "trim": "trim", "splitBy": "split", dataweave.FromBase64: "b64",
		dataweave.SubstringAfter: "sa", dataweave.SubstringAfterLast: "sal", dataweave.SubstringBefore: "sb", dataweave.SubstringBeforeLast: "sbl",
	}
}

// operators are those of the script, and whether several in a row make one node.
func operators(op string) (name string, chain bool) {
	switch op {
	case dataweave.Concat:
		return "cat", true
	case dataweave.And, dataweave.Or:
		return op, true
	case dataweave.Default:
		return "def", true
	case dataweave.Contains:
		return "has", false
	case dataweave.Equal:
		return "eq", false
	case dataweave.NotEqual:
		return "ne", false
	case dataweave.AtLeast:
		return "ge", false
	}
	return "le", false
}

// lower adds e and what it needs, and gives its number. e has passed check.
func (n *nodes) lower(e dataweave.Expr) int {
	switch e := e.(type) {
	case *dataweave.Bool:
		return n.add("lit", e.Value)
	case *dataweave.Number:
		return n.add("lit", e.Value)
	case *dataweave.String:
		return n.add("lit", e.Value)
	case *dataweave.Array:
		return n.add("arr", n.all(e.Items)...)
	case *dataweave.Var:
		return n.variable(e.Path)
	case *dataweave.Select:
		return n.add("get", n.lower(e.X), e.Key)
	case *dataweave.Index:
		if isHeaders(e.X) {
			return n.add("hdx", n.lower(e.N))
		}
		return n.add("at", n.lower(e.X), n.lower(e.N))
	case *dataweave.Call:
		if recodesUTF8(e) {
			return n.add("text", n.lower(e.Args[0]))
		}
		return n.add(functions()[e.Name], n.all(e.Args)...)
	case *dataweave.Binary:
		name, chain := operators(e.Op)
		operands := []dataweave.Expr{e.X, e.Y}
		for left, ok := e.X.(*dataweave.Binary); chain && ok && left.Op == e.Op; left, ok = left.X.(*dataweave.Binary) {
			operands = slices.Concat([]dataweave.Expr{left.X, left.Y}, operands[1:])
		}
		return n.add(name, n.all(operands)...)
	case *dataweave.Not:
		return n.add("not", n.lower(e.X))
	case *dataweave.If:
		return n.add("if", n.lower(e.Cond), n.lower(e.Then), n.lower(e.Else))
	}
	return n.add("null")
}

// attributes are those that the script reads whole.
func attributes() map[string]string {
	return map[string]string{
		"method": "method", "scheme": "scheme", "version": "version", "requestPath": "path", "requestUri": "uri", "queryString": "query",
		"queryParams": "params", "localAddress": "here", "remoteAddress": "peer", "statusCode": "status",
	}
}

func (n *nodes) variable(path []string) int {
	var at int
	rest := path[2:]
	switch {
	case path[0] == "vars":
		at = n.published(n.sees.Claims)
	case path[1] == "headers":
		at, rest = n.add("hdr", strings.ToLower(path[2])), path[3:]
	case path[0] == "attributes":
		at = n.add(attributes()[path[1]])
	case path[1] == "principal":
		at = n.published(n.sees.Principal)
	case path[1] == "clientId":
		at = n.published(n.sees.ClientID)
	default:
		at, rest = n.published(n.sees.Claims), path[3:]
	}
	for _, key := range rest {
		at = n.add("get", at, key)
	}
	return at
}

// published reads what an earlier policy left behind; nothing was left where the place is not known.
func (n *nodes) published(r policy.Ref) int {
	if r.IsZero() {
		return n.add("null")
	}
	operands := []any{r.Namespace}
	for _, k := range r.Keys {
		operands = append(operands, k)
	}
	return n.add("meta", operands...)
}
