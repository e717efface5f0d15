package sim

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/flexgw/flexgw/reconcile/anypoint"
)

// Fault is what the next calls of the platform meet. It never touches the simulator's own paths, /_sim.
type Fault struct {
	Next       int      `json:"next"`                 // how many calls
	Status     Outcome  `json:"status"`               // 500, or a word
	Path       string   `json:"path,omitempty"`       // of calls whose path begins so; "": any but the handshake
	Listener   string   `json:"listener,omitempty"`   // control or ingest; "": both
	RetryAfter string   `json:"retryAfter,omitempty"` // seconds, or a date: sent as Retry-After
	Delay      Duration `json:"delay,omitempty"`      // of slow; 0: 2 s
	Location   string   `json:"location,omitempty"`   // of a redirect; "": somewhere on this listener, where it is counted as unexpected
	Message    string   `json:"message,omitempty"`    // of an error
}

// Outcome is a status, or one of the words below.
type Outcome struct {
	Code int
	Word string
}

// What a fault does beside answering a status.
const (
	cut       = "cut"        // the connection ends, and nothing was done
	cutAfter  = "cut-after"  // it was done, and then the connection ends
	cutBody   = "cut-body"   // it was done, and the connection ends in the middle of the answer
	slow      = "slow"       // it is done after a while, unless the caller has gone
	slowAfter = "slow-after" // it is done at once, and answered after a while
	hang      = "hang"       // nothing is done or answered until the caller goes
	twice     = "duplicate"  // it is done twice, as if something on the way had sent it again; the second answer is given
)

func words() []string { return []string{cut, cutAfter, cutBody, slow, slowAfter, hang, twice} }

// MarshalJSON implements json.Marshaler.
func (o Outcome) MarshalJSON() ([]byte, error) {
	if o.Word != "" {
		return json.Marshal(o.Word)
	}
	return json.Marshal(o.Code)
}

// UnmarshalJSON implements json.Unmarshaler.
func (o *Outcome) UnmarshalJSON(b []byte) error {
	*o = Outcome{}
	if json.Unmarshal(b, &o.Word) == nil {
		if slices.Contains(words(), o.Word) {
			return nil
		}
	} else if json.Unmarshal(b, &o.Code) == nil && o.Code >= 200 && o.Code <= 599 {
		return nil
	}
	return fmt.Errorf("status is %s, expected 200 to 599 or one of %s", clip(string(b)), strings.Join(words(), ", "))
}

func (f Fault) check() error {
	switch {
	case f.Next < 0 || f.Next > 1_000_000_000:
		return errors.New("next: 0 to 1000000000 is expected")
	case f.Next > 0 && f.Status == Outcome{}:
		return fmt.Errorf("status: 200 to 599 or one of %s is expected", strings.Join(words(), ", "))
	case f.Listener != "" && f.Listener != onControl && f.Listener != onIngest:
		return errors.New("listener: control or ingest is expected")
	case f.Delay < 0 || time.Duration(f.Delay) > 10*time.Minute:
		return errors.New("delay: 0s to 10m is expected")
	case strings.ContainsAny(f.RetryAfter+f.Location, "\r\n"):
		return errors.New("retryAfter and location are one line")
	}
	return nil
}

// UnmarshalJSON takes retryAfter as a number too. A status without next is for one call.
func (f *Fault) UnmarshalJSON(b []byte) error {
	type plain Fault
	in := struct {
		*plain
		Next       *int            `json:"next"`
		RetryAfter json.RawMessage `json:"retryAfter"`
	}{plain: (*plain)(f)}
	if err := strict(b, &in); err != nil {
		return err
	}
	switch {
	case in.Next != nil:
		f.Next = *in.Next
	case f.Status != Outcome{}:
		f.Next = 1
	}
	text, number := "", 0
	switch {
	case in.RetryAfter == nil:
	case json.Unmarshal(in.RetryAfter, &text) == nil:
	case json.Unmarshal(in.RetryAfter, &number) == nil:
		text = strconv.Itoa(number)
	default:
		return errors.New("retryAfter: seconds or a date is expected")
	}
	f.RetryAfter = text
	return nil
}

// faults are those that are set. The first that fits a call is used up by it.
type faults struct {
	mu   sync.Mutex
	list []Fault
}

