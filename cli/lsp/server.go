package lsp

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sourcegraph/jsonrpc2"

	"github.com/flexgw/flexgw/schema/diag"
)

// atOnce is how many requests are answered at the same time; the others wait.
const atOnce = 4

type server struct {
	o    Options
	conn *jsonrpc2.Conn
	out  *stream
	work sync.WaitGroup // requests and rooms
	turn chan struct{}

	ctx  context.Context
	stop context.CancelFunc

	mu       sync.Mutex
	phase    phase
	can      clientCapabilities
	enc      encoding
	docs     map[string]*document // by URI
	open     Open                 // their texts; replaced, never changed
	rooms    []*room              // of folders
	singles  map[string]*room     // of files outside, by name
	running  map[jsonrpc2.ID]context.CancelFunc
	ended    chan struct{} // closed by exit
	shutdown bool
}

type phase uint8

const (
	fresh phase = iota
	initialized
	down // after shutdown
)

// document is a file that is open in the editor.
type document struct {
	uri     string
	name    string
	version int32
	text    *text // replaced, never changed
	opened  bool  // nothing was published for it yet
}

func newServer(o Options) *server {
	return &server{o: o, enc: utf16Encoding, turn: make(chan struct{}, atOnce), docs: map[string]*document{}, open: Open{}, singles: map[string]*room{},
		running: map[jsonrpc2.ID]context.CancelFunc{}, ended: make(chan struct{})}
}

func (s *server) serve(ctx context.Context, in io.Reader, out io.Writer) (clean bool) {
	s.ctx, s.stop = context.WithCancel(ctx)
	defer s.stop()
	s.out = newStream(in, out)
	begun := make(chan struct{})
	s.conn = jsonrpc2.NewConn(s.ctx, s.out, handler{s, begun}, jsonrpc2.SetLogger(connLog{s}))
	close(begun)
	select {
	case <-s.ended:
	case <-s.conn.DisconnectNotify():
	}
	s.stop()
	<-s.conn.DisconnectNotify()
	s.mu.Lock()
	for _, r := range s.everyRoom() {
		r.leave()
	}
	clean = s.shutdown
	s.mu.Unlock()
	done := make(chan struct{})
	go func() { s.work.Wait(); close(done) }()
	for _, c := range []<-chan struct{}{done, s.out.flushed()} {
		select {
		case <-c:
		case <-time.After(2 * time.Second): // a look at very many files is not waited for
		}
	}
	return clean
}

// connLog takes what the library has to say.
type connLog struct{ s *server }

// Printf implements jsonrpc2.Logger.
func (l connLog) Printf(format string, v ...any) {
	l.s.o.Log.Debug(strings.TrimSpace(fmt.Sprintf(format, v...)))
}

// handler is what the library calls for each request and notification, one after the other.
type handler struct {
	s     *server
	begun <-chan struct{} // closed when the server knows its connection
}

// Handle implements jsonrpc2.Handler. Notifications are done when it returns, so that what comes after them knows of them; a
// request takes what is known now with it, and is answered beside.
func (h handler) Handle(_ context.Context, _ *jsonrpc2.Conn, r *jsonrpc2.Request) {
	<-h.begun
	s := h.s
	defer s.survive(r.Method, func(err error) {
		if !r.Notif {
			s.reply(r.ID, nil, err)
		}
	})
	s.mu.Lock()
	phase := s.phase
	s.mu.Unlock()
	if r.Notif {
		switch {
		case r.Method == "exit":
			s.exit()
		case phase == initialized:
			s.notified(r)
		}
		return
	}
	switch {
	case r.Method == "initialize" && phase == fresh:
		result, err := s.initialize(r)
		s.reply(r.ID, result, err)
	case phase == fresh:
		s.reply(r.ID, nil, failed(codeNotInitialized, "the first request is initialize"))
	case r.Method == "initialize", phase == down:
		s.reply(r.ID, nil, failed(jsonrpc2.CodeInvalidRequest, "%s cannot be asked any more", r.Method))
	case r.Method == "shutdown":
		s.mu.Lock()
		s.phase, s.shutdown = down, true
		s.mu.Unlock()
		s.reply(r.ID, nil, nil)
	default:
		s.requested(r)
	}
}

