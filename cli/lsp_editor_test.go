package cli_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/textproto"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// editor is a small one, in front of the real command.
type editor struct {
	t      testing.TB
	cmd    *exec.Cmd
	in     io.WriteCloser
	stderr lockedBuffer

	mu        sync.Mutex
	next      int
	waiting   map[string]chan answered // by id
	published map[string][]published   // by URI, all of them
	asked     []string                 // what the server asked
	logged    []string                 // window/logMessage
	news      chan struct{}            // closed, and made anew, when something came
	broken    string                   // what is no protocol
	ended     chan struct{}
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

type answered struct {
	Result json.RawMessage
	Error  *struct {
		Code    int
		Message string
	}
}

type place struct {
	Line      int `json:"line"`
	Character int `json:"character"`
}

type stretch struct {
	Start place `json:"start"`
	End   place `json:"end"`
}

type published struct {
	URI         string
	Version     *int
	Diagnostics []problem
}

type problem struct {
	Range           stretch
	Severity        int
	Code            string
	CodeDescription *struct{ Href string }
	Source, Message string
	Tags            []int
	Related         []struct {
		Location struct {
			URI   string
			Range stretch
		}
		Message string
	} `json:"relatedInformation"`
}

// likeVSCode is what VS Code can.
func likeVSCode() map[string]any {
	return map[string]any{
		"general": map[string]any{"positionEncodings": []string{"utf-16"}},
		"workspace": map[string]any{"workspaceFolders": true, "didChangeWatchedFiles": map[string]any{"dynamicRegistration": true},
			"workspaceEdit": map[string]any{"documentChanges": true}},
		"textDocument": map[string]any{
			"publishDiagnostics": map[string]any{"relatedInformation": true, "tagSupport": map[string]any{"valueSet": []int{1, 2}}, "codeDescriptionSupport": true, "versionSupport": true},
			"hover":              map[string]any{"contentFormat": []string{"markdown", "plaintext"}},
			"documentSymbol":     map[string]any{"hierarchicalDocumentSymbolSupport": true},
			"codeAction":         map[string]any{"codeActionLiteralSupport": map[string]any{"codeActionKind": map[string]any{"valueSet": []string{"quickfix"}}}},
		},
	}
}

// startEditor starts the server; nothing is said yet.
func startEditor(t testing.TB, args ...string) *editor {
	t.Helper()
	e := &editor{t: t, waiting: map[string]chan answered{}, published: map[string][]published{}, news: make(chan struct{}), ended: make(chan struct{})}
	e.cmd = exec.Command("flexgw", append([]string{"lsp"}, args...)...)
	e.cmd.Env = append(os.Environ(), "FLEXGW_TEST=1")
	e.cmd.Stderr = &e.stderr
	var err error
	if e.in, err = e.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := e.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := e.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go e.read(bufio.NewReader(out))
	t.Cleanup(func() {
		e.in.Close()
		select {
		case <-e.ended:
		case <-time.After(2 * time.Minute):
			e.cmd.Process.Kill()
			t.Error("the server does not end when its input does")
		}
		e.cmd.Wait()
		if e.broken != "" {
			t.Errorf("on standard output is what is no protocol: %s", e.broken)
		}
		if s := e.stderr.String(); strings.Contains(s, "DATA RACE") || strings.Contains(s, "panic") {
			t.Errorf("the server said:\n%s", s)
		}
	})
	return e
}

// openFolder starts the server on folders as an editor does.
func openFolder(t testing.TB, capabilities map[string]any, dirs []string, args ...string) *editor {
	t.Helper()
	e := startEditor(t, args...)
	var folders []any
	for _, d := range dirs {
		folders = append(folders, map[string]any{"uri": fileURI(d), "name": filepath.Base(d)})
	}
	e.must("initialize", map[string]any{"processId": nil, "rootUri": nil, "workspaceFolders": folders, "capabilities": capabilities}, nil)
	e.notify("initialized", map[string]any{})
	return e
}

func fileURI(path string) string { return "file://" + path }

func (e *editor) send(v any) {
	b, err := json.Marshal(v)
	if err != nil {
		e.t.Fatal(err)
	}
	e.raw(fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(b), b))
}

func (e *editor) raw(text string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	io.WriteString(e.in, text)
}

func (e *editor) notify(method string, params any) {
	e.send(map[string]any{"jsonrpc": "2.0", "method": method, "params": params})
}

// ask sends a request; the answer comes on the channel.
func (e *editor) ask(method string, params any) (id int, answer chan answered) {
	e.mu.Lock()
	e.next++
	id, answer = e.next, make(chan answered, 1)
	e.waiting[strconv.Itoa(id)] = answer
	e.mu.Unlock()
	e.send(map[string]any{"jsonrpc": "2.0", "id": id, "method": method, "params": params})
	return id, answer
}

func (e *editor) call(method string, params any) answered {
	e.t.Helper()
	_, answer := e.ask(method, params)
	return e.await(answer, method)
}

func (e *editor) await(answer chan answered, what string) answered {
	e.t.Helper()
	select {
	case a := <-answer:
		return a
	case <-time.After(2 * time.Minute):
		e.t.Fatalf("no answer to %s; the server said:\n%s", what, e.stderr.String())
		return answered{}
	}
}

