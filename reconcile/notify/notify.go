// Package notify posts events to a webhook, signed, in their order, and again when they were not taken.
//
// It keeps nothing on disk: what waits when the process ends is tried once more and then lost. Receivers may see an event
// twice and must go by its id.
package notify

import (
	"bytes"
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	mathrand "math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"

	"github.com/flexgw/flexgw/reconcile"
	"github.com/flexgw/flexgw/schema/diag"
)

// SchemaVersion is that of Body. Fields may be added; a change of what is there makes the next.
const SchemaVersion = 1

// Body is what is posted, as JSON.
type Body struct {
	SchemaVersion int       `json:"schemaVersion"`
	ID            string    `json:"id"` // the same for every try
	Type          string    `json:"type"`
	At            time.Time `json:"at"` // when it happened
	Source        string    `json:"source"`
	Revision      string    `json:"revision"`
	Previous      string    `json:"previous"` // with RolledBack: the revision that is served again
	By            string    `json:"by"`
	Reason        string    `json:"reason"`
	Message       string    `json:"message"`
	Errors        int       `json:"errors"`      // how many there are
	Diagnostics   diag.List `json:"diagnostics"` // the first of them, as validate --output json has them
}

// The headers of a post. The signature is "t=UNIXSECONDS,v1=HEX": the HMAC-SHA256, under the secret, of the seconds, a dot and the
// body. A receiver refuses old seconds, so that nobody can post it again.
const (
	IDHeader        = "Flexgw-Event-Id"
	TypeHeader      = "Flexgw-Event-Type"
	SignatureHeader = "Flexgw-Signature"
)

// Options of a Notifier. Zero values of what is optional are the defaults.
type Options struct {
	URL     string // http or https; told to nobody beyond its host: it may hold a secret
	Source  string // that the daemon follows
	Secret  []byte // of the signature; empty: posts are not signed
	Version string // of flexgw, for the User-Agent
	Client  *http.Client
	Log     *slog.Logger

	Queue         int           // events that may wait; 0: 256
	Tries         int           // of one event; 0: 10, over some eight minutes
	First, Most   time.Duration // wait after the first failure, and at most; 0: 1 s, 2 min
	Timeout, Last time.Duration // of one try, and of all that is tried at the end; 0: 10 s, 1 s
}

// Counts are what became of events.
type Counts struct {
	Waiting                    int
	Delivered, Dropped, Failed uint64
}

// Notifier posts events one after another. Event may be called by anybody, Run once.
type Notifier struct {
	o    Options
	host string

	mu     sync.Mutex
	queue  []Body
	counts Counts
	wake   chan struct{}
}

// maxDiagnostics bounds a body; status and validate have the rest.
const maxDiagnostics = 20

// New makes a Notifier, and an error when the URL is none.
func New(o Options) (*Notifier, error) {
	u, err := url.Parse(o.URL)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, errors.New("the webhook is no http:// or https:// URL")
	}
	o.Queue, o.Tries = cmp.Or(o.Queue, 256), cmp.Or(o.Tries, 10)
	o.First, o.Most = cmp.Or(o.First, time.Second), cmp.Or(o.Most, 2*time.Minute)
	o.Timeout, o.Last = cmp.Or(o.Timeout, 10*time.Second), cmp.Or(o.Last, time.Second)
	c := *o.Client
	// Somebody else would get the body and the signature.
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	o.Client = &c
	return &Notifier{o: o, host: u.Host, wake: make(chan struct{}, 1)}, nil
}

// Event takes an event in. It does not block: when too many wait, the oldest is dropped.
func (n *Notifier) Event(e reconcile.Event) {
	b := Body{SchemaVersion: SchemaVersion, ID: newID(), Type: string(e.Type), At: e.At, Source: n.o.Source, Revision: e.Revision, Previous: e.Previous,
		By: e.By, Reason: e.Reason, Message: e.Message, Errors: e.Diagnostics.Count(diag.Error), Diagnostics: diag.List{}}
	for _, d := range e.Diagnostics {
		if d.Severity == diag.Error && len(b.Diagnostics) < maxDiagnostics {
			b.Diagnostics = append(b.Diagnostics, d)
		}
	}
	n.mu.Lock()
	if len(n.queue) >= n.o.Queue {
		old := n.queue[0]
		n.queue = append(n.queue[:0], n.queue[1:]...)
		n.counts.Dropped++
		n.o.Log.Warn("webhook: too many events wait; the oldest is dropped", "host", n.host, "event", old.Type, "id", old.ID, "revision", old.Revision)
	}
	n.queue = append(n.queue, b)
	n.mu.Unlock()
	select {
	case n.wake <- struct{}{}:
	default:
	}
}

func newID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // it never fails
	return hex.EncodeToString(b[:])
}