// set replaces them.
func (f *faults) set(list []Fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.list = nil
	f.append(list)
}

// add puts more behind those that are left.
func (f *faults) add(list []Fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.append(list)
}

func (f *faults) append(list []Fault) {
	for _, one := range list {
		if one.Next > 0 {
			f.list = append(f.list, one)
		}
	}
}

// left are those that still wait for calls.
func (f *faults) left() []Fault {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]Fault{}, f.list...)
}

// take uses up one for a call.
func (f *faults) take(listener, path string) (Fault, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i, one := range f.list {
		if one.Listener != "" && one.Listener != listener || !strings.HasPrefix(path, one.Path) || one.Path == "" && path == anypoint.PathHello {
			continue
		}
		if f.list[i].Next--; f.list[i].Next == 0 {
			f.list = slices.Delete(f.list, i, i+1)
		}
		return one, true
	}
	return Fault{}, false
}

// parseFaults reads one fault, or a list.
func parseFaults(b []byte) ([]Fault, error) {
	var list []Fault
	if trimmed := bytes.TrimSpace(b); len(trimmed) > 0 && trimmed[0] == '[' {
		if err := strict(b, &list); err != nil {
			return nil, err
		}
	} else {
		var one Fault
		if err := strict(b, &one); err != nil {
			return nil, err
		}
		list = []Fault{one}
	}
	if len(list) > 1000 {
		return nil, errors.New("more than 1000 faults")
	}
	for _, f := range list {
		if err := f.check(); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// fail answers a call by a fault.
func (s *Sim) fail(f Fault, q *query, w http.ResponseWriter) {
	s.log.Info("fault", "status", f.Status, "listener", q.listener, "method", q.Method, "path", clip(q.URL.Path))
	wait := time.Duration(f.Delay)
	if wait == 0 {
		wait = 2 * time.Second
	}
	switch f.Status.Word {
	case "":
		a := s.refusal(f, q)
		s.finish(q, &a)
		s.reply(w, a)
	case cut:
		s.finish(q, &answer{})
		s.cut(w)
	case cutAfter:
		s.once(q)
		s.cut(w)
	case cutBody:
		a := s.once(q)
		header := w.Header()
		maps.Copy(header, a.header)
		header.Set("Content-Length", strconv.Itoa(len(a.body)+1))
		w.WriteHeader(a.status)
		_, _ = w.Write(a.body[:len(a.body)/2])
		_ = http.NewResponseController(w).Flush()
		s.cut(w)
	case slow:
		if !sleep(q, wait) {
			s.finish(q, &answer{})
			s.cut(w)
			return
		}
		s.reply(w, s.once(q))
	case slowAfter:
		a := s.once(q)
		if !sleep(q, wait) {
			s.cut(w)
			return
		}
		s.reply(w, a)
	case hang:
		s.finish(q, &answer{})
		sleep(q, 10*time.Minute)
		s.cut(w)
	case twice:
		s.once(q)
		s.reply(w, s.once(q))
	}
}

// sleep waits; false: the caller has gone.
func sleep(q *query, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-q.Context().Done():
		return false
	case <-t.C:
		return true
	}
}

// refusal is an answer that nothing was done for.
func (s *Sim) refusal(f Fault, q *query) answer {
	message := f.Message
	if message == "" {
		message = http.StatusText(f.Status.Code)
	}
	a := failure(f.Status.Code, message)
	if f.Status.Code == http.StatusTooManyRequests {
		a = rateLimited(1, s.clock.now())
	}
	if f.RetryAfter != "" {
		a.header.Set("Retry-After", f.RetryAfter)
	}
	if f.Status.Code >= 300 && f.Status.Code < 400 {
		base := s.URL()
		if q.listener == onIngest {
			base = s.IngestURL()
		}
		to := f.Location
		if to == "" {
			to = base + "/redirected"
		}
		a.header.Set("Location", to)
	}
	if f.Status.Code == http.StatusNoContent || f.Status.Code == http.StatusNotModified {
		a.body = nil
	}
	return a
}

// cut ends a connection with a reset.
func (s *Sim) cut(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	inner := conn
	if t, ok := conn.(interface{ NetConn() net.Conn }); ok {
		inner = t.NetConn()
	}
	if t, ok := inner.(*net.TCPConn); ok {
		_ = t.SetLinger(0)
	}
	_ = inner.Close()
}
