package match

import (
	"encoding/binary"
	"maps"
	"regexp/syntax"
	"slices"
	"strings"
)

// Join says how the captured text of a path begins, which decides how it is joined to what stands before it.
type Join uint8

// The ways in which captured text begins.
const (
	Nothing Join = 1 << iota // no text was captured
	Slash                    // it starts with "/"
	Other                    // it starts with something else
)

// Limits of the analysis: what needs more is refused rather than guessed.
const (
	maxStates = 400
	maxBytes  = 4096 // of one expression
	maxGroups = 9    // RE2 substitutions know \1 to \9
)

// automaton runs a pattern over bytes as Envoy's RE2 would, all prefixes at once: a state is the list of threads that a
// backtracking matcher would try, in its order. So the first thread that accepts at the end of a path is the one whose
// groups a rewrite sees.
type automaton struct {
	prog    *syntax.Prog
	words   bool // \b or \B occur
	once    bool // no group is in a repetition: once a group holds text, later ones do not matter
	letters []byte
	class   [256]uint8 // byte → index in letters
	next    [][]int    // state, letter → state; -1: none
	end     []Join     // state → what the groups hold if the path ends here; 0: no match
	err     bool       // too many states
}

// thread is a place in the program and what each group holds so far.
type thread struct {
	pc     uint32
	groups groups
}

// groups has two bits for each group, the first group lowest: a begun, still empty one is open.
type groups uint32

const (
	groupNone groups = iota
	groupOpen
	groupSlash
	groupOther
)

func (g groups) at(n int) groups             { return g >> (2 * n) & 3 }
func (g groups) with(n int, v groups) groups { return g&^(3<<(2*n)) | v<<(2*n) }

// reads is g after a byte.
func (g groups) reads(b byte) groups {
	v := groupOther
	if b == '/' {
		v = groupSlash
	}
	for n := range maxGroups {
		if g.at(n) == groupOpen {
			g = g.with(n, v)
		}
	}
	return g
}

// first keeps what is known up to the first group that holds text.
func (g groups) first() groups {
	for n := range maxGroups {
		if g.at(n) >= groupSlash {
			return g & (1<<(2*n+2) - 1)
		}
	}
	return g
}

// join looks at the first group that holds text.
func (g groups) join() Join {
	for n := range maxGroups {
		switch g.at(n) {
		case groupSlash:
			return Slash
		case groupOther:
			return Other
		}
	}
	return Nothing
}

func newAutomaton(tree *syntax.Regexp) *automaton {
	prog, err := syntax.Compile(tree.Simplify())
	if err != nil {
		return &automaton{err: true}
	}
	a := &automaton{prog: prog, once: !repeated(tree)}
	a.alphabet()
	a.build()
	return a
}

// repeated reports whether a group is in a repetition.
func repeated(re *syntax.Regexp) bool {
	loop := re.Op == syntax.OpStar || re.Op == syntax.OpPlus || re.Op == syntax.OpRepeat && re.Max != 1
	return loop && re.MaxCap() > 0 || slices.ContainsFunc(re.Sub, repeated)
}

// alphabet finds the bytes that the program tells apart, among those that paths can have: Envoy refuses or escapes
// controls and what is not ASCII, so that all bytes behind "~" may be treated like it.
func (a *automaton) alphabet() {
	var cut [256]bool
	mark := func(lo, hi rune) {
		for _, at := range []rune{lo, hi + 1} {
			if at <= '~' {
				cut[at] = true
			}
		}
	}
	mark('/', '/')
	for _, in := range a.prog.Inst {
		switch in.Op {
		case syntax.InstRune, syntax.InstRune1:
			if len(in.Rune) == 1 {
				mark(in.Rune[0], in.Rune[0])
				if l := in.Rune[0] | 0x20; 'a' <= l && l <= 'z' {
					mark(l, l)
					mark(l&^0x20, l&^0x20)
				}
				continue
			}
			for i := 0; i+1 < len(in.Rune); i += 2 {
				mark(in.Rune[i], in.Rune[i+1])
			}
		case syntax.InstRuneAnyNotNL:
			mark('\n', '\n')
		case syntax.InstEmptyWidth:
			a.words = true
			mark('0', '9')
			mark('A', 'Z')
			mark('a', 'z')
			mark('_', '_')
		}
	}
	for b := range 256 {
		if b == 0 || cut[b] {
			a.letters = append(a.letters, byte(b))
		}
		a.class[b] = uint8(len(a.letters) - 1)
	}
}

