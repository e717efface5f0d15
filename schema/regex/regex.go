// Package regex reads regular expressions as RE2 does, and compares what they match, as whole values.
//
// It compiles nothing for matching and knows no rule of a gateway: it says whether one expression takes all that another
// does, or whether some value fits both.
package regex

import (
	"encoding/binary"
	"regexp/syntax"
	"slices"
	"strings"
)

// The limits beyond which an answer is not worth its cost: then nothing is claimed.
const (
	maxInstructions = 2_000
	maxWork         = 200_000 // instructions looked at, some ten milliseconds
)

// Covers reports whether b matches something, and a matches all of it. first is what values start with ("/" for paths, "" for
// anything). False also when it would take too long to find out, or an expression is none.
func Covers(a, b, first string) bool {
	if apart(a, b) {
		return false
	}
	some := false
	found, ok := search(a, b, first, func(inA, inB bool) bool {
		some = some || inB
		return inB && !inA
	})
	return ok && some && !found
}

// Overlap reports whether some value that starts with first is matched by both. known is false when it would take too long to
// find out, or an expression is none.
func Overlap(a, b, first string) (overlap, known bool) {
	if apart(a, b) {
		return false, true
	}
	return search(a, b, first, func(inA, inB bool) bool { return inA && inB })
}

// apart reports whether the plain characters that two expressions start with show that no value fits both.
func apart(a, b string) bool {
	p, q := plainPrefix(a), plainPrefix(b)
	return !strings.HasPrefix(p, q) && !strings.HasPrefix(q, p)
}

// plainPrefix is text that every value of an expression starts with; it may be shorter than the longest such text.
func plainPrefix(s string) string {
	s = strings.TrimPrefix(s, "^")
	if strings.Contains(s, "|") {
		return ""
	}
	i := strings.IndexAny(s, `\.+*?()[]{}^$`)
	if i < 0 {
		return s
	}
	if i > 0 && strings.IndexByte("*?{", s[i]) >= 0 {
		i--
	}
	return s[:i]
}

// search walks through all values at once and looks for one of which wanted holds, given which expressions match it.
func search(a, b, first string, wanted func(inA, inB bool) bool) (found, ok bool) {
	x, okA := newMachine(a)
	y, okB := newMachine(b)
	if !okA || !okB {
		return false, false
	}
	p := &product{x: x, y: y, seen: map[string]bool{}}
	p.classes = classes(x, y)
	sx, sy := x.start(), y.start()
	begin := true
	for _, c := range []byte(first) {
		sx, sy, begin = x.step(x.closure(sx, begin, false), rune(c)), y.step(y.closure(sy, begin, false), rune(c)), false
	}
	p.push(sx, sy, begin)
	for len(p.todo) > 0 {
		if x.work+y.work > maxWork {
			return false, false
		}
		s := p.todo[len(p.todo)-1]
		p.todo = p.todo[:len(p.todo)-1]
		if wanted(x.accepts(s.x, s.begin), y.accepts(s.y, s.begin)) {
			return true, true
		}
		rx, ry := x.closure(s.x, s.begin, false), y.closure(s.y, s.begin, false)
		for _, c := range p.classes {
			p.push(x.step(rx, c), y.step(ry, c), false)
		}
	}
	return false, true
}

type pair struct {
	x, y  []uint32
	begin bool
}

type product struct {
	x, y    *machine
	classes []rune
	seen    map[string]bool
	todo    []pair
}

func (p *product) push(x, y []uint32, begin bool) {
	if len(x)+len(y) == 0 {
		return
	}
	key := make([]byte, 0, 4*(len(x)+len(y))+2)
	for _, s := range x {
		key = binary.LittleEndian.AppendUint32(key, s)
	}
	key = append(key, '/')
	for _, s := range y {
		key = binary.LittleEndian.AppendUint32(key, s)
	}
	if begin {
		key = append(key, '^')
	}
	if !p.seen[string(key)] {
		p.seen[string(key)] = true
		p.todo = append(p.todo, pair{x, y, begin})
	}
}

// machine is a compiled expression; states are sets of its instructions.
type machine struct {
	prog *syntax.Prog
	work int // instructions looked at so far
}

func newMachine(text string) (*machine, bool) {
	re, err := Parse(text)
	if err != nil {
		return nil, false
	}
	prog, err := syntax.Compile(re.Simplify())
	if err != nil || len(prog.Inst) > maxInstructions {
		return nil, false
	}
	for i := range prog.Inst {
		in := &prog.Inst[i]
		if in.Op == syntax.InstEmptyWidth && syntax.EmptyOp(in.Arg)&(syntax.EmptyWordBoundary|syntax.EmptyNoWordBoundary) != 0 {
			return nil, false
		}
	}
	return &machine{prog: prog}, true
}

func (m *machine) start() []uint32 { return []uint32{uint32(m.prog.Start)} }

// closure is the instructions that read a character, or end the match, and can be reached without one.
func (m *machine) closure(from []uint32, begin, end bool) []uint32 {
	var out []uint32
	seen := make(map[uint32]bool, 2*len(from))
	todo := slices.Clone(from)
	for len(todo) > 0 {
		pc := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if seen[pc] {
			continue
		}
		seen[pc] = true
		m.work++
		switch in := &m.prog.Inst[pc]; in.Op {
		case syntax.InstAlt, syntax.InstAltMatch:
			todo = append(todo, in.Out, in.Arg)
		case syntax.InstCapture, syntax.InstNop:
			todo = append(todo, in.Out)
		case syntax.InstEmptyWidth:
			op := syntax.EmptyOp(in.Arg)
			if op&(syntax.EmptyBeginText|syntax.EmptyBeginLine) != 0 && !begin || op&(syntax.EmptyEndText|syntax.EmptyEndLine) != 0 && !end {
				continue
			}
			todo = append(todo, in.Out)
		case syntax.InstFail:
		default:
			out = append(out, pc)
		}
	}
	slices.Sort(out)
	return out
}

func (m *machine) accepts(state []uint32, begin bool) bool {
	return slices.ContainsFunc(m.closure(state, begin, true), func(pc uint32) bool { return m.prog.Inst[pc].Op == syntax.InstMatch })
}

// step is where one character leads from a closure.
func (m *machine) step(ready []uint32, c rune) []uint32 {
	var out []uint32
	m.work += len(ready)
	for _, pc := range ready {
		if in := &m.prog.Inst[pc]; in.Op != syntax.InstMatch && in.MatchRune(c) {
			out = append(out, in.Out)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// classes are one character each of those that both machines treat alike. Values are of visible ASCII characters, as paths,
// hosts and methods are; a header value with others is judged by its ASCII ones.
func classes(ms ...*machine) []rune {
	var out []rune
	seen := map[string]bool{}
	for c := rune(0x20); c < 0x7f; c++ {
		var sign []byte
		for _, m := range ms {
			for i := range m.prog.Inst {
				switch in := &m.prog.Inst[i]; in.Op {
				case syntax.InstRune, syntax.InstRune1, syntax.InstRuneAny, syntax.InstRuneAnyNotNL:
					if in.MatchRune(c) {
						sign = append(sign, 1)
					} else {
						sign = append(sign, 0)
					}
				}
			}
		}
		if !seen[string(sign)] {
			seen[string(sign)] = true
			out = append(out, c)
		}
	}
	return out
}
