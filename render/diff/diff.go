// Package diff says what a change does: it compares two gateways by their models and by what Envoy gets from them.
//
// It reads no text and writes none: sides come in as values, and what it found goes out as one. What a change of a policy's
// configuration means is the policy type's to say.
package diff

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/flexgw/flexgw/render"
	"github.com/flexgw/flexgw/render/policy"
	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/ir"
	"github.com/flexgw/flexgw/schema/source"
)

// Side is one of the two that are compared. Its model is without an error.
type Side struct {
	Gateway   *ir.Gateway
	Resources *render.Resources
	Files     []File // sorted by name
	// Documents are what some files declare (schema.Documents).
	Documents func(wanted func(file string) bool) []ir.Document
}

// File is one file of a Side.
type File struct {
	Name string // as in the ranges of the model
	Path string // below the root of its side: what the other side's file is found by
	Hash source.Hash
}

// Class says what a change matters to.
type Class uint8

// The classes, mildest first. A Cosmetic change leaves every byte that Envoy gets as it is.
const (
	Cosmetic Class = iota
	Traffic
	Security
)

func (c Class) String() string { return [...]string{"cosmetic", "traffic", "security"}[c] }

// MarshalText writes the same word as String.
func (c Class) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// Way says which way a Security change goes: more gets through, or less. "" is neither, or not known.
type Way string

// The ways.
const (
	Looser  Way = "looser"
	Tighter Way = "tighter"
)

// Place is where a change stands: in the new files, or in the old ones when it is about what is gone.
type Place struct {
	Old bool
	diag.Range
}

// Change is one thing that is different.
type Change struct {
	Class   Class
	Way     Way
	Kind    Kind
	Object  diag.Object   // that was changed; zero: a port, a file
	Affects []diag.Object // the ApiInstances, or Services, that it is felt in, sorted; none: Object alone
	Summary string        // what is different: one line, lower case, no full stop
	Reason  string        // why it is in its class: one line
	Fields  []Field
	Place   Place

	about []diag.Object // whose resources it shows in; none: nothing is known of those
	files []string      // names of files that it explains, of both sides
	cause []diag.Object // bindings whose other rules, said with it, are all there is to say of them
	keep  bool          // counts although no resource shows it: what Envoy gets is not known here
}

// Field is one value that is different. Values are JSON, a $VARIABLE, or a list of words; long ones are cut. "" is absent.
type Field struct {
	Path     string // "rateLimits[0].maximumRequests"
	Old, New string
	Secret   bool // both are hidden; they differ
	Place    Place
}

// Report is all that is different, most important first.
type Report struct {
	Changes []Change
	Ports   []Port // of which something changes, sorted
	// Unset are the $VARIABLEs that are not set here: what Envoy gets from policies that need them is not known, so it is not
	// compared. None when nothing is different.
	Unset []string
	// Added, Changed and Removed are the names of what Envoy gets otherwise than before: "Cluster http:orders:80".
	Added, Changed, Removed []string
}

// Count is how many changes are of a class.
func (r *Report) Count(c Class) int {
	n := 0
	for i := range r.Changes {
		if r.Changes[i].Class == c {
			n++
		}
	}
	return n
}

// Worst is the class of the most important change; ok is false when there is none.
func (r *Report) Worst() (worst Class, ok bool) {
	for i := range r.Changes {
		worst, ok = max(worst, r.Changes[i].Class), true
	}
	return worst, ok
}

// comparison is one run of Compare.
type comparison struct {
	old, now Side
	types    render.Types
	changes  []Change

	pairs          []pair // APIs that are on both sides
	added, removed []placed
	files          files
	docs           documents
	bound          [2]map[diag.Object]bool // bindings that a side has
	shown          map[diag.Object]bool    // whose resources are different
}

// Compare says what is different.
func Compare(old, now Side, types render.Types) *Report {
	c := &comparison{old: old, now: now, types: types}
	c.files = pairFiles(old.Files, now.Files)
	c.docs = readDocuments(old, now, c.files)
	c.bound = [2]map[diag.Object]bool{boundIn(old.Gateway), boundIn(now.Gateway)}
	c.match()
	c.ports()
	c.apis()
	c.routes()
	c.bindings()
	c.services()
	c.settings()
	c.echoes()
	c.foldRules()
	r := &Report{}
	c.resources(r)
	c.cosmetics()
	slices.SortStableFunc(c.changes, func(a, b Change) int {
		return cmp.Or(cmp.Compare(b.Class, a.Class), cmp.Compare(rank(a.Way), rank(b.Way)), cmp.Compare(kindRank(a.Kind), kindRank(b.Kind)),
			a.Place.Compare(b.Place.Range), strings.Compare(a.Summary, b.Summary))
	})
	if r.Changes = c.changes; len(r.Changes) > 0 {
		r.Unset = append(unset(old.Gateway), unset(now.Gateway)...)
		slices.Sort(r.Unset)
		r.Unset = slices.Compact(r.Unset)
	}
	return r
}

