package match

import (
	"sync"

	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/ir"
)

// Patterns remembers what became of patterns that nothing was wrong with: most occur again and again. It is safe for
// concurrent use. The zero Patterns is empty, and a nil one remembers nothing.
type Patterns struct {
	mu     sync.Mutex
	paths  map[string]*shape
	values map[string]string
}

// maxRemembered is how many patterns of either kind are remembered; then all are forgotten.
const maxRemembered = 4096

// Path is ParsePath, with a memory.
func (ps *Patterns) Path(p ir.Pattern) (*Path, diag.List) {
	if ps == nil {
		return ParsePath(p)
	}
	ps.mu.Lock()
	s := ps.paths[p.Text]
	ps.mu.Unlock()
	if s != nil {
		return &Path{p, s}, nil
	}
	x, l := ParsePath(p)
	if len(l) == 0 {
		ps.mu.Lock()
		defer ps.mu.Unlock()
		ps.paths = remember(ps.paths, p.Text, x.shape)
	}
	return x, l
}

// value is Value, with a memory.
func (ps *Patterns) value(p ir.Pattern) (string, diag.List) {
	if ps == nil || everything(p) {
		return Value(p)
	}
	ps.mu.Lock()
	v, ok := ps.values[p.Text]
	ps.mu.Unlock()
	if ok {
		return v, nil
	}
	v, l := Value(p)
	if len(l) == 0 {
		ps.mu.Lock()
		defer ps.mu.Unlock()
		ps.values = remember(ps.values, p.Text, v)
	}
	return v, l
}

func remember[V any](m map[string]V, text string, v V) map[string]V {
	if m == nil || len(m) >= maxRemembered {
		m = map[string]V{}
	}
	m[text] = v
	return m
}
