package schema

import (
	"reflect"
	"slices"

	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/ir"
	"github.com/flexgw/flexgw/schema/source"
	"github.com/flexgw/flexgw/schema/syntax"
)

// heldState is what LoadHeld keeps between calls.
type heldState struct {
	fresh  map[diag.Object]bool // objects that the good set does not have as they are; they come later than all others
	active bool                 // what is linked may be linked otherwise in a moment, and then again as it was

	former   map[string]*keptUnit // units of the good set that are not those of the set, by key
	cue      []source.File        // the CUE files of the good set
	cueUnits []syntax.Unit        // and what they are parsed as
	cuts     map[cutKey]cut
	alike    map[string]*alikeDocs // of this call
	spares   []*entry
	settings *ir.Settings // the ones before
}

// spare is how an entry was linked before, so that nothing is linked again when it comes back to that.
type spare struct {
	api *linkedAPI
	up  *linkedUpstream
}

// compare puts what stands first before what stands later. An object that the good set does not have comes after all that it has,
// wherever they stand: of two that clash, the new one is the wrong one.
func (s *state) compare(a, b *decl) int {
	if s.held != nil && s.held.fresh != nil {
		if c := later(s.isFresh(a.owner()), s.isFresh(b.owner())); c != 0 {
			return c
		}
	}
	if c := a.at().Compare(b.at()); c != 0 {
		return c
	}
	return byObject(a.owner(), b.owner())
}

func (s *state) isFresh(o diag.Object) bool { return s.held != nil && s.held.fresh[o] }

// newer are the APIs of a port, when all of them are fresh, and a Configuration that wants the port is not.
func (s *state) newer(p *port, configuration diag.Object) []*apiDecl {
	if s.held == nil || len(s.held.fresh) == 0 || s.held.fresh[configuration] {
		return nil
	}
	var out []*apiDecl
	for _, e := range p.apis {
		d := first(e.apis)
		if !s.held.fresh[d.id] {
			return nil
		}
		out = append(out, d)
	}
	return out
}

func (s *state) spareOf(e *entry) *spare {
	if e.spare == nil {
		e.spare = &spare{}
		s.held.spares = append(s.held.spares, e)
	}
	return e.spare
}

// spareAPI keeps how an API is linked, which is about to be replaced.
func (s *state) spareAPI(e *entry) {
	if s.held != nil && s.held.active && e.api != nil {
		s.spareOf(e).api = e.api
	}
}

// unspare takes back how an API was linked before, if it is to be linked from the same again.
func (s *state) unspare(e *entry, now *linkedAPI) bool {
	if e.spare == nil || e.spare.api == nil || !slices.Equal(e.spare.api.inputs, now.inputs) {
		return false
	}
	before := e.spare.api
	before.auto, before.gaps = now.auto, now.gaps
	e.spare.api = nil
	s.spareAPI(e)
	e.api = before
	set(s.talking, e, len(before.ds)+len(before.missing) > 0)
	return true
}

func (s *state) spareUpstream(e *entry, old *linkedUpstream) {
	if s.held != nil && s.held.active && old != nil && old != e.up {
		s.spareOf(e).up = old
	}
}

// forgetSpares is for those who do not come back to what was.
func (s *state) forgetSpares() {
	if s.held == nil {
		return
	}
	for _, e := range s.held.spares {
		e.spare = nil
	}
	s.held.spares, s.held.settings = nil, nil
}

// setSettings keeps the pointer while the settings are the same.
func (s *state) setSettings(now *ir.Settings) {
	if s.settings != nil && reflect.DeepEqual(s.settings, now) {
		return
	}
	before := s.settings
	if s.held != nil && s.held.active {
		if s.held.settings != nil && reflect.DeepEqual(s.held.settings, now) {
			now = s.held.settings
		}
		s.held.settings = before
	}
	s.settings, s.all = now, true
}
