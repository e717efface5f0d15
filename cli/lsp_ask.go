package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/flexgw/flexgw/cli/lsp"
	"github.com/flexgw/flexgw/docs"
	"github.com/flexgw/flexgw/render/policy/all"
	"github.com/flexgw/flexgw/schema"
	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/source"
)

// What an editor asks about a place. All of it is answered from texts alone, so that no look is waited for.

func (r *editorRoom) options() schema.Options {
	return schema.Options{Policies: all.Catalog{}, Getenv: r.h.env.Getenv}
}

// rules are the organisation's own, as far as they are known yet.
func (r *editorRoom) rules() ownRules {
	if s := r.now.Load(); s != nil {
		return s.rules
	}
	return ownRules{}
}

// Hover implements lsp.Room.
func (r *editorRoom) Hover(_ context.Context, open lsp.Open, name string, offset int) *lsp.Hover {
	if code, at := codeAt(open[name], offset); code != "" {
		if page := codePage(code, r.rules()); page != "" {
			at.File = name
			return &lsp.Hover{Markdown: "`" + code + "`\n\n" + page, Plain: code + "\n\n" + docs.Terminal(page), Range: at}
		}
	}
	spot, ok := schema.SpotAt(r.one(open, name), r.options(), name, offset)
	if !ok {
		return nil
	}
	root, path := spot.Of, spot.Path
	switch {
	case spot.Key:
	case len(path) == 1 && strings.EqualFold(path[0], "kind"), len(path) > 1 && strings.EqualFold(strings.Join(path[len(path)-2:], "."), "policyRef.name"):
		if at, defs, _, err := findField(spot.Value, nil); err == nil {
			return hoverOf(at.describe(spot.Value, defs), spot.Range)
		}
	}
	at, defs, shown, err := findField(root, path)
	if err != nil {
		return nil
	}
	return hoverOf(at.describe(shown, defs), spot.Range)
}

func hoverOf(d description, at diag.Range) *lsp.Hover {
	var plain strings.Builder
	if err := d.write(&plain); err != nil {
		panic(err) // a builder takes everything
	}
	return &lsp.Hover{Markdown: d.markdown(), Plain: plain.String(), Range: at}
}

// codeLetters make codes.
const codeLetters = "abcdefghijklmnopqrstuvwxyz0123456789-/"

// codeAt is what is written at an offset, if it may be the code of a diagnostic: in a suppression, in the settings.
func codeAt(text []byte, offset int) (code string, at diag.Range) {
	from, to := offset, offset
	for from > 0 && strings.IndexByte(codeLetters, text[from-1]) >= 0 {
		from--
	}
	for to < len(text) && strings.IndexByte(codeLetters, text[to]) >= 0 {
		to++
	}
	code = string(text[from:to])
	if strings.Count(code, "/") != 1 || strings.HasPrefix(code, "/") || strings.HasSuffix(code, "/") {
		return "", at
	}
	at.Start, at.End = diag.Pos{Line: 1, Offset: int32(from)}, diag.Pos{Line: 1, Offset: int32(to)} // who shows it counts lines by offsets
	return code, at
}

// outlineOf are the objects in a file of a content.
type outlineOf struct {
	hash    source.Hash
	objects []schema.Outlined
}

// objects are all objects of the room; files that are known are not read again.
func (r *editorRoom) objects(open lsp.Open) ([]schema.Outlined, source.Set) {
	set, _ := r.read(open)
	if s := r.now.Load(); s != nil && s.judge.Project != nil {
		names, err := newNaming(s.file.Name, s.dir) // Check has its own
		if err == nil {
			set = declared(set, s.judge.Project, names)
		}
	}
	r.outlines.Lock()
	defer r.outlines.Unlock()
	wanted, cue := map[string]bool{}, false
	for _, f := range set.Files {
		if was, known := r.outlines.of[f.Name]; !known || was.hash != f.Hash {
			wanted[f.Name], cue = true, cue || isCUE(f.Name)
		}
	}
	if len(wanted) > 0 {
		for _, f := range set.Files {
			if cue && isCUE(f.Name) { // packages are read as a whole
				wanted[f.Name] = true
			}
			if wanted[f.Name] {
				r.outlines.of[f.Name] = outlineOf{hash: f.Hash}
			}
		}
		for _, o := range schema.Outline(set, func(name string) bool { return wanted[name] }) {
			of := r.outlines.of[o.Range.File]
			of.objects = append(of.objects, o)
			r.outlines.of[o.Range.File] = of
		}
	}
	var found []schema.Outlined
	there := map[string]bool{}
	for _, f := range set.Files {
		there[f.Name] = true
		found = append(found, r.outlines.of[f.Name].objects...)
	}
	for name := range r.outlines.of {
		if !there[name] {
			delete(r.outlines.of, name)
		}
	}
	return found, set
}

