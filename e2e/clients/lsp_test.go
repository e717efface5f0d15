package clients

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/textproto"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"
)

// languageServer is a YAML language server and the editor in front of it: JSON-RPC over the server's standard streams.
type languageServer struct {
	t        *testing.T
	in       io.Writer
	settings map[string]any

	mu       sync.Mutex
	next     int
	waiting  map[int]chan json.RawMessage
	problems map[string]chan []problem // by URI: what was published last
}

// problem is what the Language Server Protocol calls a diagnostic. Lines count from 0.
type problem struct {
	Range struct {
		Start, End struct{ Line, Character int }
	} `json:"range"`
	Message string `json:"message"`
}

const yamlLanguageServer = "yaml-language-server@2.0.0"

// startYAML starts the server on a folder, with the section "yaml" of an editor's settings.
func startYAML(t *testing.T, dir string, settings map[string]any) *languageServer {
	t.Helper()
	bin := filepath.Join(fromNPM(t, yamlLanguageServer), "node_modules", "yaml-language-server", "bin", "yaml-language-server")
	cmd := exec.Command("node", bin, "--stdio")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		cmd.Process.Kill()
		cmd.Wait()
	})
	s := &languageServer{t: t, in: in, settings: settings, waiting: map[int]chan json.RawMessage{}, problems: map[string]chan []problem{}}
	go s.read(bufio.NewReader(out))
	s.call("initialize", map[string]any{
		"processId": nil, "rootUri": "file://" + dir,
		"workspaceFolders": []any{map[string]any{"uri": "file://" + dir, "name": "test"}},
		"capabilities": map[string]any{
			"workspace":    map[string]any{"configuration": true, "workspaceFolders": true, "didChangeConfiguration": map[string]any{"dynamicRegistration": true}},
			"textDocument": map[string]any{"hover": map[string]any{"contentFormat": []string{"markdown"}}, "completion": map[string]any{"completionItem": map[string]any{"documentationFormat": []string{"markdown"}}}},
		},
	})
	s.notify("initialized", map[string]any{})
	s.notify("workspace/didChangeConfiguration", map[string]any{"settings": map[string]any{"yaml": settings}})
	return s
}

func (s *languageServer) send(v any) {
	b, err := json.Marshal(v)
	if err != nil {
		s.t.Error(err)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	fmt.Fprintf(s.in, "Content-Length: %d\r\n\r\n%s", len(b), b)
}

func (s *languageServer) notify(method string, params any) {
	s.send(map[string]any{"jsonrpc": "2.0", "method": method, "params": params})
}

func (s *languageServer) call(method string, params any) json.RawMessage {
	s.t.Helper()
	answer := make(chan json.RawMessage, 1)
	s.mu.Lock()
	s.next++
	id := s.next
	s.waiting[id] = answer
	s.mu.Unlock()
	s.send(map[string]any{"jsonrpc": "2.0", "id": id, "method": method, "params": params})
	select {
	case a := <-answer:
		return a
	case <-time.After(time.Minute):
		s.t.Fatalf("the language server does not answer %s", method)
		return nil
	}
}

// read takes what the server says until it ends.
func (s *languageServer) read(r *bufio.Reader) {
	for {
		head, err := textproto.NewReader(r).ReadMIMEHeader()
		if err != nil {
			return
		}
		n, _ := strconv.Atoi(head.Get("Content-Length"))
		body := make([]byte, n)
		if _, err := io.ReadFull(r, body); err != nil {
			return
		}
		var m struct {
			ID     json.RawMessage `json:"id"`
			Method string          `json:"method"`
			Params json.RawMessage `json:"params"`
			Result json.RawMessage `json:"result"`
			Error  json.RawMessage `json:"error"`
		}
		if err := json.Unmarshal(body, &m); err != nil {
			return
		}
		switch {
		case m.Method == "":
			id, _ := strconv.Atoi(string(m.ID))
			s.mu.Lock()
			answer := s.waiting[id]
			s.mu.Unlock()
			if answer != nil {
				if len(m.Error) > 0 {
					m.Result = m.Error
				}
				answer <- m.Result
			}
		case m.ID != nil:
			s.send(map[string]any{"jsonrpc": "2.0", "id": m.ID, "result": s.answer(m.Method, m.Params)})
		case m.Method == "textDocument/publishDiagnostics":
			var p struct {
				URI         string    `json:"uri"`
				Diagnostics []problem `json:"diagnostics"`
			}
			if json.Unmarshal(m.Params, &p) == nil {
				s.published(p.URI) <- p.Diagnostics
			}
		}
	}
}

// answer is what an editor says when the server asks: it asks for sections of the settings.
func (s *languageServer) answer(method string, params json.RawMessage) any {
	if method != "workspace/configuration" {
		return nil
	}
	var p struct {
		Items []struct{ Section string } `json:"items"`
	}
	if err := json.Unmarshal(params, &p); err != nil {
		return nil
	}
	out := make([]any, len(p.Items))
	for i, item := range p.Items {
		if out[i] = map[string]any{}; item.Section == "yaml" {
			out[i] = s.settings
		}
	}
	return out
}

func (s *languageServer) published(uri string) chan []problem {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.problems[uri] == nil {
		s.problems[uri] = make(chan []problem, 16)
	}
	return s.problems[uri]
}

func document(path string) map[string]any { return map[string]any{"uri": "file://" + path} }

// open opens a file in the editor and waits for what the server finds.
func (s *languageServer) open(path, text string) []problem {
	s.t.Helper()
	s.notify("textDocument/didOpen", map[string]any{"textDocument": map[string]any{"uri": "file://" + path, "languageId": "yaml", "version": 1, "text": text}})
	select {
	case p := <-s.published("file://" + path):
		return p
	case <-time.After(time.Minute):
		s.t.Fatalf("the language server says nothing of %s", path)
		return nil
	}
}

// hover is what the editor shows over a place.
func (s *languageServer) hover(path string, line, character int) string {
	s.t.Helper()
	var h struct {
		Contents struct{ Value string } `json:"contents"`
	}
	raw := s.call("textDocument/hover", map[string]any{"textDocument": document(path), "position": map[string]any{"line": line, "character": character}})
	if err := json.Unmarshal(raw, &h); err != nil {
		s.t.Fatalf("hover: %v in %s", err, raw)
	}
	return h.Contents.Value
}

// complete is what the editor offers at a place.
func (s *languageServer) complete(path string, line, character int) []string {
	s.t.Helper()
	var c struct {
		Items []struct{ Label string } `json:"items"`
	}
	raw := s.call("textDocument/completion", map[string]any{"textDocument": document(path), "position": map[string]any{"line": line, "character": character}})
	if err := json.Unmarshal(raw, &c); err != nil {
		s.t.Fatalf("completion: %v in %s", err, raw)
	}
	var labels []string
	for _, i := range c.Items {
		labels = append(labels, i.Label)
	}
	return labels
}
