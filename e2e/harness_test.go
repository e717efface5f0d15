// Package e2e runs the real flexgw with a real Envoy and sends real requests, all on loopback.
package e2e

import (
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/flexgw/flexgw/e2e/harness"
)

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }

// gateway is one `flexgw run` with its Envoy. Ports in declarations are those of the test's text: they are replaced by
// free ones, 0.0.0.0 by loopback, and every loopback port that only an upstream names is served by an echo.
type gateway struct {
	*harness.Daemon
	t      testing.TB
	ports  map[int]int // as written → as used
	echoes map[int]*echo
	texts  map[string]string // replaced before ports are
}

type option func(*gateway)

// withArgs adds arguments of `flexgw run`.
func withArgs(args ...string) option { return func(g *gateway) { g.Args = append(g.Args, args...) } }

// withoutSource has the daemon follow nothing: flexgw apply gives it declarations.
func withoutSource(g *gateway) { g.NoSource = true }

// withEnv adds NAME=VALUE pairs to the environment.
func withEnv(env ...string) option { return func(g *gateway) { g.Env = append(g.Env, env...) } }

// withText replaces texts in declarations, before ports are rewritten.
func withText(pairs map[string]string) option { return func(g *gateway) { g.texts = pairs } }

// withUpstream serves a port (as written in the declarations) by h instead of the echo.
func withUpstream(port int, h http.Handler) option {
	return func(g *gateway) { g.serve(port, &echo{handler: h}) }
}

// withTLSUpstream serves a port over TLS by the echo.
func withTLSUpstream(port int, c *tls.Config) option {
	return func(g *gateway) { g.serve(port, &echo{tls: c}) }
}

// start runs the declarations of a txtar text and waits until they are programmed.
func start(t testing.TB, files string, opts ...option) *gateway {
	t.Helper()
	g := prepare(t, files, opts...)
	g.Run()
	g.WaitReady()
	return g
}

// prepare writes the declarations and starts the echoes, but not the gateway.
func prepare(t testing.TB, files string, opts ...option) *gateway {
	t.Helper()
	g := &gateway{Daemon: harness.NewDaemon(t), t: t, ports: map[int]int{}, echoes: map[int]*echo{}}
	for _, o := range opts {
		o(g)
	}
	archive := txtar.Parse([]byte(files))
	for _, f := range archive.Files {
		g.claimListeners(string(f.Data))
	}
	for _, f := range archive.Files {
		g.write(f.Name, string(f.Data))
	}
	return g
}

// startDir is start for the declarations of a folder.
func startDir(t testing.TB, dir string, opts ...option) *gateway {
	t.Helper()
	return start(t, archive(t, dir), opts...)
}

