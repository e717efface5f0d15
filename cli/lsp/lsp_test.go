package lsp

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/textproto"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/flexgw/flexgw/schema/diag"
)

// paper is a House that knows nothing, and does what a test says.
type paper struct {
	check func(Open) Found
	hover func(context.Context, Open) *Hover
}

func (p *paper) Folder(string) Room { return p }
func (p *paper) File(string) Room   { return p }
func (p *paper) Check(open Open) Found {
	if p.check != nil {
		return p.check(open)
	}
	return nothing(open)
}

func nothing(open Open) Found {
	return Found{Source: func(name string) ([]byte, error) { return open[name], nil }, Read: func(string) bool { return true }, Fixes: func(l diag.List) diag.List { return l },
		Page: func(diag.Code) string { return "" }}
}

func (p *paper) Counts(string) bool       { return true }
func (p *paper) Changed() <-chan struct{} { return nil }
func (p *paper) Again()                   {}
func (p *paper) Close()                   {}
func (p *paper) Hover(ctx context.Context, open Open, _ string, _ int) *Hover {
	if p.hover == nil {
		return nil
	}
	return p.hover(ctx, open)
}
func (p *paper) Definition(context.Context, Open, string, int) []Target { return nil }
func (p *paper) Symbols(context.Context, Open, string) []Symbol         { return nil }
func (p *paper) Complete(context.Context, Open, string, int) []Item     { return nil }
func (p *paper) Format(_ context.Context, open Open, name string) ([]byte, string) {
	return bytes.ToUpper(open[name]), ""
}
func (p *paper) FixAll(context.Context, Open, string) []byte { return nil }

// wire is the other end of a server.
type wire struct {
	t    *testing.T
	in   *io.PipeWriter
	out  chan map[string]any
	done chan bool
}

func dial(t *testing.T, house House, debounce time.Duration) *wire {
	t.Helper()
	inR, inW := io.Pipe()
	outR, outW := io.Pipe()
	w := &wire{t: t, in: inW, out: make(chan map[string]any, 1000), done: make(chan bool, 1)}
	go func() {
		w.done <- Serve(context.Background(), inR, outW, Options{House: house, Name: "x", Log: slog.New(slog.DiscardHandler), Debounce: debounce})
		outW.Close()
	}()
	go func() {
		defer close(w.out)
		for r := bufio.NewReader(outR); ; {
			m, err := readFrame(r)
			if err != nil {
				return
			}
			w.out <- m
		}
	}()
	t.Cleanup(func() { inW.Close() })
	w.say(`{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"rootUri":"file:///w","capabilities":{}}}`)
	w.hear(`"id":1`)
	return w
}

func readFrame(r *bufio.Reader) (map[string]any, error) {
	head, err := textproto.NewReader(r).ReadMIMEHeader()
	if err != nil {
		return nil, err
	}
	n, err := strconv.Atoi(head.Get("Content-Length"))
	if err != nil {
		return nil, err
	}
	body := make([]byte, n)
	if _, err := io.ReadFull(r, body); err != nil {
		return nil, err
	}
	var m map[string]any
	err = json.Unmarshal(body, &m)
	return m, err
}

func (w *wire) say(body string) {
	fmt.Fprintf(w.in, "Content-Length: %d\r\n\r\n%s", len(body), body)
}

// hear waits for a message that holds all words.
func (w *wire) hear(words ...string) string {
	w.t.Helper()
	deadline := time.After(2 * time.Minute)
	for {
		select {
		case m, ok := <-w.out:
			if !ok {
				w.t.Fatalf("the server ended before %q", words)
			}
			b, _ := json.Marshal(m)
			all := true
			for _, x := range words {
				all = all && strings.Contains(string(b), x)
			}
			if all {
				return string(b)
			}
		case <-deadline:
			w.t.Fatalf("%q did not come", words)
		}
	}
}

func (w *wire) open(text string) {
	b, _ := json.Marshal(text)
	w.say(`{"jsonrpc":"2.0","method":"textDocument/didOpen","params":{"textDocument":{"uri":"file:///w/a.yaml","languageId":"yaml","version":1,"text":` + string(b) + `}}}`)
}

