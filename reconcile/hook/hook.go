// Package hook takes the webhooks by which forges say that somebody pushed.
//
// It believes nothing that they say: after an authentic push the daemon looks at the repository, as it does from time to time
// anyway. It answers strangers all the same, and keeps nothing on disk.
package hook

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/flexgw/flexgw/reconcile/crowd"
	"github.com/flexgw/flexgw/schema/diag"
)

// Result is what became of a request, a word of metrics.
type Result string

// The results.
const (
	Taken      Result = "taken"       // a push of what is followed: the daemon looks
	Ping       Result = "ping"        // the forge tries whether somebody answers
	Ignored    Result = "ignored"     // no push, or one of another repository or ref
	Replayed   Result = "replayed"    // it was taken before
	Forbidden  Result = "forbidden"   // no signature of a kind that is known, or a wrong one
	Stale      Result = "stale"       // signed at another time than now
	Malformed  Result = "malformed"   // authentic, and not understood
	TooLarge   Result = "too_large"   // more than 2 MiB
	TooMany    Result = "too_many"    // from one address, at once, or in all
	NotAllowed Result = "not_allowed" // another method than POST
	Broken     Result = "broken"      // the secret cannot be read, or the request ended early
)

// Results are all of them, in the order of Counts.
func Results() []Result {
	return []Result{Taken, Ping, Ignored, Replayed, Forbidden, Stale, Malformed, TooLarge, TooMany, NotAllowed, Broken}
}

// Count is how many requests had one result.
type Count struct {
	Result Result
	N      uint64
}

// The bounds.
const (
	maxBody   = 2 << 20 // bytes: GitHub names 2,048 commits of a push at most
	maxAtOnce = 16      // bodies
	maxOfOne  = 4       // of them, of one address
	maxConns  = 256
	bodyTime  = 10 * time.Second
	maxAge    = 5 * time.Minute // of what says when it was signed
	maxKnown  = 4096            // deliveries that are remembered
	perSecond = 1               // pushes that are taken
	burst     = 30
	maxLogged = 10 // refusals within a minute
)

// Options of a Hook.
type Options struct {
	// Secrets are read anew for each request; any of them authenticates. An error, or none, lets nobody in.
	Secrets func() ([][]byte, error)
	Remotes []string // URLs of the repository; a push to another one is ignored. None, or paths: any repository
	Ref     string   // that is followed, as --ref has it; a push to another one is ignored. "": any ref
	Poke    func()   // look now; must not block
	Now     func() time.Time
	Log     *slog.Logger
}

// Hook is the receiver. It is safe for concurrent use.
type Hook struct {
	o     Options
	paths []string // of Remotes, as repository names them

	mu     sync.Mutex
	busy   int            // bodies that are read
	of     map[string]int // of them, by address
	counts map[Result]uint64
	known  map[[sha256.Size]byte]bool
	order  [][sha256.Size]byte // of known, the oldest first
	tokens float64             // authentic deliveries that may come now
	filled time.Time           // when tokens was right
	logged int                 // refusals since minute
	ours   bool                // since minute it was said that the secret cannot be read
	minute time.Time
}

// New makes a Hook.
func New(o Options) *Hook {
	if o.Now == nil {
		o.Now = time.Now
	}
	h := &Hook{o: o, of: map[string]int{}, counts: map[Result]uint64{}, known: map[[sha256.Size]byte]bool{}, tokens: burst}
	for _, r := range o.Remotes {
		if p := repository(r); p != "" {
			h.paths = append(h.paths, p)
		}
	}
	if len(h.paths) < len(o.Remotes) { // one is a path on this host, which no forge knows
		h.paths = nil
	}
	return h
}

// Counts are those since the start, every result of them.
func (h *Hook) Counts() []Count {
	h.mu.Lock()
	defer h.mu.Unlock()
	var list []Count
	for _, r := range Results() {
		list = append(list, Count{r, h.counts[r]})
	}
	return list
}

// outcome is what is made of one request.
type outcome struct {
	result Result
	status int
	say    string // to whoever is authentic; "" for strangers
	log    string // why, for the log
	forge  string
	ours   bool // we are to blame, and not who asks
}

// stranger is the one answer for everybody who is not authentic.
func stranger(r Result, why string) outcome {
	return outcome{result: r, status: http.StatusForbidden, log: why}
}

