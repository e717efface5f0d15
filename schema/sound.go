package schema

import (
	"sync"

	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/ir"
	"github.com/flexgw/flexgw/schema/source"
	"github.com/flexgw/flexgw/schema/syntax"
)

// Sound are files without errors that were decoded before, by other processes perhaps. Such a file need not be decoded again. They hold
// for one build of this program, for one environment and for the same Options.
type Sound interface {
	// Known is what Keep was told of a file, by its name and hash. It is asked when the file has been read.
	Known(f source.File) (tape []byte, said diag.List, ok bool)
	// Keep takes in a file that is sound, what became of it (places in it, and the names of objects, but no other text), and what there
	// was to say of it. The tape is the caller's again afterwards. It is called by several goroutines.
	Keep(f source.File, tape []byte, said diag.List)
}

// unit decodes a unit, unless it is known what becomes of it.
func (d *decoder) unit(u syntax.Unit) *unitResult {
	if d.o.Sound == nil || d.keep != nil || isCUE(u) {
		return d.parsed(u)
	}
	f := u.Files[0]
	b, err := f.Bytes()
	if err != nil {
		return d.parsed(u)
	}
	f.Bytes = func() ([]byte, error) { return b, nil }
	u.Files = []source.File{f}
	if tape, said, ok := d.o.Sound.Known(f); ok {
		if r := d.played(u, b, tape); r != nil {
			r.ds = said
			return r
		}
	}
	r := d.parsed(u)
	if r.others == noOthers && !r.ds.HasErrors() {
		d.taped(f.Name, b, r, func(tape []byte) { d.o.Sound.Keep(f, tape, r.ds) })
	}
	return r
}

// late makes the configurations of the policies in a file that is known to be sound. Few are asked for: of what is touched.
type late struct {
	d    *decoder
	unit syntax.Unit // with its content at hand
	once sync.Once
	made *unitResult
}

// Make is of ir.Later.
func (l *late) Make(b *ir.Binding) any {
	l.once.Do(func() { l.made = l.d.parsed(l.unit) })
	find := func(list []*bindingDecl) *ir.Binding {
		for _, x := range list {
			if x.ir != nil && x.ir.Origin.Object == b.Origin.Object && x.ir.Origin.Range == b.Origin.Range {
				return x.ir
			}
		}
		return nil
	}
	x := find(l.made.bindings)
	for _, a := range l.made.apis {
		if x == nil {
			x = find(a.policies)
		}
	}
	switch {
	case x == nil:
		return nil
	case x.Made != nil:
		return x.Made
	}
	return x.More().Drafted
}
