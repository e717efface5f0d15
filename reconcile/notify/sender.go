package notify

import (
	"cmp"
	"context"
	"errors"
	"io"
	"log/slog"
	mathrand "math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"
)

// Sending says how posts are made. Zero values of what is optional are the defaults.
type Sending struct {
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

// item is what waits to be posted.
type item struct {
	id, event, revision string
	request             func() (*http.Request, error) // made anew for each try
}

// sender posts one item after another.
type sender struct {
	o    Sending
	name string // of what it is for, in the log
	host string

	mu     sync.Mutex
	queue  []item
	counts Counts
	wake   chan struct{}
}

// newSender is an error when the URL is none.
func newSender(name, to string, o Sending) (*sender, error) {
	u, err := url.Parse(to)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, errors.New("the " + name + " is no http:// or https:// URL")
	}
	o.Queue, o.Tries = cmp.Or(o.Queue, 256), cmp.Or(o.Tries, 10)
	o.First, o.Most = cmp.Or(o.First, time.Second), cmp.Or(o.Most, 2*time.Minute)
	o.Timeout, o.Last = cmp.Or(o.Timeout, 10*time.Second), cmp.Or(o.Last, time.Second)
	c := *o.Client
	// Somebody else would get the body, and the signature or the token.
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	o.Client = &c
	return &sender{o: o, name: name, host: u.Host, wake: make(chan struct{}, 1)}, nil
}

// add takes an item in. It does not block: when too many wait, the oldest is dropped.
func (n *sender) add(b item) {
	n.mu.Lock()
	if len(n.queue) >= n.o.Queue {
		old := n.queue[0]
		n.queue = append(n.queue[:0], n.queue[1:]...)
		n.counts.Dropped++
		n.o.Log.Warn(n.name+": too many events wait; the oldest is dropped", "host", n.host, "event", old.event, "id", old.id, "revision", old.revision)
	}
	n.queue = append(n.queue, b)
	n.mu.Unlock()
	select {
	case n.wake <- struct{}{}:
	default:
	}
}

// Counts are those since the start.
func (n *sender) Counts() Counts {
	n.mu.Lock()
	defer n.mu.Unlock()
	c := n.counts
	c.Waiting = len(n.queue)
	return c
}

// Run posts until ctx is done, then tries what waits once more.
func (n *sender) Run(ctx context.Context) {
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

func (n *sender) first() (item, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.queue) == 0 {
		return item{}, false
	}
	return n.queue[0], true
}

// done takes an event out, unless it was dropped meanwhile, and counts what became of it.
func (n *sender) done(b item, count *uint64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.queue) > 0 && n.queue[0].id == b.id {
		n.queue = append(n.queue[:0], n.queue[1:]...)
		*count++
	}
}

// last gives what waits one try, all of it within a moment.
func (n *sender) last() {
	ctx, cancel := context.WithTimeout(context.Background(), n.o.Last)
	defer cancel()
	for {
		b, ok := n.first()
		if !ok {
			return
		}
		if err := n.post(ctx, b); err != nil {
			n.o.Log.Warn(n.name+": events are lost; flexgw history has them", "host", n.host, "events", n.Counts().Waiting, "error", err)
			return
		}
		n.done(b, &n.counts.Delivered)
	}
}

// deliver posts one event until it is taken, refused for good, tried often enough, dropped, or ctx is done; then it returns the error.
func (n *sender) deliver(ctx context.Context, b item) error {
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
			n.o.Log.Error(n.name+": an event is given up", "host", n.host, "event", b.event, "id", b.id, "revision", b.revision, "tries", try, "error", err)
			n.done(b, &n.counts.Failed)
			return nil
		}
		n.o.Log.Warn(n.name+": not delivered", "host", n.host, "event", b.event, "id", b.id, "revision", b.revision, "try", try, "error", err)
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
		if next, ok := n.first(); !ok || next.id != b.id {
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

func (n *sender) post(ctx context.Context, b item) error {
	r, err := b.request()
	if err != nil {
		return withoutURL(err)
	}
	ctx, cancel := context.WithTimeout(ctx, n.o.Timeout)
	defer cancel()
	r.Header.Set("User-Agent", "flexgw/"+n.o.Version)
	answer, err := n.o.Client.Do(r.WithContext(ctx))
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
