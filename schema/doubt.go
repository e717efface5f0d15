package schema

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/source"
	"github.com/flexgw/flexgw/schema/syntax"
	"github.com/flexgw/flexgw/schema/v1alpha1"
)

// doubt is a document or a file that could not be read as what it was meant to be, which has been reported. What is absent may be
// declared there: then its absence is an echo.
type doubt struct {
	cause diag.Range      // of the first error in it
	at    string          // the file
	kinds map[string]bool // of the objects; none: nobody knows
	names map[string]bool // they may have these
	words map[string]bool // all that is written there
	every bool            // it may be anything: its text says nothing, or computes names
	bound bool            // it is bound to something, and nobody knows to what
	part  bool            // of an ApiInstance that is declared: some of its services or labels may be lost
	blank bool            // nothing in it says what it is called
}

// wordsOf are the words of a text: names are among them.
func wordsOf(text string) map[string]bool {
	words := map[string]bool{}
	for _, w := range strings.FieldsFunc(text, func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune("-_.", r)
	}) {
		words[strings.Trim(w, ".")] = true
	}
	return words
}

// doubtful is what may stand in a file that has syntax errors, for each document that has one. Some documents of it may have been
// read all the same.
func doubtful(u syntax.Unit, ds diag.List, read bool) []*doubt {
	if isCUE(u) { // a package is one document
		var text strings.Builder
		for _, f := range u.Files {
			b, err := f.Bytes()
			if err != nil || len(b) > source.MaxFileSize || !legible(string(b)) {
				return []*doubt{{at: f.Name, every: true}}
			}
			text.Write(b)
			text.WriteByte('\n')
		}
		o := doubtfulCUE(u.Files[0].Name, text.String())
		return []*doubt{&o}
	}
	name := u.Files[0].Name
	b, err := u.Files[0].Bytes()
	if len(b) > source.MaxFileSize { // what stands beyond was not read
		return []*doubt{{at: name, every: true, blank: true}}
	}
	text := string(b)
	if err == nil && strings.TrimSpace(text) == "" {
		return nil // nothing was meant to be declared there
	}
	if err != nil || !legible(text) {
		return []*doubt{{at: name, every: true, blank: true}}
	}
	if strings.EqualFold(path.Ext(name), ".json") {
		if read {
			text = commentInJSON.ReplaceAllString(text, "$1")
		}
		return doubtfulText(nil, name, text, kindsInJSON(text), versionInJSON)
	}
	var out []*doubt
	for from, line := 0, int32(1); from < len(text); {
		to := len(text)
		if at := separator.FindStringIndex(text[from:]); at != nil {
			to = from + at[0] + 1
		}
		part, first := text[from:to], line
		from, line = to, line+int32(strings.Count(text[from:to], "\n"))
		if slices.ContainsFunc(ds, func(d diag.Diagnostic) bool {
			from, until := d.Subject.Start.Line, d.Subject.End.Line
			return d.Severity == diag.Error && (from < 1 || until >= first && (from < line || to == len(text)))
		}) {
			part = commentInYAML.ReplaceAllString(part, "")
			out = doubtfulText(out, name, part, kindInYAML.FindAllStringSubmatch(part, -1), versionInYAML)
		}
	}
	return out
}

// legible reports whether a text may say what it declares.
func legible(text string) bool { return text != "" && !strings.ContainsRune(text, 0) }

// What the text of a document that cannot be read says it is; a comment says nothing. In JSON, a comment stands outside of texts.
var (
	separator     = regexp.MustCompile(`\n---(?:\s|$)`)
	kindInYAML    = regexp.MustCompile(`(?mi)^["']?kind["']?[ \t]*:[ \t]*["']?([\w-]+)`)
	versionInYAML = regexp.MustCompile(`(?mi)^["']?apiVersion["']?[ \t]*:[ \t]*["']?([^\s"',#]+)`)
	commentInYAML = regexp.MustCompile(`(?m)^[ \t]*#.*$`)
	kindInJSON    = regexp.MustCompile(`(?i)"kind"\s*:\s*"([^"]*)`)
	versionInJSON = regexp.MustCompile(`(?i)"apiVersion"\s*:\s*"([^"]*)`)
	refInJSON     = regexp.MustCompile(`"(?:\w+Ref|selector)"\s*:\s*\{(?:[^{}]|\{[^{}]*\})*`)
	nameTemplate  = regexp.MustCompile(`(?m)^[ \t]+["']?name["']?[ \t]*:[ \t]*["']?\S*\{\{`)
	commentInJSON = regexp.MustCompile(`(?s)("(?:[^"\\\n]|\\.)*")|(?://|#)[^\n]*|/\*.*?\*/`)
)

