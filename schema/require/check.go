package require

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/flexgw/flexgw/schema"
	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/ir"
	"github.com/flexgw/flexgw/schema/source"
	"github.com/flexgw/flexgw/schema/syntax"
)

// Options are the parameters of Check.
type Options struct {
	Policies schema.Catalog
	Found    diag.List // what is known of the set without rules: a rule repeats no error
	Partial  bool      // the set is not the whole gateway: what is found in the linked model is a note
	Budget   Budget    // for all evaluations of one rule together
}

// Check asks every rule about the objects of a set; g is their linked model, also one that was salvaged beside errors. Objects
// whose shape is wrong are not asked about. Diagnostics are sorted.
func (r *Rules) Check(set source.Set, g *ir.Gateway, o Options) diag.List {
	if r == nil || len(r.rules) == 0 || g == nil {
		return nil
	}
	c := &check{Rules: r, options: o, model: newModel(g), wrong: placesOf(o.Found), reader: schema.NewReader(o.Policies), kinds: map[string][]*rule{},
		ticks: make([]atomic.Int64, len(r.rules)), late: make([]atomic.Bool, len(r.rules)), failed: make([]atomic.Bool, len(r.rules)), answers: make([]answers, len(r.rules))}
	for _, x := range r.rules {
		c.kinds[x.Kind] = append(c.kinds[x.Kind], x)
		p := r.packages[x.pack]
		c.linked, c.config = c.linked || p.linked, c.config || p.linked && p.config
	}
	units, _ := syntax.Units(set) // what is wrong with them was said when they were loaded
	if c.config && len(c.kinds["ApiInstance"])+len(c.kinds["Service"]) > 0 {
		c.configs(units)
	}
	found := make([]diag.List, len(units))
	syntax.InParallel(len(units), func(i int) {
		units[i].Batches(func(docs []*syntax.Document) { found[i] = append(found[i], c.documents(docs)...) })
	})
	var ds diag.List
	for _, l := range found {
		ds = append(ds, l...)
	}
	if len(c.kinds[gatewayKind]) > 0 {
		ds = append(ds, c.objects([]*object{gatewayOf(c.model)})...)
	}
	return c.givenUp(ds).Sort()
}

// check is one run of Check.
type check struct {
	*Rules
	options        Options
	model          *model
	wrong          errorPlaces
	reader         *schema.Reader
	kinds          map[string][]*rule
	linked, config bool // some rule speaks of them

	mu      sync.Mutex
	engines []*engine // that nobody uses

	ticks   []atomic.Int64 // by rule: how often it was seen at work
	answers []answers      // by rule

	late   []atomic.Bool // by rule: given up
	failed []atomic.Bool // by rule: CUE cannot evaluate it
}

// configs reads the configurations of PolicyBindings, which may be linked to objects of any file.
func (c *check) configs(units []syntax.Unit) {
	files := c.model.documents()
	units = slices.DeleteFunc(slices.Clone(units), func(u syntax.Unit) bool {
		return !slices.ContainsFunc(u.Files, func(f source.File) bool { return files[f.Name] })
	})
	syntax.InParallel(len(units), func(i int) {
		units[i].Batches(func(docs []*syntax.Document) { c.reader.Declarations(docs, c.model.remember) })
	})
}

// few is how many objects one goroutine asks about at a time.
const few = 64

// documents asks about all objects of some documents.
func (c *check) documents(docs []*syntax.Document) diag.List {
	parts := make([]diag.List, (len(docs)+few-1)/few)
	syntax.InParallel(len(parts), func(i int) {
		var objects []*object
		var own map[diag.Object]config
		c.reader.Declarations(docs[i*few:min((i+1)*few, len(docs))], func(d *schema.Declaration) {
			if d.Broken {
				return
			}
			if d.ID.Kind == "ApiInstance" && len(c.kinds[gatewayKind]) > 0 {
				c.model.mu.Lock()
				c.model.labels[d.ID] = d.Root.Get("metadata").Get("labels")
				c.model.mu.Unlock()
			}
			if len(c.kinds[d.ID.Kind]) == 0 {
				return
			}
			if own = nil; c.config {
				own = inline(d)
			}
			objects = append(objects, objectOf(d, c.model, c.linked, own))
		})
		parts[i] = c.objects(objects)
	})
	return slices.Concat(parts...)
}

