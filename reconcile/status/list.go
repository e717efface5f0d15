package status

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"slices"
)

// Lister makes objects as they are asked for, sorted; with unsettled those alone of which a condition is not True. What it
// yields is good until the next. Those of ten thousand APIs would take more memory than the rest of the daemon.
type Lister func(unsettled bool) iter.Seq[*Object]

// Listed is the Lister of objects that are at hand.
func Listed(objects []Object) Lister {
	return func(unsettled bool) iter.Seq[*Object] {
		return func(yield func(*Object) bool) {
			for i := range objects {
				if o := &objects[i]; (!unsettled || !o.settled()) && !yield(o) {
					return
				}
			}
		}
	}
}

// settled says whether every condition is True.
func (o *Object) settled() bool {
	return !slices.ContainsFunc(o.Conditions, func(c Condition) bool { return c.Status != True })
}

// collected are the objects of a list, each with conditions of its own.
func collected(list iter.Seq[*Object]) []Object {
	var all []Object
	for o := range list {
		own := *o
		own.Conditions = slices.Clone(o.Conditions)
		all = append(all, own)
	}
	return all
}

// WriteJSON writes an answer that has objects, a list that is empty in v: those that list yields stand in its place. The text is
// as json.MarshalIndent makes it, and a line break.
func WriteJSON(w io.Writer, v any, list iter.Seq[*Object]) error {
	frame, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	const field = "\n  \"objects\": ["
	head, tail, ok := bytes.Cut(frame, []byte(field+"]")) // nothing that stands deeper is indented so little
	if !ok {
		return fmt.Errorf("%T has no empty list of objects", v)
	}
	var b bytes.Buffer
	b.Write(head)
	b.WriteString(field)
	out := json.NewEncoder(&b)
	out.SetIndent("    ", "  ")
	some := false
	for o := range list {
		if some {
			b.WriteByte(',')
		}
		some = true
		b.WriteString("\n    ")
		if o.Conditions == nil {
			own := *o
			own.Conditions = []Condition{}
			o = &own
		}
		if err := out.Encode(o); err != nil {
			return err
		}
		b.Truncate(b.Len() - 1) // the line break
		if b.Len() >= 32<<10 {
			if _, err := b.WriteTo(w); err != nil {
				return err
			}
		}
	}
	if some {
		b.WriteString("\n  ")
	}
	b.WriteByte(']')
	b.Write(tail)
	b.WriteByte('\n')
	_, err = b.WriteTo(w)
	return err
}
