// Package e2e runs the real flexgw with a real Envoy and sends real requests, all on loopback.
package e2e

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/txtar"
)

func TestMain(m *testing.M) {
	code := m.Run()
	if folder != "" {
		os.RemoveAll(folder)
	}
	os.Exit(code)
}

// folder holds what binary built; "" until then.
var folder string

// binary is the flexgw that the tests run, built once from this checkout.
var binary = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "flexgw-e2e-")
	if err != nil {
		return "", err
	}
	folder = dir
	path := filepath.Join(dir, "flexgw")
	out, err := exec.Command("go", "build", "-o", path, "github.com/flexgw/flexgw").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return path, nil
})

func flexgw(t testing.TB) string {
	t.Helper()
	if testing.Short() {
		t.Skip("a real Envoy is left out with -short")
	}
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// gateway is one `flexgw run` with its Envoy. Ports in declarations are those of the test's text: they are replaced by
// free ones, 0.0.0.0 by loopback, and every loopback port that only an upstream names is served by an echo.
type gateway struct {
	t        testing.TB
	dir      string // the declarations
	state    string
	cmd      *exec.Cmd
	exited   chan struct{}
	code     int
	noSource bool
	env      []string
	args     []string

	mu     sync.Mutex
	stderr bytes.Buffer
	ports  map[int]int // as written → as used
	echoes map[int]*echo
	texts  map[string]string // replaced before ports are
}

type option func(*gateway)

// withArgs adds arguments of `flexgw run`.
func withArgs(args ...string) option { return func(g *gateway) { g.args = append(g.args, args...) } }

// withoutSource has the daemon follow nothing: flexgw apply gives it declarations.
func withoutSource(g *gateway) { g.noSource = true }

// withEnv adds NAME=VALUE pairs to the environment.
func withEnv(env ...string) option { return func(g *gateway) { g.env = append(g.env, env...) } }

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
	g.run()
	g.waitReady()
	return g
}

// prepare writes the declarations and starts the echoes, but not the gateway.
func prepare(t testing.TB, files string, opts ...option) *gateway {
	t.Helper()
	g := &gateway{t: t, dir: t.TempDir(), state: t.TempDir(), ports: map[int]int{}, echoes: map[int]*echo{}}
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

func (g *gateway) run() {
	g.t.Helper()
	path := flexgw(g.t)
	g.mu.Lock()
	g.stderr.Reset() // of a run before
	g.mu.Unlock()
	args := append([]string{"run", "--state-dir", g.state, "--drain-time", "2s"}, g.args...)
	if g.noSource {
		args = append(args, "--no-source")
	} else {
		args = append(args, g.dir)
	}
	g.cmd = exec.Command(path, args...)
	g.cmd.Env = append(os.Environ(), g.env...)
	g.cmd.Stderr = lockedWriter{g}
	g.cmd.Stdout = lockedWriter{g}
	g.exited = make(chan struct{})
	if err := g.cmd.Start(); err != nil {
		g.t.Fatal(err)
	}
	cmd, exited := g.cmd, g.exited
	go func() {
		cmd.Wait()
		g.code = cmd.ProcessState.ExitCode()
		close(exited)
	}()
	g.t.Cleanup(func() {
		g.stop()
		if g.t.Failed() {
			g.t.Logf("flexgw said:\n%s", g.log())
		}
	})
}

// kill ends the daemon, and only it, with no chance to say goodbye.
func (g *gateway) kill() {
	g.t.Helper()
	g.cmd.Process.Signal(syscall.SIGKILL)
	<-g.exited
}

// stop ends the gateway as a supervisor would and returns its exit code.
func (g *gateway) stop() int {
	g.t.Helper()
	if g.cmd == nil {
		return -1
	}
	g.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-g.exited:
	case <-time.After(20 * time.Second):
		g.t.Error("flexgw did not stop within 20 s after SIGTERM")
		g.cmd.Process.Kill()
		<-g.exited
	}
	return g.code
}

func (g *gateway) waitReady() {
	g.t.Helper()
	g.waitLog(`(?m)^ready `, 60*time.Second)
}

// waitLog waits until what flexgw said matches.
func (g *gateway) waitLog(pattern string, limit time.Duration) {
	g.t.Helper()
	re := regexp.MustCompile(pattern)
	deadline := time.Now().Add(limit)
	for !re.MatchString(g.log()) {
		select {
		case <-g.exited:
			g.t.Fatalf("flexgw ended with %d before it said %q:\n%s", g.code, pattern, g.log())
		case <-time.After(5 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			g.t.Fatalf("flexgw did not say %q in %s:\n%s", pattern, limit, g.log())
		}
	}
}

func (g *gateway) log() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.stderr.String()
}

type lockedWriter struct{ g *gateway }

func (w lockedWriter) Write(p []byte) (int, error) {
	w.g.mu.Lock()
	defer w.g.mu.Unlock()
	return w.g.stderr.Write(p)
}

// write puts one declaration file into place by a rename, ports rewritten.
func (g *gateway) write(name, text string) {
	g.t.Helper()
	g.writeRaw(name, g.rewrite(text))
}

// writeRaw puts one file into place by a rename, as it is.
func (g *gateway) writeRaw(name, text string) {
	g.t.Helper()
	path := filepath.Join(g.dir, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		g.t.Fatal(err)
	}
	temp := filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+".new")
	if err := os.WriteFile(temp, []byte(text), 0o644); err != nil {
		g.t.Fatal(err)
	}
	if err := os.Rename(temp, path); err != nil {
		g.t.Fatal(err)
	}
}

func (g *gateway) remove(name string) {
	g.t.Helper()
	if err := os.Remove(filepath.Join(g.dir, name)); err != nil {
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
				g.ports[n] = freePort(g.t)
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

var taken sync.Map

// freePort finds a port that nobody listens on and that no other test was given.
func freePort(t testing.TB) int {
	t.Helper()
	for {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		port := l.Addr().(*net.TCPAddr).Port
		l.Close()
		if _, used := taken.LoadOrStore(port, true); !used {
			return port
		}
	}
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
	taken.Store(n, true)
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
	Timeout:       20 * time.Second,
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

// until repeats check until it returns nil.
func until(t testing.TB, limit time.Duration, check func() error) {
	t.Helper()
	deadline := time.Now().Add(limit)
	for {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("not within %s: %v", limit, err)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// command runs another flexgw command and returns what it printed and its exit code.
func command(t testing.TB, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, flexgw(t), args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

func base64Of(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
