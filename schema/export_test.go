package schema

import (
	"fmt"
	"reflect"

	"github.com/flexgw/flexgw/schema/source"
	"github.com/flexgw/flexgw/schema/syntax"
)

// Replayed decodes a file, writes its tape, and reads that. It returns the tape, or none, and what differs.
func Replayed(f source.File, o Options) (tape []byte, differs string) {
	units, _ := syntax.Units(source.NewSet([]source.File{f}))
	if len(units) != 1 || isCUE(units[0]) {
		return nil, ""
	}
	b, err := f.Bytes()
	if err != nil {
		return nil, ""
	}
	d := &decoder{o: o, patterns: &patterns{}}
	want := d.parsed(units[0])
	if want.others != noOthers || want.ds.HasErrors() {
		return nil, ""
	}
	write := func(r *unitResult) (tape []byte) {
		d.taped(f.Name, b, r, func(t []byte) { tape = append([]byte{}, t...) })
		return tape
	}
	if tape = write(want); tape == nil {
		return nil, ""
	}
	got := d.played(units[0], b, tape)
	if got == nil {
		return tape, "the tape cannot be read"
	}
	if string(write(got)) != string(tape) {
		return tape, "the tape of what was read from it is another one"
	}
	got.ds, got.trees = want.ds, want.trees
	each := func(r *unitResult, f func(*bindingDecl)) {
		for _, b := range r.bindings {
			f(b)
		}
		for _, a := range r.apis {
			for _, b := range a.policies {
				f(b)
			}
		}
	}
	each(got, func(b *bindingDecl) {
		if b.ir != nil {
			b.ir.Made = b.ir.Config()
			if b.ir.Rare != nil {
				b.ir.Rare.Drafted = b.ir.Draft()
			}
		}
	})
	if !reflect.DeepEqual(got, want) {
		return tape, fmt.Sprintf("%s\nwant\n%s", shown(got), shown(want))
	}
	return tape, ""
}

func shown(r *unitResult) (out string) {
	for _, a := range r.apis {
		out += fmt.Sprintf("api %+v\n", *a)
		for _, s := range a.services {
			out += fmt.Sprintf("  service %+v\n", *s)
		}
		for _, s := range a.routes {
			out += fmt.Sprintf("  route %+v\n", *s)
		}
		for _, b := range a.policies {
			out += fmt.Sprintf("  policy %+v %+v\n", *b, b.ir)
		}
	}
	for _, s := range r.services {
		out += fmt.Sprintf("service %+v\n", *s)
	}
	for _, b := range r.bindings {
		out += fmt.Sprintf("binding %+v %+v %+v %+v\n", *b, b.details, b.ir, b.route)
	}
	return out
}

// Play reports whether bytes are a tape of a file.
func Play(f source.File, o Options, tape []byte) bool {
	units, _ := syntax.Units(source.NewSet([]source.File{f}))
	b, err := f.Bytes()
	d := &decoder{o: o, patterns: &patterns{}}
	return err == nil && d.played(units[0], b, append([]byte{}, tape...)) != nil
}
