package usage_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/flexgw/flexgw/reconcile/anypoint"
	"github.com/flexgw/flexgw/reconcile/usage"
)

// shelf is a Spool in memory: one API, whose requests are counted by add.
type shelf struct {
	hours   []time.Time // rising
	counted map[time.Time]uint64
	sealed  map[time.Time]uint64
	waiting []anypoint.Batch
	seq     uint64
	at      time.Time // of the last batch
	aside   []anypoint.Batch
	whys    []string // of aside
	seals   int
	broken  error
	full    uint64 // calls that were lost because it is; 0: it is not
	agent   string
	gate    *sync.Mutex
}

func newShelf() *shelf {
	return &shelf{counted: map[time.Time]uint64{}, sealed: map[time.Time]uint64{}, agent: agent, gate: &sync.Mutex{}}
}

func (s *shelf) add(n uint64) {
	h := hourStart(time.Now())
	if s.counted[h] == 0 {
		s.hours = append(s.hours, h)
	}
	s.counted[h] += n
}

func (s *shelf) Seal(now time.Time) error {
	pass(s.gate)
	s.seals++
	if s.broken != nil {
		return s.broken
	}
	b := report(s.seq + 1)
	b.AgentID, b.CreatedAt, b.Points = s.agent, now.UTC(), []anypoint.Point{}
	for _, h := range s.hours {
		if d := s.counted[h] - s.sealed[h]; d > 0 {
			b.Points = append(b.Points, anypoint.Point{Meter: anypoint.Meter, APIInstance: "default/orders", HourStart: h, Delta: d, Cumulative: s.counted[h], Final: h.Before(hourStart(now))})
			s.sealed[h] = s.counted[h]
		}
	}
	if len(b.Points) == 0 && now.Sub(s.at) < 15*time.Minute {
		return nil
	}
	s.seq, s.at, s.waiting = s.seq+1, now, append(s.waiting, b)
	return nil
}

func (s *shelf) Next() (anypoint.Batch, bool) {
	pass(s.gate)
	if len(s.waiting) == 0 {
		return anypoint.Batch{}, false
	}
	return s.waiting[0], true
}

func (s *shelf) Ack(seq uint64) error {
	s.waiting = slices.DeleteFunc(s.waiting, func(b anypoint.Batch) bool { return b.Seq <= seq })
	return s.broken
}

func (s *shelf) Quarantine(seq uint64, why string) error {
	s.aside, s.whys = append(s.aside, s.waiting[0]), append(s.whys, why)
	return s.Ack(seq)
}

func (s *shelf) Deliverable(bool) {}

func (s *shelf) Quarantined() ([]anypoint.Batch, []string) { return s.aside, s.whys }

func (s *shelf) Split(uint64) error {
	first := s.waiting[0]
	rest := first
	half := len(first.Points) / 2
	rest.Points, first.Points = first.Points[half:], first.Points[:half]
	s.waiting = append([]anypoint.Batch{first, rest}, s.waiting[1:]...)
	for i := range s.waiting { // none of them was taken
		s.waiting[i].Seq = first.Seq + uint64(i)
	}
	s.seq++
	return nil
}

func (s *shelf) Aside(after, before uint64) bool {
	n := uint64(0)
	for _, x := range s.aside {
		if after < x.Seq && x.Seq < before {
			n++
		}
	}
	return n > 0 && n == before-after-1
}

func (s *shelf) Backlog() (b usage.Backlog) {
	pass(s.gate)
	b.Full, b.Lost = s.full > 0, s.full
	for _, x := range s.aside {
		b.Quarantined += requests(x)
	}
	var acked uint64
	for _, x := range s.waiting {
		b.Requests += requests(x)
	}
	for _, h := range s.hours {
		if n := s.counted[h] - s.sealed[h]; n > 0 && b.Oldest.IsZero() {
			b.Oldest = h
		}
		b.Requests += s.counted[h] - s.sealed[h]
	}
	b.Requests -= acked
	return b
}

const agent = "aaaaaaaa-0000-4000-8000-00000000a001"

func report(seq uint64) anypoint.Batch {
	return anypoint.Batch{Schema: anypoint.UsageSchema, MeteringSchemaID: "bbbbbbbb-0000-4000-8000-00000000b001", AgentID: agent, AssetName: "orders-edge",
		ReplicaID: "cccccccc-0000-4000-8000-00000000c001", BootEpoch: 1, Seq: seq, BatchID: anypoint.BatchID(agent, "cccccccc-0000-4000-8000-00000000c001", 1, seq), CreatedAt: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Points: []anypoint.Point{}}
}

func hourStart(t time.Time) time.Time { return t.UTC().Truncate(time.Hour) }

func requests(b anypoint.Batch) (n uint64) {
	for _, p := range b.Points {
		n += p.Delta
	}
	return n
}

// platform is a server without a network: what it answers, and what it was sent.
type platform struct {
	answer func(r *http.Request) (status int, header http.Header, body string, err error) // of posts; nil: all is well
	hello  func() (status int, wire string)                                               // nil: a simulator
	hellos int
	posts  int
	got    map[string]uint64 // by hour: the greatest cumulative
	seqs   []uint64
	gate   *sync.Mutex
}