// build explores the states from the start, breadth first.
func (a *automaton) build() {
	type state struct {
		threads []thread
		word    bool // the byte before was a word character; only kept where the program asks
	}
	states := []state{{threads: []thread{{pc: uint32(a.prog.Start)}}}}
	index := map[string]int{key(states[0].threads, false): 0}
	for i := 0; i < len(states); i++ {
		s := states[i]
		var end Join
		for _, t := range a.closure(s.threads, s.word, false) {
			if a.prog.Inst[t.pc].Op == syntax.InstMatch {
				end = t.groups.join()
				break
			}
		}
		a.end = append(a.end, end)
		row := make([]int, len(a.letters))
		var ready [2][]thread // by whether the next byte is a word character
		for l, b := range a.letters {
			row[l] = -1
			word := a.words && syntax.IsWordChar(rune(b))
			r := &ready[0]
			if word {
				r = &ready[1]
			}
			if *r == nil {
				*r = a.closure(s.threads, s.word, word)
			}
			to := a.step(*r, b)
			if len(to) == 0 {
				continue
			}
			k := key(to, word)
			n, ok := index[k]
			if !ok {
				if len(states) >= maxStates {
					a.err = true
					return
				}
				n = len(states)
				index[k] = n
				states = append(states, state{to, word})
			}
			row[l] = n
		}
		a.next = append(a.next, row)
	}
}

func key(threads []thread, word bool) string {
	b := make([]byte, 0, 8*len(threads)+1)
	for _, t := range threads {
		b = binary.LittleEndian.AppendUint32(b, t.pc)
		b = binary.LittleEndian.AppendUint32(b, uint32(t.groups))
	}
	if word {
		b = append(b, 1)
	}
	return string(b)
}

// closure follows everything that reads no byte, in the order of preference. before and after say whether a word
// character stands there.
func (a *automaton) closure(from []thread, before, after bool) []thread {
	seen := make([]bool, len(a.prog.Inst))
	out := make([]thread, 0, len(from))
	var follow func(t thread)
	follow = func(t thread) {
		if seen[t.pc] {
			return
		}
		seen[t.pc] = true
		in := &a.prog.Inst[t.pc]
		switch in.Op {
		case syntax.InstAlt, syntax.InstAltMatch:
			follow(thread{in.Out, t.groups})
			follow(thread{in.Arg, t.groups})
		case syntax.InstNop:
			follow(thread{in.Out, t.groups})
		case syntax.InstCapture:
			n, g := int(in.Arg/2)-1, t.groups
			switch {
			case n < 0 || n >= maxGroups || a.once && g.join() != Nothing:
			case in.Arg%2 == 0:
				g = g.with(n, groupOpen)
			case g.at(n) == groupOpen:
				g = g.with(n, groupNone)
			}
			follow(thread{in.Out, g})
		case syntax.InstEmptyWidth:
			holds := before == after // \B
			if syntax.EmptyOp(in.Arg) == syntax.EmptyWordBoundary {
				holds = !holds
			}
			if holds {
				follow(thread{in.Out, t.groups})
			}
		case syntax.InstFail:
		default:
			out = append(out, t)
		}
	}
	for _, t := range from {
		follow(t)
	}
	return out
}

func (a *automaton) step(ready []thread, b byte) []thread {
	var out []thread
	for _, t := range ready {
		in := &a.prog.Inst[t.pc]
		if in.Op == syntax.InstMatch || !in.MatchRune(rune(b)) {
			continue
		}
		if !slices.ContainsFunc(out, func(o thread) bool { return o.pc == in.Out }) {
			g := t.groups.reads(b)
			if a.once {
				g = g.first()
			}
			out = append(out, thread{in.Out, g})
		}
	}
	return out
}

// joins collects the ways in which captured text can begin, over all paths: they start with a slash and, because Envoy
// merges slashes, have no two in a row.
func (a *automaton) joins() Join {
	type place struct {
		state int
		slash bool
	}
	var all Join
	first := a.next[0][a.class['/']]
	if first < 0 {
		return 0
	}
	queue := []place{{first, true}}
	seen := map[place]bool{queue[0]: true}
	for len(queue) > 0 {
		p := queue[0]
		queue = queue[1:]
		all |= a.end[p.state]
		for l, to := range a.next[p.state] {
			slash := a.letters[l] == '/'
			q := place{to, slash}
			if to < 0 || slash && p.slash || seen[q] {
				continue
			}
			seen[q] = true
			queue = append(queue, q)
		}
	}
	return all
}

// language is an expression for exactly the paths of which the captured text begins in one of the given ways; false: it
// would be too long.
func (a *automaton) language(joins Join) (expr, bool) {
	block := a.minimal(joins)
	// States of the graph: the blocks, one more to start from (a path starts with "/"), and one to end in.
	start, final := len(a.next), len(a.next)+1
	graph := newGraph()
	done := map[int]bool{}
	for s, row := range a.next {
		b := block[s]
		if done[b] {
			continue
		}
		done[b] = true
		to := map[int][]rune{}
		for l, n := range row {
			if n < 0 {
				continue
			}
			hi := rune(0xff)
			if l+1 < len(a.letters) {
				hi = rune(a.letters[l+1]) - 1
			}
			to[block[n]] = append(to[block[n]], rune(a.letters[l]), hi)
		}
		for _, n := range slices.Sorted(maps.Keys(to)) {
			graph.add(b, n, classExpr(joined(to[n])))
		}
		if a.end[s]&joins != 0 {
			graph.add(b, final, expr{"", series})
		}
	}
	graph.add(start, block[a.next[0][a.class['/']]], expr{"/", atom})
	return graph.eliminate(start, final)
}

