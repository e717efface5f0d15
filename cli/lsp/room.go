package lsp

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/flexgw/flexgw/schema/diag"
)

// room is a Room with what was found in it, and the goroutine that looks again. What is below mu is the server's mu.
type room struct {
	s      *server
	dir    string // "": a single file
	folder Room
	wake   chan struct{}
	gone   chan struct{}

	// mu
	asked     uint64 // how often it was to look again
	due       time.Time
	left      bool
	found     *found            // of the last look that was not outdated
	looked    chan struct{}     // closed, and replaced, after each look
	published map[string]string // by URI, what was

	unread string // what could not be read at the last look; of the goroutine alone
}

// found is what a look found, and when.
type found struct {
	Found
	asked uint64
	open  Open

	mu    sync.Mutex
	texts map[string]*text
}

// text is the text of a file that was judged; nil: there is none.
func (f *found) text(name string) *text {
	f.mu.Lock()
	defer f.mu.Unlock()
	t, known := f.texts[name]
	if !known {
		if b, err := f.Source(name); err == nil {
			t = newText(b)
		}
		f.texts[name] = t
	}
	return t
}

// enter begins with a folder of the editor. mu is held.
func (s *server) enter(uri string) {
	dir, ok := nameOf(uri)
	if !ok || slices.ContainsFunc(s.rooms, func(r *room) bool { return r.dir == dir }) {
		return
	}
	r := s.newRoom(dir, s.o.House.Folder(dir))
	s.rooms = append(slices.Clone(s.rooms), r)
	r.look(0)
}

func (s *server) newRoom(dir string, folder Room) *room {
	r := &room{s: s, dir: dir, folder: folder, wake: make(chan struct{}, 1), gone: make(chan struct{}), looked: make(chan struct{}), published: map[string]string{}}
	s.work.Go(r.run)
	return r
}

// everyRoom are the rooms of folders and of single files. mu is held.
func (s *server) everyRoom() []*room {
	return append(slices.Clone(s.rooms), slices.Collect(maps.Values(s.singles))...)
}

// roomOf is the innermost folder that a file is in; nil: none. mu is held.
func (s *server) roomOf(name string) *room {
	var best *room
	for _, r := range s.rooms {
		if r.has(name) && (best == nil || len(r.dir) > len(best.dir)) {
			best = r
		}
	}
	return best
}

func (r *room) has(name string) bool {
	_, in := inside(r.dir, name)
	return in && r.dir != ""
}

// look has the room look again, when nothing has been typed for a while. mu is held.
func (r *room) look(after time.Duration) {
	r.asked++
	r.due = time.Now().Add(after)
	r.poke()
}

func (r *room) poke() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// leave ends it, and takes back what was published. mu is held.
func (r *room) leave() {
	if r.left {
		return
	}
	r.left = true
	close(r.gone)
	for _, uri := range slices.Sorted(maps.Keys(r.published)) {
		if r.published[uri] != "" {
			r.s.notify("textDocument/publishDiagnostics", publishParams{URI: uri, Diagnostics: []diagnostic{}})
		}
	}
	r.published = nil
}

// run looks when something has changed, until the room is left. What a look has found is worth nothing when something has changed
// meanwhile, and then it looks again.
func (r *room) run() {
	defer r.folder.Close()
	s := r.s
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		select {
		case <-r.gone:
			return
		case <-s.ctx.Done():
			return
		case <-r.folder.Changed():
			s.mu.Lock()
			r.look(0)
			s.mu.Unlock()
			continue
		case <-r.wake:
		case <-timer.C:
		}
		s.mu.Lock()
		wait, asked, open := time.Until(r.due), r.asked, s.open
		idle := r.found != nil && r.found.asked == asked
		s.mu.Unlock()
		if idle {
			continue
		}
		if wait > 0 {
			timer.Reset(wait)
			continue
		}
		r.check(asked, open)
	}
}

// check looks once, and publishes what it finds.
func (r *room) check(asked uint64, open Open) {
	s := r.s
	f := &found{asked: asked, open: open, texts: map[string]*text{}}
	defer s.survive("a look at "+r.dir, func(error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		f.List, f.Source, f.Fixes = nil, func(string) ([]byte, error) { return nil, fmt.Errorf("not read") }, func(diag.List) diag.List { return nil }
		f.Read, f.Page = func(string) bool { return false }, func(diag.Code) string { return "" }
		r.done(f)
	})
	f.Found = r.folder.Check(open)
	unread := ""
	if f.Failed != nil {
		unread = f.Failed.Error()
	}
	if unread != r.unread && unread != "" { // once, not at each key
		s.o.Log.Warn("not everything could be read", "error", unread)
		s.say(2, "flexgw: "+unread)
	}
	r.unread = unread
	out := r.params(f)
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.left {
		return
	}
	if r.asked != asked {
		r.poke()
		return
	}
	r.done(f)
	r.publish(out)
}

// done keeps what was found, for those who wait. mu is held.
func (r *room) done(f *found) {
	r.found = f
	close(r.looked)
	r.looked = make(chan struct{})
}