func (p *platform) RoundTrip(r *http.Request) (*http.Response, error) {
	pass(p.gate)
	if r.Body != nil {
		defer r.Body.Close()
	}
	reply := func(status int, h http.Header, body string) (*http.Response, error) {
		if h == nil {
			h = http.Header{}
		}
		if h.Get(anypoint.WireHeader) == "" {
			h.Set(anypoint.WireHeader, anypoint.WireSim)
		}
		return &http.Response{StatusCode: status, Header: h, Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
	}
	if r.Method == http.MethodGet {
		p.hellos++
		if p.hello != nil {
			status, wire := p.hello()
			if wire == "" {
				wire = "none"
			}
			return reply(status, http.Header{anypoint.WireHeader: {wire}}, "")
		}
		return reply(200, nil, "{}")
	}
	p.posts++
	if p.answer != nil {
		if status, h, body, err := p.answer(r); err != nil || status != 0 {
			if err != nil {
				return nil, err
			}
			return reply(status, h, body)
		}
	}
	var b anypoint.Batch
	body, err := plainBody(r)
	if err == nil {
		err = json.Unmarshal(body, &b)
	}
	if err != nil {
		return nil, err
	}
	if p.got == nil {
		p.got = map[string]uint64{}
	}
	p.seqs = append(p.seqs, b.Seq)
	for _, x := range b.Points {
		k := x.HourStart.Format(time.RFC3339)
		p.got[k] = max(p.got[k], x.Cumulative)
	}
	return reply(200, nil, fmt.Sprintf(`{"accepted": true, "ackedSeq": %d}`, b.Seq))
}

func (p *platform) total() (n uint64) {
	for _, x := range p.got {
		n += x
	}
	return n
}

// bench is a Deliverer with all around it, in a bubble of its own time.
type bench struct {
	*usage.Deliverer
	shelf    *shelf
	platform *platform
	turns    []string
	end      func()
}

func (b *bench) sink() *usage.Sink {
	return &usage.Sink{URL: "https://metering.test/ingestion/api/v1/metering", Client: &http.Client{Transport: b.platform}, Now: time.Now}
}

func start(t *testing.T, tune func(*bench)) *bench {
	t.Helper()
	b := &bench{shelf: newShelf(), platform: &platform{}}
	b.platform.gate = b.shelf.gate
	b.Deliverer = &usage.Deliverer{Spool: b.shelf, Now: time.Now, Jitter: func() float64 { return 0.5 }, Turned: func(s usage.Delivery) {
		b.turns = append(b.turns, s.Status+"/"+string(s.Reason))
	}}
	if tune != nil {
		tune(b)
	}
	b.Use(&usage.Target{AgentID: agent, Sink: b.sink()})
	b.end = b.run(t)
	synctest.Wait()
	return b
}

func (b *bench) run(t *testing.T) func() {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); b.Run(ctx) }()
	return func() {
		t.Helper()
		cancel()
		<-done
	}
}

// after lets time pass. What the test has written until then, whoever is woken sees.
func (b *bench) after(d time.Duration) {
	b.shelf.gate.Lock()
	b.shelf.gate.Unlock() //nolint:staticcheck // nothing is guarded: it is an order of events
	time.Sleep(d)
	synctest.Wait()
}

// pass is the other end of it.
func pass(gate *sync.Mutex) {
	if gate != nil {
		gate.Lock()
		gate.Unlock() //nolint:staticcheck // likewise
	}
}

func (b *bench) want(t *testing.T, status string, reason usage.Reason, words ...string) usage.Delivery {
	t.Helper()
	s := b.Delivery()
	if s.Status != status || s.Reason != reason {
		t.Errorf("it is %s/%s (%s), want %s/%s", s.Status, s.Reason, s.Message, status, reason)
	}
	for _, w := range words {
		if !strings.Contains(s.Message, w) {
			t.Errorf("%q is not in %q", w, s.Message)
		}
	}
	return s
}

// The bubble's clock starts at midnight, 2000-01-01 UTC.

func TestBatchesAreSealedEveryFiveMinutesAndAtTheCloseOfAnHour(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := start(t, nil)
		if b.platform.posts != 1 || b.shelf.seals != 1 {
			t.Errorf("at the start: %d posts, %d seals; a heartbeat is expected", b.platform.posts, b.shelf.seals)
		}
		for range 11 {
			b.shelf.add(10)
			b.after(5 * time.Minute)
		}
		if b.platform.total() != 110 || b.platform.posts != 12 {
			t.Errorf("after 55 minutes: %d requests in %d posts", b.platform.total(), b.platform.posts)
		}
		b.after(4 * time.Minute)
		b.shelf.add(7)                       // 00:59
		b.after(time.Minute + 4*time.Second) // 01:00:04
		posts := b.platform.posts
		b.after(2 * time.Second)
		if b.platform.posts != posts+1 || b.platform.got["2000-01-01T00:00:00Z"] != 117 {
			t.Errorf("five seconds after the hour: %d posts after %d, %v", b.platform.posts, posts, b.platform.got)
		}
		s := b.want(t, "True", usage.Reported, "no request waits")
		if !slices.Equal(b.turns, []string{"True/Reported"}) || s.Batches["acknowledged"] != uint64(b.platform.posts) {
			t.Errorf("%q %v", b.turns, s.Batches)
		}
		if b.platform.hellos != 1 {
			t.Errorf("%d hellos", b.platform.hellos)
		}
		b.end()
	})
}

func TestNothingCountedIsAHeartbeatEveryFifteenMinutes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := start(t, nil)
		b.after(24*time.Hour - time.Minute)
		if n := b.platform.posts; n < 94 || n > 97 {
			t.Errorf("%d posts in a day without requests, want 96 or so", n)
		}
		b.end()
	})
}