func (w *wire) change(version int, text string) {
	w.say(fmt.Sprintf(`{"jsonrpc":"2.0","method":"textDocument/didChange","params":{"textDocument":{"uri":"file:///w/a.yaml","version":%d},"contentChanges":[{"text":%q}]}}`, version, text))
}

const atStart = `"params":{"textDocument":{"uri":"file:///w/a.yaml"},"position":{"line":0,"character":0}}}`

// TestPanicsEndNothing: what fails in the house is an error of the request, and the next one is answered.
func TestPanicsEndNothing(t *testing.T) {
	t.Parallel()
	var broken atomic.Bool
	broken.Store(true)
	p := &paper{
		check: func(open Open) Found {
			if broken.Load() {
				panic("a look")
			}
			f := nothing(open)
			f.List = diag.List{{Code: "a/b", Summary: "words", Subject: diag.Range{File: "/w/a.yaml"}}}
			return f
		},
		hover: func(context.Context, Open) *Hover {
			if broken.Load() {
				panic("a hover")
			}
			return &Hover{Markdown: "fine"}
		},
	}
	w := dial(t, p, time.Millisecond)
	w.open("a")
	w.hear("logMessage", "a look")
	w.say(`{"jsonrpc":"2.0","id":2,"method":"textDocument/hover",` + atStart)
	w.hear(`"id":2`, "-32603", "a hover")
	broken.Store(false)
	w.say(`{"jsonrpc":"2.0","id":3,"method":"textDocument/hover",` + atStart)
	w.hear(`"id":3`, "fine")
	w.change(2, "b")
	w.hear("publishDiagnostics", "words", `"version":2`)
	w.say(`{"jsonrpc":"2.0","id":4,"method":"shutdown"}`)
	w.hear(`"id":4`)
	w.say(`{"jsonrpc":"2.0","method":"exit"}`)
	if !<-w.done {
		t.Error("it was told to shut down")
	}
}

// TestOutdatedLooksAreThrownAway: a look at a text that is gone publishes nothing, and holds up no request.
func TestOutdatedLooksAreThrownAway(t *testing.T) {
	t.Parallel()
	begun, goOn := make(chan string, 10), make(chan struct{})
	p := &paper{check: func(open Open) Found {
		text := string(open["/w/a.yaml"])
		begun <- text
		if text == "first" {
			<-goOn
		}
		f := nothing(open)
		f.List = diag.List{{Code: "a/b", Summary: "about " + text, Subject: diag.Range{File: "/w/a.yaml"}}}
		return f
	}}
	w := dial(t, p, time.Millisecond)
	w.open("first")
	for text := range begun {
		if text == "first" {
			break
		}
	}
	w.change(2, "second")
	w.say(`{"jsonrpc":"2.0","id":2,"method":"textDocument/hover",` + atStart)
	w.hear(`"id":2`)
	close(goOn)
	if m := w.hear("publishDiagnostics", "about"); !strings.Contains(m, "about second") {
		t.Errorf("%s", m)
	}
}

// TestAFolderThatIsLeftHoldsUpNobody: who waits for what is found in it is answered when the editor closes it, and takes no turn from others.
func TestAFolderThatIsLeftHoldsUpNobody(t *testing.T) {
	t.Parallel()
	begun, goOn := make(chan struct{}, 10), make(chan struct{})
	p := &paper{check: func(open Open) Found { begun <- struct{}{}; <-goOn; return nothing(open) }}
	w := dial(t, p, time.Millisecond)
	defer close(goOn)
	w.open("a")
	<-begun
	for id := range atOnce {
		w.say(fmt.Sprintf(`{"jsonrpc":"2.0","id":"a%d","method":"textDocument/codeAction","params":{"textDocument":{"uri":"file:///w/a.yaml"},"range":{"start":{"line":0,"character":0},"end":{"line":0,"character":0}},"context":{"diagnostics":[]}}}`, id))
	}
	w.say(`{"jsonrpc":"2.0","method":"workspace/didChangeWorkspaceFolders","params":{"event":{"added":[],"removed":[{"uri":"file:///w","name":"w"}]}}}`)
	for range atOnce { // in whatever order
		w.hear(`"id":"a`)
	}
	w.say(`{"jsonrpc":"2.0","id":"h","method":"textDocument/hover",` + atStart)
	w.hear(`"h"`)
}

