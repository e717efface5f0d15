package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/flexgw/flexgw/e2e/harness"
)

// TestExamples serves every example and sends the requests that its README shows.
func TestExamples(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	vault := ca.issue(t, "127.0.0.1")
	special := map[string][]option{
		"outside-service": {
			withText(map[string]string{"json.example.org:443": "localhost:9449"}),
			withTLSUpstream(9449, ca.server(t, "localhost")),
			withEnv("SSL_CERT_FILE=" + ca.file(t)),
		},
		"tls": {
			withText(map[string]string{"store.internal:9443": "localhost:9443"}),
			withTLSUpstream(9443, ca.server(t, "localhost")),
			withEnv("VAULT_KEY="+vault.key, "VAULT_CRT="+vault.crt, "STORE_CA="+ca.pem),
		},
	}
	dirs, err := filepath.Glob("../examples/*/README.md")
	if err != nil || len(dirs) < 10 {
		t.Fatalf("%d examples, %v", len(dirs), err)
	}
	for _, readme := range dirs {
		dir := filepath.Dir(readme)
		name := filepath.Base(dir)
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, err := os.ReadFile(readme)
			if err != nil {
				t.Fatal(err)
			}
			requests := readmeRequests(string(b))
			if len(requests) == 0 {
				t.Fatal("the README shows no request")
			}
			g := startDir(t, dir, special[name]...)
			for _, r := range requests {
				r.check(t, g)
			}
		})
	}
}

// TestOutsideServiceLimit is the sentence of that example's README: 429 at the 51st call.
func TestOutsideServiceLimit(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	g := startDir(t, "../examples/outside-service", withText(map[string]string{"json.example.org:443": "localhost:9449"}),
		withTLSUpstream(9449, ca.server(t, "localhost")), withEnv("SSL_CERT_FILE="+ca.file(t)))
	for i := 1; i <= 51; i++ {
		a := g.get(8082, "/posts/1")
		want := 200
		if i > 50 {
			want = 429
		}
		if a.Status != want {
			t.Fatalf("call %d: status %d, want %d: %s", i, a.Status, want, a.Body)
		}
		if i > 50 && (a.Body != `{"error":"Too Many Requests"}` || a.Header.Get("x-ratelimit-remaining") != "0") {
			t.Errorf("call %d: %v %q", i, a.Header, a.Body)
		}
	}
}

// TestCanaryShares holds the weights to one in ten.
func TestCanaryShares(t *testing.T) {
	t.Parallel()
	g := startDir(t, "../examples/canary")
	const n = 3000
	next := 0
	for range n {
		x := g.get(8085, "/ledger/entries/1").got(t)
		switch {
		case x.Upstream == 9122 && x.Target == "/next/entries/1":
			next++
		case x.Upstream == 9121 && x.Target == "/entries/1":
		default:
			t.Fatalf("upstream %d got %s", x.Upstream, x.Target)
		}
	}
	if next < n/10-100 || next > n/10+100 { // six standard deviations
		t.Errorf("%d of %d requests went to the canary", next, n)
	}
}

// readmeRequest is one curl of a README and what must come back.
type readmeRequest struct {
	method, url string
	headers     []string
	body        string
	status      int
	want        []string // "name: value"
	contains    []string
}

var fence = regexp.MustCompile("(?s)```console flexgw:requests\n(.*?)```")

func readmeRequests(text string) []readmeRequest {
	var out []readmeRequest
	for _, block := range fence.FindAllStringSubmatch(text, -1) {
		for line := range strings.SplitSeq(block[1], "\n") {
			if command, ok := strings.CutPrefix(line, "$ curl "); ok {
				out = append(out, parseCurl(command))
				continue
			}
			r := &out[len(out)-1]
			switch {
			case strings.HasPrefix(line, "HTTP/1.1 "):
				r.status, _ = strconv.Atoi(strings.Fields(line)[1])
			case regexp.MustCompile(`^[a-z-]+: `).MatchString(line):
				r.want = append(r.want, line)
			case strings.TrimSpace(line) != "":
				r.contains = append(r.contains, line)
			}
		}
	}
	return out
}

var word = regexp.MustCompile(`'[^']*'|\S+`)