// ServeHTTP implements http.Handler.
func (h *Hook) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	host := hostOf(r)
	o := h.handle(w, r, host)
	h.count(o, host)
	if o.result == Taken {
		h.o.Poke()
	}
	if o.status == http.StatusTooManyRequests || o.status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "60")
	}
	if o.status == http.StatusMethodNotAllowed {
		w.Header().Set("Allow", http.MethodPost)
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	if o.result != Taken && o.say == "" {
		w.Header().Set("Connection", "close") // what is left of a body is nobody's to read
	}
	w.WriteHeader(o.status)
	if o.say != "" {
		fmt.Fprintln(w, o.say)
	}
}

func (h *Hook) handle(w http.ResponseWriter, r *http.Request, host string) outcome {
	if r.Method != http.MethodPost {
		return outcome{result: NotAllowed, status: http.StatusMethodNotAllowed, log: "the method is not POST"}
	}
	if !h.enter(host) {
		return outcome{result: TooMany, status: http.StatusServiceUnavailable, log: "too many at once"}
	}
	defer h.leave(host)
	body, o := read(w, r)
	if o.result != "" {
		return o
	}
	secrets, err := h.o.Secrets()
	if err == nil && len(secrets) == 0 {
		err = errors.New("there is none")
	}
	if err != nil {
		return outcome{result: Broken, status: http.StatusServiceUnavailable, log: "the secret cannot be read: " + err.Error(), ours: true}
	}
	a, o := authenticate(r.Header, body, secrets, h.o.Now())
	if o.result != "" {
		return o
	}
	o = h.authentic(r.Header, a, body)
	o.forge = a.forge
	return o
}

// enter takes one of the places in which bodies are read; one address gets some of them, so that it cannot have all.
func (h *Hook) enter(host string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.busy >= maxAtOnce || h.of[host] >= maxOfOne {
		return false
	}
	h.busy++
	h.of[host]++
	return true
}

func (h *Hook) leave(host string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.busy--
	if h.of[host]--; h.of[host] == 0 {
		delete(h.of, host)
	}
}

// read takes the body in, within bounds.
func read(w http.ResponseWriter, r *http.Request) ([]byte, outcome) {
	tooLarge := outcome{result: TooLarge, status: http.StatusRequestEntityTooLarge, log: "its body is too large"}
	if r.ContentLength > maxBody {
		return nil, tooLarge
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return nil, tooLarge
	case err != nil:
		return nil, outcome{result: Broken, status: http.StatusBadRequest, log: "its body ends early"}
	}
	return body, outcome{}
}

// authentic judges what somebody sent who knows the secret.
func (h *Hook) authentic(head http.Header, a authentication, body []byte) outcome {
	text, err := payload(head, body)
	if err != nil {
		return outcome{result: Malformed, status: http.StatusBadRequest, say: err.Error(), log: err.Error()}
	}
	p, err := parse(text)
	if err != nil {
		return outcome{result: Malformed, status: http.StatusBadRequest, say: "the body is no JSON", log: "its body is no JSON"}
	}
	ignored := func(why string) outcome {
		return outcome{result: Ignored, status: http.StatusOK, say: "ignored: " + why, log: why}
	}
	switch kind := a.event(head, p); kind {
	case push:
	case ping:
		return outcome{result: Ping, status: http.StatusOK, say: "well received", log: "a ping"}
	default:
		return ignored("no push")
	}
	if !h.sameRepository(p.repositories()) {
		return ignored("another repository")
	}
	if !h.sameRef(p.refs()) {
		return ignored("another ref")
	}
	switch keys := a.keys(head); h.take(keys) {
	case Replayed:
		return outcome{result: Replayed, status: http.StatusOK, say: "ignored: it was delivered before", log: "it was delivered before"}
	case TooMany:
		return outcome{result: TooMany, status: http.StatusTooManyRequests, say: "too many pushes", log: "too many authentic pushes"}
	}
	return outcome{result: Taken, status: http.StatusAccepted, say: "looking", log: "a push"}
}