// unset are the variables that hide something of a side.
func unset(g *ir.Gateway) []string {
	var names []string
	for _, b := range g.Bindings() {
		names = append(names, b.Unresolved()...)
	}
	return names
}

func rank(w Way) int { return slices.Index([]Way{Looser, "", Tighter}, w) }

func (c *comparison) add(x Change) {
	slices.SortFunc(x.Affects, compareObjects)
	x.Affects = slices.Compact(x.Affects)
	for _, f := range x.Fields {
		if f.Place.File != "" {
			x.files = append(x.files, f.Place.File)
		}
	}
	if x.Place.File != "" {
		x.files = append(x.files, x.Place.File)
	}
	c.changes = append(c.changes, x)
}

func compareObjects(a, b diag.Object) int {
	return cmp.Or(strings.Compare(a.Namespace, b.Namespace), strings.Compare(a.Name, b.Name), strings.Compare(a.Kind, b.Kind), strings.Compare(a.Group, b.Group))
}

// placed is an API on its port.
type placed struct {
	listener *ir.Listener
	api      *ir.API
}

func (p placed) object() diag.Object { return p.api.Origin.Object }

func (p placed) name() string { return p.object().Namespace + "/" + p.object().Name }

// address is where clients find it.
func (p placed) address() string {
	scheme := "http"
	if p.listener.TLS != nil {
		scheme = "https"
	}
	return fmt.Sprintf("%s://%s%s", scheme, p.listener.Addr, cmp.Or(p.api.BasePath, "/"))
}

// pair is one API on both sides.
type pair struct{ old, now placed }

func list(g *ir.Gateway) []placed {
	var all []placed
	for _, l := range g.Listeners {
		for _, a := range l.APIs {
			all = append(all, placed{l, a})
		}
	}
	slices.SortFunc(all, func(a, b placed) int { return compareObjects(a.object(), b.object()) })
	return all
}

// match finds the APIs that are on both sides: by their names, and what is left by where clients find them.
func (c *comparison) match() {
	was := map[diag.Object]placed{}
	for _, p := range list(c.old.Gateway) {
		was[p.object()] = p
	}
	for _, p := range list(c.now.Gateway) {
		if o, ok := was[p.object()]; ok {
			c.pairs = append(c.pairs, pair{o, p})
			delete(was, p.object())
		} else {
			c.added = append(c.added, p)
		}
	}
	at := map[string]placed{}
	for _, p := range was {
		at[where(p)] = p
	}
	c.added = slices.DeleteFunc(c.added, func(p placed) bool {
		o, ok := at[where(p)]
		if ok {
			c.pairs = append(c.pairs, pair{o, p})
			delete(was, o.object())
		}
		return ok
	})
	for _, p := range was {
		c.removed = append(c.removed, p)
	}
	slices.SortFunc(c.removed, func(a, b placed) int { return compareObjects(a.object(), b.object()) })
}

func where(p placed) string { return fmt.Sprintf("%d%s", p.listener.Addr.Port(), p.api.BasePath) }

// way is the one way that all shifts go, or none.
func way(shifts []policy.Shift) Way {
	looser := slices.ContainsFunc(shifts, func(s policy.Shift) bool { return s.Way == policy.Looser })
	tighter := slices.ContainsFunc(shifts, func(s policy.Shift) bool { return s.Way == policy.Tighter })
	switch {
	case looser: // what also gets tighter elsewhere does not make it good
		return Looser
	case tighter && !slices.ContainsFunc(shifts, func(s policy.Shift) bool { return s.Way == policy.Other }):
		return Tighter
	}
	return ""
}

func summaries(shifts []policy.Shift) string {
	var l []string
	for _, s := range shifts {
		if !slices.Contains(l, s.Summary) {
			l = append(l, s.Summary)
		}
	}
	return strings.Join(l, "; ")
}
