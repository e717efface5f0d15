// Package schema decides whether declarations are right and links them into the model.
//
// It never learns that Envoy exists: policies are known to it through Catalog alone. All stages are pure functions; the
// environment comes in as a function, and whatever is kept between calls sits in a Memo that the caller owns.
package schema

import (
	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/ir"
	"github.com/flexgw/flexgw/schema/sops"
	"github.com/flexgw/flexgw/schema/source"
	"github.com/flexgw/flexgw/schema/syntax"
)

// Catalog is all that schema knows of policies.
type Catalog interface {
	Lookup(name string) (PolicyType, bool)
	Names() []string // sorted; for "did you mean"
	// Known says why a policy that the product has is not in the catalogue: not in Local Mode, not here yet.
	Known(name string) (reason string, ok bool)
	// Custom makes the type of a policy that Extension documents define; nil: it cannot be run.
	Custom(d *Definition) (PolicyType, diag.List)
}

// PolicyType is one policy.
type PolicyType interface {
	Name() string
	ConfigSchema() []byte // JSON Schema of the configuration
	Targets() ir.Target
	Place() ir.Place
	Guard(config any) ir.Guard // of a configuration that Decode made; nil: it is not known
	Shares(config any) bool    // it asks for counts or contents that all replicas have in common
	// Validity names the certificates in a configuration that Decode made of cfg.
	Validity(config any, cfg *syntax.Node) []ir.Validity
	Since() string  // the release of the product that has it first, "1.12.0"
	Enforced() bool // false: bindings are judged, and nothing can be made of them yet
	// Decode makes the typed configuration. cfg is a mapping (empty when none was declared) whose shape holds.
	Decode(cfg *syntax.Node) (any, diag.List)
}

// Options are the parameters of Load.
type Options struct {
	Policies Catalog
	// Getenv is the environment: $VARIABLEs in policy configs and the product's FLEX_* settings. Nil: empty.
	Getenv func(string) (string, bool)
	// RequireEnv makes an unset $VARIABLE an error; else it is a note, and the binding that has it is Unresolved.
	RequireEnv bool
	// Keys open what SOPS encrypted. Without one that fits, encrypted values are an error when RequireEnv is set; else they are a
	// note, and treated as unset $VARIABLEs are.
	Keys *sops.Keys
	// AllowUnenforced makes a binding of a policy that is not enforced yet a warning, for those who judge declarations and
	// do not serve them; else it is an error, for an API without its guard must not be served.
	AllowUnenforced bool
	// AllowReserved makes a port that the target reserves a warning, for those who look at ports in their own way; else it is an error.
	AllowReserved bool
	// Target is the release of the product that the declarations are written for.
	Target ir.Release
	// Partial: the set is not the whole gateway, so dangling references are notes.
	Partial bool
	// Salvage returns the model in spite of errors, without what they are about: to look for more problems in the rest,
	// never to be served.
	Salvage bool
	// Consequences leaves in what List.WithoutConsequences leaves out, for those who accept diagnostics first.
	Consequences bool
	// Sound are files that need not be decoded again; nil: all are decoded.
	Sound Sound
	// Memo keeps what earlier calls made of unchanged files; nil: nothing is kept.
	Memo *Memo
}

// Load is the front half of the pipeline: parse, shape, decode, expand, link. The model is nil if there is an Error (but see
// Options.Salvage). Diagnostics are sorted by place.
func Load(set source.Set, o Options) (*ir.Gateway, diag.List) {
	m := o.Memo
	if m == nil {
		m = &Memo{}
	}
	s, ds := m.open(set, o)
	s.forgetSpares()
	g, more := s.link()
	more = s.withCauses(more)
	m.close(s)
	ds = traced(append(ds, more...).Found(set.Bytes)).Sort()
	if !o.Consequences {
		ds = ds.WithoutConsequences()
	}
	ds = WithSteps(commented(set, ds))
	sealed := s.sealed()
	ds = ds.Hiding(sealed)
	if ds.HasErrors() && !o.Salvage {
		return nil, ds
	}
	g.Revision, g.Sealed = set.Revision, sealed
	return g, ds
}

// WithBeside adds to a set what its CUE files need and nobody named (see syntax.WithBeside).
func WithBeside(set source.Set, folder func(dir string) []source.File) source.Set {
	return syntax.WithBeside(set, folder)
}

// open reads a set into what is known, which is the caller's until close.
func (m *Memo) open(set source.Set, o Options) (*state, diag.List) {
	s := m.state
	if s == nil || s.requireEnv != o.RequireEnv || s.decoder.o.Partial != o.Partial || s.unenforced != o.AllowUnenforced || s.decoder.o.AllowReserved != o.AllowReserved || s.target != o.Target || s.decoder.o.Keys != o.Keys {
		s = newState(o)
	}
	m.state = nil // whatever happens from here on, half a state is never used again
	s.decoder.o, s.once = o, m.Once
	ds := s.read(set)
	if s.once {
		s.bare = newIdentities() // all twins have met
	}
	return s, ds
}

func (m *Memo) close(s *state) {
	m.documents = 0
	for _, k := range s.order {
		m.documents += k.result.documents
	}
	if !m.Once {
		m.state = s
	}
}