// params are the diagnostics by the URIs of their files.
func (r *room) params(f *found) map[string]*publishParams {
	s := r.s
	s.mu.Lock()
	docs := slices.Collect(maps.Values(s.docs))
	mine := func(name string) bool {
		if r.dir == "" {
			return s.singles[name] == r
		}
		owner := s.roomOf(name)
		return owner == r || owner == nil && s.singles[name] == nil // a project file above the folder may be wrong too
	}
	wanted, uris := map[string]bool{"": false}, map[string][]string{}
	for _, d := range docs {
		wanted[d.name] = mine(d.name)
		uris[d.name] = append(uris[d.name], d.uri)
	}
	for i := range f.List {
		if name := f.List[i].Subject.File; name != "" {
			wanted[name] = mine(name)
		}
	}
	s.mu.Unlock()
	out := map[string]*publishParams{}
	of := func(name string) []*publishParams {
		names := uris[name]
		if len(names) == 0 {
			names = []string{uriOf(name)}
		}
		var all []*publishParams
		for _, u := range names {
			if out[u] == nil {
				out[u] = &publishParams{URI: u, Diagnostics: []diagnostic{}}
			}
			all = append(all, out[u])
		}
		return all
	}
	for _, d := range docs {
		if wanted[d.name] && f.Read(d.name) {
			of(d.name)
		}
	}
	for i := range f.List {
		d := &f.List[i]
		if !wanted[d.Subject.File] {
			continue
		}
		for _, p := range of(d.Subject.File) {
			p.Diagnostics = append(p.Diagnostics, s.diagnostic(f, d, uris))
		}
	}
	for _, d := range docs {
		if p := out[d.uri]; p != nil {
			p.Version = &d.version
		}
	}
	return out
}

// publish tells the editor what differs from what it was told. mu is held.
func (r *room) publish(out map[string]*publishParams) {
	for _, uri := range slices.Sorted(maps.Keys(r.published)) {
		if out[uri] == nil {
			out[uri] = &publishParams{URI: uri, Diagnostics: []diagnostic{}}
		}
	}
	for _, uri := range slices.Sorted(maps.Keys(out)) {
		p := out[uri]
		b, err := json.Marshal(p)
		if err != nil {
			r.s.o.Log.Error("a diagnostic cannot be written", "error", err)
			continue
		}
		was, known := r.published[uri]
		now := string(b)
		if len(p.Diagnostics) == 0 && p.Version == nil {
			now = ""
		}
		if now == was && known || now == "" && !known {
			if now == "" {
				delete(r.published, uri)
			}
			continue
		}
		r.s.notify("textDocument/publishDiagnostics", json.RawMessage(b))
		if r.published[uri] = now; now == "" {
			delete(r.published, uri)
		}
	}
}

const (
	tagUnnecessary = 1
)

// unnecessary are the codes of what can go: nothing uses it.
var unnecessary = []diag.Code{"link/unused-service", "link/unused-extension", "link/unused-log-output", "link/ignored-field", "link/rules-ignored", "link/order-ignored",
	"link/useless-group", "link/unreachable-route", "link/unreachable-rule", "link/duplicate-setting", "shape/duplicate-item", "project/unused-suppression", "project/idle-pattern"}

// diagnostic is one as the protocol has it.
func (s *server) diagnostic(f *found, d *diag.Diagnostic, uris map[string][]string) diagnostic {
	out := diagnostic{Code: string(d.Code), Source: s.o.Name, Message: d.Summary, Severity: map[diag.Severity]int{diag.Error: 1, diag.Warning: 2, diag.Note: 3}[d.Severity]}
	if t := f.text(d.Subject.File); t != nil {
		out.Range = t.rangeOf(d.Subject, s.enc)
	}
	if d.Hint != "" {
		out.Message += "\n" + d.Hint
	}
	can := &s.can.TextDocument.PublishDiagnostics
	if page := f.Page(d.Code); page != "" && can.CodeDescriptionSupport {
		out.CodeDescription = &codeDescription{page}
	}
	if can.TagSupport != nil && slices.Contains(can.TagSupport.ValueSet, tagUnnecessary) && slices.Contains(unnecessary, d.Code) {
		out.Tags = []int{tagUnnecessary}
	}
	for _, x := range d.Related {
		if !can.RelatedInformation {
			out.Message += fmt.Sprintf("\n%s: %s", strings.TrimPrefix(x.Subject.String(), strings.TrimSuffix(d.Subject.File, "/")+":"), x.Summary)
			continue
		}
		at := Location{URI: uriOf(x.Subject.File)}
		if u := uris[x.Subject.File]; len(u) > 0 {
			at.URI = u[0]
		}
		if t := f.text(x.Subject.File); t != nil {
			at.Range = t.rangeOf(x.Subject, s.enc)
		}
		out.RelatedInformation = append(out.RelatedInformation, related{at, x.Summary})
	}
	return out
}