// parseCurl knows the few flags that the READMEs use.
func parseCurl(command string) readmeRequest {
	r := readmeRequest{method: "GET"}
	words := word.FindAllString(command, -1)
	for i := 0; i < len(words); i++ {
		next := func() string { i++; return strings.Trim(words[i], "'") }
		switch words[i] {
		case "-i", "-k", "-s":
		case "-X":
			r.method = next()
		case "-H":
			r.headers = append(r.headers, next())
		case "-u":
			r.headers = append(r.headers, "authorization: Basic "+base64Of(next()))
		case "-d":
			r.body = next()
			r.method = "POST"
		default:
			r.url = strings.Trim(words[i], "'")
		}
	}
	return r
}

func (r readmeRequest) check(t *testing.T, g *gateway) {
	t.Helper()
	u, err := url.Parse(r.url)
	if err != nil {
		t.Fatal(err)
	}
	port, _ := strconv.Atoi(u.Port())
	a, err := g.tryScheme(u.Scheme, r.method, port, u.RequestURI(), r.body, r.headers...)
	if err != nil {
		t.Fatal(err)
	}
	what := r.method + " " + r.url
	if a.Status != r.status {
		t.Errorf("%s: status %d, want %d: %s", what, a.Status, r.status, a.Body)
	}
	for _, h := range r.want {
		k, v, _ := strings.Cut(h, ": ")
		if got := a.Header.Get(k); got != v {
			t.Errorf("%s: %s is %q, want %q", what, k, got, v)
		}
	}
	for _, c := range r.contains {
		if !strings.Contains(a.Body, c) {
			t.Errorf("%s: the body lacks %s: %s", what, c, a.Body)
		}
	}
}

// authority is a CA for one test.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  string
}

type pair struct{ crt, key string }

func newAuthority(t testing.TB) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &authority{cert, key, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))}
}

// issue makes a certificate for names and addresses, good for servers and clients.
func (a *authority) issue(t testing.TB, names ...string) pair {
	t.Helper()
	return a.issueUntil(t, time.Now().Add(time.Hour), names...)
}

// issueUntil issues a certificate that is valid from two hours before its end on.
func (a *authority) issueUntil(t testing.TB, until time.Time, names ...string) pair {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: fmt.Sprint(names)}, NotBefore: until.Add(-2 * time.Hour), NotAfter: until,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	for _, n := range names {
		if ip := net.ParseIP(n); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, n)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	k, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return pair{string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: k}))}
}

// server is the TLS configuration of an upstream with a certificate for names.
func (a *authority) server(t testing.TB, names ...string) *tls.Config {
	t.Helper()
	p := a.issue(t, names...)
	c, err := tls.X509KeyPair([]byte(p.crt), []byte(p.key))
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{c}}
}

// file writes the authority's certificate.
func (a *authority) file(t testing.TB) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(path, []byte(a.pem), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestQuickstart is the README's demonstration: an edit goes live, and a mistake is named and changes nothing.
func TestQuickstart(t *testing.T) {
	t.Parallel()
	b, err := os.ReadFile("../examples/quickstart/gateway.yaml")
	if err != nil {
		t.Fatal(err)
	}
	g := startDir(t, "../examples/quickstart")
	with := func(password string) int {
		return g.get(8081, "/hello", "authorization: Basic "+base64Of("alice:"+password)).Status
	}
	if got := with("open-sesame"); got != 200 {
		t.Fatalf("status %d: %s", got, g.Log())
	}
	g.write("gateway.yaml", strings.Replace(string(b), "password: open-sesame", "password: swordfish", 1))
	harness.Until(t, func() error {
		if old, fresh := with("open-sesame"), with("swordfish"); old != 401 || fresh != 200 {
			return fmt.Errorf("the old password gets %d, the new one %d", old, fresh)
		}
		return nil
	})
	g.write("gateway.yaml", strings.Replace(string(b), "username: alice", "usrname: alice", 1))
	g.WaitLog(`gateway\.yaml:28:9: error: unknown field "usrname"`)
	if got := with("swordfish"); got != 200 {
		t.Errorf("after the mistake: status %d", got)
	}
}
