// Package echo serves the upstreams that Echo documents ask for: they stand in for services that do not exist yet.
//
// An echo answers every request with what it got, on loopback only. It is for trying things out and is never in the path
// of a real upstream.
package echo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/flexgw/flexgw/schema/ir"
)

const maxBody = 1 << 20

// Server serves a changing set of echoes.
type Server struct {
	log *slog.Logger

	mu      sync.Mutex
	running map[string]*http.Server // by host:port
}

// New serves nothing yet.
func New(log *slog.Logger) *Server { return &Server{log: log, running: map[string]*http.Server{}} }

// Set makes the running echoes equal to the list. An address that cannot be bound is an error; the others are served.
func (s *Server) Set(echoes []*ir.Echo) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	want := map[string]bool{}
	var errs []error
	for _, e := range echoes {
		want[e.Address] = true
		if s.running[e.Address] != nil {
			continue
		}
		l, err := net.Listen("tcp", e.Address)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", e.Origin.Range, err))
			continue
		}
		h := &http.Server{Handler: handler{e.Origin.Object.Name}, ReadHeaderTimeout: 10 * time.Second}
		s.running[e.Address] = h
		s.log.Info("echo", "name", e.Origin.Object.Name, "address", e.Address)
		go func() {
			if err := h.Serve(l); err != nil && !errors.Is(err, http.ErrServerClosed) {
				s.log.Error("echo ended", "address", e.Address, "error", err)
			}
		}()
	}
	for address, h := range s.running {
		if !want[address] {
			stop(h)
			delete(s.running, address)
		}
	}
	return errors.Join(errs...)
}

// Close ends all echoes.
func (s *Server) Close() error { return s.Set(nil) }

func stop(h *http.Server) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if h.Shutdown(ctx) != nil {
		h.Close()
	}
}

type handler struct{ name string }

func (e handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxBody))
	if err != nil {
		return
	}
	headers := map[string][]string{}
	for k, v := range r.Header {
		headers[strings.ToLower(k)] = v
	}
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(struct {
		Echo    string              `json:"echo"`
		Method  string              `json:"method"`
		Target  string              `json:"target"` // path and query as received
		Host    string              `json:"host"`
		Headers map[string][]string `json:"headers"`
		Body    string              `json:"body"`
	}{e.name, r.Method, r.RequestURI, r.Host, headers, string(body)})
}
