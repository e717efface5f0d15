package schema

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/source"
	"github.com/flexgw/flexgw/schema/syntax"
	"github.com/flexgw/flexgw/schema/v1alpha1"
)

// vague is something wrong in the set that may bind a policy to nobody knows what.
type vague struct {
	by   diag.Object // the binding; zero: a text that is no object
	text string      // what may name what it is bound to
	all  bool        // nothing may: it may be bound to anything
	near diag.Object // or a name that nothing has
	file string      // where that stands
	why  string
}

// inspect finds what errors are about that name no object: the object whose document they stand in, or else all that the file
// declares.
func (h *holding) inspect(file string, errors diag.List) {
	if isCUEFile(file) {
		h.inspectPackage(file, errors[0])
		return
	}
	i, found := slices.BinarySearchFunc(h.set.Files, file, func(f source.File, name string) int { return strings.Compare(f.Name, name) })
	if !found {
		h.lost = true
		return
	}
	units, _ := syntax.Units(source.Set{Files: h.set.Files[i : i+1]})
	if len(units) == 0 {
		h.lost = true
		return
	}
	docs, _ := units[0].Parse()
	text, _ := h.set.Bytes(file) // what cannot be read says nothing
	for _, d := range errors {
		j := slices.IndexFunc(docs, func(doc *syntax.Document) bool {
			return d.Subject.Start.Line > 0 && doc.Range.Start.Offset <= d.Subject.Start.Offset && d.Subject.Start.Offset <= doc.Range.End.Offset
		})
		if j < 0 {
			h.broken(d, []string{file}, []string{file})
			return
		}
		h.unidentified(docs[j], d, text)
	}
}

// inspectPackage takes a CUE package as it is: what one of its files says is not known without the others.
func (h *holding) inspectPackage(file string, d diag.Diagnostic) {
	var files, keys []string
	var own []source.File
	for _, f := range h.set.Files {
		if isCUEFile(f.Name) {
			own = append(own, f)
		}
	}
	units, _ := syntax.Units(source.Set{Files: own})
	for _, u := range append(units, h.held.cueUnits...) {
		if !slices.ContainsFunc(u.Files, func(f source.File) bool { return f.Name == file }) {
			continue
		}
		keys = append(keys, unitKey(u))
		for _, f := range u.Files {
			files = append(files, f.Name)
		}
	}
	h.broken(d, keys, append(files, file))
}

// broken holds all that units declare, and did in good unless it is declared elsewhere now, and what their texts name.
func (h *holding) broken(d diag.Diagnostic, keys, files []string) {
	for _, key := range keys {
		if k := h.units[key]; k != nil {
			now := newSide()
			now.add(key, k.result, nowhere)
			for id := range now.parts {
				h.misread(id, d)
			}
		}
	}
	for id, key := range h.former.unit {
		if slices.Contains(keys, key) && !h.inSet(id) {
			h.misread(id, d)
		}
	}
	var text strings.Builder
	for _, f := range slices.Compact(slices.Sorted(slices.Values(files))) {
		if b, err := h.set.Bytes(f); err == nil {
			text.Write(b)
			text.WriteByte('\n')
		}
	}
	h.unread(text.String(), d)
}

// inSet reports whether the set declares an object. It is asked before anything is held.
func (h *holding) inSet(id diag.Object) bool {
	e := h.objects[id]
	return e != nil && len(e.decls) > 0 || h.bareDecl(id) != nil
}

// unidentified holds the object that a document was meant to be.
func (h *holding) unidentified(doc *syntax.Document, d diag.Diagnostic, file []byte) {
	meant := ""
	if from, to := int(doc.Range.Start.Offset), int(doc.Range.End.Offset); from <= to && to <= len(file) {
		meant = string(file[from:to])
	}
	dd := &docDecoder{decoder: h.decoder, doc: doc, out: newUnitResult()}
	if doc.Root.Kind == syntax.Mapping {
		if f := doc.Root.Fold("kind"); f != nil {
			if kind, version := ourKind(text(f.Value).Value); kind != "" {
				group, _, _ := strings.Cut(version, "/")
				dd.id = diag.Object{Group: group, Kind: kind}
			}
		}
		dd.identify(doc.Root)
	}
	if dd.id.Kind == "" || dd.id.Name == "" {
		h.unread(meant, d)
		return
	}
	h.wrong[dd.id] = itself
	if dd.id.Kind == v1alpha1.PolicyBinding {
		h.vague = append(h.vague, vague{by: dd.id, text: meant, why: "it is not known what " + dd.id.String() + " is bound to"})
	}
}

// declaredName finds the names in what looks like the metadata of a document.
var declaredName = sync.OnceValue(func() *regexp.Regexp { // it is large, and hardly ever asked for
	return regexp.MustCompile(`(?s)\bmetadata\b["']?\s*:.{0,300}?\bname\b["']?\s*:\s*["']?([^\s"',{}\[\]]+)`)
})

