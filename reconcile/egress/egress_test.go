package egress_test

import (
	"context"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/flexgw/flexgw/reconcile/egress"
)

func host(t *testing.T, raw string) string {
	t.Helper()
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	return u.Host
}

func get(t *testing.T, c *http.Client, url string) (string, error) {
	t.Helper()
	r, err := c.Get(url)
	if err != nil {
		return "", err
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	return string(b), err
}

func wantRefused(t *testing.T, err error, purpose egress.Purpose, host string) {
	t.Helper()
	var refused *egress.RefusedError
	if !errors.As(err, &refused) {
		t.Fatalf("error = %v, want a RefusedError", err)
	}
	if diff := cmp.Diff(egress.RefusedError{Purpose: purpose, Host: host}, *refused); diff != "" {
		t.Errorf("refused (-want +got):\n%s", diff)
	}
	if !strings.Contains(err.Error(), host) || !strings.Contains(err.Error(), string(purpose)) {
		t.Errorf("error %q names neither host nor purpose", err)
	}
}

func TestHTTPClientFollowsTheList(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "keys") }))
	t.Cleanup(server.Close)
	at := host(t, server.URL)
	e := egress.New(egress.Options{})
	c := e.HTTPClient(egress.JWKS)

	_, err := get(t, c, server.URL)
	wantRefused(t, err, egress.JWKS, at)

	e.Allow(egress.JWKS, at, "jwt.yaml:9:7")
	if got, err := get(t, c, server.URL); err != nil || got != "keys" {
		t.Fatalf("allowed: got %q, %v", got, err)
	}
	_, err = get(t, e.HTTPClient(egress.Webhook), server.URL)
	wantRefused(t, err, egress.Webhook, at)

	// The kept connection must not outlive the permission.
	e.Set(egress.JWKS, nil)
	_, err = get(t, c, server.URL)
	wantRefused(t, err, egress.JWKS, at)
}

func TestRedirectsAreHeldAgainstTheList(t *testing.T) {
	t.Parallel()
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "secret") }))
	t.Cleanup(other.Close)
	first := httptest.NewServer(http.RedirectHandler(other.URL, http.StatusFound))
	t.Cleanup(first.Close)
	e := egress.New(egress.Options{})
	e.Allow(egress.JWKS, host(t, first.URL), "test")
	_, err := get(t, e.HTTPClient(egress.JWKS), first.URL)
	wantRefused(t, err, egress.JWKS, host(t, other.URL))

	e.Allow(egress.JWKS, host(t, other.URL), "test")
	if got, err := get(t, e.HTTPClient(egress.JWKS), first.URL); err != nil || got != "secret" {
		t.Fatalf("both allowed: got %q, %v", got, err)
	}
}

func TestRedirectToPlainTextIsRefused(t *testing.T) {
	t.Parallel()
	plain := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	t.Cleanup(plain.Close)
	secure := httptest.NewTLSServer(http.RedirectHandler(plain.URL, http.StatusFound))
	t.Cleanup(secure.Close)
	roots := x509.NewCertPool()
	roots.AddCert(secure.Certificate())
	e := egress.New(egress.Options{RootCAs: roots})
	e.Allow(egress.JWKS, host(t, secure.URL), "test")
	e.Allow(egress.JWKS, host(t, plain.URL), "test")
	if _, err := get(t, e.HTTPClient(egress.JWKS), secure.URL); err == nil || !strings.Contains(err.Error(), "redirect from https to http") {
		t.Errorf("error = %v, want the downgrade named", err)
	}
}

func TestCertificatesAreVerified(t *testing.T) {
	t.Parallel()
	server := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	t.Cleanup(server.Close)
	e := egress.New(egress.Options{})
	e.Allow(egress.JWKS, host(t, server.URL), "test")
	if _, err := get(t, e.HTTPClient(egress.JWKS), server.URL); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("error = %v, want an unknown authority", err)
	}
}

func TestDial(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	socket, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { socket.Close() })
	e := egress.New(egress.Options{})

	_, err = e.Dial(context.Background(), "redis", "tcp", listener.Addr().String())
	wantRefused(t, err, "redis", listener.Addr().String())
	e.Allow("redis", "127.0.0.1", "--store")
	for network, addr := range map[string]string{"tcp": listener.Addr().String(), "unix": socket.Addr().String()} {
		c, err := e.Dial(context.Background(), "redis", network, addr)
		if err != nil {
			t.Errorf("%s: %v", network, err)
			continue
		}
		c.Close()
	}
}

func TestSpellingsOfOneHost(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ allow, dial string }{
		{"Keys.Example.COM", "keys.example.com:443"},
		{"keys.example.com.:443", "KEYS.example.com:443"},
		{"[::1]:8080", "[0:0::1]:8080"},
		{"[::1]", "[::1]:9"},
		{"::1", "[::1]:9"},
		{"bücher.example", "xn--bcher-kva.example:443"},
	} {
		e := egress.New(egress.Options{})
		e.Allow("p", c.allow, "test")
		ctx, cancel := context.WithCancel(context.Background())
		cancel() // allowed means: refused by nobody but the cancelled context
		var refused *egress.RefusedError
		if _, err := e.Dial(ctx, "p", "tcp", c.dial); errors.As(err, &refused) {
			t.Errorf("allow %q, dial %q: %v", c.allow, c.dial, err)
		}
		if _, err := e.Dial(ctx, "p", "tcp", "other.example:443"); !errors.As(err, &refused) {
			t.Errorf("allow %q opened other.example too", c.allow)
		}
	}
}

func TestListIsSortedAndNamesReasons(t *testing.T) {
	t.Parallel()
	e := egress.New(egress.Options{})
	e.Allow("usage", "b.example:443", "flag")
	e.Allow(egress.JWKS, "b.example", "x.yaml:2:1")
	e.Allow(egress.JWKS, "a.example", "x.yaml:1:1")
	e.Allow(egress.JWKS, "a.example", "x.yaml:1:1")
	want := []egress.Destination{
		{Purpose: egress.JWKS, Host: "a.example", Why: "x.yaml:1:1"},
		{Purpose: egress.JWKS, Host: "b.example", Why: "x.yaml:2:1"},
		{Purpose: "usage", Host: "b.example:443", Why: "flag"},
	}
	if diff := cmp.Diff(want, e.List()); diff != "" {
		t.Errorf("list (-want +got):\n%s", diff)
	}
	e.Set(egress.JWKS, []egress.Destination{{Host: "C.example", Why: "y.yaml:1:1"}})
	want = []egress.Destination{{Purpose: egress.JWKS, Host: "c.example", Why: "y.yaml:1:1"}, want[2]}
	if diff := cmp.Diff(want, e.List()); diff != "" {
		t.Errorf("list after Set (-want +got):\n%s", diff)
	}
}