// TestRequestsKnowTheTextThatTheyAreAbout: a change that comes behind a request does not change what it sees.
func TestRequestsKnowTheTextThatTheyAreAbout(t *testing.T) {
	t.Parallel()
	p := &paper{hover: func(_ context.Context, open Open) *Hover {
		return &Hover{Markdown: "it says " + string(open["/w/a.yaml"])}
	}}
	w := dial(t, p, time.Hour)
	w.open("v1")
	for v := 2; v < 50; v++ {
		w.say(fmt.Sprintf(`{"jsonrpc":"2.0","id":"h%d","method":"textDocument/hover",`, v) + atStart)
		w.change(v, fmt.Sprintf("v%d", v))
		w.hear(fmt.Sprintf(`"h%d"`, v), fmt.Sprintf(`it says v%d"`, v-1))
	}
}

// TestCancelledRequestsAreAnswered, and a formatting of a text that has changed meanwhile is not applied to another one.
func TestCancelledRequestsAreAnswered(t *testing.T) {
	t.Parallel()
	asked := make(chan struct{})
	p := &paper{hover: func(ctx context.Context, _ Open) *Hover { close(asked); <-ctx.Done(); return &Hover{} }}
	w := dial(t, p, time.Hour)
	w.open("a")
	w.say(`{"jsonrpc":"2.0","id":7,"method":"textDocument/hover",` + atStart)
	<-asked
	w.say(`{"jsonrpc":"2.0","id":7,"method":"textDocument/hover",` + atStart)
	w.hear(`"id":7`, "-32600")
	w.say(`{"jsonrpc":"2.0","method":"$/cancelRequest","params":{"id":7}}`)
	w.hear(`"id":7`, "-32800")
}

// TestTwoSpellingsOfOneFile: what is closed under one is still open under the other, and the problems of the first are taken back.
func TestTwoSpellingsOfOneFile(t *testing.T) {
	t.Parallel()
	p := &paper{check: func(open Open) Found {
		f := nothing(open)
		f.List = diag.List{{Code: "a/b", Summary: "it says " + string(open["/w/a.yaml"]), Subject: diag.Range{File: "/w/a.yaml"}}}
		return f
	}}
	w := dial(t, p, time.Millisecond)
	w.open("one")
	w.hear("publishDiagnostics", `file:///w/a.yaml`, "it says one")
	w.say(`{"jsonrpc":"2.0","method":"textDocument/didOpen","params":{"textDocument":{"uri":"file:///w/%61.yaml","version":1,"text":"two"}}}`)
	w.hear("publishDiagnostics", `file:///w/%61.yaml`, "it says two")
	w.say(`{"jsonrpc":"2.0","method":"textDocument/didClose","params":{"textDocument":{"uri":"file:///w/a.yaml"}}}`)
	w.hear("publishDiagnostics", `file:///w/a.yaml`, `"diagnostics":[]`)
	w.say(`{"jsonrpc":"2.0","method":"textDocument/didClose","params":{"textDocument":{"uri":"file:///w/%61.yaml"}}}`)
	w.hear("publishDiagnostics", "it says")
}

// TestNobodyReads: a server whose editor does not read goes on reading.
func TestNobodyReads(t *testing.T) {
	t.Parallel()
	inR, inW := io.Pipe()
	outR, outW := io.Pipe()
	done := make(chan bool, 1)
	go func() {
		done <- Serve(context.Background(), inR, outW, Options{House: &paper{}, Log: slog.New(slog.DiscardHandler)})
	}()
	w := &wire{t: t, in: inW}
	w.say(`{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"capabilities":{}}}`)
	for i := range 2_000 {
		w.say(fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":"no/such","params":{}}`, i+2))
	}
	go io.Copy(io.Discard, outR)
	w.say(`{"jsonrpc":"2.0","id":1000000,"method":"shutdown"}`)
	w.say(`{"jsonrpc":"2.0","method":"exit"}`)
	if !<-done {
		t.Error("it was told to shut down")
	}
}

func TestLargeMessages(t *testing.T) {
	t.Parallel()
	// One that is too large is skipped, without room being made for it.
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	const length = maxMessage + 1
	in := io.MultiReader(strings.NewReader(fmt.Sprintf("Content-Length: %d\r\n\r\n", length)), io.LimitReader(spaces{}, length),
		strings.NewReader("Content-Length: 38\r\n\r\n"+`{"jsonrpc":"2.0","method":"x","id": 1}`))
	var out bytes.Buffer
	s := newStream(in, &out)
	var m struct{ Method string }
	if err := s.ReadObject(&m); err != nil || m.Method != "x" {
		t.Errorf("%+v %v", m, err)
	}
	runtime.ReadMemStats(&after)
	if grown := after.TotalAlloc - before.TotalAlloc; grown > 64<<20 {
		t.Errorf("%d bytes for what is skipped", grown)
	}
	s.Close()
	<-s.flushed()
	if !strings.Contains(out.String(), "-32600") {
		t.Errorf("%q", out.String())
	}
	// A length alone takes no room either.
	s = newStream(strings.NewReader("Content-Length: 134217728\r\n\r\n{"), io.Discard)
	if err := s.ReadObject(&m); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("%v", err)
	}
}

