package usage

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"os/exec"

	"github.com/flexgw/flexgw/reconcile/anypoint"
	metering "github.com/flexgw/flexgw/reconcile/usage"
)

// childVariable has this test binary count and report for a folder in place of testing: all of a daemon that has to do with usage,
// and nothing else, so that it may be killed a thousand times.
const childVariable = "FLEXGW_USAGE_CHILD"

// child works until it is killed. It reads, seals and sends far more often than a daemon, so that a kill meets it doing so.
func child(dir string) {
	if err := childRun(dir); err != nil {
		fmt.Fprintln(os.Stderr, "child:", err)
		os.Exit(1)
	}
}

func childRun(dir string) error {
	f, err := anypoint.ReadFile(filepath.Join(dir, anypoint.FileName))
	if err != nil {
		return err
	}
	l, err := metering.Open(filepath.Join(dir, "usage"), metering.Options{})
	if err != nil {
		return err
	}
	if err := l.SetIdentity(identity(f)); err != nil {
		return err
	}
	tail := metering.NewTail(filepath.Join(dir, "usage"), l, metering.TailOptions{TurnBytes: 16 << 10, Reopen: func(ctx context.Context) error { return reopen(ctx, filepath.Join(dir, "s")) }})
	to, err := target(f, time.Now, nil)
	if err != nil {
		return err
	}
	doing, err := newDoing(dir)
	if err != nil {
		return err
	}
	sending := *to.Sink.Client
	sending.Transport = sender{doing, sending.Transport}
	to.Sink.Client = &sending
	d := &metering.Deliverer{Spool: spooler{l, doing}, Now: time.Now, Catch: func(ctx context.Context) error {
		defer doing.it(counting)()
		return tail.Look(ctx)
	}}
	d.Use(to)
	fmt.Println("works")
	go tail.Run(context.Background())
	go d.Run(context.Background())
	r := rand.New(rand.NewPCG(uint64(os.Getpid()), 1))
	for {
		err := d.Flush(context.Background())
		if _, stop := os.Stat(filepath.Join(dir, "stop")); stop == nil && err == nil && l.Backlog().Requests == 0 && !tail.Waiting() {
			return l.Close()
		}
		time.Sleep(time.Duration(r.IntN(4)) * time.Millisecond)
	}
}

// doing is what a child does at the moment, in a file that outlives it: a byte of each of the three.
type doing struct{ *os.File }

const (
	counting = iota // it reads the log, and writes counts down
	spooling        // it makes a batch, or writes down what became of one
	sending         // it speaks to the platform
)

var activities = [...]string{"counting", "spooling", "sending"}

func newDoing(dir string) (doing, error) {
	f, err := os.OpenFile(filepath.Join(dir, "doing"), os.O_RDWR|os.O_CREATE, 0o600)
	if err == nil {
		_, err = f.WriteAt([]byte("---"), 0)
	}
	return doing{f}, err
}

// it writes down that something begins; done: that it has ended.
func (d doing) it(what int64) (done func()) {
	_, _ = d.WriteAt([]byte("x"), what)
	return func() { _, _ = d.WriteAt([]byte("-"), what) }
}

type spooler struct {
	*metering.Ledger
	doing doing
}

func (s spooler) Seal(now time.Time) error {
	defer s.doing.it(spooling)()
	return s.Ledger.Seal(now)
}

func (s spooler) Ack(seq uint64) error {
	defer s.doing.it(spooling)()
	return s.Ledger.Ack(seq)
}

type sender struct {
	doing doing
	http.RoundTripper
}

func (s sender) RoundTrip(r *http.Request) (*http.Response, error) {
	defer s.doing.it(sending)()
	return s.RoundTripper.RoundTrip(r)
}

func reopen(ctx context.Context, socket string) error {
	c := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", socket)
	}}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://writer/", nil)
	if err != nil {
		return err
	}
	res, err := c.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return errors.New(res.Status)
	}
	return nil
}

// someFaults are what a platform and the way to it do now and then.
func someFaults(r *rand.Rand) (list []map[string]any) {
	all := []map[string]any{
		{"status": "cut"}, {"status": "cut-after"}, {"status": "cut-body"}, {"status": "duplicate"}, {"status": "slow", "delay": "15ms"}, {"status": "slow-after", "delay": "15ms"},
		{"status": 500}, {"status": 503, "retryAfter": "0"}, {"status": 429}, {"status": 408}, {"status": 502},
	}
	for range 6 {
		f := map[string]any{"next": 1 + r.IntN(2), "listener": "ingest", "path": anypoint.PathMetering}
		for k, v := range all[r.IntN(len(all))] {
			f[k] = v
		}
		list = append(list, f)
	}
	return list
}

