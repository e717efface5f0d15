// Package sim stands in for Anypoint Platform on this host: registration, usage reports and what reads them back, with mutual TLS,
// and with faults on demand.
//
// What is documented or was seen it answers as the platform does; the rest is invented (docs/anypoint.md says which), and each
// answer says so in a header. It records what a gateway in Local Mode has no reason to ask for. It listens on loopback alone, calls
// nobody, and its accounts protect nothing.
package sim

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"path"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/flexgw/flexgw/reconcile/anypoint"
)

// Options of a simulator.
type Options struct {
	Dir          string
	Listen       string     // control listener, 127.0.0.1:0 when empty; port 0: that of the run before if it is free
	IngestListen string     // of usage; the same
	Seed         *Seed      // nil: that of the run before, or DefaultSeed
	Clock        *time.Time // the simulator's time from now on; nil: as it was left
	RealClock    bool       // the host's again
	Now          func() time.Time
	Log          *slog.Logger
}

// Sim is a simulator that listens. It is safe for concurrent use.
type Sim struct {
	log             *slog.Logger
	host            func() time.Time
	control, ingest net.Listener
	authority       *authority
	muxes           map[string]*http.ServeMux
	faults          faults
	clock           clock

	mu      sync.Mutex // of what follows
	state   *state
	journal *journal
	closed  bool
}

const (
	onControl = "control"
	onIngest  = "ingest"
)

// Loopback refuses an address that others than this host could reach.
func Loopback(address string) error {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("%s: HOST:PORT is expected", address)
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return fmt.Errorf("%s: the simulator listens on loopback alone (127.0.0.1, [::1]): its credentials are public", address)
	}
	return nil
}

// Open takes the folder, makes what is missing in it, and listens.
func Open(o Options) (*Sim, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	s := &Sim{log: o.Log, host: o.Now, state: newState(), clock: clock{host: o.Now}}
	j, dropped, err := openJournal(o.Dir, s.state.apply)
	if err != nil {
		return nil, err
	}
	s.journal = j
	if dropped > 0 {
		s.log.Warn("the end of the journal was not written whole, and was left out", "bytes", dropped)
	}
	if err := s.open(o); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (s *Sim) open(o Options) (err error) {
	s.clock.set(s.state.clock)
	switch {
	case o.RealClock:
		s.clock.set(clockAt{})
	case o.Clock != nil:
		s.clock.set(clockAt{Offset: o.Clock.Sub(o.Now())})
	}
	save := []put{value(kindClock, "", s.clock.at())}
	if s.state.seed == nil && o.Seed == nil {
		o.Seed = DefaultSeed()
	}
	if o.Seed != nil {
		if err := o.Seed.check(); err != nil {
			return err
		}
		save = append(save, value(kindSeed, "", o.Seed), value(kindOptions, "", nil))
	}
	if err := s.commit(true, save...); err != nil {
		return err
	}
	if o.Seed != nil {
		if err := s.commit(true, s.sow(o.Seed)...); err != nil {
			return err
		}
	}
	if s.authority, err = openAuthority(o.Dir, s.clock.now(), o.Now()); err != nil {
		return err
	}
	if s.control, err = listen(o.Listen, s.state.ports.Control); err != nil {
		return err
	}
	if s.ingest, err = listen(o.IngestListen, s.state.ports.Ingest); err != nil {
		return err
	}
	s.routes()
	return s.commit(true, value(kindPorts, "", ports{port(s.control), port(s.ingest)}))
}

func port(l net.Listener) string {
	_, p, _ := net.SplitHostPort(l.Addr().String())
	return p
}

// listen takes the port of the run before where any port will do: registrations name it.
func listen(address, before string) (net.Listener, error) {
	if address == "" {
		address = "127.0.0.1:0"
	}
	if err := Loopback(address); err != nil {
		return nil, err
	}
	host, p, _ := net.SplitHostPort(address)
	if p == "0" && before != "" {
		if l, err := net.Listen("tcp", net.JoinHostPort(host, before)); err == nil {
			return l, nil
		}
	}
	return net.Listen("tcp", address)
}

// URL is that of the control listener, the platform's base URL.
func (s *Sim) URL() string { return "https://" + s.control.Addr().String() }

// IngestURL is that of the listener that takes usage from whoever shows a gateway's certificate.
func (s *Sim) IngestURL() string { return "https://" + s.ingest.Addr().String() }

// CA is the root of all certificates, as PEM: what is in ca.pem.
func (s *Sim) CA() []byte { return s.authority.rootPEM() }

// Serve answers until ctx ends. Then what is being answered is ended, and the folder given back.
func (s *Sim) Serve(ctx context.Context) error {
	ended := make(chan error, 2)
	servers := []*http.Server{s.server(onControl), s.server(onIngest)}
	for i, l := range []net.Listener{s.control, s.ingest} {
		go func() {
			ended <- servers[i].Serve(tls.NewListener(l, s.authority.tlsConfig(l == s.ingest, s.clock.now)))
		}()
	}
	var err error
	running := 2
	select {
	case <-ctx.Done():
	case err = <-ended:
		running--
	}
	grace, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	for _, h := range servers {
		if h.Shutdown(grace) != nil {
			_ = h.Close()
		}
	}
	for ; running > 0; running-- {
		<-ended
	}
	if errors.Is(err, http.ErrServerClosed) {
		err = nil
	}
	return errors.Join(err, s.Close())
}

// Close gives the folder back. What was answered is in it, whether or not it is called.
func (s *Sim) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	for _, l := range []net.Listener{s.control, s.ingest} {
		if l != nil {
			_ = l.Close()
		}
	}
	if s.journal.file == nil {
		return s.journal.close()
	}
	return errors.Join(s.journal.compact(s.state.all()), s.journal.close())
}