func TestRetriesBackOffAndNobodyWaitsInStep(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		down := true
		b := start(t, func(b *bench) {
			b.shelf.add(3)
			b.platform.answer = func(*http.Request) (int, http.Header, string, error) {
				if down {
					return 0, nil, "", errors.New("connection refused")
				}
				return 0, nil, "", nil
			}
		})
		var gaps []time.Duration
		posts, since := b.platform.posts, time.Now()
		for len(gaps) < 14 {
			b.after(250 * time.Millisecond)
			if b.platform.posts != posts {
				gaps, posts, since = append(gaps, time.Since(since).Round(500*time.Millisecond)), b.platform.posts, time.Now()
			}
		}
		for i, g := range gaps { // the jitter is half
			want := min(time.Second<<i, 15*time.Minute) / 2
			if g < want-time.Second || g > want+time.Second {
				t.Errorf("gap %d is %s, want %s: %v", i, g, want, gaps)
			}
		}
		b.shelf.add(4)
		b.want(t, "False", usage.Waiting, "connection refused", "7 requests wait", "tried again at")
		if b.shelf.seals != 1 {
			t.Errorf("%d seals while a batch waited", b.shelf.seals)
		}
		down = false
		b.after(15 * time.Minute)
		if b.platform.total() != 7 {
			t.Errorf("%d requests arrived", b.platform.total())
		}
		b.want(t, "True", usage.Reported)
		if !slices.Equal(b.turns, []string{"False/Waiting", "True/Reported"}) {
			t.Errorf("%q", b.turns)
		}
		b.end()
	})
}

func TestRetryAfterIsHonoured(t *testing.T) {
	t.Parallel()
	for name, x := range map[string]struct {
		header string
		want   time.Duration
	}{
		"seconds": {"120", 2 * time.Minute}, "a date": {"Sat, 01 Jan 2000 00:10:00 GMT", 10 * time.Minute}, "too long": {"99999999999999999999999", time.Hour}, "a day": {"86400", time.Hour},
		"the past": {"Sat, 01 Jan 1999 00:10:00 GMT", 500 * time.Millisecond}, "nonsense": {"soon", 500 * time.Millisecond}, "less than nothing": {"-5", 500 * time.Millisecond},
	} {
		for _, status := range []int{408, 429, 500, 503} {
			t.Run(fmt.Sprint(name, " ", status), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					b := start(t, func(b *bench) {
						b.platform.answer = func(*http.Request) (int, http.Header, string, error) {
							if b.platform.posts == 1 {
								return status, http.Header{"Retry-After": {x.header}}, `{"status": 1, "message": "busy"}`, nil
							}
							return 0, nil, "", nil
						}
					})
					b.want(t, "False", usage.Waiting, fmt.Sprint(status), "busy")
					b.after(x.want - time.Millisecond)
					if b.platform.posts != 1 {
						t.Errorf("it did not wait for %s", x.want)
					}
					b.after(2 * time.Millisecond)
					if b.platform.posts < 2 {
						t.Errorf("after %s: %d posts", x.want, b.platform.posts)
					}
					b.want(t, "True", usage.Reported)
					b.end()
				})
			})
		}
	}
}

func TestWhatNeedsSomebodyStopsSending(t *testing.T) {
	t.Parallel()
	for name, x := range map[string]struct {
		status int
		body   string
		reason usage.Reason
		words  string
	}{
		"401": {401, `{"message": "who"}`, usage.Rejected, "renew the registration"}, "403": {403, "", usage.Rejected, "renew the registration"},
		"deleted": {403, `{"status": 403, "message": "gateway deleted"}`, usage.Gone, "deleted on the platform"}, "410": {410, "", usage.Gone, "register it anew"},
		"a redirect": {302, "", usage.Misconfigured, "never followed"}, "moved": {308, "", usage.Misconfigured, "metering URL"}, "404": {404, "", usage.Misconfigured, "metering URL"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				bad := true
				b := start(t, func(b *bench) {
					b.shelf.add(5)
					b.platform.answer = func(*http.Request) (int, http.Header, string, error) {
						if bad {
							return x.status, http.Header{"Location": {"https://elsewhere.test/"}}, x.body, nil
						}
						return 0, nil, "", nil
					}
				})
				b.after(59 * time.Minute)
				b.shelf.add(6)
				if b.platform.posts != 1 || b.platform.hellos != 1 {
					t.Errorf("%d posts, %d hellos in an hour", b.platform.posts, b.platform.hellos)
				}
				s := b.want(t, "False", x.reason, x.words, "wait")
				if s.Backlog.Requests != 11 || s.Since.IsZero() {
					t.Errorf("%+v", s)
				}
				if err := b.Flush(t.Context()); err == nil || !strings.Contains(err.Error(), x.words) {
					t.Errorf("flush: %v", err)
				}
				if b.platform.posts != 2 {
					t.Errorf("%d posts", b.platform.posts)
				}
				bad = false
				b.Use(&usage.Target{AgentID: agent, Sink: b.sink()})
				synctest.Wait()
				if b.platform.total() != 11 {
					t.Errorf("after another registration: %d requests arrived", b.platform.total())
				}
				b.want(t, "True", usage.Reported)
				b.end()
			})
		})
	}
}

func TestARealPlatformIsNotGuessedAt(t *testing.T) {
	t.Parallel()
	for name, hello := range map[string]func() (int, string){
		"it answers":        func() (int, string) { return 200, "real/1" },
		"it does not know":  func() (int, string) { return 404, "none" },
		"it wants somebody": func() (int, string) { return 403, "none" },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b := start(t, func(b *bench) { b.platform.hello = hello; b.shelf.add(1) })
				b.after(23 * time.Hour)
				if b.platform.hellos != 1 || b.platform.posts != 0 {
					t.Errorf("%d hellos, %d posts", b.platform.hellos, b.platform.posts)
				}
				b.want(t, "False", usage.WireUnknown, "metering.test", "not public", "usage export", "1 request waits")
				b.end()
				if b.platform.posts != 0 {
					t.Error("the last words were spoken to a stranger")
				}
			})
		})
	}
	t.Run("a server changes", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			b := start(t, nil)
			b.platform.answer = func(*http.Request) (int, http.Header, string, error) {
				return 200, http.Header{anypoint.WireHeader: {"other"}}, `{"accepted": true, "ackedSeq": 99}`, nil
			}
			b.shelf.add(2)
			b.after(6 * time.Minute)
			b.want(t, "False", usage.WireUnknown, "2 requests wait")
			b.end()
		})
	})
}