func failed(code int64, format string, args ...any) error {
	return &jsonrpc2.Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

// reply answers a request.
func (s *server) reply(id jsonrpc2.ID, result any, err error) {
	response := &jsonrpc2.Response{ID: id}
	if err == nil {
		err = response.SetResult(result)
	}
	if err != nil {
		e := new(jsonrpc2.Error)
		if !errors.As(err, &e) {
			e = &jsonrpc2.Error{Code: jsonrpc2.CodeInternalError, Message: err.Error()}
		}
		response.Result, response.Error = nil, e
	}
	if err := s.conn.SendResponse(s.ctx, response); err != nil {
		s.o.Log.Debug("an answer was not sent", "error", err)
	}
}

// survive is deferred around what may fail: whatever happens in there, the server goes on.
func (s *server) survive(what string, then func(error)) {
	x := recover()
	if x == nil {
		return
	}
	s.o.Log.Error("this is a bug in flexgw; the server goes on", "in", what, "panic", fmt.Sprint(x), "stack", string(debug.Stack()))
	s.say(1, fmt.Sprintf("flexgw: a bug in %s: %v; the server goes on", what, x))
	if then != nil {
		then(failed(jsonrpc2.CodeInternalError, "a bug of flexgw in %s: %v", what, x))
	}
}

// say writes into the editor's log.
func (s *server) say(kind int, words string) {
	s.notify("window/logMessage", logMessage{kind, words})
}

func (s *server) notify(method string, params any) {
	if err := s.conn.Notify(s.ctx, method, params); err != nil {
		s.o.Log.Debug("a notification was not sent", "method", method, "error", err)
	}
}

func (s *server) exit() {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-s.ended:
	default:
		close(s.ended)
	}
}

// params decodes what a message has with it.
func params[P any](r *jsonrpc2.Request) (P, error) {
	var p P
	if r.Params == nil {
		return p, failed(jsonrpc2.CodeInvalidParams, "%s needs params", r.Method)
	}
	if err := json.Unmarshal(*r.Params, &p); err != nil {
		return p, failed(jsonrpc2.CodeInvalidParams, "params of %s: %v", r.Method, err)
	}
	return p, nil
}

