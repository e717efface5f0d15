package diff

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/ir"
)

// compareDeclared finds the values that differ. Lists are compared as people edit them: what was put in or taken out is that,
// and does not make everything behind it different.
func compareDeclared(path string, was, now *ir.Declared) []Field {
	switch {
	case was.Equal(now):
		return nil
	case was == nil || now == nil || was.Kind != now.Kind || was.Kind == ir.Scalar:
		return []Field{field(path, was, now)}
	case was.Kind == ir.List:
		return compareLists(path, was, now)
	}
	var out []Field
	for _, name := range fieldNames(was, now) {
		out = append(out, compareDeclared(join(path, name), was.Get(name), now.Get(name))...)
	}
	return out
}

func fieldNames(was, now *ir.Declared) []string {
	var names []string
	for _, d := range []*ir.Declared{was, now} {
		for _, f := range d.Fields {
			names = append(names, f.Name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

func join(path, name string) string {
	if strings.ContainsAny(name, ".[]\" ") {
		return path + "[" + strconv.Quote(name) + "]"
	}
	if path == "" {
		return name
	}
	return path + "." + name
}

// maxList bounds the items of a list that are compared with each other: that costs the square of them.
const maxList = 500

func compareLists(path string, was, now *ir.Declared) []Field {
	a, b := was.Items, now.Items
	for len(a) > 0 && len(b) > 0 && a[0].Equal(b[0]) {
		a, b = a[1:], b[1:]
	}
	for len(a) > 0 && len(b) > 0 && a[len(a)-1].Equal(b[len(b)-1]) {
		a, b = a[:len(a)-1], b[:len(b)-1]
	}
	gone, fresh := a, b
	if len(a) <= maxList && len(b) <= maxList {
		gone, fresh = unaligned(a, b)
	}
	gone, fresh = slices.Clone(gone), slices.Clone(fresh)
	// An item that only stands elsewhere is said to be moved.
	moved := false
	alike := map[string][]int{} // by what is written: items of fresh, which may be equal
	for i, y := range fresh {
		alike[text(y)] = append(alike[text(y)], i)
	}
	taken := make([]bool, len(fresh))
	gone = slices.DeleteFunc(gone, func(x *ir.Declared) bool {
		same := alike[text(x)]
		for n, i := range same {
			if x.Equal(fresh[i]) {
				taken[i], moved, alike[text(x)] = true, true, slices.Delete(same, n, n+1)
				return true
			}
		}
		return false
	})
	left := fresh[:0]
	for i, y := range fresh {
		if !taken[i] {
			left = append(left, y)
		}
	}
	fresh = left
	var out []Field
	if moved {
		out = append(out, field(path, was, now)) // the whole lists show the order
	}
	// An object that has much in common with one that is gone is that one, edited.
	few := len(gone)*len(fresh) <= maxList*maxList
	gone = slices.DeleteFunc(gone, func(x *ir.Declared) bool {
		if !few {
			return false
		}
		i := mostAlike(x, fresh, len(gone) == 1 && len(fresh) == 1)
		if i < 0 {
			return false
		}
		out = append(out, compareDeclared(fmt.Sprintf("%s[%d]", path, slices.Index(now.Items, fresh[i])), x, fresh[i])...)
		fresh = slices.Delete(fresh, i, i+1)
		return true
	})
	for _, x := range gone {
		out = append(out, field(path+"[]", x, nil))
	}
	for _, x := range fresh {
		out = append(out, field(path+"[]", nil, x))
	}
	return out
}

// mostAlike finds the object that has the most values in common with x; -1: none has any. Of lone ones any is.
func mostAlike(x *ir.Declared, list []*ir.Declared, lone bool) int {
	best, most := -1, 0
	for i, y := range list {
		if x.Kind != ir.Mapping || y.Kind != ir.Mapping {
			continue
		}
		n := 0
		for _, f := range x.Fields {
			if f.Value.Equal(y.Get(f.Name)) {
				n++
			}
		}
		if n > most || lone {
			best, most = i, n
		}
	}
	return best
}

// unaligned are the items that are not in the longest sequence that both lists have in common.
func unaligned(a, b []*ir.Declared) (gone, fresh []*ir.Declared) {
	n := make([][]int, len(a)+1)
	for i := range n {
		n[i] = make([]int, len(b)+1)
	}
	for i := len(a) - 1; i >= 0; i-- {
		for j := len(b) - 1; j >= 0; j-- {
			if a[i].Equal(b[j]) {
				n[i][j] = n[i+1][j+1] + 1
			} else {
				n[i][j] = max(n[i+1][j], n[i][j+1])
			}
		}
	}
	i, j := 0, 0
	for i < len(a) && j < len(b) {
		switch {
		case a[i].Equal(b[j]):
			i, j = i+1, j+1
		case n[i+1][j] >= n[i][j+1]:
			gone, i = append(gone, a[i]), i+1
		default:
			fresh, j = append(fresh, b[j]), j+1
		}
	}
	return append(gone, a[i:]...), append(fresh, b[j:]...)
}

func field(path string, was, now *ir.Declared) Field {
	f := Field{Path: path, Old: shown(was), New: shown(now)}
	switch {
	case now != nil:
		f.Place = Place{false, now.Range}
	case was != nil:
		f.Place = Place{true, was.Range}
	}
	f.Secret = f.Old == diag.Redacted && f.New == diag.Redacted
	return f
}

// shown is a value as it is shown, on one line.
func shown(d *ir.Declared) string {
	if d == nil {
		return ""
	}
	return cut(text(d))
}

// text is a value on one line, in full. Equal values have the same.
func text(d *ir.Declared) string {
	var b strings.Builder
	write(&b, d)
	return b.String()
}

func write(b *strings.Builder, d *ir.Declared) {
	switch d.Kind {
	case ir.Mapping:
		b.WriteByte('{')
		for i, f := range d.Fields {
			if i > 0 {
				b.WriteString(", ")
			}
			b.WriteString(f.Name + ": ")
			write(b, f.Value)
		}
		b.WriteByte('}')
	case ir.List:
		b.WriteByte('[')
		for i, x := range d.Items {
			if i > 0 {
				b.WriteString(", ")
			}
			write(b, x)
		}
		b.WriteByte(']')
	default:
		b.WriteString(d.Text)
	}
}

// longest is how many characters of a value are shown.
const longest = 120

// cut shortens a long value, and marks it so that two of one beginning are not taken for the same.
func cut(s string) string {
	if utf8.RuneCountInString(s) <= longest {
		return s
	}
	sum := sha256.Sum256([]byte(s))
	return fmt.Sprintf("%s… (%d characters, sha256 %x)", string([]rune(s)[:longest/2]), utf8.RuneCountInString(s), sum[:4])
}