// TestCrashes kills what counts and reports at random moments, while the platform drops, delays and doubles what it is sent: in the
// end it has each request once. That the children did something before the last one, and were killed while they did each thing, it wants too.
func TestCrashes(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("processes are killed")
	}
	kills := 60
	if long() {
		kills = 1000
	}
	p := newPlatform(t, nil)
	dir, err := os.MkdirTemp("", "u") // the path of its socket is short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	p.register(dir, "crashes")
	w := newWriter(t, filepath.Join(dir, "usage"), time.Now)
	w.serve(filepath.Join(dir, "s"))

	var over atomic.Bool
	writing := make(chan struct{})
	go func() {
		defer close(writing)
		r := rand.New(rand.NewPCG(3, 3))
		for !over.Load() {
			w.requests(1 + r.IntN(20))
			time.Sleep(time.Duration(r.IntN(3000)) * time.Microsecond)
		}
		w.Flush()
	}()
	run := func() (cmd *exec.Cmd, works *bufio.Reader) {
		cmd = exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), childVariable+"="+dir)
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		return cmd, bufio.NewReader(out)
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 5))
	began := time.Now()
	var met int
	hit := map[string]int{}
	acknowledged := func() int {
		answers := p.calls(anypoint.PathMetering)
		return answers[http.StatusOK] + answers[http.StatusAccepted]
	}
	const lives = 100 * time.Millisecond // a child may have them, and longer where they do nothing in that
	longer := lives
	for n := 0; n < kills || (len(hit) < len(activities) || acknowledged() < kills/4) && n < 4*kills; n++ { // a moment of counting is short: more kills, until one has met it
		if n%5 == 0 {
			p.faults(someFaults(r)...)
		}
		doing := filepath.Join(dir, "doing")
		if err := os.WriteFile(doing, []byte("---"), 0o600); err != nil {
			t.Fatal(err)
		}
		cmd, works := run()
		if r.IntN(4) > 0 { // else it may be killed before it works
			if _, err := works.ReadString('\n'); err != nil {
				t.Fatal(err)
			}
		}
		if acknowledged() < n/4 {
			longer = min(2*longer, 5*time.Second)
		} else {
			longer = lives
		}
		time.Sleep(time.Duration(r.Int64N(int64(longer))))
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait()
		if cmd.ProcessState.Exited() {
			t.Fatalf("the child ended by itself: %s", cmd.ProcessState)
		}
		met++
		did, err := os.ReadFile(doing)
		if err != nil {
			t.Fatal(err)
		}
		for i, x := range did {
			if x == 'x' {
				hit[activities[i]]++
			}
		}
	}
	took := time.Since(began)
	before := acknowledged()
	if before < kills/4 {
		t.Errorf("the platform acknowledged %d batches over %d kills: the children did nothing", before, kills)
	}
	for _, what := range activities {
		if hit[what] == 0 {
			t.Errorf("no kill of %d met a child %s: %v", met, what, hit)
		}
	}
	over.Store(true)
	<-writing
	p.faults()
	if err := os.WriteFile(filepath.Join(dir, "stop"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	last, _ := run()
	done := make(chan error, 1)
	go func() { done <- last.Wait() }()
	select {
	case err := <-done:
		if err != nil {
			t.Fatal(err)
		}
	case <-time.After(3 * time.Minute):
		_ = last.Process.Kill()
		t.Fatal("the last child did not report all within three minutes")
	}
	sent, by := w.total()
	s := p.state()
	var got uint64
	for api, n := range by {
		got += s.Usage[api]
		if s.Usage[api] != n {
			t.Errorf("%s: %d requests, and the platform has %d", api, n, s.Usage[api])
		}
	}
	if len(s.Usage) != len(by) || len(s.Unexpected) > 0 {
		t.Errorf("%v, unexpected %v", s.Usage, s.Unexpected)
	}
	t.Logf("%d kills in %.0f s, by what they met: %v; %d batches acknowledged before the last child; %d requests sent, %d reported; %d files of the log; calls of the platform by status: %v", met, took.Seconds(), hit, before, sent, got, w.reopen+1, p.calls(anypoint.PathMetering))
}