// payload is the JSON of a body, which may be in a form.
func payload(head http.Header, body []byte) ([]byte, error) {
	kind, _, err := mime.ParseMediaType(head.Get("Content-Type"))
	switch {
	case len(body) == 0: // many programs say of no body that it is a form
		return []byte("{}"), nil
	case err == nil && (kind == "application/json" || strings.HasSuffix(kind, "+json")):
		return body, nil
	case err == nil && kind == "application/x-www-form-urlencoded":
		v, err := url.ParseQuery(string(body))
		if err != nil || v.Get("payload") == "" {
			return nil, errors.New("the form has no payload")
		}
		return []byte(v.Get("payload")), nil
	}
	return nil, errors.New("the content type is neither application/json nor application/x-www-form-urlencoded")
}

// keys are by what a delivery is known again. The ids of some forges are not signed, so what was signed is one too: neither how the
// signature is written, nor in which forge's header it came.
func (a authentication) keys(head http.Header) (keys [][sha256.Size]byte) {
	if a.signed != nil { // a token signs nothing: the same body may come twice
		keys = append(keys, sha256.Sum256(append([]byte("\x00"), a.signed...)))
	}
	if id := head.Get(a.id); id != "" {
		keys = append(keys, sha256.Sum256([]byte(a.forge+"\x01"+id)))
	}
	return keys
}

// take says whether a push is to be taken, and remembers it when it is: one that was refused may come again.
func (h *Hook) take(keys [][sha256.Size]byte) Result {
	h.mu.Lock()
	defer h.mu.Unlock()
	if slices.ContainsFunc(keys, func(k [sha256.Size]byte) bool { return h.known[k] }) {
		return Replayed
	}
	now := h.o.Now()
	if !h.filled.IsZero() {
		h.tokens = min(burst, h.tokens+max(0, now.Sub(h.filled).Seconds())*perSecond)
	}
	h.filled = now
	if h.tokens < 1 {
		return TooMany
	}
	h.tokens--
	for _, k := range keys {
		if len(h.order) >= maxKnown {
			delete(h.known, h.order[0])
			h.order = append(h.order[:0], h.order[1:]...)
		}
		h.known[k] = true
		h.order = append(h.order, k)
	}
	return Taken
}

// tick forgets what was counted in another minute. h.mu is held.
func (h *Hook) tick() {
	if now := h.o.Now().Truncate(time.Minute); !now.Equal(h.minute) {
		h.minute, h.logged, h.ours = now, 0, false
	}
}

// count counts and logs what became of a request. What is logged was written by us, but for the address.
func (h *Hook) count(o outcome, host string) {
	refused := o.say == ""
	h.mu.Lock()
	h.tick()
	h.counts[o.result]++
	quiet, last := false, false
	switch {
	case o.ours: // strangers, however many, must not keep it from being said
		quiet, h.ours = h.ours, true
	case refused:
		h.logged++
		quiet, last = h.logged > maxLogged, h.logged == maxLogged
	}
	h.mu.Unlock()
	args := []any{"result", string(o.result), "why", o.log, "address", diag.Visible(host)}
	if o.forge != "" {
		args = append(args, "forge", o.forge)
	}
	if last {
		args = append(args, "more", "those that follow within the minute are only counted")
	}
	switch {
	case quiet:
	case o.ours:
		h.o.Log.Error("hook: no webhook is taken", args...)
	case refused:
		h.o.Log.Warn("hook: a request was refused", args...)
	default:
		h.o.Log.Info("hook: a delivery came", args...)
	}
}

// hostOf is the address of whoever asks, without its port. Headers that proxies set are whatever a stranger writes.
func hostOf(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return "socket"
	}
	return host
}

// Serve answers on l until ctx is done, then ends what is under way within a second.
func (h *Hook) Serve(ctx context.Context, l net.Listener) error {
	s := &http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: bodyTime, WriteTimeout: bodyTime, IdleTimeout: 5 * time.Second, MaxHeaderBytes: 16 << 10,
		ErrorLog: slog.NewLogLogger(h.o.Log.Handler(), slog.LevelDebug)} // it tells of scanners
	stop := context.AfterFunc(ctx, func() {
		limit, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if s.Shutdown(limit) != nil {
			s.Close()
		}
	})
	defer stop()
	if err := s.Serve(crowd.Listen(l, maxConns)); err != nil && !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve webhooks on %s: %w", l.Addr(), err)
	}
	return nil
}