// commit writes puts and makes them the state. last: they outlive the machine, once the call in which they are made is answered.
// It is called with the lock held, but for Open.
func (s *Sim) commit(last bool, puts ...put) error {
	if len(puts) == 0 {
		return nil
	}
	if err := s.journal.append(puts, last); err != nil {
		s.log.Error("the simulator cannot write its state", "error", err)
		return err
	}
	for _, p := range puts {
		if err := s.state.apply(p); err != nil {
			return err
		}
	}
	if s.journal.full() {
		if err := s.journal.compact(s.state.all()); err != nil {
			s.journal.snapshot = s.journal.size // not again at once
			s.log.Error("the simulator cannot write a snapshot; the journal goes on", "error", err)
		}
	}
	return nil
}

func (s *Sim) server(listener string) *http.Server {
	return &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { s.serve(listener, w, r) }), ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout: 2 * time.Minute, IdleTimeout: 5 * time.Minute, MaxHeaderBytes: 64 << 10,
		ErrorLog:     log.New(refusals{s, listener}, "", 0),
		TLSNextProto: map[string]func(*http.Server, *tls.Conn, http.Handler){}, // HTTP/1.1: a cut is then one of a connection
	}
}

// refusals takes what the HTTP server says of handshakes.
type refusals struct {
	s        *Sim
	listener string
}

func (r refusals) Write(b []byte) (int, error) {
	r.s.log.Info(strings.TrimSpace(string(b)), "listener", r.listener)
	return len(b), nil
}

// query is one call, its body read.
type query struct {
	*http.Request
	listener string
	body     []byte
	now      time.Time
	peer     *x509.Certificate // that the client showed; nil on control
}

// answer is what a call gets.
type answer struct {
	status int
	header http.Header
	body   []byte
	// why it is nothing that a gateway asks for; "": it is
	unexpected string
}

type handler func(*query) answer

// The most that the body of a call may have, in bytes.
const (
	maxControl = 1 << 20
	maxIngest  = 4 << 20
)