// kindsInJSON are the kinds that are written in a text, but not those of what it refers to.
func kindsInJSON(text string) [][]string {
	return kindInJSON.FindAllStringSubmatch(refInJSON.ReplaceAllString(text, ""), -1)
}

// doubtfulText adds what a text may declare, if it may declare anything: what belongs to others does not.
func doubtfulText(to []*doubt, at, text string, kinds [][]string, version *regexp.Regexp) []*doubt {
	o := doubt{at: at, kinds: map[string]bool{}, names: map[string]bool{}, words: wordsOf(text)}
	unknown := false
	for _, m := range kinds {
		k := meantKind(m[1])
		unknown = unknown || k == ""
		o.kinds[k] = true
	}
	if versions := version.FindAllStringSubmatch(text, -1); len(versions) > 0 && !slices.ContainsFunc(versions, func(m []string) bool { return maybeOurs(m[1], o.kinds) }) {
		return to
	}
	if unknown {
		o.kinds = nil
	}
	for _, m := range declaredName().FindAllStringSubmatch(text, -1) {
		o.names[m[1]] = true
	}
	o.blank = len(o.names) == 0 || nameTemplate.MatchString(text)
	return append(to, &o)
}

// maybeOurs reports whether an apiVersion is one of ours, or was meant to be.
func maybeOurs(version string, kinds map[string]bool) bool {
	group, _, _ := strings.Cut(version, "/")
	return group == v1alpha1.Group || group == "flexgw" || slices.ContainsFunc(sortedKeys(kinds), func(k string) bool { return nearMiss(version, k) != "" })
}

// doubtfulCUE is what a package may declare: a name or a kind can stand anywhere in it, in a label, in a template.
func doubtfulCUE(at, text string) doubt {
	o := doubt{at: at, kinds: map[string]bool{}, words: wordsOf(text), every: computed.MatchString(text)}
	o.names = o.words
	if o.every {
		o.kinds = nil
		return o
	}
	for _, m := range kindInCUE.FindAllStringSubmatch(text, -1) {
		o.kinds[meantKind(m[1])] = true
	}
	for _, k := range Kinds() {
		if o.words[k] {
			o.kinds[k] = true
		}
	}
	if o.kinds[""] {
		o.kinds = nil
	}
	return o
}

var kindInCUE = regexp.MustCompile(`\bkind"?\s*[:&]\s*"([^"]*)"`)

// meantKind is the kind that was written, or that can only have been meant; "": nobody knows.
func meantKind(written string) string {
	if k, _ := ourKind(written); k != "" {
		return k
	}
	return diag.Nearest(written, Kinds())
}

// causeOf is where the first error is, by place.
func causeOf(ds diag.List) diag.Range {
	var first diag.Range
	for _, d := range ds {
		if d.Severity == diag.Error && (first.IsZero() || d.Subject.Compare(first) < 0) {
			first = d.Subject
		}
	}
	return first
}

// doubt notes what one document may have been meant to declare, or to be bound to, when that is wrong.
func (d *docDecoder) doubt(found diag.List, bindings []*bindingDecl) {
	lost := slices.ContainsFunc(bindings, func(b *bindingDecl) bool {
		return b.broken && b.target == (diag.Object{}) && !b.selecting && (b.route != nil || b.typ == nil)
	})
	part := d.id.Name != "" && d.id.Kind == v1alpha1.ApiInstance && d.broken
	if !found.HasErrors() || d.id.Name != "" && !lost && !part {
		return
	}
	o := d.unnamed()
	o.cause = causeOf(found)
	o.part = part
	delete(o.names, "")
	o.blank = len(o.names) == 0
	if o.bound = lost; lost {
		o.names = nil // it has a name, which is known
	}
	d.out.doubts = append(d.out.doubts, &o)
}

// unnamed is a document whose kind or name is wrong, with what it may have been called.
func (d *docDecoder) unnamed() doubt {
	out := doubt{at: d.doc.Unit.Name, names: map[string]bool{}, words: map[string]bool{}}
	root := d.doc.Root
	scalars(root, out.words)
	if root.Kind == syntax.Sequence { // of declarations
		out.names = out.words
		return out
	}
	f := root.Fold("kind")
	if f == nil {
		f = misspelt(root, "kind", "apiVersion", "metadata", "spec")
	}
	if f != nil {
		if k := meantKind(lone(f)); k != "" {
			out.kinds = map[string]bool{k: true}
		}
	}
	meta := root.Fold("metadata")
	if meta == nil {
		meta = misspelt(root, "metadata", "apiVersion", "kind", "spec")
	}
	if meta == nil {
		meta = &syntax.Field{Value: &syntax.Node{Kind: syntax.Mapping, Fields: slices.DeleteFunc(slices.Clone(root.Fields), func(f syntax.Field) bool { return !strings.EqualFold(f.Name, "name") })}}
	}
	if f := meta.Value.Fold("name"); f != nil {
		out.names[lone(f)] = true
		return out
	}
	for i := range meta.Value.Fields {
		if f := &meta.Value.Fields[i]; !strings.EqualFold(f.Name, "namespace") && f.Value.Kind == syntax.Scalar {
			out.names[text(f.Value).Value] = true
		}
	}
	return out
}

