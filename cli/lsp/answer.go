package lsp

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/sourcegraph/jsonrpc2"

	"github.com/flexgw/flexgw/schema/diag"
)

// Kinds of code actions.
const (
	quickFix = "quickfix"
	fixAll   = "source.fixAll.flexgw"
)

func (s *server) hover(ctx context.Context, r *jsonrpc2.Request, v view) (any, error) {
	p, err := params[positionParams](r)
	if err != nil {
		return nil, err
	}
	h := v.room.folder.Hover(ctx, v.open, v.doc.name, v.doc.text.offset(p.Position, v.enc))
	if h == nil {
		return nil, nil
	}
	out := hoverResult{Contents: markup{"markdown", h.Markdown}}
	if formats := s.can.TextDocument.Hover.ContentFormat; len(formats) > 0 && !slices.Contains(formats, "markdown") {
		out.Contents = markup{"plaintext", h.Plain}
	}
	if h.Range.File == v.doc.name {
		at := v.doc.text.rangeOf(h.Range, v.enc)
		out.Range = &at
	}
	return out, nil
}

func (s *server) definition(ctx context.Context, r *jsonrpc2.Request, v view) (any, error) {
	p, err := params[positionParams](r)
	if err != nil {
		return nil, err
	}
	out := []Location{}
	for _, t := range v.room.folder.Definition(ctx, v.open, v.doc.name, v.doc.text.offset(p.Position, v.enc)) {
		out = append(out, Location{s.uri(t.Range.File), newText(t.Text).rangeOf(t.Range, v.enc)})
	}
	return out, nil
}

// uri is that of a file as the editor spells it.
func (s *server) uri(name string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, d := range s.docs {
		if d.name == name {
			return d.uri
		}
	}
	return uriOf(name)
}

func (s *server) symbols(ctx context.Context, _ *jsonrpc2.Request, v view) (any, error) {
	all := v.room.folder.Symbols(ctx, v.open, v.doc.name)
	if s.can.TextDocument.DocumentSymbol.Hierarchical {
		return symbolTree(all, v), nil
	}
	out := []symbolInformation{}
	var flat func(list []Symbol, in string)
	flat = func(list []Symbol, in string) {
		for _, x := range list {
			out = append(out, symbolInformation{x.Name, symbolKind(x), Location{v.doc.uri, v.doc.text.rangeOf(x.Range, v.enc)}, in})
			flat(x.Inner, x.Name)
		}
	}
	flat(all, "")
	return out, nil
}

func symbolTree(all []Symbol, v view) []documentSymbol {
	out := []documentSymbol{}
	for _, x := range all {
		d := documentSymbol{Name: x.Name, Detail: x.Detail, Kind: symbolKind(x), Range: v.doc.text.rangeOf(x.Range, v.enc), SelectionRange: v.doc.text.rangeOf(x.Named, v.enc)}
		if before(d.SelectionRange.Start, d.Range.Start) || before(d.Range.End, d.SelectionRange.End) { // else editors refuse all of them
			d.SelectionRange = Range{d.Range.Start, d.Range.Start}
		}
		if len(x.Inner) > 0 {
			d.Children = symbolTree(x.Inner, v)
		}
		out = append(out, d)
	}
	return out
}

func symbolKind(x Symbol) int {
	if x.Object {
		return symbolObject
	}
	return symbolProperty
}

func (s *server) formatting(ctx context.Context, _ *jsonrpc2.Request, v view) (any, error) {
	after, why := v.room.folder.Format(ctx, v.open, v.doc.name)
	if why != "" {
		s.say(3, "flexgw: "+why)
	}
	if after == nil {
		return []TextEdit{}, nil
	}
	if s.outdated(v) {
		return nil, errModified
	}
	return edits(v.doc.text, after, v.enc), nil
}

// current is what was found in the texts that a request knows, or later ones; it is not waited for longer than needed.
func (s *server) current(ctx context.Context, r *room) *found {
	for first := true; ; first = false {
		s.mu.Lock()
		f, looked := r.found, r.looked
		if f != nil && f.asked == r.asked || r.left {
			s.mu.Unlock()
			return f
		}
		if first {
			r.due = r.due.Add(-s.o.Debounce)
			r.poke()
		}
		s.mu.Unlock()
		select {
		case <-looked:
		case <-r.gone: // nobody looks any more
		case <-ctx.Done():
			return nil
		}
	}
}