// serve answers one request of a listener.
func (s *Sim) serve(listener string, w http.ResponseWriter, r *http.Request) {
	w.Header().Set(anypoint.WireHeader, anypoint.WireSim)
	if listener == onControl && (r.URL.Path == "/_sim" || strings.HasPrefix(r.URL.Path, "/_sim/")) {
		s.own(w, r)
		return
	}
	if listener == onControl && r.URL.Path == "/" && r.Method == http.MethodGet && strings.Contains(r.Header.Get("Accept"), "text/html") { // a person
		http.Redirect(w, r, "/_sim", http.StatusFound)
		return
	}
	q := &query{Request: r, listener: listener}
	if listener == onIngest {
		q.peer = r.TLS.PeerCertificates[0]
	}
	limit := int64(maxControl)
	if listener == onIngest {
		limit = maxIngest
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	q.body = body
	if err != nil {
		a := failure(http.StatusBadRequest, "the body ended early")
		if large := (*http.MaxBytesError)(nil); errors.As(err, &large) {
			a = failure(http.StatusRequestEntityTooLarge, fmt.Sprintf("the body has more than %d bytes", limit))
		}
		s.finish(q, &a)
		s.reply(w, a)
		return
	}
	f, ok := s.faults.take(listener, r.URL.Path)
	if !ok {
		s.reply(w, s.once(q))
		return
	}
	s.fail(f, q, w)
}

// once handles a call, and counts it before anybody learns of it.
func (s *Sim) once(q *query) answer {
	q.now = s.clock.now()
	var a answer
	if _, pattern := s.muxes[q.listener].Handler(q.Request); pattern == "" || path.Clean(q.URL.Path) != q.URL.Path {
		a = failure(http.StatusNotFound, "no such path")
		a.unexpected = "unknown path"
	} else {
		box := &box{}
		s.muxes[q.listener].ServeHTTP(box, q.WithContext(context.WithValue(q.Context(), queryKey{}, q)))
		a = box.answer
	}
	s.finish(q, &a)
	return a
}

// queryKey and box carry a query and its answer through a ServeMux, which is there for its patterns.
type queryKey struct{}

type box struct{ answer answer }

func (b *box) Header() http.Header {
	if b.answer.header == nil {
		b.answer.header = http.Header{}
	}
	return b.answer.header
}

func (b *box) Write(p []byte) (int, error) {
	b.answer.body = append(b.answer.body, p...)
	return len(p), nil
}

func (b *box) WriteHeader(status int) { b.answer.status = status }

// finish counts a call, and waits until what it changed lasts.
func (s *Sim) finish(q *query, a *answer) {
	err := s.note(q, *a)
	if err == nil && q.Method != http.MethodGet {
		err = s.journal.sync()
	}
	if err != nil {
		*a = failure(http.StatusInternalServerError, "the simulator cannot write its state: "+err.Error())
	}
}

// What is remembered of calls: that many kinds of them.
const (
	maxCalls      = 10_000
	maxUnexpected = 1_000
	maxPath       = 512
)

// note counts a call and its answer.
func (s *Sim) note(q *query, a answer) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	now, p := s.clock.now(), clip(q.URL.Path)
	c := Call{Method: clip(q.Method), Path: p, Status: a.status}
	key := func() string { return fmt.Sprintf("%s %s %d", c.Method, c.Path, c.Status) }
	if _, known := s.state.calls[key()]; !known && len(s.state.calls) >= maxCalls {
		c.Path = "(others)"
	}
	c.Count = s.state.calls[key()].Count + 1
	puts := []put{value(kindCall, key(), c)}
	if a.unexpected != "" {
		u := Unexpected{Listener: q.listener, Method: c.Method, Path: p, Why: a.unexpected, First: now}
		id := func() string { return u.Listener + " " + u.Method + " " + u.Path }
		if _, known := s.state.unexpected[id()]; !known && len(s.state.unexpected) >= maxUnexpected {
			u.Path = "(others)"
		}
		if before, known := s.state.unexpected[id()]; known {
			u = before
		}
		u.Count, u.Last = u.Count+1, now
		puts = append(puts, value(kindUnexpected, id(), u))
		s.log.Warn("a gateway in Local Mode has no reason to ask for this", "listener", q.listener, "method", q.Method, "path", p, "why", a.unexpected)
	}
	return s.commit(a.unexpected != "", puts...)
}

func clip(s string) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if len(s) > maxPath {
		s = strings.ToValidUTF8(s[:maxPath], "") + "…"
	}
	return s
}

// reply sends an answer.
func (s *Sim) reply(w http.ResponseWriter, a answer) {
	for k, v := range a.header {
		w.Header()[k] = v
	}
	if a.status != http.StatusNoContent && a.status != http.StatusNotModified {
		w.Header().Set("Content-Length", strconv.Itoa(len(a.body)))
	}
	w.Header().Set("Date", s.clock.now().UTC().Format(http.TimeFormat))
	w.WriteHeader(a.status)
	_, _ = w.Write(a.body) // whoever does not wait has lost it
}

