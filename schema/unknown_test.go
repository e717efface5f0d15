package schema

import (
	"math/rand/v2"
	"testing"

	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/syntax"
)

// TestUnknownVerdict: what is said of a tree with an unknown scalar holds for every value of that scalar.
func TestUnknownVerdict(t *testing.T) {
	t.Parallel()
	refused, sure := 0, 0
	for i, j := range judges(t) {
		g := grower{rand.New(rand.NewPCG(uint64(i), 6))}
		for range 400 {
			n := g.tree(j.root.view(), 0)
			for _, x := range scalarsOf(n) {
				known := *x
				wild := map[*syntax.Node][]*syntax.Node{x: nil}
				may, must := verdict{wild: wild}.ok(j.root, n), verdict{wild: wild, sure: true}.ok(j.root, n)
				if must && !may {
					t.Fatalf("schema %d: %s is right for all values, and for none", i, canonical(n))
				}
				for _, v := range append(candidates(view{want: tString | tInteger | tNumber | tBool}, diag.Range{}), &known) {
					*x = *v
					if is := (verdict{}).ok(j.root, n); is && !may || !is && must {
						t.Fatalf("schema %d: %s is right: %v; with an unknown value there it may be: %v, must be: %v", i, canonical(n), is, may, must)
					}
				}
				*x = known
				if !may {
					refused++
				}
				if must {
					sure++
				}
			}
		}
	}
	if refused == 0 || sure == 0 {
		t.Errorf("%d trees cannot be right and %d must be, want some of both", refused, sure)
	}
}

func scalarsOf(n *syntax.Node) []*syntax.Node {
	if n.Kind == syntax.Scalar {
		return []*syntax.Node{n}
	}
	var out []*syntax.Node
	for i := range n.Fields {
		out = append(out, scalarsOf(n.Fields[i].Value)...)
	}
	for _, item := range n.Items {
		out = append(out, scalarsOf(item)...)
	}
	return out
}
