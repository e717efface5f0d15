package fetch_test

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/flexgw/flexgw/reconcile/fetch"
	"github.com/flexgw/flexgw/render/policy"
)

func TestFetchKeepsTheLastUsableAnswer(t *testing.T) {
	t.Parallel()
	var answer atomic.Value
	answer.Store("bad")
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Write([]byte(answer.Load().(string)))
	}))
	defer srv.Close()
	usable := func(_ policy.Need, b []byte) error {
		if string(b) == "bad" {
			return errors.New("no usable key")
		}
		return nil
	}
	f := fetch.New(srv.Client(), usable, t.TempDir(), slog.New(slog.DiscardHandler))
	defer f.Close()
	n := policy.Need{Policy: "p", Purpose: "jwks", URL: srv.URL, TTL: time.Hour}
	f.Want([]policy.Need{n})
	f.Tried(t.Context())
	if b, ok := f.Got(n); ok {
		t.Fatalf("an unusable answer was given out: %q", b)
	}
	if f.Err(n) == nil {
		t.Error("the failure is not told")
	}
	answer.Store("good")
	select {
	case <-f.Changed():
	case <-time.After(time.Minute):
		t.Fatal("not tried again")
	}
	if b, ok := f.Got(n); !ok || string(b) != "good" || f.Err(n) != nil {
		t.Errorf("got %q %v, error %v", b, ok, f.Err(n))
	}
	f.Want(nil)
	if _, ok := f.Got(n); ok {
		t.Error("what nobody wants is still held")
	}
}

func TestFetchFailures(t *testing.T) {
	t.Parallel()
	stuck := make(chan struct{})
	mux := http.NewServeMux()
	mux.HandleFunc("/500", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) })
	mux.HandleFunc("/large", func(w http.ResponseWriter, _ *http.Request) { w.Write(make([]byte, 5<<20)) })
	mux.HandleFunc("/slow", func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-stuck:
		case <-r.Context().Done():
		}
	})
	srv := httptest.NewServer(mux)
	defer srv.Close()
	defer close(stuck)
	f := fetch.New(srv.Client(), func(policy.Need, []byte) error { return nil }, t.TempDir(), slog.New(slog.DiscardHandler))
	defer f.Close()
	var needs []policy.Need
	for _, path := range []string{"/500", "/large", "/slow"} {
		needs = append(needs, policy.Need{URL: srv.URL + path, Timeout: 200 * time.Millisecond})
	}
	f.Want(needs)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	f.Tried(ctx)
	for _, n := range needs {
		if f.Err(n) == nil {
			t.Errorf("%s: no error", n.URL)
		}
	}
}

func TestAnswersOutliveTheFetcher(t *testing.T) {
	t.Parallel()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("keys")) }))
	dir := t.TempDir()
	n := policy.Need{Policy: "p", Purpose: "jwks", URL: srv.URL, TTL: time.Hour, Timeout: time.Minute}
	usable := func(policy.Need, []byte) error { return nil }
	f := fetch.New(srv.Client(), usable, dir, slog.New(slog.DiscardHandler))
	f.Want([]policy.Need{n})
	f.Tried(t.Context())
	f.Close()
	srv.Close()
	f = fetch.New(srv.Client(), usable, dir, slog.New(slog.DiscardHandler))
	f.Want([]policy.Need{n})
	if b, ok := f.Got(n); !ok || string(b) != "keys" {
		t.Errorf("after a restart with the server down: %q %v", b, ok)
	}
	f.Want(nil)
	f.Close()
	f = fetch.New(srv.Client(), usable, dir, slog.New(slog.DiscardHandler))
	defer f.Close()
	f.Want([]policy.Need{n})
	if _, ok := f.Got(n); ok {
		t.Error("what nobody wanted was kept")
	}
}
