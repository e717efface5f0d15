package harness

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"image"
	"image/png"
	"io"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"
)

// Browser is a real Chromium without a window. It finds no host but this one.
type Browser struct {
	t      testing.TB
	to     io.Writer
	mu     sync.Mutex
	next   int
	answer map[int]chan reply
	heard  []event // what pages did, the oldest first
	gone   chan struct{}
}

type reply struct {
	Result json.RawMessage
	Error  *struct{ Message string }
}

type event struct {
	Method    string
	SessionID string `json:"sessionId"`
	Params    json.RawMessage
}

// chromiums are what distributions call it.
var chromiums = [...]string{"chromium", "chromium-browser", "google-chrome", "google-chrome-stable"}

// NewBrowser starts one, which ends with the test. With -short the test is left out; else it fails where there is none.
func NewBrowser(t testing.TB) *Browser {
	t.Helper()
	if testing.Short() {
		t.Skip("a real browser is left out with -short")
	}
	path := ""
	for _, name := range chromiums {
		if found, err := exec.LookPath(name); err == nil && path == "" {
			path = found
		}
	}
	if path == "" {
		t.Fatalf("no Chromium: none of %q is on the PATH (apt-get install chromium)", chromiums)
	}
	hers, to, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	from, says, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	home, err := os.MkdirTemp("", "flexgw-browser-") // not the test's: its helpers may write there for a moment longer than it lives
	if err != nil {
		t.Fatal(err)
	}
	// The pipe of its debugging protocol is descriptors 3 and 4. Its own sandbox wants privileges that not every machine gives; certificates are
	// made by the tests, and no authority that it knows has signed them.
	cmd := exec.Command(path, "--headless=new", "--remote-debugging-pipe", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--disable-background-networking",
		"--disable-component-update", "--disable-sync", "--ignore-certificate-errors", "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1", "--user-data-dir="+home, "about:blank")
	cmd.Env = append(os.Environ(), "HOME="+home, "http_proxy=", "https_proxy=", "HTTP_PROXY=", "HTTPS_PROXY=")
	cmd.ExtraFiles = []*os.File{hers, says}
	var said bytes.Buffer
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	hers.Close()
	says.Close()
	b := &Browser{t: t, to: to, answer: map[int]chan reply{}, gone: make(chan struct{})}
	go b.listen(from)
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		to.Close()
		<-b.gone
		from.Close()
		_ = os.RemoveAll(home)
		if t.Failed() {
			t.Logf("Chromium said:\n%s", said.Bytes()[max(0, said.Len()-2000):])
		}
	})
	return b
}

// listen reads what the browser says: messages that end with a NUL.
func (b *Browser) listen(from io.Reader) {
	defer close(b.gone)
	for r := bufio.NewReaderSize(from, 1<<20); ; {
		text, err := r.ReadBytes(0)
		if err != nil {
			return
		}
		var m struct {
			ID int
			reply
			event
		}
		if json.Unmarshal(bytes.TrimSuffix(text, []byte{0}), &m) != nil {
			continue
		}
		b.mu.Lock()
		if m.ID == 0 {
			b.heard = append(b.heard, m.event)
		} else if c := b.answer[m.ID]; c != nil {
			delete(b.answer, m.ID)
			c <- m.reply
		}
		b.mu.Unlock()
	}
}

// call asks the browser, or one of its pages, and reads the answer into result.
func (b *Browser) call(session, method string, params, result any) {
	b.t.Helper()
	c := make(chan reply, 1)
	b.mu.Lock()
	b.next++
	id := b.next
	b.answer[id] = c
	b.mu.Unlock()
	text, err := json.Marshal(struct {
		ID        int    `json:"id"`
		SessionID string `json:"sessionId,omitempty"`
		Method    string `json:"method"`
		Params    any    `json:"params,omitempty"`
	}{id, session, method, params})
	if err != nil {
		b.t.Fatal(err)
	}
	if _, err := b.to.Write(append(text, 0)); err != nil {
		b.t.Fatalf("Chromium does not listen: %v", err)
	}
	select {
	case r := <-c:
		if r.Error != nil {
			b.t.Fatalf("%s: %s", method, r.Error.Message)
		}
		if result == nil {
			return
		}
		if err := json.Unmarshal(r.Result, result); err != nil {
			b.t.Fatalf("%s: %v in %s", method, err, r.Result)
		}
	case <-b.gone:
		b.t.Fatal("Chromium ended")
	case <-time.After(60 * time.Second):
		b.t.Fatalf("%s: Chromium does not answer", method)
	}
}