func TestARefusedBatchIsSetAsideAndTheNextGoesOn(t *testing.T) {
	t.Parallel()
	for _, status := range []int{400, 422, 413} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b := start(t, func(b *bench) {
					b.shelf.add(5)
					b.platform.answer = func(*http.Request) (int, http.Header, string, error) {
						if b.platform.posts == 1 {
							return status, nil, `{"message": "no\nway"}`, nil
						}
						return 0, nil, "", nil
					}
				})
				b.want(t, "False", usage.Quarantined, "5 requests were set aside", "no request waits")
				b.shelf.add(6)
				if err := b.Flush(t.Context()); err != nil { // what was set aside before is not this flush's
					t.Error(err)
				}
				if len(b.shelf.aside) != 1 || b.platform.total() != 11 { // cumulative: the next batch of the hour has it all
					t.Errorf("%d aside, %v", len(b.shelf.aside), b.platform.got)
				}
				b.end()
			})
		})
	}
}

func TestABatchThatIsTooLargeIsSplit(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := start(t, func(b *bench) {
			b.platform.answer = func(r *http.Request) (int, http.Header, string, error) {
				body, err := plainBody(r)
				var x anypoint.Batch
				if err := errors.Join(err, json.Unmarshal(body, &x)); err != nil {
					return 0, nil, "", err
				}
				if len(x.Points) > 2 {
					return 413, nil, "", nil
				}
				r.Header.Del("Content-Encoding")
				r.Body = io.NopCloser(strings.NewReader(string(body)))
				return 0, nil, "", nil
			}
		})
		for range 8 {
			h := hourStart(time.Now()).Add(-time.Duration(len(b.shelf.hours)) * time.Hour)
			b.shelf.hours, b.shelf.counted[h] = append(b.shelf.hours, h), 3
		}
		if err := b.Flush(t.Context()); err != nil {
			t.Error(err)
		}
		if b.platform.total() != 24 || len(b.shelf.aside) != 0 {
			t.Errorf("%d requests arrived, %d batches aside", b.platform.total(), len(b.shelf.aside))
		}
		b.end()
	})
}

func TestAServerThatForgotIsSentTheRestAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := start(t, func(b *bench) {
			b.shelf.add(1)
			b.platform.answer = func(*http.Request) (int, http.Header, string, error) {
				if b.platform.posts < 2 {
					return 200, nil, `{"accepted": true, "ackedSeq": 0}`, nil
				}
				return 0, nil, "", nil
			}
		})
		if b.platform.posts != 1 {
			t.Errorf("%d posts at once", b.platform.posts)
		}
		b.after(time.Minute)
		if b.platform.total() != 1 || b.platform.posts != 2 {
			t.Errorf("%v in %d posts", b.platform.got, b.platform.posts)
		}
		b.end()
	})
}

// TestAGapIsNotWaitedFor: a gateway that was registered anew goes on with its numbers, and the platform has none of those before.
func TestAGapIsNotWaitedFor(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := start(t, func(b *bench) {
			b.shelf.seq = 40
			b.platform.answer = func(*http.Request) (int, http.Header, string, error) {
				return 202, nil, `{"accepted": true, "ackedSeq": 0}`, nil
			}
		})
		for range 5 {
			b.shelf.add(1)
			b.after(6 * time.Minute)
		}
		b.want(t, "True", usage.Reported, "no request waits")
		if n := b.platform.posts; n < 6 || n > 8 {
			t.Errorf("%d posts", n)
		}
		b.end()
	})
}

// TestAGapIsToldOnce: that the platform misses batches is said once, not with each report that comes after, and when it is over, too. Those that
// were set aside here are no news.
func TestAGapIsToldOnce(t *testing.T) {
	t.Parallel()
	const misses, over = "misses batches of this replica", "misses no batch of this replica any more"
	t.Run("lost", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			var said bytes.Buffer
			acked := ""
			b := start(t, func(b *bench) {
				b.Log = slog.New(slog.NewTextHandler(&said, nil))
				b.shelf.seq = 40
				b.platform.answer = func(*http.Request) (int, http.Header, string, error) {
					if acked != "" {
						return 202, nil, acked, nil
					}
					return 202, nil, `{"accepted": true, "ackedSeq": 3}`, nil
				}
			})
			more := func(n int) {
				for range n {
					b.shelf.add(1)
					b.after(6 * time.Minute)
				}
			}
			more(5)
			if n := strings.Count(said.String(), misses); n != 1 {
				t.Errorf("said %d times: %s", n, said.String())
			}
			acked = `{"accepted": true, "ackedSeq": 60}`
			more(3)
			if n := strings.Count(said.String(), over); n != 1 {
				t.Errorf("said %d times: %s", n, said.String())
			}
			acked = "" // and once more
			more(3)
			if n := strings.Count(said.String(), misses); n != 2 {
				t.Errorf("said %d times: %s", n, said.String())
			}
			b.end()
		})
	})
	t.Run("set aside", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			var said bytes.Buffer
			b := start(t, func(b *bench) {
				b.Log = slog.New(slog.NewTextHandler(&said, nil))
				b.shelf.add(1)
				b.platform.answer = func(*http.Request) (int, http.Header, string, error) {
					if b.platform.posts == 1 {
						return 422, nil, `{"message": "no"}`, nil
					}
					return 202, nil, `{"accepted": true, "ackedSeq": 0}`, nil // it does not count what it refused
				}
			})
			for range 3 {
				b.shelf.add(1)
				b.after(6 * time.Minute)
			}
			if s := said.String(); strings.Contains(s, misses) || strings.Contains(s, over) || b.Delivery().Batches["retried"] > 0 {
				t.Errorf("%+v: %s", b.Delivery().Batches, s)
			}
			b.end()
		})
	})
}