type spaces struct{}

func (spaces) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = ' '
	}
	return len(p), nil
}

func TestNames(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		uri     string
		windows bool
		want    string // "": none
	}{
		{"file:///a/b.yaml", false, "/a/b.yaml"},
		{"file:///a%20b/%C3%A4%25.yaml", false, "/a b/ä%.yaml"},
		{"file://localhost/a/b.yaml", false, "/a/b.yaml"},
		{"FILE:///a/../b.yaml", false, "/b.yaml"},
		{"file:///c%3A/Users/x/a.yaml", true, "C:/Users/x/a.yaml"},
		{"file:///C:/Users/x/a.yaml", true, "C:/Users/x/a.yaml"},
		{"file:///C:%5CUsers%5Cx.yaml", true, "C:/Users/x.yaml"},
		{"file://server/share/a.yaml", true, "//server/share/a.yaml"},
		{"untitled:Untitled-1", false, ""}, {"http://example.org/a.yaml", false, ""}, {"%zz", false, ""}, {"", false, ""}, {"file:", false, ""},
	} {
		got, ok := nameIn(c.uri, c.windows)
		if got != c.want || ok != (c.want != "") {
			t.Errorf("%s: %q %v, want %q", c.uri, got, ok, c.want)
		}
		if !ok {
			continue
		}
		if back, _ := nameIn(uriOf(got), c.windows); back != got {
			t.Errorf("%s becomes %s, which means %s", got, uriOf(got), back)
		}
	}
}

func TestPlaces(t *testing.T) {
	t.Parallel()
	x := newText([]byte("a😀b\r\nä\rx\n\nend"))
	for _, c := range []struct {
		p       Position
		enc     encoding
		offset  int
		without bool // the way back leads elsewhere
	}{
		{Position{0, 0}, utf16Encoding, 0, false}, {Position{0, 1}, utf16Encoding, 1, false}, {Position{0, 3}, utf16Encoding, 5, false}, {Position{0, 4}, utf16Encoding, 6, false},
		{Position{0, 2}, utf16Encoding, 1, true}, {Position{0, 99}, utf16Encoding, 6, true},
		{Position{0, 5}, utf8Encoding, 5, false}, {Position{0, 3}, utf8Encoding, 1, true}, {Position{0, 99}, utf8Encoding, 6, true},
		{Position{1, 1}, utf16Encoding, 10, false}, {Position{2, 1}, utf16Encoding, 12, false}, {Position{3, 0}, utf16Encoding, 13, false}, {Position{4, 3}, utf16Encoding, 17, false},
		{Position{5, 0}, utf16Encoding, 17, true}, {Position{1 << 31, 1 << 31}, utf8Encoding, 17, true},
	} {
		if got := x.offset(c.p, c.enc); got != c.offset {
			t.Errorf("%v %s: offset %d, want %d", c.p, c.enc, got, c.offset)
		}
		if got := x.position(c.offset, c.enc); got != c.p && !c.without {
			t.Errorf("%d %s: %v, want %v", c.offset, c.enc, got, c.p)
		}
	}
}

// made is a text after edits.
func made(before *text, edits []TextEdit, enc encoding) string {
	for i := len(edits) - 1; i >= 0; i-- { // they come in order
		before = before.replaced(before.offset(edits[i].Range.Start, enc), before.offset(edits[i].Range.End, enc), edits[i].NewText)
	}
	return string(before.b)
}

