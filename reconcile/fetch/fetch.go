// Package fetch gets what policies need from the network before they can be rendered, and keeps it fresh.
//
// It knows no policy and decides nothing about requests. An answer that cannot be used is kept away, and the last usable
// one stays for as long as somebody wants it.
package fetch

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/flexgw/flexgw/reconcile/disk"
	"github.com/flexgw/flexgw/render/policy"
)

const (
	maxAnswer    = 4 << 20 // bytes; a key set has a few thousand
	firstBackoff = time.Second
	maxBackoff   = time.Minute
	minTTL       = 10 * time.Second
	timeout      = 10 * time.Second // of a Need that names none
)

// Fetcher fetches. Make one with New; Close ends its goroutines.
type Fetcher struct {
	client  *http.Client // goes through egress
	usable  func(policy.Need, []byte) error
	dir     string // where the last usable answers are kept
	log     *slog.Logger
	changed chan struct{}
	ctx     context.Context
	cancel  context.CancelFunc
	wait    sync.WaitGroup

	mu    sync.Mutex
	wants map[policy.Need]*want
}

type want struct {
	stop   context.CancelFunc
	tried  chan struct{} // closed after the first try
	answer []byte
	got    bool
	err    error
}

// New is a Fetcher that wants nothing. usable refuses an answer that cannot be rendered. The last usable answer to each
// need is kept in the folder dir, which is made when there is none: a restart while the other side is down takes nothing away.
func New(client *http.Client, usable func(policy.Need, []byte) error, dir string, log *slog.Logger) *Fetcher {
	ctx, cancel := context.WithCancel(context.Background())
	return &Fetcher{client: client, usable: usable, dir: dir, log: log, changed: make(chan struct{}, 1), ctx: ctx, cancel: cancel, wants: map[policy.Need]*want{}}
}

// Close ends all fetching and waits for it.
func (f *Fetcher) Close() {
	f.cancel()
	f.wait.Wait()
}

// Changed says that Got may give another answer than before.
func (f *Fetcher) Changed() <-chan struct{} { return f.changed }

// Want replaces the set of wanted needs: new ones are fetched at once, those no longer wanted are forgotten.
func (f *Fetcher) Want(needs []policy.Need) {
	f.mu.Lock()
	defer f.mu.Unlock()
	keep := map[policy.Need]bool{}
	for _, n := range needs {
		keep[n] = true
		if f.wants[n] != nil {
			continue
		}
		ctx, stop := context.WithCancel(f.ctx)
		w := &want{stop: stop, tried: make(chan struct{})}
		w.answer, w.got = f.kept(n)
		f.wants[n] = w
		f.wait.Go(func() { f.follow(ctx, n, w) })
	}
	for n, w := range f.wants {
		if !keep[n] {
			w.stop()
			delete(f.wants, n)
		}
	}
	f.forget()
}

// Tried waits until every wanted need was tried once, or ctx is done.
func (f *Fetcher) Tried(ctx context.Context) {
	f.mu.Lock()
	wants := make([]*want, 0, len(f.wants))
	for _, w := range f.wants {
		wants = append(wants, w)
	}
	f.mu.Unlock()
	for _, w := range wants {
		select {
		case <-w.tried:
		case <-ctx.Done():
			return
		}
	}
}

// Got is the last usable answer to a wanted need.
func (f *Fetcher) Got(n policy.Need) ([]byte, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	w := f.wants[n]
	if w == nil || !w.got {
		return nil, false
	}
	return w.answer, true
}

// follow fetches now and again: after the time to live when it went well, else with exponential backoff.
func (f *Fetcher) follow(ctx context.Context, n policy.Need, w *want) {
	backoff := firstBackoff
	for first := true; ctx.Err() == nil; first = false {
		answer, err := f.get(ctx, n)
		if ctx.Err() != nil && !first {
			return
		}
		f.take(n, w, answer, err)
		if first {
			close(w.tried)
		}
		pause := max(n.TTL, minTTL)
		if err != nil {
			pause, backoff = backoff, min(2*backoff, maxBackoff)
		} else {
			backoff = firstBackoff
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
	}
}

func (f *Fetcher) take(n policy.Need, w *want, answer []byte, err error) {
	f.mu.Lock()
	changed := err == nil && (!w.got || string(w.answer) != string(answer))
	w.err = err
	if err == nil {
		w.answer, w.got = answer, true
	}
	f.mu.Unlock()
	if err != nil && !errors.Is(err, context.Canceled) {
		f.log.Warn("not fetched", "purpose", n.Purpose, "url", n.URL, "error", err)
	}
	if changed {
		f.keep(n, answer)
		f.log.Info("fetched", "purpose", n.Purpose, "url", n.URL, "bytes", len(answer))
		select {
		case f.changed <- struct{}{}:
		default:
		}
	}
}

// path is the file of a need.
func (f *Fetcher) path(n policy.Need) string {
	sum := sha256.Sum256(fmt.Append(nil, n.Policy, "\x00", n.Purpose, "\x00", n.URL))
	return filepath.Join(f.dir, hex.EncodeToString(sum[:16]))
}

// kept is the answer of an earlier run, if it is still usable.
func (f *Fetcher) kept(n policy.Need) ([]byte, bool) {
	b, err := os.ReadFile(f.path(n))
	if err != nil || f.usable(n, b) != nil {
		return nil, false
	}
	return b, true
}

// forget removes the answers that nobody wants any more.
func (f *Fetcher) forget() {
	wanted := map[string]bool{}
	for n := range f.wants {
		wanted[f.path(n)] = true
	}
	kept, _ := filepath.Glob(filepath.Join(f.dir, "*"))
	for _, path := range kept {
		if !wanted[path] {
			os.Remove(path)
		}
	}
}

// keep writes an answer for the next run. Failing costs only that, so it is told and not more.
func (f *Fetcher) keep(n policy.Need, answer []byte) {
	path := f.path(n)
	err := os.MkdirAll(f.dir, 0o700)
	if err == nil {
		err = disk.Write(path, answer, 0o600)
	}
	if err != nil {
		f.log.Warn("answer not kept for the next start", "url", n.URL, "error", err)
	}
}

func (f *Fetcher) get(ctx context.Context, n policy.Need) ([]byte, error) {
	limit := n.Timeout
	if limit <= 0 {
		limit = timeout
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, n.URL, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/json")
	res, err := f.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("get %s: status %s", n.URL, res.Status)
	}
	b, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer+1))
	if err != nil {
		return nil, fmt.Errorf("get %s: %w", n.URL, err)
	}
	if len(b) > maxAnswer {
		return nil, fmt.Errorf("get %s: the answer is larger than %d bytes", n.URL, maxAnswer)
	}
	if err := f.usable(n, b); err != nil {
		return nil, fmt.Errorf("get %s: %w", n.URL, err)
	}
	return b, nil
}