func TestAnAnswerThatIsNoneIsTriedAgain(t *testing.T) {
	t.Parallel()
	for _, body := range []string{"", "{}", `{"accepted": false, "ackedSeq": 1}`, "<html>"} {
		synctest.Test(t, func(t *testing.T) {
			b := start(t, func(b *bench) {
				b.platform.answer = func(*http.Request) (int, http.Header, string, error) { return 200, nil, body, nil }
			})
			b.want(t, "False", usage.Waiting)
			b.end()
		})
	}
}

func TestDuplicatesAreTaken(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := start(t, func(b *bench) {
			b.platform.answer = func(*http.Request) (int, http.Header, string, error) { return 409, nil, "already accepted", nil }
		})
		b.want(t, "True", usage.Reported)
		b.end()
	})
}

// TestAPlatformThatIsAwayAtTheStart: with nothing to report, it is asked again until it answers.
func TestAPlatformThatIsAwayAtTheStart(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		status := 503
		b := start(t, func(b *bench) {
			b.shelf.at = time.Now() // no heartbeat yet
			b.platform.hello = func() (int, string) { return status, "" }
		})
		b.after(3 * time.Minute)
		b.want(t, "False", usage.Waiting, "503", "tried again")
		if b.platform.posts != 0 || b.platform.hellos < 5 || b.platform.hellos > 12 {
			t.Errorf("%d posts, %d hellos", b.platform.posts, b.platform.hellos)
		}
		b.platform.hello = nil
		b.after(3 * time.Minute)
		b.want(t, "True", usage.Reported, "no request waits")
		b.end()
	})
}

func TestTheClockOfThePlatformIsTold(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		skew := -1500 * time.Millisecond // a Date has whole seconds
		b := start(t, func(b *bench) {
			b.Log = slog.New(slog.NewTextHandler(&log, nil))
			b.platform.answer = func(r *http.Request) (int, http.Header, string, error) {
				return 409, http.Header{"Date": {time.Now().Add(skew).UTC().Format(http.TimeFormat)}}, "", nil
			}
		})
		b.shelf.add(1)
		b.after(5 * time.Minute)
		if b.Delivery().Skew != 0 || strings.Contains(log.String(), "another time") {
			t.Errorf("%s:\n%s", b.Delivery().Skew, log.String())
		}
		skew = -10 * time.Minute // the clock of one of the two was set
		for range 4 {
			b.shelf.add(1)
			b.after(5 * time.Minute)
		}
		if n := strings.Count(log.String(), "another time than this host"); n != 1 || b.Delivery().Skew != -10*time.Minute {
			t.Errorf("told %d times, %s:\n%s", n, b.Delivery().Skew, log.String())
		}
		b.end()
	})
}

func TestTheLastWords(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) { // all is sent
		b := start(t, nil)
		b.shelf.add(9)
		b.end()
		if b.platform.total() != 9 {
			t.Errorf("%d arrived", b.platform.total())
		}
	})
	synctest.Test(t, func(t *testing.T) { // a server that does not answer is given five seconds
		b := start(t, nil)
		b.platform.answer = func(r *http.Request) (int, http.Header, string, error) {
			<-r.Context().Done()
			return 0, nil, "", r.Context().Err()
		}
		b.shelf.add(9)
		began := time.Now()
		b.end()
		if took := time.Since(began); took != 5*time.Second {
			t.Errorf("it took %s", took)
		}
		b.want(t, "Unknown", usage.Waiting, "9 requests wait")
	})
	synctest.Test(t, func(t *testing.T) { // one that is known to be away is not asked
		b := start(t, func(b *bench) {
			b.platform.answer = func(*http.Request) (int, http.Header, string, error) { return 503, nil, "", nil }
		})
		posts := b.platform.posts
		b.end()
		if b.platform.posts != posts {
			t.Error("asked again")
		}
	})
}

func TestWithoutARegistrationNothingIsSent(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := start(t, nil)
		b.Use(nil)
		synctest.Wait()
		posts, seals := b.platform.posts, b.shelf.seals
		b.shelf.add(1)
		b.after(48 * time.Hour)
		if b.platform.posts != posts || b.shelf.seals != seals {
			t.Error("something was sealed or sent")
		}
		b.want(t, "Unknown", usage.Unregistered, "never reported")
		if err := b.Flush(t.Context()); err == nil {
			t.Error("flush: nil")
		}
		b.end()
	})
	synctest.Test(t, func(t *testing.T) {
		b := start(t, func(b *bench) { b.AirGapped = true; b.shelf.add(3) })
		b.after(time.Hour)
		b.want(t, "Unknown", usage.AirGapped, "usage export", "3 requests wait")
		if err := b.Flush(t.Context()); err == nil || b.platform.posts+b.platform.hellos != 0 {
			t.Errorf("%v, %d", err, b.platform.posts)
		}
		b.end()
	})
}

func TestNothingIsSentWhileItIsHeld(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := start(t, nil)
		posts := b.platform.posts
		b.Use(&usage.Target{AgentID: agent, Sink: b.sink(), Held: "not yet"})
		synctest.Wait()
		b.shelf.add(2)
		b.after(2 * time.Hour)
		if err := b.Flush(t.Context()); err == nil || b.platform.posts != posts {
			t.Errorf("%v, %d posts", err, b.platform.posts)
		}
		b.want(t, "Unknown", usage.Waiting, "not yet", "2 requests wait")
		b.Use(&usage.Target{AgentID: agent, Sink: b.sink()})
		synctest.Wait()
		if b.platform.total() != 2 {
			t.Errorf("%d arrived", b.platform.total())
		}
		b.end()
	})
}