func scalars(n *syntax.Node, into map[string]bool) {
	if n.Kind == syntax.Scalar {
		into[n.Text] = true
	}
	for i := range n.Fields {
		into[n.Fields[i].Name] = true
		scalars(n.Fields[i].Value, into)
	}
	for _, item := range n.Items {
		scalars(item, into)
	}
}

// may reports whether an object of one of these kinds may stand there.
func (d *doubt) may(kinds ...string) bool {
	return len(d.kinds) == 0 || slices.ContainsFunc(kinds, func(k string) bool { return d.kinds[k] })
}

// declares reports whether an object may be declared there.
func (d *doubt) declares(kind, name string) bool {
	if d.may(kind) && d.names[name] {
		return true
	}
	if kind != v1alpha1.Service || !d.may(v1alpha1.ApiInstance) {
		return false
	}
	for i, r := range name { // a service that stands inline has two names
		if r == '-' && d.names[name[:i]] && d.words[name[i+1:]] {
			return true
		}
	}
	return false
}

// binds reports whether something may be bound there to an API.
func (d *doubt) binds(api string) bool {
	return !d.part && d.may(v1alpha1.PolicyBinding, v1alpha1.ApiInstance) && (d.every || d.bound || d.words[api] || d.words["selector"])
}

// withCauses gives a Cause to what is said to be absent and may be declared where something could not be read, and to the echoes of a
// reference that dangles. It is for those who read, after everything else: no object counts as right because of it.
func (s *state) withCauses(ds diag.List) diag.List {
	out := ds[:0:0]
	for _, d := range ds {
		if cause, hint := s.lostIn(d); !cause.IsZero() {
			d.Cause = cause
		} else if hint != "" {
			d.Hint = hint
		}
		out = append(out, d)
	}
	s.misnamed(out)
	s.nameless(out)
	s.unrouted(out)
	return out
}

// lostIn is the error but for which something may not be absent; or else what is to be said of where it may be declared.
func (s *state) lostIn(d diag.Diagnostic) (cause diag.Range, hint string) {
	if len(s.doubts) == 0 {
		return diag.Range{}, ""
	}
	labelled := func(b *bindingDecl, o *doubt) bool {
		for name, v := range b.labels {
			if !o.words[name] || !o.words[v.Value] {
				return false
			}
		}
		return true
	}
	echo := func(*doubt) bool { return false }
	switch d.Code {
	case "link/unknown-service", "link/unknown-api", "link/unknown-extension", "link/unknown-policy":
		echo = func(o *doubt) bool { return o.declares(d.Absent.Kind, d.Absent.Name) }
	case "link/no-routes":
		echo = func(o *doubt) bool { return o.binds(d.Object.Name) }
	case "link/https-without-tls":
		echo = func(o *doubt) bool {
			return !o.part && (o.words["tls"] || o.every) && o.may(v1alpha1.PolicyBinding, v1alpha1.ApiInstance)
		}
	case "link/selector-matches-nothing":
		i := slices.IndexFunc(s.selectors, func(b *bindingDecl) bool { return b.id == d.Object && b.targetAt == d.Subject })
		echo = func(o *doubt) bool {
			return i >= 0 && o.may(v1alpha1.ApiInstance) && labelled(s.selectors[i], o)
		}
	default:
		return diag.Range{}, ""
	}
	if i := slices.IndexFunc(s.doubts, echo); i >= 0 {
		return s.doubts[i].cause, ""
	}
	if i := slices.IndexFunc(s.doubts, func(o *doubt) bool { return o.every && o.may(d.Absent.Kind) }); i >= 0 && !d.Absent.IsZero() && d.Severity == diag.Error {
		return diag.Range{}, "it may be declared in " + strconv.Quote(s.doubts[i].at) + ", which cannot be read as a whole"
	}
	return diag.Range{}, ""
}

