package render

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"path"
	"strings"

	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/ir"
)

// Proofs are elements of models that were judged before, by other processes perhaps, and of which there was nothing to say. They
// hold for one build of this program and for one environment.
type Proofs interface {
	// Content is the hash of a file that declares something.
	Content(file string) (Hash, bool)
	// Known is what Keep was told with a fingerprint.
	Known(fingerprint Hash) (note uint64, ok bool)
	// Keep takes in what was judged. It is called by several goroutines.
	Keep(fingerprint Hash, note uint64)
}

// fingerprint gathers everything that an element is made of: what is declared goes in by the contents of the files that declare
// it, and what linking has made of that by what is said of it here.
type fingerprint struct {
	proofs Proofs
	b      []byte
	void   bool   // the element depends on more
	file   string // whose content went in last
}

func (f *fingerprint) text(parts ...string) {
	for _, s := range parts {
		f.b = binary.AppendUvarint(f.b, uint64(len(s)))
		f.b = append(f.b, s...)
	}
}

func (f *fingerprint) number(list ...int) {
	for _, n := range list {
		f.b = binary.AppendVarint(f.b, int64(n))
	}
}

func (f *fingerprint) flag(list ...bool) {
	for _, x := range list {
		if x {
			f.b = append(f.b, 1)
		} else {
			f.b = append(f.b, 0)
		}
	}
}

// origin is the content of the file that an element is declared in (a mark, if it is the one that went in last), its place
// there, and its name, which parts those that stand inline at one place. What CUE declares depends on a package, and more.
func (f *fingerprint) origin(o ir.Origin) {
	name := o.Range.File
	f.void = f.void || name == ""
	f.flag(name == f.file)
	if name != f.file {
		h, ok := f.proofs.Content(name)
		f.void = f.void || !ok || strings.EqualFold(path.Ext(name), ".cue")
		f.b, f.file = append(f.b, h[:]...), name
	}
	f.text(o.Object.Name)
	f.number(int(o.Range.Start.Offset))
}

// bindings are policies. What an Extension defines depends on that one too.
func (f *fingerprint) bindings(list []*ir.Binding) {
	f.number(len(list))
	for _, b := range list {
		f.void = f.void || b.More().Type != nil
		f.origin(b.Origin)
		f.text(b.Policy)
		f.text(b.Unresolved()...)
		f.number(len(b.Unresolved()), b.Order, len(b.Rules), int(b.Guard), int(b.PolicyAt().Start.Offset))
		f.flag(b.Automated, b.Unenforced, b.Made == nil, b.More().Drafted == nil)
	}
}

func (f *fingerprint) upstream(u *ir.Upstream) {
	f.origin(u.Origin)
	f.text(u.Name, u.Scheme, u.Host)
	f.number(int(u.Port), int(u.Address.Start.Offset))
	f.bindings(u.Bindings)
}

func (f *fingerprint) api(a *ir.API) {
	f.origin(a.Origin)
	f.text(a.BasePath)
	f.flag(a.Gaps)
	f.bindings(a.Bindings)
	f.number(len(a.Routes))
	for _, x := range a.Routes {
		f.origin(x.Origin)
		f.text(x.Name)
		f.number(x.Order, len(x.Rules), len(x.To))
		for _, s := range x.To {
			f.origin(s.Origin)
			f.text(s.Prefix)
			f.number(int(s.Weight))
			f.flag(s.Upstream != nil)
			if s.Upstream != nil {
				f.upstream(s.Upstream)
			}
		}
	}
}

// inCommon is a hash of what all elements of a model depend on.
func inCommon(g *ir.Gateway, o Options) string {
	s := *g.Settings
	s.Origins = nil
	sum := sha256.Sum256(fmt.Appendf(nil, "%+v %q", s, []string{o.Files, o.SystemCA, o.UsageLog}))
	return string(sum[:])
}

func (r *renderer) fingerprint(kind, name string) *fingerprint {
	f, _ := r.prints.Get().(*fingerprint)
	if f == nil {
		f = &fingerprint{b: make([]byte, 0, 1024)}
	}
	*f = fingerprint{proofs: r.opts.Proofs, b: f.b[:0], void: r.opts.Got != nil}
	f.text(kind, name, r.common)
	return f
}

// sum ends the use of a fingerprint; void: it stands for nothing.
func (r *renderer) sum(f *fingerprint) (sum Hash, void bool) {
	defer r.prints.Put(f)
	return sha256.Sum256(f.b), f.void
}

// judgeScope is scope, unless the very same one was judged before.
func (r *renderer) judgeScope(j *scopeJob) (*bundle, diag.List) {
	if r.opts.Proofs == nil || !r.opts.Judge {
		return r.scope(j)
	}
	f := r.fingerprint("scope", j.name)
	f.text(j.key...)
	for _, a := range j.apis {
		f.void = f.void || a.Settings != r.gateway.Settings
		f.api(a)
	}
	sum, void := r.sum(f)
	if !void {
		if slots, ok := r.opts.Proofs.Known(sum); ok {
			return &bundle{slots: int(slots), resource: &Resource{Key: Key{ScopeType, j.name}}}, nil
		}
	}
	b, l := r.scope(j)
	if b != nil && len(l) == 0 && len(b.resources) == 0 && !void {
		r.opts.Proofs.Keep(sum, uint64(b.slots))
	}
	return b, l
}

// judgeCluster is cluster, unless the very same one was judged before.
func (r *renderer) judgeCluster(name string, ups []*ir.Upstream) (*bundle, diag.List) {
	if r.opts.Proofs == nil || !r.opts.Judge {
		return r.cluster(name, ups)
	}
	f := r.fingerprint("cluster", name)
	for _, u := range ups {
		f.void = f.void || u.Settings != r.gateway.Settings
		f.upstream(u)
	}
	sum, void := r.sum(f)
	if !void {
		if _, ok := r.opts.Proofs.Known(sum); ok {
			return &bundle{resource: &Resource{Key: Key{ClusterType, name}}}, nil
		}
	}
	b, l := r.cluster(name, ups)
	if b != nil && len(l) == 0 && len(b.resources) == 0 && !void {
		r.opts.Proofs.Keep(sum, 0)
	}
	return b, l
}
