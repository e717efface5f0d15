package schema

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"

	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/syntax"
)

// unknown is what stands for $VARIABLEs that are not set: for each, values that may be its own. A verdict about the rest of a
// configuration must hold whatever they are, so it is asked for with several of them, and what is said every time is true.
// That way no rule has to know that a value may be unknown, and none can forget it.
type unknown struct {
	nodes []*syntax.Node                  // in the order of the document
	may   map[*syntax.Node][]*syntax.Node // never empty
}

// add makes n unknown. Of the values that v's types allow those count that v's shapes take, if there are any.
func (u *unknown) add(v view, n *syntax.Node) {
	if u.may == nil {
		u.may = map[*syntax.Node][]*syntax.Node{}
	}
	all := candidates(v, n.Range)
	fit := slices.DeleteFunc(slices.Clone(all), func(c *syntax.Node) bool {
		return slices.ContainsFunc(v.flat, func(s *shape) bool { return !(verdict{}).ok(s, c) })
	})
	if len(fit) == 0 {
		fit = all
	}
	u.nodes, u.may[n] = append(u.nodes, n), fit
}

// candidates are values of the types that v wants, the likeliest first. They differ in what rules ask of values: their length,
// size and sign, and whether they are an address, a name, an expression, a document of some language.
func candidates(v view, at diag.Range) []*syntax.Node {
	var out []*syntax.Node
	scalar := func(x any, text string) {
		_, quoted := x.(string)
		out = append(out, &syntax.Node{Scalar: x, Text: text, Quoted: quoted, Range: at})
	}
	for _, s := range v.flat {
		for _, x := range s.enum {
			switch x := x.(type) {
			case string:
				scalar(x, x)
			case json.Number:
				scalar(x, x.String())
			case bool:
				scalar(x, map[bool]string{true: "true", false: "false"}[x])
			}
		}
	}
	if len(out) > 0 {
		return out
	}
	want := v.want
	if want == 0 {
		want = tString
	}
	if want&tString != 0 {
		for _, x := range []string{"x-unknown", strings.Repeat("Secret-0123456789", 16), "https://unknown.example/some/path", "/some/path", "192.0.2.1", "#[attributes.headers['x-unknown']]",
			"#[true]", "1", "30s", "GET", "Basic dXNlcjpwYXNz", "*", `{"a": {"b": "c"}}`, "<a><b/></a>", "type Query {a: String}", "%dw 2.0\noutput application/json\n---\npayload", "a, b c\n", ""} {
			scalar(x, x)
		}
	}
	if want&(tInteger|tNumber) != 0 {
		for _, x := range []string{"10", "1", "1000", "0", "60000", "86400000", "1000000000", "-1"} {
			scalar(json.Number(x), x)
		}
	}
	if want&tNumber != 0 {
		scalar(json.Number("0.5"), "0.5")
	}
	if want&tBool != 0 {
		scalar(true, "true")
		scalar(false, "false")
	}
	if want&tArray != 0 {
		out = append(out, &syntax.Node{Kind: syntax.Sequence, Range: at})
	}
	if want&tObject != 0 {
		out = append(out, &syntax.Node{Kind: syntax.Mapping, Range: at})
	}
	if len(out) == 0 { // null alone
		scalar(nil, "")
	}
	return out
}

// mixed is in how many rounds the values of several variables are put together in another way each time.
const mixed = 8

// every is what judge says of n whatever the unknown values are, without what it says of them: values that it says something
// of are not theirs, as long as there are at least two others for each. It is asked until nothing is left, which is soon for a
// right configuration.
func (u *unknown) every(n *syntax.Node, judge func(*syntax.Node) diag.List) diag.List {
	rounds := 0
	for _, may := range u.may {
		rounds = max(rounds, len(may))
	}
	if len(u.nodes) > 1 {
		rounds += mixed
	}
	var common, right said
	for round := range rounds {
		with := map[*syntax.Node]*syntax.Node{}
		for i, x := range u.nodes {
			may := u.may[x]
			at := round + i
			if len(u.nodes) > 1 && round >= rounds-mixed {
				at = (round*31 + i*17 + round*i*7) % 101 // any numbers that are not in step
			}
			with[x] = may[at%len(may)]
		}
		l := judge(replaced(n, with))
		rest := u.elsewhere(l)
		common.add(rest, with)
		if len(rest) == len(l) {
			right.add(rest, with)
		}
		if right.enough(u) && len(right.l) == 0 {
			return nil
		}
	}
	if right.enough(u) {
		return right.l
	}
	return common.l
}

// said is what was said in several rounds.
type said struct {
	l      diag.List                              // every time
	values map[*syntax.Node]map[*syntax.Node]bool // the values that were tried
}

func (s *said) add(l diag.List, with map[*syntax.Node]*syntax.Node) {
	if s.values == nil {
		s.l, s.values = slices.Clone(l), map[*syntax.Node]map[*syntax.Node]bool{}
	} else {
		s.l = shared(s.l, l)
	}
	for x, value := range with {
		if s.values[x] == nil {
			s.values[x] = map[*syntax.Node]bool{}
		}
		s.values[x][value] = true
	}
}

// enough reports whether each of the unknown values was at least two, where it can be.
func (s *said) enough(u *unknown) bool {
	return !slices.ContainsFunc(u.nodes, func(x *syntax.Node) bool { return len(s.values[x]) < min(2, len(u.may[x])) })
}

// shared is what two lists both say. Edits that hold for one of them only are no edits.
func shared(l, other diag.List) diag.List {
	var out diag.List
	for _, d := range l {
		for _, o := range other {
			edits := d.Edits
			if !reflect.DeepEqual(d.Edits, o.Edits) {
				edits = nil
			}
			d.Edits, o.Edits = edits, edits
			if reflect.DeepEqual(d, o) {
				out = append(out, d)
				break
			}
		}
	}
	return out
}

// once is what judge says of n with the likeliest values: what is left to be said when all explanations hold for some values only.
func (u *unknown) once(n *syntax.Node, judge func(*syntax.Node) diag.List) diag.List {
	with := map[*syntax.Node]*syntax.Node{}
	for _, x := range u.nodes {
		with[x] = u.may[x][0]
	}
	return judge(replaced(n, with))
}

// elsewhere leaves out what is said about the unknown values themselves.
func (u *unknown) elsewhere(l diag.List) diag.List {
	return slices.DeleteFunc(slices.Clone(l), func(d diag.Diagnostic) bool {
		return slices.ContainsFunc(u.nodes, func(n *syntax.Node) bool { return within(d.Subject, n.Range) })
	})
}

// within reports whether a range starts inside another one.
func within(r, outer diag.Range) bool {
	return r.File == outer.File && (r.Start == outer.Start || r.Start.Offset >= outer.Start.Offset && r.Start.Offset < outer.End.Offset)
}

// replaced is n with other nodes in the place of some. What holds none of them is shared.
func replaced(n *syntax.Node, with map[*syntax.Node]*syntax.Node) *syntax.Node {
	if other, ok := with[n]; ok {
		return other
	}
	out := n
	for i := range n.Fields {
		if got := replaced(n.Fields[i].Value, with); got != n.Fields[i].Value {
			if out == n {
				c := *n
				c.Fields = slices.Clone(n.Fields)
				out = &c
			}
			out.Fields[i].Value = got
		}
	}
	for i := range n.Items {
		if got := replaced(n.Items[i], with); got != n.Items[i] {
			if out == n {
				c := *n
				c.Items = slices.Clone(n.Items)
				out = &c
			}
			out.Items[i] = got
		}
	}
	return out
}