// routes are the paths of both listeners. A path with another method answers 405.
func (s *Sim) routes() {
	control, ingest := http.NewServeMux(), http.NewServeMux()
	s.muxes = map[string]*http.ServeMux{onControl: control, onIngest: ingest}
	one := func(mux *http.ServeMux, pattern string, methods map[string]handler) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			q := r.Context().Value(queryKey{}).(*query) //nolint:forcetypeassert // once puts it there
			q.Request = r                               // with the values of the pattern
			h, ok := methods[r.Method]
			if !ok {
				h = notAllowed(pattern, methods)
			}
			w.(*box).answer = h(q) //nolint:forcetypeassert // once hands it in
		})
	}
	locked := func(h handler) handler {
		return func(q *query) answer {
			s.mu.Lock()
			defer s.mu.Unlock()
			return h(q)
		}
	}
	get := func(pattern string, h handler) { one(control, pattern, map[string]handler{http.MethodGet: locked(h)}) }
	post := func(pattern string, h handler) {
		one(control, pattern, map[string]handler{http.MethodPost: locked(h)})
	}
	const (
		accounts   = "/accounts/api"
		standalone = "/standalone/api/v1/organizations/{org}/environments/{env}"
		meters     = "/metering/usage/api/v1"
	)
	get(anypoint.PathHello, s.hello)
	post(anypoint.PathLogin, s.login)
	post(accounts+"/login", s.login)
	post(anypoint.PathToken, s.oauth)
	post("/accounts/oauth2/token", s.oauth)
	get(anypoint.PathMe, s.me)
	get(accounts+"/users/me", s.me)
	get(accounts+"/organizations/{org}", s.organization)
	get(accounts+"/organizations/{org}/environments", s.environments)
	get(accounts+"/organizations/{org}/environments/{env}", s.environment)
	post(standalone+"/gatewaytokens", s.mint)
	post(anypoint.PathRegistrations, s.register)
	post(anypoint.PathRegistrations+"/{agent}/renewals", s.renew)
	get(standalone+"/gateways", s.listGateways)
	one(control, standalone+"/gateways/{id}", map[string]handler{http.MethodGet: locked(s.getGateway), http.MethodDelete: locked(s.deleteGateway)})
	get(standalone+"/gateways/{id}/replicas", s.listReplicas)
	get(meters+"/meters:describe", s.describe)
	get(meters+"/meters/{name}", s.describe) // NAME:describe
	post(meters+"/meters:search", s.search)
	one(ingest, anypoint.PathHello, map[string]handler{http.MethodGet: locked(s.hello)}) // who reports asks there
	one(ingest, anypoint.PathMetering, map[string]handler{http.MethodPost: s.metering})  // it locks when it has read
	for _, mux := range []*http.ServeMux{control, ingest} {
		for _, p := range []string{"/agent", "/apiruntime/v1/events", "/ingestion/api/v1/logging", "/ingestion/api/v1/monitoring"} {
			mux.HandleFunc(p, func(w http.ResponseWriter, _ *http.Request) {
				a := failure(tripped, "a gateway in Local Mode does not call this")
				a.unexpected = "tripwire"
				w.(*box).answer = a //nolint:forcetypeassert // once hands it in
			})
		}
	}
}

// tripped is the status of what must never be called: none that anybody would retry by mistake.
const tripped = 599

// notAllowed is the answer to another method. Tokens cannot be read back [C], so somebody may try.
func notAllowed(pattern string, methods map[string]handler) handler {
	return func(q *query) answer {
		a := failure(http.StatusMethodNotAllowed, "Method Not Allowed")
		for _, m := range []string{http.MethodGet, http.MethodPost, http.MethodDelete} {
			if _, ok := methods[m]; ok {
				a.header.Add("Allow", m)
			}
		}
		a.header.Set("Allow", strings.Join(a.header.Values("Allow"), ", "))
		if !strings.HasSuffix(pattern, "/gatewaytokens") {
			a.unexpected = "unknown method"
		}
		return a
	}
}

func (s *Sim) hello(*query) answer {
	return reply(http.StatusOK, map[string]any{"wire": anypoint.WireSim, "ingest": s.IngestURL(), "registration": anypoint.RegistrationSchema, "usage": anypoint.UsageSchema})
}