func (s *server) initialize(r *jsonrpc2.Request) (any, error) {
	p, err := params[initializeParams](r)
	if err != nil {
		return nil, err
	}
	var out initializeResult
	out.ServerInfo.Name, out.ServerInfo.Version = s.o.Name, s.o.Version
	c := &out.Capabilities
	s.mu.Lock()
	defer s.mu.Unlock()
	s.phase, s.can = initialized, p.Capabilities
	if slices.Contains(p.Capabilities.General.PositionEncodings, utf8Encoding) {
		s.enc = utf8Encoding
	}
	c.PositionEncoding = s.enc
	c.TextDocumentSync = syncOptions{OpenClose: true, Change: 2, Save: saveOptions{}}
	c.HoverProvider, c.DefinitionProvider, c.DocumentSymbolProvider, c.DocumentFormattingProvider = true, true, true, true
	c.CodeActionProvider = s.can.TextDocument.CodeAction.LiteralSupport != nil
	if c.CodeActionProvider == true {
		c.CodeActionProvider = codeActionOptions{[]string{quickFix, fixAll}}
	}
	c.CompletionProvider.TriggerCharacters = []string{":", " ", "\"", "-"}
	c.Workspace.WorkspaceFolders.Supported, c.Workspace.WorkspaceFolders.ChangeNotifications = true, true
	folders := p.WorkspaceFolders
	switch {
	case len(folders) > 0:
	case p.RootURI != "":
		folders = []workspaceFolder{{URI: p.RootURI}}
	case p.RootPath != "":
		folders = []workspaceFolder{{URI: uriOf(strings.ReplaceAll(p.RootPath, `\`, "/"))}}
	}
	for _, f := range folders {
		s.enter(f.URI)
	}
	s.o.Log.Info("an editor is connected", "editor", p.ClientInfo.Name, "folders", len(s.rooms), "positions", string(s.enc))
	return out, nil
}

// initialized is the end of the beginning: only now the server may ask for something.
func (s *server) initialized() {
	s.mu.Lock()
	ask := s.can.Workspace.DidChangeWatchedFiles.DynamicRegistration
	s.mu.Unlock()
	if !ask {
		return
	}
	s.work.Go(func() {
		defer s.survive("client/registerCapability", nil)
		watch := registration{"flexgw-files", "workspace/didChangeWatchedFiles", watchOptions{[]fileWatcher{{"**/*.{yaml,yml,json,cue}"}}}}
		if err := s.conn.Call(s.ctx, "client/registerCapability", registrationParams{[]registration{watch}}, nil); err != nil && s.ctx.Err() == nil {
			s.o.Log.Info("the editor does not watch files", "error", err)
		}
	})
}

func (s *server) notified(r *jsonrpc2.Request) {
	var err error
	switch r.Method {
	case "initialized":
		s.initialized()
	case "textDocument/didOpen":
		err = with(r, s.didOpen)
	case "textDocument/didChange":
		err = with(r, s.didChange)
	case "textDocument/didSave":
		err = with(r, s.didSave)
	case "textDocument/didClose":
		err = with(r, s.didClose)
	case "workspace/didChangeWatchedFiles", "workspace/didChangeConfiguration":
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, r := range s.everyRoom() {
			r.folder.Again()
			r.look(0)
		}
	case "workspace/didChangeWorkspaceFolders":
		err = with(r, s.didChangeFolders)
	case "$/cancelRequest":
		err = with(r, s.cancel)
	default:
		s.o.Log.Debug("a notification is not known", "method", r.Method)
	}
	if err != nil {
		s.o.Log.Warn("a notification is not understood", "method", r.Method, "error", err)
		s.say(2, "flexgw: "+err.Error())
	}
}

// with calls f with what a notification has with it.
func with[P any](r *jsonrpc2.Request, f func(P) error) error {
	p, err := params[P](r)
	if err != nil {
		return err
	}
	return f(p)
}

func (s *server) didOpen(p didOpenParams) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	d := p.TextDocument
	doc := &document{uri: d.URI, version: d.Version, text: newText([]byte(d.Text)), opened: true}
	name, isFile := nameOf(d.URI)
	if !isFile {
		name = unsaved(d.URI, d.LanguageID)
	}
	doc.name = name
	s.docs[d.URI] = doc
	s.show(doc)
	if s.roomOf(name) == nil && s.singles[name] == nil {
		s.singles[name] = s.newRoom("", s.o.House.File(name))
	}
	s.changed(name, 0)
	return nil
}

// unsaved is the name of a text that is in no file yet. Its ending says in what language it is.
func unsaved(uri, language string) string {
	ending := ".yaml"
	switch language {
	case "json", "jsonc":
		ending = ".json"
	case "cue":
		ending = ".cue"
	}
	_, rest, _ := strings.Cut(uri, ":")
	return "/" + strings.Trim(strings.ReplaceAll(rest, "/", "-"), "-") + ending
}

// show makes the text of a document the one that counts.
func (s *server) show(d *document) {
	s.open = maps.Clone(s.open)
	s.open[d.name] = d.text.b
}

// changed has the rooms that a file counts in look again.
func (s *server) changed(name string, after time.Duration) {
	for _, r := range s.rooms {
		if r.has(name) {
			r.look(after)
		}
	}
	if r := s.singles[name]; r != nil {
		r.look(after)
	}
}

func (s *server) didChange(p didChangeParams) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	d := s.docs[p.TextDocument.URI]
	if d == nil {
		return fmt.Errorf("%s is not open", diag.Visible(p.TextDocument.URI))
	}
	next := *d
	for _, c := range p.ContentChanges {
		if c.Range == nil {
			next.text = newText([]byte(c.Text))
			continue
		}
		next.text = next.text.replaced(next.text.offset(c.Range.Start, s.enc), next.text.offset(c.Range.End, s.enc), c.Text)
	}
	next.version = p.TextDocument.Version
	s.docs[d.uri] = &next
	s.show(&next)
	s.changed(d.name, s.o.Debounce)
	return nil
}

func (s *server) didSave(p didSaveParams) error {
	name, ok := nameOf(p.TextDocument.URI)
	if !ok {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.everyRoom() { // a save may touch other files too: a commit hook, a formatter
		if _, in := inside(r.dir, name); in || r.dir == "" {
			r.folder.Again()
			r.look(0)
		}
	}
	return nil
}

func (s *server) didClose(p documentParams) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	d := s.docs[p.TextDocument.URI]
	if d == nil {
		return nil
	}
	delete(s.docs, d.uri)
	s.open = maps.Clone(s.open)
	delete(s.open, d.name)
	still := false
	for _, other := range s.docs { // under another spelling of its URI
		if other.name == d.name {
			s.open[d.name], still = other.text.b, true
		}
	}
	if r := s.singles[d.name]; r != nil && !still {
		delete(s.singles, d.name)
		r.leave()
	}
	s.changed(d.name, 0)
	return nil
}

func (s *server) didChangeFolders(p foldersParams) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range p.Event.Removed {
		dir, ok := nameOf(f.URI)
		i := slices.IndexFunc(s.rooms, func(r *room) bool { return r.dir == dir })
		if !ok || i < 0 {
			continue
		}
		r := s.rooms[i]
		s.rooms = slices.Delete(slices.Clone(s.rooms), i, i+1)
		r.leave()
	}
	for _, f := range p.Event.Added {
		s.enter(f.URI)
	}
	for _, d := range s.docs { // a file may be inside now, or outside
		inRoom := s.roomOf(d.name) != nil
		if r := s.singles[d.name]; r != nil && inRoom {
			delete(s.singles, d.name)
			r.leave()
		} else if r == nil && !inRoom {
			s.singles[d.name] = s.newRoom("", s.o.House.File(d.name))
			s.singles[d.name].look(0)
		}
	}
	for _, r := range s.rooms {
		r.look(0)
	}
	return nil
}

func (s *server) cancel(p cancelParams) error {
	var id jsonrpc2.ID
	if err := json.Unmarshal(p.ID, &id); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if stop := s.running[id]; stop != nil {
		stop()
	}
	return nil
}

// view is what a request knows: the document as it was when it came.
type view struct {
	doc  *document
	room *room // nil: nobody judges the file
	open Open
	enc  encoding
}

// requested answers a request beside, with what is known now.
func (s *server) requested(r *jsonrpc2.Request) {
	answer := s.answers(r.Method)
	if answer == nil {
		s.reply(r.ID, nil, failed(jsonrpc2.CodeMethodNotFound, "no method %q", r.Method))
		return
	}
	p, err := params[documentParams](r)
	if err != nil {
		s.reply(r.ID, nil, err)
		return
	}
	s.mu.Lock()
	v := view{doc: s.docs[p.TextDocument.URI], open: s.open, enc: s.enc}
	if v.doc == nil {
		s.mu.Unlock()
		s.reply(r.ID, nil, failed(jsonrpc2.CodeInvalidParams, "%s is not open", diag.Visible(p.TextDocument.URI)))
		return
	}
	if v.room = s.roomOf(v.doc.name); v.room == nil {
		v.room = s.singles[v.doc.name]
	}
	ctx, stop := context.WithCancel(s.ctx)
	if s.running[r.ID] != nil {
		s.mu.Unlock()
		stop()
		s.reply(r.ID, nil, failed(jsonrpc2.CodeInvalidRequest, "a request with the id %s is not answered yet", r.ID))
		return
	}
	s.running[r.ID] = stop
	s.mu.Unlock()
	s.work.Go(func() {
		defer func() {
			s.mu.Lock()
			delete(s.running, r.ID)
			s.mu.Unlock()
			stop()
		}()
		result, err := s.answer(ctx, r, v, answer)
		s.reply(r.ID, result, err)
	})
}

// answer waits for its turn and asks.
func (s *server) answer(ctx context.Context, r *jsonrpc2.Request, v view, f answerer) (result any, err error) {
	defer s.survive(r.Method, func(e error) { result, err = nil, e })
	select {
	case s.turn <- struct{}{}:
		defer func() { <-s.turn }()
	case <-ctx.Done():
	}
	if ctx.Err() == nil && v.room != nil && v.room.folder.Counts(v.doc.name) {
		result, err = f(ctx, r, v)
	}
	if ctx.Err() != nil {
		return nil, failed(codeCancelled, "%s was cancelled", r.Method)
	}
	return result, err
}

type answerer func(ctx context.Context, r *jsonrpc2.Request, v view) (any, error)

func (s *server) answers(method string) answerer {
	switch method {
	case "textDocument/hover":
		return s.hover
	case "textDocument/definition":
		return s.definition
	case "textDocument/documentSymbol":
		return s.symbols
	case "textDocument/codeAction":
		return s.actions
	case "textDocument/formatting":
		return s.formatting
	case "textDocument/completion":
		return s.completion
	}
	return nil
}

// outdated reports whether the editor has another text by now; what is about the old one would be put in wrong places.
func (s *server) outdated(v view) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.docs[v.doc.uri]
	return now == nil || now.version != v.doc.version || !bytes.Equal(now.text.b, v.doc.text.b)
}

var errModified = failed(codeContentModified, "the text has changed meanwhile")