func TestUsageOfAnotherRegistrationIsSetAside(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := start(t, func(b *bench) { b.shelf.agent = "another"; b.shelf.add(4) })
		if b.platform.posts != 0 || len(b.shelf.aside) != 1 {
			t.Errorf("%d posts, %d aside", b.platform.posts, len(b.shelf.aside))
		}
		b.end()
	})
}

func TestAnExpiredCertificateIsNotShown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := start(t, nil)
		s := b.sink()
		s.NotAfter = time.Now().Add(time.Minute)
		b.Use(&usage.Target{AgentID: agent, Sink: s})
		synctest.Wait()
		b.want(t, "True", usage.Reported)
		b.after(10 * time.Second) // the close of the hour before
		posts := b.platform.posts
		b.shelf.add(1)
		b.after(time.Hour)
		if b.platform.posts != posts {
			t.Errorf("it was shown: %d after %d, %v", b.platform.posts, posts, b.platform.seqs)
		}
		b.want(t, "False", usage.Rejected, "expired on 2000-01-01", "renew")
		b.end()
	})
}

func TestASpoolThatCannotBeWrittenIsTold(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := start(t, nil)
		b.shelf.broken = errors.New("no space left on device")
		b.shelf.add(1)
		b.after(6 * time.Minute)
		b.want(t, "False", usage.SpoolBroken, "no space left on device")
		if b.shelf.seals > 20 {
			t.Errorf("%d seals", b.shelf.seals)
		}
		b.shelf.broken = nil
		b.after(3 * time.Minute)
		b.want(t, "True", usage.Reported)
		b.end()
	})
}

// A full ledger is told of although all that is in it gets to the platform.
func TestASpoolThatIsFullIsTold(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := start(t, nil)
		b.shelf.full = 7
		b.shelf.add(1)
		b.after(6 * time.Minute)
		b.want(t, "False", usage.SpoolFull, "calls of new hours and APIs are lost, 7 so far", "no request waits")
		b.shelf.full = 0
		b.after(6 * time.Minute)
		b.want(t, "True", usage.Reported)
		if got := fmt.Sprint(b.turns); !strings.HasSuffix(got, "False/SpoolFull True/Reported]") {
			t.Errorf("told %s", got)
		}
		b.end()
	})
}

func TestFlushReadsTheLogFirst(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var b *bench
		var fail error
		b = start(t, func(x *bench) {
			x.Catch = func(context.Context) error { x.shelf.add(8); return fail }
		})
		if err := b.Flush(t.Context()); err != nil || b.platform.total() != 8 {
			t.Errorf("%v, %d arrived", err, b.platform.total())
		}
		fail = errors.New("cannot read")
		if err := b.Flush(t.Context()); !errors.Is(err, fail) || !strings.Contains(err.Error(), "could not be read to its end") || b.platform.total() != 16 { // what there is is sent
			t.Errorf("%v, %d arrived", err, b.platform.total())
		}
		b.platform.answer = func(*http.Request) (int, http.Header, string, error) { return 401, nil, "", nil }
		if err := b.Flush(t.Context()); !errors.Is(err, fail) || !strings.Contains(err.Error(), "renew the registration") {
			t.Errorf("%v", err)
		}
		b.platform.answer = nil
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := b.Flush(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("%v", err)
		}
		b.end()
	})
}

// Who flushes waits for an answer: what passes in seconds is waited for, and what does not is said at once.
func TestFlushTriesAgain(t *testing.T) {
	t.Parallel()
	answered := func(status int, after string) func(*http.Request) (int, http.Header, string, error) {
		return func(*http.Request) (int, http.Header, string, error) {
			return status, http.Header{"Retry-After": {after}}, `{"message": "busy"}`, nil
		}
	}
	cut := func(*http.Request) (int, http.Header, string, error) { return 0, nil, "", io.ErrUnexpectedEOF }
	behind := func(*http.Request) (int, http.Header, string, error) {
		return 200, nil, `{"accepted": true, "ackedSeq": 0}`, nil
	}
	for name, x := range map[string]struct {
		answer func(*http.Request) (int, http.Header, string, error)
		bad    int // answers of this kind
		posts  int // that are expected
		fails  bool
	}{
		"503": {answered(503, ""), 1, 2, false}, "503, four times": {answered(503, ""), 4, 5, false}, "503, for ever": {answered(503, ""), 99, 5, true},
		"408": {answered(408, ""), 2, 3, false}, "429": {answered(429, "1"), 2, 3, false}, "429, in a minute": {answered(429, "60"), 1, 1, true},
		"cut": {cut, 2, 3, false}, "it has less than was sent": {behind, 1, 2, false}, "401": {answered(401, ""), 1, 1, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b := start(t, nil)
				before := b.platform.posts
				b.platform.answer = func(r *http.Request) (int, http.Header, string, error) {
					if b.platform.posts-before <= x.bad {
						return x.answer(r)
					}
					return 0, nil, "", nil
				}
				b.shelf.add(5)
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				since := time.Now()
				err := b.Flush(ctx)
				if (err != nil) != x.fails || b.platform.posts-before != x.posts || time.Since(since) > 10*time.Second {
					t.Errorf("after %s: %v, %d posts, want %d", time.Since(since), err, b.platform.posts-before, x.posts)
				}
				if !x.fails && b.platform.total() != 5 {
					t.Errorf("%d requests arrived", b.platform.total())
				}
				b.end()
			})
		})
	}
	t.Run("no time", func(t *testing.T) { // why it failed is said rather than that time is up
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			b := start(t, nil)
			b.platform.answer = answered(503, "")
			b.shelf.add(5)
			ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
			defer cancel()
			if err := b.Flush(ctx); err == nil || !strings.Contains(err.Error(), "answered 503 (busy)") {
				t.Error(err)
			}
			b.end()
		})
	})
	t.Run("the end", func(t *testing.T) { // a daemon that ends does not wait for a flush
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			b := start(t, nil)
			b.platform.answer = answered(503, "4")
			b.shelf.add(5)
			done := make(chan error, 1)
			go func() { done <- b.Flush(t.Context()) }()
			synctest.Wait()
			since := time.Now()
			b.end()
			if err := <-done; err == nil || time.Since(since) > time.Second {
				t.Errorf("after %s: %v", time.Since(since), err)
			}
		})
	})
	t.Run("the end, unanswered", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			b := start(t, nil)
			b.platform.answer = unanswered
			b.shelf.add(5)
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			done := make(chan error, 1)
			go func() { done <- b.Flush(ctx) }()
			synctest.Wait()
			since := time.Now()
			b.end()
			if err := <-done; err == nil || !strings.Contains(err.Error(), "the daemon ends") || time.Since(since) != 5*time.Second { // the last words
				t.Errorf("after %s: %v", time.Since(since), err)
			}
			b.want(t, "Unknown", usage.Waiting, "the process ended before the platform answered", "5 requests wait")
		})
	})
}