// archive reads the declarations of a folder as a txtar text.
func archive(t testing.TB, dir string) string {
	t.Helper()
	a := &txtar.Archive{}
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		if ext := filepath.Ext(path); ext != ".yaml" && ext != ".json" && ext != ".cue" || filepath.Base(filepath.Dir(path)) == "want" {
			return nil
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(dir, path)
		a.Files = append(a.Files, txtar.File{Name: filepath.ToSlash(rel), Data: b})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return string(txtar.Format(a))
}

// write puts one declaration file into place by a rename, ports rewritten.
func (g *gateway) write(name, text string) {
	g.t.Helper()
	g.Put(name, g.rewrite(text))
}

func (g *gateway) remove(name string) {
	g.t.Helper()
	if err := os.Remove(filepath.Join(g.Dir, name)); err != nil {
		g.t.Fatal(err)
	}
}

var address = regexp.MustCompile(`(://)(0\.0\.0\.0|127\.0\.0\.1|localhost)?:(\d+)`)

// claimListeners gives a port to everything that flexgw itself will serve: addresses with 0.0.0.0, and Echo documents.
func (g *gateway) claimListeners(text string) {
	g.t.Helper()
	for doc := range strings.SplitSeq(text, "\n---") {
		for _, m := range address.FindAllStringSubmatch(doc, -1) {
			n, _ := strconv.Atoi(m[3])
			if _, ok := g.ports[n]; !ok && (m[2] == "0.0.0.0" || strings.Contains(doc, "kind: Echo")) {
				g.ports[n] = harness.FreePort(g.t)
			}
		}
	}
}

// rewrite replaces the ports of addresses by free ones. What flexgw does not serve itself is an upstream and gets its echo.
func (g *gateway) rewrite(text string) string {
	g.t.Helper()
	for from, to := range g.texts {
		text = strings.ReplaceAll(text, from, to)
	}
	g.claimListeners(text)
	return address.ReplaceAllStringFunc(text, func(s string) string {
		m := address.FindStringSubmatch(s)
		written, _ := strconv.Atoi(m[3])
		if _, ok := g.ports[written]; !ok {
			g.serve(written, &echo{})
		}
		host := m[2]
		if host == "0.0.0.0" {
			host = "127.0.0.1"
		}
		return m[1] + host + ":" + strconv.Itoa(g.ports[written])
	})
}

// echo is an upstream that answers with what it got.
type echo struct {
	handler http.Handler
	tls     *tls.Config
	h2      bool
}

// got is the body that an echo answers with.
type got struct {
	Upstream int                 `json:"upstream"` // the port as written in the declarations
	Proto    string              `json:"proto"`
	Method   string              `json:"method"`
	Target   string              `json:"target"` // path and query as received
	Host     string              `json:"host"`
	SNI      string              `json:"sni"`
	Headers  map[string][]string `json:"headers"` // names in lower case
	Body     string              `json:"body"`
}

func (g *gateway) serve(port int, e *echo) {
	g.t.Helper()
	h := e.handler
	if h == nil {
		h = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			x := got{Upstream: port, Proto: r.Proto, Method: r.Method, Target: r.RequestURI, Host: r.Host, Headers: map[string][]string{}, Body: string(body)}
			if r.TLS != nil {
				x.SNI = r.TLS.ServerName
			}
			for k, v := range r.Header {
				x.Headers[strings.ToLower(k)] = v
			}
			w.Header().Set("Content-Type", "application/json")
			json.NewEncoder(w).Encode(x)
		})
	}
	s := httptest.NewUnstartedServer(h)
	if e.h2 {
		s.Config.Protocols = new(http.Protocols)
		s.Config.Protocols.SetUnencryptedHTTP2(true)
	}
	if e.tls != nil {
		s.TLS = e.tls
		s.EnableHTTP2 = true
		s.StartTLS()
	} else {
		s.Start()
	}
	g.t.Cleanup(s.Close)
	u, _ := url.Parse(s.URL)
	n, _ := strconv.Atoi(u.Port())
	g.ports[port], g.echoes[port] = n, e
}

// answer is a response, read to its end.
type answer struct {
	Status int
	Header http.Header
	Body   string
}

// got decodes the body of an echo.
func (a answer) got(t testing.TB) got {
	t.Helper()
	var x got
	if err := json.Unmarshal([]byte(a.Body), &x); err != nil {
		t.Fatalf("status %d, not an echo's body: %q", a.Status, a.Body)
	}
	return x
}

// client follows no redirect and never retries on a new connection.
var client = &http.Client{
	Transport:     &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableCompression: true},
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	Timeout:       2 * time.Minute,
}

// url is the address of a path at a port as written in the declarations.
func (g *gateway) url(port int, path string) string {
	g.t.Helper()
	actual, ok := g.ports[port]
	if !ok {
		g.t.Fatalf("no declaration names port %d", port)
	}
	return fmt.Sprintf("http://127.0.0.1:%d%s", actual, path)
}

// send makes one request; headers are "name: value".
func (g *gateway) send(method string, port int, path string, headers ...string) answer {
	g.t.Helper()
	return g.sendBody(method, port, path, "", headers...)
}

func (g *gateway) sendBody(method string, port int, path, body string, headers ...string) answer {
	g.t.Helper()
	a, err := g.try(method, port, path, body, headers...)
	if err != nil {
		g.t.Fatal(err)
	}
	return a
}

func (g *gateway) try(method string, port int, path, body string, headers ...string) (answer, error) {
	return g.tryScheme("http", method, port, path, body, headers...)
}

func (g *gateway) tryScheme(scheme, method string, port int, path, body string, headers ...string) (answer, error) {
	var r io.Reader
	if body != "" {
		r = strings.NewReader(body)
	}
	// The path goes out as it is, odd characters included (but for one that starts with two slashes).
	base, _ := url.Parse(g.url(port, ""))
	base.Scheme = scheme
	req, err := http.NewRequest(method, base.String(), r)
	if err != nil {
		return answer{}, err
	}
	req.URL.Opaque = path
	for _, h := range headers {
		k, v, _ := strings.Cut(h, ": ")
		if strings.EqualFold(k, "host") {
			req.Host = v
			continue
		}
		req.Header.Add(k, v)
	}
	res, err := client.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	return answer{res.StatusCode, res.Header, string(b)}, err
}

// get is send with GET.
func (g *gateway) get(port int, path string, headers ...string) answer {
	g.t.Helper()
	return g.send("GET", port, path, headers...)
}

func base64Of(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
