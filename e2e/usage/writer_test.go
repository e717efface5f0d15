package usage

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	metering "github.com/flexgw/flexgw/reconcile/usage"
)

// writer writes an access log as Envoy does: blocks that end in the middle of a line, and a new file when it is told to open it anew.
type writer struct {
	t    testing.TB
	path string
	now  func() time.Time

	mu     sync.Mutex
	file   *os.File
	buffer bytes.Buffer
	truth  map[string]uint64 // by API
	reopen int
	random *rand.Rand
}

func newWriter(t testing.TB, dir string, now func() time.Time) *writer {
	t.Helper()
	w := &writer{t: t, path: filepath.Join(dir, metering.LogName), now: now, truth: map[string]uint64{}, random: rand.New(rand.NewPCG(9, 9))}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := w.open(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.file.Close() })
	return w
}

func (w *writer) open() (err error) {
	if w.file != nil {
		_ = w.file.Close()
	}
	w.file, err = os.OpenFile(w.path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	return err
}

// Reopen writes what is held back, and opens the log anew.
func (w *writer) Reopen() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.reopen++
	if err := w.flush(); err != nil {
		return err
	}
	return w.open()
}

// requests are n of them, within this hour and the two before.
func (w *writer) requests(n int) {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	for range n {
		api := fmt.Sprintf("default/api-%d", w.random.IntN(5))
		at := w.now().Add(-time.Duration(w.random.IntN(7200)) * time.Second)
		if w.random.IntN(10) == 0 {
			fmt.Fprintf(&w.buffer, "%d 404  %s\n", at.UnixMilli(), w.uuid())
			continue
		}
		w.truth[api]++
		fmt.Fprintf(&w.buffer, "%d 200 %s %s\n", at.UnixMilli(), api, w.uuid())
	}
	if _, err := w.file.Write(w.buffer.Next(w.random.IntN(w.buffer.Len() + 1))); err != nil {
		w.t.Error(err)
	}
}

// Flush writes what is held back.
func (w *writer) Flush() {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.flush(); err != nil {
		w.t.Error(err)
	}
}

func (w *writer) flush() error {
	_, err := w.file.Write(w.buffer.Next(w.buffer.Len()))
	return err
}

func (w *writer) uuid() string {
	return fmt.Sprintf("%08x-%04x-%04x-%04x-%012x", w.random.Uint32(), w.random.UintN(1<<16), w.random.UintN(1<<16), w.random.UintN(1<<16), w.random.Uint64N(1<<48))
}

// total is how many requests there were, in all and by API.
func (w *writer) total() (n uint64, by map[string]uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	by = map[string]uint64{}
	for k, v := range w.truth {
		n += v
		by[k] = v
	}
	return n, by
}

// serve has a process of its own tell it to open the log anew: GET on a socket.
func (w *writer) serve(socket string) {
	w.t.Helper()
	l, err := net.Listen("unix", socket)
	if err != nil {
		w.t.Fatal(err)
	}
	s := &http.Server{Handler: http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		if err := w.Reopen(); err != nil {
			http.Error(rw, err.Error(), http.StatusInternalServerError)
		}
	})}
	go s.Serve(l)
	w.t.Cleanup(func() { s.Close() })
}