// unanswered is a platform that hangs.
func unanswered(r *http.Request) (int, http.Header, string, error) {
	<-r.Context().Done()
	return 0, nil, "", r.Context().Err()
}

// A flush that ends before the platform answered has found nothing out: what was so before is so, and trying goes on as it was to.
func TestAFlushThatIsCutOff(t *testing.T) {
	t.Parallel()
	for name, x := range map[string]struct {
		before int // status of what was answered before; 0: all is well
		status string
		reason usage.Reason
		words  string
	}{"all was well": {0, "True", usage.Reported, "the platform has all that was sealed; 5 requests wait"}, "it was busy": {503, "False", usage.Waiting, "answered 503"}, "it was refused": {401, "False", usage.Rejected, "renew"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b := start(t, func(b *bench) {
					b.platform.answer = func(*http.Request) (int, http.Header, string, error) {
						return x.before, http.Header{"Retry-After": {"600"}}, "", nil
					}
				})
				was, posts := b.Delivery(), b.platform.posts
				b.shelf.add(5)
				b.platform.answer = unanswered
				ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
				defer cancel()
				if err := b.Flush(ctx); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "has not answered in time") {
					t.Error(err)
				}
				synctest.Wait()
				s := b.want(t, x.status, x.reason, x.words)
				if s.Failures != was.Failures || !s.NextTry.Equal(was.NextTry) || strings.Contains(s.Message, "process ended") {
					t.Errorf("%+v, before it was %+v", s, was)
				}
				if again := b.platform.posts - posts; again != 2 && x.before == 0 || again != 1 && x.before != 0 {
					t.Errorf("%d posts", again)
				}
				b.end()
			})
		})
	}
}

// A flush does not wait for the attempt before it, which a platform that hung does not answer.
func TestAFlushTakesOver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := start(t, nil)
		b.platform.answer = unanswered
		b.shelf.add(5)
		posts := b.platform.posts
		b.after(5 * time.Minute)
		if b.platform.posts != posts+1 {
			t.Fatalf("%d posts", b.platform.posts-posts)
		}
		b.platform.answer = nil
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		if err := b.Flush(ctx); err != nil || b.platform.total() != 5 || b.platform.posts != posts+2 {
			t.Errorf("%v, %d arrived in %d posts", err, b.platform.total(), b.platform.posts-posts)
		}
		synctest.Wait()
		b.want(t, "True", usage.Reported, "no request waits")
		b.end()
	})
}

// A flush whose time is over before the log is read to its end has asked nobody: what the platform wanted holds.
func TestAFlushThatDoesNotComeToSending(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := start(t, func(b *bench) {
			b.platform.answer = func(*http.Request) (int, http.Header, string, error) {
				return 503, http.Header{"Retry-After": {"600"}}, "", nil
			}
			b.Catch = func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
		})
		was, posts := b.Delivery(), b.platform.posts
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		if err := b.Flush(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		synctest.Wait()
		if s := b.Delivery(); was.NextTry.IsZero() || !s.NextTry.Equal(was.NextTry) || b.platform.posts != posts {
			t.Errorf("%d posts; the next try is at %s, and was to be at %s", b.platform.posts-posts, s.NextTry, was.NextTry)
		}
		b.end()
	})
}

// A flush that comes when the daemon has ended waits for nobody.
func TestAFlushThatComesTooLate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := start(t, nil)
		b.end()
		if err := b.Flush(t.Context()); err == nil || !strings.Contains(err.Error(), "the daemon ends") {
			t.Error(err)
		}
	})
}

// Somebody who flushes several times while the platform is away does not keep it from being tried soon.
func TestAFlushIsOneFailure(t *testing.T) {
	t.Parallel()
	for flushes := range 4 {
		synctest.Test(t, func(t *testing.T) {
			b := start(t, func(b *bench) { b.Jitter = func() float64 { return 0.999 } })
			b.platform.answer = func(*http.Request) (int, http.Header, string, error) { return 503, nil, "", nil }
			b.shelf.add(5)
			posts := b.platform.posts
			for range flushes {
				if err := b.Flush(t.Context()); err == nil {
					t.Error("reported")
				}
			}
			s := b.Delivery()
			if s.Failures != flushes || b.platform.posts-posts != 5*flushes {
				t.Errorf("%d flushes: %d failures, %d posts", flushes, s.Failures, b.platform.posts-posts)
			}
			if limit := time.Second << max(flushes-1, 0); flushes > 0 && time.Until(s.NextTry) > limit {
				t.Errorf("%d flushes: tried again in %s, want %s at most", flushes, time.Until(s.NextTry), limit)
			}
			b.end()
		})
	}
}