// nameless gives what is absent to the documents that do not say what they are called: to one in a file of that name, or else, if no more
// names are left than documents whose kind is known, to one of those. A name that is surely a slip is none of them.
func (s *state) nameless(ds diag.List) {
	blank := slices.DeleteFunc(slices.Clone(s.doubts), func(o *doubt) bool { return !o.blank })
	if len(blank) == 0 {
		return
	}
	by := map[diag.Object][]int{}
	for i, d := range ds {
		switch {
		case !d.Cause.IsZero():
		case d.Code == "link/no-routes":
			if j := slices.IndexFunc(blank, func(o *doubt) bool {
				return o.may(v1alpha1.PolicyBinding) && !o.words["targetRef"] && (len(o.kinds) > 0 || o.filed(d.Object.Name))
			}); j >= 0 {
				ds[i].Cause = blank[j].cause
			}
		case !d.Absent.IsZero() && unknownCodes[d.Absent.Kind] == d.Code:
			by[d.Absent] = append(by[d.Absent], i)
		}
	}
	left := map[*doubt]bool{}
	for _, o := range blank {
		left[o] = len(o.kinds) > 0
	}
	give := func(id diag.Object, fits func(o *doubt) bool) {
		j := slices.IndexFunc(blank, func(o *doubt) bool {
			return (o.may(id.Kind) || id.Kind == v1alpha1.Service && o.may(v1alpha1.ApiInstance)) && fits(o)
		})
		if j < 0 {
			return
		}
		for _, i := range by[id] {
			ds[i].Cause = blank[j].cause
		}
		left[blank[j]] = false
		delete(by, id)
	}
	ids := sortedObjects(by)
	for _, id := range ids {
		give(id, func(o *doubt) bool { return o.filed(id.Name) })
	}
	free := 0
	for _, is := range left {
		if is {
			free++
		}
	}
	ids = slices.DeleteFunc(ids, func(id diag.Object) bool {
		return len(by[id]) == 0 || diag.Unmistakable(id.Name, s.meant(id.Name, s.namesOf(id.Kind).names[id.Namespace]), s.namesOf(id.Kind).names[id.Namespace])
	})
	for _, id := range ids {
		if len(ids) <= free {
			give(id, func(o *doubt) bool { return left[o] })
		}
		for _, i := range by[id] {
			j := slices.IndexFunc(blank, func(o *doubt) bool { return o.may(id.Kind) })
			if ds[i].Hint == "" && ds[i].Severity == diag.Error && j >= 0 {
				ds[i].Hint = "it may be declared in " + strconv.Quote(blank[j].at) + ", which cannot be read as a whole"
			}
		}
	}
}

// filed reports whether the name of the file is that of an object, or begins or ends with it.
func (d *doubt) filed(name string) bool {
	stem := strings.TrimSuffix(path.Base(d.at), path.Ext(d.at))
	return stem == name || strings.HasPrefix(stem, name+"-") || strings.HasSuffix(stem, "-"+name) || strings.HasPrefix(name, stem+"-")
}

// misnamed finds references that dangle because the name of what they mean is wrong: one that no object may have is an error of its own,
// and one that nothing refers to, while several places agree on another one, is told once.
func (s *state) misnamed(ds diag.List) {
	by := map[diag.Object][]int{}
	for i, d := range ds {
		if d.Absent.IsZero() || d.Severity != diag.Error || !d.Cause.IsZero() || unknownCodes[d.Absent.Kind] != d.Code {
			continue
		}
		by[d.Absent] = append(by[d.Absent], i)
	}
	for id, places := range by {
		e := s.likely(id)
		if e == nil {
			continue
		}
		at := first(e.decls).at()
		if _, bad := badName(e.id.Name); bad {
			for _, i := range places {
				ds[i].Cause = at
			}
			continue
		}
		if len(places) < 2 || len(e.users)+len(e.bindings) > 0 || !diag.Unmistakable(id.Name, e.id.Name, s.namesOf(id.Kind).names[id.Namespace]) {
			continue
		}
		slices.SortFunc(places, func(i, j int) int { return ds[i].Subject.Compare(ds[j].Subject) })
		one := &ds[places[0]]
		one.Hint = fmt.Sprintf("did you mean %q (%s)? %d places name %q: rename that one", e.id.Name, at, len(places), id.Name)
		one.Related = append(slices.Clone(one.Related), diag.Related{Subject: at, Summary: fmt.Sprintf("%q, which nothing names", e.id.Name)})
		one.Edits = nil
		for n, i := range places[1:] {
			ds[i].Cause = one.Subject
			if n < maxAlso {
				one.Related = append(one.Related, diag.Related{Subject: ds[i].Subject, Summary: "named here too"})
			}
		}
	}
}