// must asks and decodes the answer, which is no error.
func (e *editor) must(method string, params, into any) {
	e.t.Helper()
	a := e.call(method, params)
	if a.Error != nil {
		e.t.Fatalf("%s: %d %s", method, a.Error.Code, a.Error.Message)
	}
	if into != nil {
		if err := json.Unmarshal(a.Result, into); err != nil {
			e.t.Fatalf("%s: %v in %s", method, err, a.Result)
		}
	}
}

func (e *editor) read(r *bufio.Reader) {
	defer close(e.ended)
	for {
		head, err := textproto.NewReader(r).ReadMIMEHeader()
		if errors.Is(err, io.EOF) && len(head) == 0 {
			return
		}
		n, bad := strconv.Atoi(head.Get("Content-Length"))
		if err != nil || bad != nil {
			e.broken = fmt.Sprint(head, err, bad)
			return
		}
		body := make([]byte, n)
		if _, err := io.ReadFull(r, body); err != nil {
			e.broken = err.Error()
			return
		}
		var m struct {
			JSONRPC string
			ID      json.RawMessage
			Method  string
			Params  json.RawMessage
			answered
		}
		if err := json.Unmarshal(body, &m); err != nil || m.JSONRPC != "2.0" {
			e.broken = string(body)
			return
		}
		e.took(m.ID, m.Method, m.Params, m.answered)
	}
}

func (e *editor) took(id json.RawMessage, method string, params json.RawMessage, a answered) {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case method == "":
		key := string(id)
		if c := e.waiting[key]; c != nil {
			c <- a
		}
		if key != "null" { // which every answer to what cannot be read has
			delete(e.waiting, key)
		}
	case len(id) > 0 && string(id) != "null":
		e.asked = append(e.asked, method)
		go e.send(map[string]any{"jsonrpc": "2.0", "id": id, "result": nil})
	case method == "textDocument/publishDiagnostics":
		var p published
		if err := json.Unmarshal(params, &p); err != nil {
			e.broken = err.Error()
		}
		e.published[p.URI] = append(e.published[p.URI], p)
	case method == "window/logMessage":
		e.logged = append(e.logged, string(params))
	}
	close(e.news)
	e.news = make(chan struct{})
}

// until waits until ok is true of what came.
func (e *editor) until(what string, ok func() bool) {
	e.t.Helper()
	deadline := time.After(2 * time.Minute)
	for {
		e.mu.Lock()
		done, news := ok(), e.news
		e.mu.Unlock()
		if done {
			return
		}
		select {
		case <-news:
		case <-deadline:
			e.mu.Lock()
			defer e.mu.Unlock()
			e.t.Fatalf("%s: it did not come; published: %+v\nthe server said:\n%s", what, e.published, e.stderr.String())
		}
	}
}

// last is what was published of a file last.
func (e *editor) last(path string) (p published, any bool) {
	all := e.published[fileURI(path)]
	if len(all) == 0 {
		return p, false
	}
	return all[len(all)-1], true
}

// shows waits until the problems of a file are exactly these codes, each with its line from 1: "12 link/unknown-policy".
func (e *editor) shows(path string, want ...string) []problem {
	e.t.Helper()
	var got []problem
	e.until(fmt.Sprintf("%s with %q", filepath.Base(path), want), func() bool {
		p, ok := e.last(path)
		got = p.Diagnostics
		return ok && slices.Equal(lines(got), want)
	})
	return got
}

func lines(l []problem) []string {
	var out []string
	for _, d := range l {
		out = append(out, fmt.Sprintf("%d %s", d.Range.Start.Line+1, d.Code))
	}
	return out
}

// at waits for what is published of a version of a file.
func (e *editor) at(path string, version int) []problem {
	e.t.Helper()
	var got published
	e.until(fmt.Sprintf("version %d of %s", version, filepath.Base(path)), func() bool {
		p, ok := e.last(path)
		got = p
		return ok && p.Version != nil && *p.Version == version
	})
	return got.Diagnostics
}

func (e *editor) opens(path, text string) {
	language := strings.TrimPrefix(filepath.Ext(path), ".")
	e.notify("textDocument/didOpen", map[string]any{"textDocument": map[string]any{"uri": fileURI(path), "languageId": language, "version": 1, "text": text}})
}

func (e *editor) changes(path string, version int, edits ...map[string]any) {
	e.notify("textDocument/didChange", map[string]any{"textDocument": map[string]any{"uri": fileURI(path), "version": version}, "contentChanges": edits})
}

func (e *editor) closes(path string) {
	e.notify("textDocument/didClose", map[string]any{"textDocument": map[string]any{"uri": fileURI(path)}})
}

func whole(text string) map[string]any { return map[string]any{"text": text} }

func part(r stretch, text string) map[string]any { return map[string]any{"range": r, "text": text} }

// over is the parameters of a request about the first place of a word in a text; more moves it on.
func over(path, text, word string, more int) map[string]any {
	i := strings.Index(text, word)
	if i < 0 {
		panic("no " + word)
	}
	before := text[:i+more]
	return map[string]any{"textDocument": map[string]any{"uri": fileURI(path)},
		"position": place{strings.Count(before, "\n"), len(before) - strings.LastIndexByte(before, '\n') - 1}}
}