// What was set aside before counts for nothing: a flush tells what of its own batches is.
func TestAFlushTellsWhatIsSetAsideInIt(t *testing.T) {
	t.Parallel()
	for name, x := range map[string]struct {
		later uint64 // calls of the refused API that come before the second flush
		want  string
	}{
		"another batch is refused": {0, "a batch was set aside (flexgw usage show has it): metering.test answered 422 (no)"},
		"two are refused":          {1, "2 batches were set aside (flexgw usage show has them), the last one: metering.test answered 422 (no)"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l, err := usage.Open(t.TempDir(), usage.Options{})
			must(t, err)
			t.Cleanup(func() { _ = l.Close() })
			must(t, l.SetIdentity(usage.Identity{Agent: agent, Asset: "x"}))
			hour, at := hourStart(time.Now()), uint64(0)
			add := func(api string, n uint64) {
				at += n
				must(t, l.Count(usage.Position{Turn: 1, Offset: at}, []usage.Count{{API: api, Hour: hour, N: n}}))
			}
			refused := map[int]bool{}
			p := &platform{}
			p.answer = func(*http.Request) (int, http.Header, string, error) {
				if refused[p.posts] {
					return 422, nil, `{"message": "no"}`, nil
				}
				return 0, nil, "", nil
			}
			d := &usage.Deliverer{Spool: l, Now: time.Now}
			d.Use(&usage.Target{AgentID: agent, Sink: &usage.Sink{URL: "https://metering.test/x", Client: &http.Client{Transport: p}, Now: time.Now}})
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan struct{})
			go func() { defer close(done); d.Run(ctx) }()
			t.Cleanup(func() { cancel(); <-done })
			must(t, d.Flush(t.Context())) // it has begun
			add("a/a", 8)
			refused[p.posts+1] = true
			if err := d.Flush(t.Context()); err == nil || !strings.Contains(err.Error(), "422") {
				t.Errorf("%v", err)
			}
			add("a/a", 1) // its batch covers those that were set aside
			for i := range 500 + 500*x.later {
				add(fmt.Sprintf("b/%04d", i), 1)
			}
			for i := range x.later + 1 { // the first of the batches is taken
				refused[p.posts+2+int(i)] = true
			}
			if err := d.Flush(t.Context()); err == nil || !strings.Contains(err.Error(), x.want) {
				t.Errorf("got %v, want %s", err, x.want)
			}
			add("b/0499", 1)
			add("b/0500", 1)
			for i := range 500 + 500*x.later {
				add(fmt.Sprintf("b/%04d", i), 1)
			}
			if err := d.Flush(t.Context()); err != nil { // all are covered now
				t.Errorf("%v: %+v", err, d.Delivery())
			}
		})
	}
}

// A daemon delivers before it has looked for its registration: until then nobody is told that there is none.
func TestNothingIsSaidOfARegistrationBeforeItIsLookedFor(t *testing.T) {
	t.Parallel()
	for name, x := range map[string]struct {
		registered bool
		want       string
	}{"there is one": {true, "True/Reported"}, "there is none": {false, "Unknown/Unregistered"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b := &bench{shelf: newShelf(), platform: &platform{}}
				b.Deliverer = &usage.Deliverer{Spool: b.shelf, Now: time.Now, Turned: func(s usage.Delivery) { b.turns = append(b.turns, s.Status+"/"+string(s.Reason)) }}
				b.end = b.run(t)
				synctest.Wait()
				b.want(t, "Unknown", usage.Waiting, "nothing was sent yet")
				if len(b.turns) != 0 {
					t.Errorf("before: %q", b.turns)
				}
				var target *usage.Target
				if x.registered {
					target = &usage.Target{AgentID: agent, Sink: b.sink()}
				}
				b.Use(target)
				synctest.Wait()
				if !slices.Equal(b.turns, []string{x.want}) {
					t.Errorf("after: %q", b.turns)
				}
				b.end()
			})
		})
	}
}

// TestHowOldCountsMayBe: where nobody takes reports there is no end to it, and counting goes on.
func TestHowOldCountsMayBe(t *testing.T) {
	t.Parallel()
	for name, x := range map[string]struct {
		tune func(*bench)
		lost uint64
	}{
		"the real platform":         {func(b *bench) { b.platform.hello = func() (int, string) { return 404, "" } }, 0},
		"air-gapped":                {func(b *bench) { b.AirGapped = true }, 0},
		"a platform that went away": {func(*bench) {}, 7},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				l, err := usage.Open(t.TempDir(), usage.Options{})
				must(t, err)
				defer l.Close()
				must(t, l.SetIdentity(usage.Identity{Agent: agent, Asset: "x"}))
				b := start(t, func(b *bench) {
					b.Spool = l
					x.tune(b)
				})
				b.platform.answer = func(*http.Request) (int, http.Header, string, error) { return 503, nil, "", nil }
				counted := func(n uint64) {
					must(t, l.Count(usage.Position{Turn: 1, Offset: n}, []usage.Count{{API: "a/a", Hour: time.Now(), N: n}}))
				}
				counted(3)
				must(t, l.SealAll(time.Now()))
				for range 100 {
					b.after(24 * time.Hour)
				}
				counted(7)
				if s := l.State(); s.Lost != x.lost || s.Full != (x.lost > 0) {
					t.Errorf("%+v; %+v", s, b.Delivery())
				}
				b.end()
			})
		})
	}
}
