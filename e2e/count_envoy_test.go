package e2e

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/flexgw/flexgw/e2e/harness"
	"github.com/flexgw/flexgw/reconcile/envoy"
	"github.com/flexgw/flexgw/reconcile/usage"
)

// counting is an Envoy alone, with the log that the daemon gives it, and a counter of it. Files are turned each few thousand lines.
type counting struct {
	t       *testing.T
	dir     string
	port    int
	options envoy.Options
	process *envoy.Process
	ledger  *usage.Ledger
	*usage.Counter
}

const countingBootstrap = `
admin: {address: {pipe: {path: DIR/admin}}}
static_resources:
  listeners:
  - address: {socket_address: {address: 127.0.0.1, port_value: PORT}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: "PORT"
          access_log:
          - name: flexgw.usage
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog
              path: DIR/usage/access.log
              log_format:
                omit_empty_values: true
                text_format_source: {inline_string: "\n%START_TIME(%s%3f)% %RESPONSE_CODE% %METADATA(ROUTE:flexgw:api)% %STREAM_ID%\n"}
          route_config:
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes:
              - match: {prefix: /open}
                metadata: {filter_metadata: {flexgw: {api: default/open}}}
                direct_response: {status: 200}
          http_filters:
          - name: router
            typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}
`

func newCounting(t *testing.T, replace ...string) *counting {
	t.Helper()
	found, err := envoy.Find(t.Context(), envoy.FindOptions{})
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("/tmp", "count")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	c := &counting{t: t, dir: dir, port: harness.FreePort(t)}
	text := strings.NewReplacer(append(replace, "DIR", dir, "PORT", fmt.Sprint(c.port))...).Replace(countingBootstrap)
	if err := os.WriteFile(filepath.Join(dir, "envoy.yaml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c.options = envoy.Options{StateDir: dir, Binary: found.Path, BootstrapPath: filepath.Join(dir, "envoy.yaml"), AdminSocket: filepath.Join(dir, "admin"), Concurrency: 2}
	c.count()
	c.start()
	t.Cleanup(func() { _ = c.process.Stop(context.Background(), 0) })
	return c
}

// count opens the ledger, as a daemon does.
func (c *counting) count() {
	c.t.Helper()
	dir := filepath.Join(c.dir, "usage")
	var err error
	if c.ledger, err = usage.Open(dir, usage.Options{}); err != nil {
		c.t.Fatal(err)
	}
	admin := envoy.NewAdmin(c.options.AdminSocket)
	c.Counter = usage.NewCounter(dir, c.ledger, usage.Gateway{Stats: admin.Stats, Process: admin.PID, Reopen: func(ctx context.Context) error {
		_, err := admin.Post(ctx, "/reopen_logs")
		return err
	}}, usage.TailOptions{TurnBytes: 100 << 10})
	c.t.Cleanup(func() { _ = c.ledger.Close() })
}

func (c *counting) start() {
	c.t.Helper()
	var err error
	if c.process, err = envoy.Start(c.t.Context(), c.options); err != nil {
		c.t.Fatal(err)
	}
	harness.Until(c.t, func() error {
		res, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/nothing", c.port))
		if err != nil {
			return err
		}
		return res.Body.Close()
	})
}

func (c *counting) counted(api string) (n uint64) {
	for _, x := range c.ledger.Totals() {
		if x.API == api {
			n += x.Counted
		}
	}
	return n
}

// ask sends so many requests and waits for the answers.
func (c *counting) ask(n int) {
	c.t.Helper()
	tr := &http.Transport{}
	defer tr.CloseIdleConnections()
	for range n {
		r, _ := http.NewRequest("GET", fmt.Sprintf("http://127.0.0.1:%d/open", c.port), nil)
		res, err := tr.RoundTrip(r)
		if err != nil {
			c.t.Fatal(err)
		}
		_ = res.Body.Close()
	}
}

// TestReadToEnd: whatever ended before is counted when it returns, although Envoy holds lines back.
func TestReadToEnd(t *testing.T) {
	t.Parallel()
	c := newCounting(t)
	total, longest := uint64(0), time.Duration(0)
	for i := range 40 {
		c.ask(1 + i%7)
		total += uint64(1 + i%7)
		began := time.Now()
		if err := c.ReadToEnd(t.Context()); err != nil {
			t.Fatal(err)
		}
		longest = max(longest, time.Since(began))
		if n := c.counted("default/open"); n != total {
			t.Fatalf("counted %d, want %d", n, total)
		}
	}
	t.Logf("it took %v at most", longest)
}

// TestTurnsUnderLoad: files are turned again and again while requests come, by us and by somebody else; each request is counted once, and Envoy's own
// counters agree.
func TestTurnsUnderLoad(t *testing.T) {
	t.Parallel()
	c := newCounting(t)
	ctx, stop := context.WithCancel(t.Context())
	reading := make(chan struct{})
	go func() {
		defer close(reading)
		for ctx.Err() == nil {
			if err := c.Look(ctx); err != nil && ctx.Err() == nil {
				t.Error(err)
			}
			time.Sleep(10 * time.Millisecond)
		}
	}()
	url := fmt.Sprintf("http://127.0.0.1:%d/open", c.port)
	l := harness.KeepAlive(t, 8, url)
	for i := range 4 {
		if err := c.Compare(t.Context()); i > 0 && err != nil {
			t.Errorf("not compared: %v", err)
		}
		time.Sleep(time.Second)
	}
	harness.Until(t, func() error { // a file is turned each few thousand lines
		if n := c.Read().Turns; n < 3 {
			return fmt.Errorf("%d turns", n)
		}
		return nil
	})
	if err := os.Rename(filepath.Join(c.dir, "usage", usage.LogName), filepath.Join(c.dir, "elsewhere")); err != nil { // a logrotate that nobody asked for
		t.Fatal(err)
	}
	time.Sleep(time.Second)
	n := uint64(l.End(t, -1))
	if err := c.ReadToEnd(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := c.counted("default/open"); got != n {
		t.Errorf("counted %d of %d", got, n)
	}
	if err := c.Compare(t.Context()); err != nil {
		t.Error(err)
	}
	stop()
	<-reading
	if k := c.Check(); k.Missing+k.Extra > 0 || k.Checks < 3 {
		t.Errorf("got %+v", k)
	}
	t.Logf("%d requests, %d turns, %+v", n, c.Read().Turns, c.Check())
}

// TestLostLinesAreAnAlarm: somebody takes lines out of the log, and puts some in; both are found.
func TestLostLinesAreAnAlarm(t *testing.T) {
	t.Parallel()
	c := newCounting(t)
	compare := func() {
		t.Helper()
		if err := c.Compare(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	_ = c.Compare(t.Context()) // the first time
	c.ask(100)
	compare()
	if k := c.Check(); k.Missing+k.Extra > 0 {
		t.Fatalf("got %+v", k)
	}
	c.ask(50)
	path := filepath.Join(c.dir, "usage", usage.LogName)
	harness.Until(t, func() error { // Envoy holds lines back
		b, err := os.ReadFile(path)
		if n := strings.Count(string(b), " default/open "); n != 150 {
			return fmt.Errorf("%d lines are written: %v", n, err)
		}
		return nil
	})
	if err := os.Truncate(path, 0); err != nil {
		t.Fatal(err)
	}
	compare()
	if k := c.Check(); k.Missing != 50 || k.Extra != 0 {
		t.Errorf("got %+v", k)
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for range 60 {
		fmt.Fprintf(f, "\n%d 200 default/open 70031019-7944-41d6-9ad1-3acb3c4309ac\n", time.Now().UnixMilli())
	}
	compare()
	if k := c.Check(); k.Missing != 50 || k.Extra != 60 {
		t.Errorf("got %+v", k)
	}
	found := false
	for _, a := range c.ledger.State().Alarms {
		found = found || a.Code == "unmatched"
	}
	if !found {
		t.Errorf("got %+v", c.ledger.State().Alarms)
	}
	// Another Envoy counts from zero, and goes on in the same file.
	if err := c.process.Stop(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	c.start()
	if err := c.Compare(t.Context()); err == nil {
		t.Error("another Envoy was compared with the one before")
	}
	c.ask(30)
	compare()
	if k := c.Check(); k.Missing != 50 || k.Extra != 60 {
		t.Errorf("got %+v", k)
	}
}

// TestLogOnAFullDisk: Envoy drops lines that it can not write, and goes on; nobody else would notice.
func TestLogOnAFullDisk(t *testing.T) {
	t.Parallel()
	c := newCounting(t, "DIR/usage/access.log", "/dev/full")
	_ = c.Compare(t.Context())
	c.ask(200)
	if err := c.Compare(t.Context()); err != nil {
		t.Fatal(err)
	}
	if k := c.Check(); k.Missing != 200 || k.Failed == 0 {
		t.Errorf("got %+v", k)
	}
	t.Logf("%+v", c.ledger.State().Alarms)
}