// View is how a page is looked at.
type View struct {
	Width, Height int
	Dark          bool
}

// Page is an open page.
type Page struct {
	b       *Browser
	session string
}

type object map[string]any

// Open opens a page, and waits until it is loaded.
func (b *Browser) Open(url string, v View) *Page {
	b.t.Helper()
	var made struct{ TargetID, SessionID string }
	b.call("", "Target.createTarget", object{"url": "about:blank"}, &made)
	b.call("", "Target.attachToTarget", object{"targetId": made.TargetID, "flatten": true}, &made)
	p := &Page{b, made.SessionID}
	for _, domain := range []string{"Page", "Network", "Runtime", "Log"} {
		p.call(domain+".enable", nil, nil)
	}
	scheme := "light"
	if v.Dark {
		scheme = "dark"
	}
	p.call("Emulation.setDeviceMetricsOverride", object{"width": v.Width, "height": v.Height, "deviceScaleFactor": 1, "mobile": false}, nil)
	p.call("Emulation.setEmulatedMedia", object{"features": []object{{"name": "prefers-color-scheme", "value": scheme}}}, nil)
	var went struct{ ErrorText string }
	p.call("Page.navigate", object{"url": url}, &went)
	if went.ErrorText != "" {
		b.t.Fatalf("%s: %s", url, went.ErrorText)
	}
	for late := time.Now().Add(60 * time.Second); len(p.heard("Page.loadEventFired")) == 0; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(late) {
			b.t.Fatalf("%s is not loaded", url)
		}
	}
	return p
}

func (p *Page) call(method string, params, result any) {
	p.b.t.Helper()
	p.b.call(p.session, method, params, result)
}

// heard are the parameters of all events of a kind.
func (p *Page) heard(method string) []json.RawMessage {
	p.b.mu.Lock()
	defer p.b.mu.Unlock()
	var all []json.RawMessage
	for _, e := range p.b.heard {
		if e.SessionID == p.session && e.Method == method {
			all = append(all, e.Params)
		}
	}
	return all
}

// Requested are the URLs that the page has asked for, itself the first.
func (p *Page) Requested() []string {
	p.b.t.Helper()
	var urls []string
	for _, text := range p.heard("Network.requestWillBeSent") {
		var e struct{ Request struct{ URL string } }
		if err := json.Unmarshal(text, &e); err != nil {
			p.b.t.Fatal(err)
		}
		urls = append(urls, e.Request.URL)
	}
	return urls
}

// Complaints are what the console of the page has, and scripts that failed; and dialogs, which a page opens with alert.
func (p *Page) Complaints() []string {
	var all []string
	for _, kind := range []string{"Log.entryAdded", "Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Page.javascriptDialogOpening"} {
		for _, text := range p.heard(kind) {
			all = append(all, kind+": "+string(text))
		}
	}
	return all
}

// Eval reads the value of an expression of JavaScript into result. The page's own policy does not bind it.
func (p *Page) Eval(expression string, result any) {
	p.b.t.Helper()
	var got struct {
		Result           struct{ Value json.RawMessage }
		ExceptionDetails *struct {
			Text      string
			Exception struct{ Description string }
		}
	}
	p.call("Runtime.evaluate", object{"expression": expression, "returnByValue": true, "awaitPromise": true}, &got)
	if e := got.ExceptionDetails; e != nil {
		p.b.t.Fatalf("%s: %s %s", expression, e.Text, e.Exception.Description)
	}
	if err := json.Unmarshal(got.Result.Value, result); err != nil {
		p.b.t.Fatalf("%s: %v in %s", expression, err, got.Result.Value)
	}
}

// Text is what a person reads in the first element that a selector finds; "" where there is none.
func (p *Page) Text(selector string) string {
	p.b.t.Helper()
	var text string
	p.Eval(fmt.Sprintf(`(e => e ? e.innerText : "")(document.querySelector(%q))`, selector), &text)
	return text
}

// Picture is what the page looks like.
func (p *Page) Picture() image.Image {
	p.b.t.Helper()
	var shot struct{ Data []byte }
	p.call("Page.captureScreenshot", object{"format": "png"}, &shot)
	picture, err := png.Decode(bytes.NewReader(shot.Data))
	if err != nil {
		p.b.t.Fatal(err)
	}
	return picture
}