// Counts are those since the start.
func (n *Notifier) Counts() Counts {
	n.mu.Lock()
	defer n.mu.Unlock()
	c := n.counts
	c.Waiting = len(n.queue)
	return c
}

// Run posts until ctx is done, then tries what waits once more.
func (n *Notifier) Run(ctx context.Context) {
	for {
		b, ok := n.first()
		if !ok {
			select {
			case <-n.wake:
				continue
			case <-ctx.Done():
				n.last()
				return
			}
		}
		if err := n.deliver(ctx, b); ctx.Err() != nil && err != nil {
			n.last()
			return
		}
	}
}

func (n *Notifier) first() (Body, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.queue) == 0 {
		return Body{}, false
	}
	return n.queue[0], true
}

// done takes an event out, unless it was dropped meanwhile, and counts what became of it.
func (n *Notifier) done(b Body, count *uint64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.queue) > 0 && n.queue[0].ID == b.ID {
		n.queue = append(n.queue[:0], n.queue[1:]...)
		*count++
	}
}

// last gives what waits one try, all of it within a moment.
func (n *Notifier) last() {
	ctx, cancel := context.WithTimeout(context.Background(), n.o.Last)
	defer cancel()
	for {
		b, ok := n.first()
		if !ok {
			return
		}
		if err := n.post(ctx, b); err != nil {
			n.o.Log.Warn("webhook: events are lost; flexgw history has them", "host", n.host, "events", n.Counts().Waiting, "error", err)
			return
		}
		n.done(b, &n.counts.Delivered)
	}
}

// deliver posts one event until it is taken, refused for good, tried often enough, dropped, or ctx is done; then it returns the error.
func (n *Notifier) deliver(ctx context.Context, b Body) error {
	wait := n.o.First
	for try := 1; ; try++ {
		err := n.post(ctx, b)
		if err == nil {
			n.done(b, &n.counts.Delivered)
			return nil
		}
		if ctx.Err() != nil {
			return err
		}
		var r *refusal
		if errors.As(err, &r) && r.forGood() || try == n.o.Tries {
			n.o.Log.Error("webhook: an event is given up", "host", n.host, "event", b.Type, "id", b.ID, "revision", b.Revision, "tries", try, "error", err)
			n.done(b, &n.counts.Failed)
			return nil
		}
		n.o.Log.Warn("webhook: not delivered", "host", n.host, "event", b.Type, "id", b.ID, "revision", b.Revision, "try", try, "error", err)
		pause := wait/2 + mathrand.N(wait/2+1)
		if r != nil {
			pause = min(max(pause, r.after), n.o.Most)
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return err
		}
		wait = min(2*wait, n.o.Most)
		if next, ok := n.first(); !ok || next.ID != b.ID {
			return nil // dropped
		}
	}
}

// refusal is an answer that takes an event not.
type refusal struct {
	status int
	after  time.Duration // that the receiver asked to wait
}

func (r *refusal) Error() string { return "status " + strconv.Itoa(r.status) }

// forGood: it would be the same the next time.
func (r *refusal) forGood() bool {
	return r.status < 500 && r.status != http.StatusRequestTimeout && r.status != http.StatusTooEarly && r.status != http.StatusTooManyRequests
}

func (n *Notifier) post(ctx context.Context, b Body) error {
	body, err := json.Marshal(b)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, n.o.Timeout)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, n.o.URL, bytes.NewReader(body))
	if err != nil {
		return withoutURL(err)
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("User-Agent", "flexgw/"+n.o.Version)
	r.Header.Set(IDHeader, b.ID)
	r.Header.Set(TypeHeader, b.Type)
	if len(n.o.Secret) > 0 {
		r.Header.Set(SignatureHeader, Sign(n.o.Secret, time.Now(), body))
	}
	answer, err := n.o.Client.Do(r)
	if err != nil {
		return withoutURL(err)
	}
	defer answer.Body.Close()
	_, _ = io.CopyN(io.Discard, answer.Body, 64<<10) // for the connection to be used again
	if answer.StatusCode < 200 || answer.StatusCode > 299 {
		after, _ := strconv.Atoi(answer.Header.Get("Retry-After"))
		return &refusal{answer.StatusCode, time.Duration(min(max(after, 0), 3600)) * time.Second}
	}
	return nil
}

// withoutURL keeps the URL, whose path or password may be a secret, out of logs.
func withoutURL(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}

// Sign is the value of SignatureHeader.
func Sign(secret []byte, at time.Time, body []byte) string {
	t := strconv.FormatInt(at.Unix(), 10)
	h := hmac.New(sha256.New, secret)
	fmt.Fprintf(h, "%s.", t)
	h.Write(body)
	return "t=" + t + ",v1=" + hex.EncodeToString(h.Sum(nil))
}