// minimal gives each state the number of the first state that is like it: no continuation tells them apart.
func (a *automaton) minimal(joins Join) []int {
	block := make([]int, len(a.next))
	for s := range block {
		block[s] = slices.IndexFunc(a.end, func(e Join) bool { return (e&joins != 0) == (a.end[s]&joins != 0) })
	}
	for {
		firsts := map[string]int{}
		next := make([]int, len(block))
		var b []byte
		for s, row := range a.next {
			b = binary.LittleEndian.AppendUint32(b[:0], uint32(block[s]))
			for _, n := range row {
				to := -1
				if n >= 0 {
					to = block[n]
				}
				b = binary.LittleEndian.AppendUint32(b, uint32(to))
			}
			if _, ok := firsts[string(b)]; !ok {
				firsts[string(b)] = s
			}
			next[s] = firsts[string(b)]
		}
		if slices.Equal(block, next) {
			return block
		}
		block = next
	}
}

// graph has an expression on every edge.
type graph struct {
	out map[int]map[int]expr
	in  map[int]map[int]bool
}

func newGraph() *graph { return &graph{map[int]map[int]expr{}, map[int]map[int]bool{}} }

func (g *graph) add(from, to int, e expr) {
	if g.out[from] == nil {
		g.out[from] = map[int]expr{}
	}
	if was, ok := g.out[from][to]; ok {
		e = either(was, e)
	}
	g.out[from][to] = e
	if g.in[to] == nil {
		g.in[to] = map[int]bool{}
	}
	g.in[to][from] = true
}

// eliminate takes out one state after the other, the one with the fewest ways through it first.
func (g *graph) eliminate(start, final int) (expr, bool) {
	g.trim(start, final)
	for {
		best, ways := -1, 0
		for _, s := range slices.Sorted(maps.Keys(g.out)) {
			if s == start {
				continue
			}
			if n := len(g.in[s]) * len(g.out[s]); best < 0 || n < ways {
				best, ways = s, n
			}
		}
		if best < 0 {
			e, ok := g.out[start][final]
			return e, ok && len(e.text) <= maxBytes
		}
		if !g.bypass(best) {
			return expr{}, false
		}
	}
}

// bypass replaces a state by edges around it.
func (g *graph) bypass(s int) bool {
	loop, loops := g.out[s][s]
	middle := expr{"", series}
	if loops {
		middle = star(loop)
	}
	outs := slices.Sorted(maps.Keys(g.out[s]))
	for _, from := range slices.Sorted(maps.Keys(g.in[s])) {
		if from == s {
			continue
		}
		way := follow(g.out[from][s], middle)
		for _, to := range outs {
			if to == s {
				continue
			}
			e := follow(way, g.out[s][to])
			if len(e.text) > maxBytes {
				return false
			}
			g.add(from, to, e)
		}
		delete(g.out[from], s)
	}
	for _, to := range outs {
		delete(g.in[to], s)
	}
	delete(g.out, s)
	delete(g.in, s)
	return true
}

// trim drops states that are on no way from start to final.
func (g *graph) trim(start, final int) {
	ahead, back := map[int]bool{}, map[int]bool{}
	var walk func(s int, seen map[int]bool, next func(int) []int)
	walk = func(s int, seen map[int]bool, next func(int) []int) {
		if seen[s] {
			return
		}
		seen[s] = true
		for _, n := range next(s) {
			walk(n, seen, next)
		}
	}
	walk(start, ahead, func(s int) []int { return slices.Collect(maps.Keys(g.out[s])) })
	walk(final, back, func(s int) []int { return slices.Collect(maps.Keys(g.in[s])) })
	for s := range g.out {
		if !ahead[s] || !back[s] {
			delete(g.out, s)
			continue
		}
		maps.DeleteFunc(g.out[s], func(to int, _ expr) bool { return !back[to] })
	}
	for s := range g.in {
		maps.DeleteFunc(g.in[s], func(from int, _ bool) bool { return !ahead[from] || !back[from] })
		if !ahead[s] || !back[s] {
			delete(g.in, s)
		}
	}
}

func either(a, b expr) expr {
	switch {
	case a.text == b.text:
		return a
	case a.text == "":
		return optional(b)
	case b.text == "":
		return optional(a)
	}
	return expr{a.text + "|" + b.text, loose}
}

func optional(e expr) expr {
	if e.level == bound && (strings.HasSuffix(e.text, "*") || strings.HasSuffix(e.text, "?")) {
		return e
	}
	return expr{e.as(atom) + "?", bound}
}

func star(e expr) expr {
	if e.text == "" {
		return e
	}
	if e.level == bound && (strings.HasSuffix(e.text, "*") || strings.HasSuffix(e.text, "?")) {
		return expr{e.text[:len(e.text)-1] + "*", bound}
	}
	return expr{e.as(atom) + "*", bound}
}

func follow(a, b expr) expr {
	switch {
	case a.text == "":
		return b
	case b.text == "":
		return a
	}
	return expr{a.as(series) + b.as(series), series}
}