func (s *server) actions(ctx context.Context, r *jsonrpc2.Request, v view) (any, error) {
	p, err := params[codeActionParams](r)
	if err != nil {
		return nil, err
	}
	wants := func(kind string) bool {
		return len(p.Context.Only) == 0 || slices.ContainsFunc(p.Context.Only, func(o string) bool { return kind == o || strings.HasPrefix(kind, o+".") })
	}
	out := []codeAction{}
	f := s.current(ctx, v.room)
	if f == nil {
		return out, nil
	}
	if string(f.open[v.doc.name]) != string(v.doc.text.b) {
		return nil, errModified
	}
	all := slices.Collect(func(yield func(diag.Diagnostic) bool) {
		for _, d := range f.List {
			if d.Subject.File == v.doc.name && (len(d.Edits) > 0 || len(d.Fixes) > 0) && !yield(d) {
				return
			}
		}
	})
	if wants(quickFix) {
		near := slices.DeleteFunc(slices.Clone(all), func(d diag.Diagnostic) bool { return !v.doc.text.rangeOf(d.Subject, v.enc).touches(p.Range) })
		for _, d := range f.Fixes(near) {
			if len(d.Fixes) > 0 {
				out = append(out, s.quick(f, &d))
			}
		}
		for i := range out {
			out[i].IsPreferred = len(out) == 1
		}
	}
	// Editors ask without a kind whenever the cursor moves: then it is offered beside another one, where it is not looked for in vain.
	if len(p.Context.Only) == 0 && len(out) > 0 && len(all) > 1 || len(p.Context.Only) > 0 && wants(fixAll) {
		if after := v.room.folder.FixAll(ctx, v.open, v.doc.name); after != nil {
			out = append(out, codeAction{Title: "Fix all problems of this file that flexgw can fix", Kind: fixAll,
				Edit: s.workspaceEdit(map[string][]TextEdit{v.doc.name: edits(v.doc.text, after, v.enc)})})
		}
	}
	if s.outdated(v) {
		return nil, errModified
	}
	return out, nil
}

// quick is the action that mends one diagnostic.
func (s *server) quick(f *found, d *diag.Diagnostic) codeAction {
	changes := map[string][]TextEdit{}
	for _, x := range d.Fixes {
		if t := f.text(x.Range.File); t != nil {
			changes[x.Range.File] = append(changes[x.Range.File], TextEdit{t.rangeOf(x.Range, s.enc), x.Text})
		}
	}
	title := "Fix: " + cmp.Or(d.Hint, d.Summary)
	return codeAction{Title: title, Kind: quickFix, Diagnostics: []diagnostic{s.diagnostic(f, d, nil)}, Edit: s.workspaceEdit(changes)}
}

// workspaceEdit is changes by the names of files as the editor knows them.
func (s *server) workspaceEdit(changes map[string][]TextEdit) *workspaceEdit {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := &workspaceEdit{}
	for name, list := range changes {
		id := versionedID{URI: uriOf(name)}
		for _, d := range s.docs {
			if d.name == name {
				id = versionedID{d.uri, &d.version}
			}
		}
		if s.can.Workspace.WorkspaceEdit.DocumentChanges {
			out.DocumentChanges = append(out.DocumentChanges, documentEdit{id, list})
			continue
		}
		if out.Changes == nil {
			out.Changes = map[string][]TextEdit{}
		}
		out.Changes[id.URI] = list
	}
	slices.SortFunc(out.DocumentChanges, func(a, b documentEdit) int { return strings.Compare(a.TextDocument.URI, b.TextDocument.URI) })
	return out
}

func (s *server) completion(ctx context.Context, r *jsonrpc2.Request, v view) (any, error) {
	p, err := params[positionParams](r)
	if err != nil {
		return nil, err
	}
	out := completionList{Items: []completionItem{}}
	for i, x := range v.room.folder.Complete(ctx, v.open, v.doc.name, v.doc.text.offset(p.Position, v.enc)) {
		item := completionItem{Label: x.Label, Detail: x.Detail, SortText: fmt.Sprintf("%04d", i), Kind: map[ItemKind]int{ItemField: 10, ItemValue: 12, ItemObject: 18}[x.Kind],
			TextEdit: &TextEdit{Range{v.doc.text.position(x.From, v.enc), v.doc.text.position(x.To, v.enc)}, x.Text}}
		if x.Markdown != "" {
			item.Documentation = &markup{"markdown", x.Markdown}
		}
		out.Items = append(out.Items, item)
	}
	return out, nil
}