// Definition implements lsp.Room.
func (r *editorRoom) Definition(_ context.Context, open lsp.Open, name string, offset int) []lsp.Target {
	spot, ok := schema.SpotAt(r.one(open, name), r.options(), name, offset)
	upstream := ok && !spot.Key && strings.EqualFold(spot.Path[len(spot.Path)-1], "address")
	if !ok || len(spot.Names) == 0 && spot.Selects == nil && !upstream {
		return nil
	}
	objects, set := r.objects(open)
	var found []lsp.Target
	target := func(o schema.Outlined) {
		if text, err := set.Bytes(o.Name.File); err == nil {
			found = append(found, lsp.Target{Range: o.Name, Text: text})
		}
	}
	if upstream { // an Echo may stand in for a service
		for _, o := range objects {
			if o.Serves != "" && sameServer(o.Serves, spot.Value) && o.Object.Kind != spot.Of {
				target(o)
			}
		}
		return found
	}
	if spot.Selects != nil {
		for _, o := range objects {
			if o.Object.Kind == "ApiInstance" && selected(o, spot.Selects) {
				target(o)
			}
		}
		return found
	}
	for _, id := range spot.Names {
		for _, o := range objects {
			if o.Object == id {
				target(o)
			}
			for _, i := range o.Inline {
				if i.Object == id {
					target(i)
				}
			}
		}
		if len(found) > 0 {
			break
		}
	}
	return found
}

// sameServer reports whether two addresses lead to the same host and port.
func sameServer(a, b string) bool {
	server := func(address string) string {
		return strings.Replace(hostPortOf(address), "localhost:", "127.0.0.1:", 1)
	}
	return server(a) == server(b) && server(a) != "" && !strings.HasPrefix(server(a), ":") // no host: it is not an address
}

func selected(o schema.Outlined, labels map[string]string) bool {
	for name, value := range labels {
		if have, ok := o.Labels[name]; !ok || have != value {
			return false
		}
	}
	return true
}

// Symbols implements lsp.Room.
func (r *editorRoom) Symbols(_ context.Context, open lsp.Open, name string) []lsp.Symbol {
	var out []lsp.Symbol
	for _, o := range schema.Outline(r.one(open, name), func(file string) bool { return file == name }) {
		if o.Range.File != name {
			continue // of another file of its package
		}
		x := lsp.Symbol{Name: o.Object.Name, Detail: o.Object.Kind, Object: true, Range: o.Range, Named: o.Name}
		if x.Name == "" {
			x.Name, x.Detail = o.Object.Kind, ""
		}
		if o.Policy != "" {
			x.Detail += " of " + o.Policy
		}
		if o.Object.Namespace != "default" {
			x.Detail += " in " + o.Object.Namespace
		}
		for _, i := range o.Inline {
			part := strings.TrimPrefix(i.Object.Name, o.Object.Name+"-")
			if i.Policy != "" {
				part = i.Policy
			}
			x.Inner = append(x.Inner, lsp.Symbol{Name: part, Detail: i.Object.Kind + " " + i.Object.Name, Range: i.Range, Named: i.Name})
		}
		out = append(out, x)
	}
	return out
}

// Format implements lsp.Room.
func (r *editorRoom) Format(_ context.Context, open lsp.Open, name string) (text []byte, why string) {
	if !r.declares(name) {
		return nil, ""
	}
	set := r.one(open, name)
	after, list, err := schema.Format(set, r.options())
	if err != nil {
		return nil, err.Error()
	}
	if i := slices.IndexFunc(list, func(d diag.Diagnostic) bool { return d.Subject.File == name }); i >= 0 {
		why = fmt.Sprintf("%s is not formatted: %s", name[strings.LastIndexByte(name, '/')+1:], list[i].Summary)
	}
	b, err := after.Bytes(name)
	if err != nil || string(b) == string(open[name]) {
		return nil, why
	}
	return b, why
}