// unread holds what a text that cannot be read seems to declare, and what it may be bound to.
func (h *holding) unread(text string, d diag.Diagnostic) {
	names := map[string]bool{}
	for _, m := range declaredName().FindAllStringSubmatch(text, -1) {
		names[m[1]] = true
	}
	for id := range h.former.parts {
		if names[id.Name] && !h.inSet(id) {
			h.misread(id, d)
		}
	}
	h.vague = append(h.vague, vague{text: text, all: strings.HasPrefix(string(d.Code), "source/") || isCUEFile(d.Subject.File) && computed.MatchString(text),
		why: "it may have policies that cannot be read at " + d.Subject.String()})
}

// computed finds what may make names in CUE that its text does not hold.
var computed = regexp.MustCompile(`\\#*\(|\bfor\b|\bimport\b`)

// misread notes an object of a file that cannot be read as a whole.
func (h *holding) misread(id diag.Object, d diag.Diagnostic) {
	if _, have := h.wrong[id]; !have {
		h.wrong[id] = cause{why: fmt.Sprintf("%s cannot be read: %s [%s]", d.Subject, d.Summary, d.Code)}
	}
}

// vagueBinding is a binding of which nobody can say what it applies to.
func (h *holding) vagueBinding(b *bindingDecl) vague {
	v := vague{by: b.id, why: "it is not known what " + b.id.String() + " is bound to"}
	if b.target != (diag.Object{}) {
		v.near, v.file = b.target, b.at().File
		return v
	}
	text, _ := h.set.Bytes(b.at().File) // it was read a moment ago
	if from := cutYAML(text); isYAML(b.at().File) && from != nil {
		text = stretch(text, from, stretches{from: from}.index(int(b.at().Start.Offset)))
	}
	v.text = string(text)
	return v
}

// suspect holds what something vague may be bound to, of all that is new or changed, or had more policies in good.
func (h *holding) suspect(v vague) {
	candidates := map[diag.Object]bool{}
	for id := range h.fresh.parts {
		candidates[id] = true
	}
	for id := range h.former.targets {
		candidates[h.owner(id)] = true
	}
	for _, e := range h.apis { // those that are as in good may have been found by a selector that is not
		if len(e.apis) > 0 && slices.ContainsFunc(h.former.selectors, func(b *bindingDecl) bool { return b.selects(first(e.apis)) }) {
			candidates[e.id] = true
		}
	}
	words := wordsOf(v.text)
	selecting := strings.Contains(strings.ToLower(v.text), "selector")
	for _, id := range sortedObjects(candidates) {
		if !isTarget(id) || h.choice[id] != asSet || v.by != (diag.Object{}) && h.reaches(v.by, id) {
			continue
		}
		meant := v.all || selecting && id.Kind == v1alpha1.ApiInstance || h.isNear(id, v)
		for _, in := range h.within(id) {
			meant = meant || words[in.Name]
		}
		if meant {
			h.hold(id, cause{by: v.by, why: v.why})
		}
	}
}

// loses reports whether a target had a binding in good that it has no more: the one that names nothing may be to replace it.
func (h *holding) loses(id diag.Object) bool {
	for _, to := range h.within(id) {
		if slices.ContainsFunc(h.former.targets[to], func(b *bindingDecl) bool { return !h.reaches(b.id, to) }) {
			return true
		}
	}
	e := h.objects[id]
	return e != nil && len(e.apis) > 0 && slices.ContainsFunc(h.former.selectors, func(b *bindingDecl) bool { return b.selects(first(e.apis)) && !h.reaches(b.id, id) })
}

// isNear reports whether an object may have been meant by a name that nothing has.
func (h *holding) isNear(id diag.Object, v vague) bool {
	p := h.fresh.parts[id]
	if v.near.IsZero() {
		return false
	}
	if id.Kind == v.near.Kind && h.loses(id) {
		return true
	}
	if p == nil {
		return false
	}
	for _, in := range h.within(id) {
		if in.Kind == v.near.Kind && alikeNames(in.Name, v.near.Name) {
			return true
		}
	}
	at := p.place().File
	if id.Kind != v.near.Kind {
		return false
	}
	if at == v.file || path.Dir(at) == path.Dir(v.file) && path.Dir(at) != "." {
		return true
	}
	was := h.former.parts[v.near]
	return was != nil && slices.ContainsFunc(was.apis, func(a *apiDecl) bool {
		return slices.ContainsFunc(p.apis, func(b *apiDecl) bool { return a.listen == b.listen })
	})
}

// alikeNames reports whether one name may be a slip of the other, or the beginning of it.
func alikeNames(a, b string) bool {
	a, b = strings.ToLower(a), strings.ToLower(b)
	if min(len(a), len(b)) >= 3 && (strings.HasPrefix(a, b) || strings.HasPrefix(b, a)) {
		return true
	}
	return diag.Distance(a, b) <= len([]rune(b))/3
}