// many is how many questions an engine answers before it is thrown away.
const many = 5000

func (c *check) take() *engine {
	c.mu.Lock()
	defer c.mu.Unlock()
	if n := len(c.engines); n > 0 {
		e := c.engines[n-1]
		c.engines = c.engines[:n-1]
		return e
	}
	return nil
}

func (c *check) giveBack(e *engine) {
	if e.asked < many {
		c.mu.Lock()
		c.engines = append(c.engines, e)
		c.mu.Unlock()
	}
}

// objects asks about objects, and gives up rules that take too long: the evaluation is left behind, and the objects are asked
// about again without that rule.
func (c *check) objects(objects []*object) diag.List {
	if len(objects) == 0 {
		return nil
	}
	ticks, stop := c.options.Budget.start()
	defer stop()
	for {
		var at atomic.Int64 // the rule at work, counted from 1
		done := make(chan diag.List, 1)
		go func() { done <- c.run(objects, &at) }()
		for waiting := true; waiting; {
			select {
			case ds := <-done:
				return ds
			case <-ticks:
				i := at.Load() - 1
				if i >= 0 && c.ticks[i].Add(1) >= int64(c.options.Budget.Ticks) {
					c.late[i].Store(true)
					waiting = false
				}
			}
		}
	}
}

// run asks every rule about objects; at says which one is at work.
func (c *check) run(objects []*object, at *atomic.Int64) (ds diag.List) {
	e := c.take()
	if e == nil {
		e = newEngine(c.Rules)
	}
	for _, o := range objects {
		for _, r := range c.kinds[o.kind] {
			if c.late[r.index].Load() || c.failed[r.index].Load() {
				continue
			}
			at.Store(int64(r.index) + 1)
			found, whole := c.one(e, r, o)
			if ds = append(ds, found...); !whole {
				e = newEngine(c.Rules) // what a panic left of the other one nobody knows
			}
		}
		at.Store(0)
	}
	c.giveBack(e)
	return ds
}

// one asks one rule. The CUE library panics on some values: whole is false then, and the engine is not to be used again.
func (c *check) one(e *engine, r *rule, o *object) (ds diag.List, whole bool) {
	defer func() {
		if recover() != nil {
			c.failed[r.index].Store(true)
			ds, whole = nil, false
		}
	}()
	n := r.spine.cut(o.root)
	key := o.key(n)
	found, known := c.answers[r.index].get(key)
	if !known {
		found = e.ask(r, o, n)
		c.answers[r.index].put(key, found)
	}
	return e.diagnostics(r, o, found, c.wrong, c.options.Partial), true
}

// answers are what a rule found, by what of the object it looked at.
type answers struct {
	mu    sync.Mutex
	known map[string][]finding
	size  int // of all keys
}

// most is how many bytes the keys of the answers of one rule may have together.
const most = 4 << 20

func (a *answers) get(key string) ([]finding, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	found, ok := a.known[key]
	return found, ok
}

func (a *answers) put(key string, found []finding) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.size += len(key); a.size > most {
		a.known, a.size = nil, len(key)
	}
	if a.known == nil {
		a.known = map[string][]finding{}
	}
	a.known[key] = found
}

// givenUp takes out what rules without a verdict found, which depends on luck, and reports those rules.
func (c *check) givenUp(ds diag.List) diag.List {
	var out diag.List
	gone := map[diag.Code]bool{}
	for _, r := range c.rules {
		switch {
		case c.late[r.index].Load():
			gone[r.Code] = true
			out = append(out, diag.Diagnostic{Severity: diag.Error, Code: "project/slow-rule", Subject: r.At,
				Summary: fmt.Sprintf("rule %q is given up after %s: nobody knows whether it is met", r.Code, c.options.Budget.Words),
				Hint:    "look for a comprehension over very many values, or compare fewer objects with where"})
		case c.failed[r.index].Load():
			gone[r.Code] = true
			out = append(out, bad(r.At, fmt.Sprintf("rule %q makes the CUE evaluator fail", r.Code), "simplify it, and tell us about it"))
		}
	}
	for _, d := range ds {
		if !gone[d.Code] {
			out = append(out, d)
		}
	}
	return out
}