// maxAlso is how many other places of a mistake are shown.
const maxAlso = 5

// likely is what a name that nothing has was meant for; nil: nobody knows. A name that no object may have is read without what is wrong.
func (s *state) likely(id diag.Object) *entry {
	names := s.namesOf(id.Kind).names[id.Namespace]
	if to := s.meant(id.Name, names); to != "" {
		id.Name = to
		return s.objects[id]
	}
	for _, name := range names {
		if _, bad := badName(name); bad && plainName(name) == plainName(id.Name) {
			id.Name = name
			return s.objects[id]
		}
	}
	return nil
}

// plainName is the letters and digits of a name, in lower case.
func plainName(name string) string {
	return strings.Map(func(r rune) rune {
		if r < unicode.MaxASCII && (unicode.IsLetter(r) || unicode.IsDigit(r)) {
			return unicode.ToLower(r)
		}
		return -1
	}, name)
}

// unrouted finds the APIs without routes that the target of a route was meant for: one that it nearly names, else the only one that is left
// in its namespace.
func (s *state) unrouted(ds diag.List) {
	var lone, stray []int
	for i, d := range ds {
		switch e := s.objects[d.Absent]; {
		case d.Code == "link/no-routes" && d.Cause.IsZero():
			lone = append(lone, i)
		case d.Code == "link/unknown-api" && d.Severity == diag.Error && e != nil && slices.ContainsFunc(e.bindings, func(b *bindingDecl) bool { return b.route != nil && b.targetAt == d.Subject }):
			stray = append(stray, i)
		}
	}
	if len(lone) == 0 {
		return
	}
	settle := func(i int, meant func(api diag.Object) bool) bool {
		n := len(lone)
		lone = slices.DeleteFunc(lone, func(j int) bool {
			if !meant(ds[j].Object) {
				return false
			}
			ds[j].Cause = ds[i].Subject
			return true
		})
		return len(lone) < n
	}
	stray = slices.DeleteFunc(stray, func(i int) bool {
		to := s.likely(ds[i].Absent)
		return settle(i, func(api diag.Object) bool { return to != nil && api == to.id || api.Name == ds[i].Absent.Name }) || to != nil
	})
	for _, i := range stray {
		beside := func(api diag.Object) bool { return api.Namespace == ds[i].Absent.Namespace }
		left := slices.DeleteFunc(slices.Clone(lone), func(j int) bool { return !beside(ds[j].Object) })
		if len(left) == 1 {
			settle(i, beside)
		}
	}
}

// oddCode reports whether a code is about characters that are not seen for what they are.
func oddCode(c diag.Code) bool {
	return c == "yaml/invisible-character" || c == "yaml/typographic-quote"
}

// traced makes the errors about a text that holds an invisible character, or a quote that is none, consequences of what is said of that.
func traced(ds diag.List) diag.List {
	var odd []int
	for i, d := range ds {
		if oddCode(d.Code) && d.Severity == diag.Warning {
			odd = append(odd, i)
		}
	}
	for i := range ds {
		d := &ds[i]
		if d.Severity != diag.Error || oddCode(d.Code) || d.Subject.Start.Line == 0 {
			continue
		}
		if r, name := unseen(d.Summary); name != "" {
			d.Hint = fmt.Sprintf("delete the invisible character U+%04X (%s)", r, name)
		}
		for _, j := range odd {
			o := &ds[j]
			if o.Subject.File == d.Subject.File && o.Subject.Start.Column == 1 && d.Subject.End.Line == o.Subject.Start.Line-1 && strings.Contains(d.Summary, "has no value") {
				d.Cause = o.Subject // it follows, behind what looks like its indentation
			}
			if inside(o.Subject, d.Subject) && d.Subject.Start.Line == d.Subject.End.Line {
				d.Cause, o.Severity = o.Subject, diag.Error
				if o.Object.Name == "" {
					o.Object = d.Object
				}
				o.Summary += ": " + d.Summary
				o.Hint = strings.TrimSuffix(o.Hint, ", or quote the text if it is meant")
				break
			}
		}
	}
	return ds
}

// unseen is the first invisible character of the texts that a summary quotes, and its name; "": there is none.
func unseen(summary string) (rune, string) {
	for from := 0; ; {
		i := strings.Index(summary[from:], `\u`)
		if i < 0 {
			return 0, ""
		}
		at := from + i
		if from = at + 2; at > 0 && summary[at-1] == '\\' {
			continue
		}
		n, err := strconv.ParseUint(summary[from:min(from+4, len(summary))], 16, 16)
		if name := syntax.Invisible(rune(n)); err == nil && name != "" {
			return rune(n), name
		}
	}
}