func TestEditsKeepLines(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		before, after string
		count         int
	}{
		{"a\nb\nc\n", "a\nb\nc\n", 0}, {"a\nb\nc\n", "a\nx\nc\n", 1}, {"a\nb\nc", "a\nb\nc\n", 1}, {"", "a\n", 1}, {"a\n", "", 1}, {"a\r\nb\r\n", "a\nb\n", 1},
		{"1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n11\n12\n", "0\n1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n11\n", 2}, {"- a\n-- b\n", "- a\n++ b\n", 1}, {"ä😀\nb", "ä😀\nc\n", 1},
	} {
		for _, enc := range []encoding{utf8Encoding, utf16Encoding} {
			x := newText([]byte(c.before))
			e := edits(x, []byte(c.after), enc)
			if got := made(x, e, enc); got != c.after || len(e) != c.count {
				t.Errorf("%q to %q: %s\n%+v", c.before, c.after, cmp.Diff(c.after, got), e)
			}
		}
	}
}

// FuzzServer: whatever is sent, the server says nothing but protocol, and ends when its input does.
func FuzzServer(f *testing.F) {
	framed := func(bodies ...string) []byte {
		var b bytes.Buffer
		for _, body := range bodies {
			fmt.Fprintf(&b, "Content-Length: %d\r\n\r\n%s", len(body), body)
		}
		return b.Bytes()
	}
	const hello = `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"rootUri":"file:///w","capabilities":{}}}`
	const open = `{"jsonrpc":"2.0","method":"textDocument/didOpen","params":{"textDocument":{"uri":"file:///w/a.yaml","version":1,"text":"a\nb"}}}`
	f.Add(framed(hello, open, `{"jsonrpc":"2.0","id":2,"method":"textDocument/hover",`+atStart, `{"jsonrpc":"2.0","id":3,"method":"shutdown"}`, `{"jsonrpc":"2.0","method":"exit"}`))
	f.Add(framed(hello, open, `{"jsonrpc":"2.0","method":"textDocument/didChange","params":{"textDocument":{"uri":"file:///w/a.yaml","version":2},"contentChanges":[{"range":{"start":{"line":0,"character":9},"end":{"line":0,"character":1}},"text":"x"}]}}`,
		`{"jsonrpc":"2.0","id":"x","method":"textDocument/codeAction","params":{"textDocument":{"uri":"file:///w/a.yaml"},"range":{},"context":{}}}`))
	f.Add([]byte("Content-Length: 5\r\n\r\n[]x{}\n\nContent-Length: 2\r\n\r\n{}"))
	f.Add([]byte("Content-Length: 99999999999999999999\r\n\r\n"))
	f.Fuzz(func(t *testing.T, input []byte) {
		var out bytes.Buffer
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			Serve(context.Background(), bytes.NewReader(input), &out, Options{House: &paper{}, Name: "x", Log: slog.New(slog.DiscardHandler), Debounce: time.Millisecond})
		}()
		select {
		case <-ended:
		case <-time.After(2 * time.Minute):
			t.Fatal("it does not end")
		}
		for r := bufio.NewReader(&out); ; {
			m, err := readFrame(r)
			if errors.Is(err, io.EOF) {
				return
			}
			if err != nil || m["jsonrpc"] != "2.0" {
				t.Fatalf("%v %v", m, err)
			}
		}
	})
}

// FuzzEdits: edits make of a text what they are to make, however lines end.
func FuzzEdits(f *testing.F) {
	f.Add("a\nb\n", "a\r\nc")
	f.Add("\xff\r", "😀\n\n")
	f.Fuzz(func(t *testing.T, before, after string) {
		for _, enc := range []encoding{utf8Encoding, utf16Encoding} {
			x := newText([]byte(before))
			if got := made(x, edits(x, []byte(after), enc), enc); got != after {
				t.Errorf("%q to %q: %q", before, after, got)
			}
			for at := range len(before) + 1 {
				if p := x.position(at, enc); x.offset(p, enc) > at {
					t.Errorf("%q: %d is %v, which is %d", before, at, p, x.offset(p, enc))
				}
			}
		}
	})
}
