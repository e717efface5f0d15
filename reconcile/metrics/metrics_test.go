package metrics_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/flexgw/flexgw/reconcile"
	"github.com/flexgw/flexgw/reconcile/deliver"
	"github.com/flexgw/flexgw/reconcile/hook"
	"github.com/flexgw/flexgw/reconcile/metrics"
	"github.com/flexgw/flexgw/reconcile/notify"
	"github.com/flexgw/flexgw/reconcile/status"
	"github.com/flexgw/flexgw/reconcile/usage"
	"github.com/flexgw/flexgw/schema/diag"
)

// text is an answer without what Go and the process say of themselves.
func text(t testing.TB, m *metrics.M) string {
	t.Helper()
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, metrics.Path, nil))
	if w.Code != http.StatusOK || !strings.HasPrefix(w.Header().Get("Content-Type"), "text/plain; version=0.0.4") {
		t.Fatalf("status %d, %v", w.Code, w.Header())
	}
	var b strings.Builder
	for line := range strings.Lines(w.Body.String()) {
		if strings.Contains(line, "flexgw_") {
			b.WriteString(line)
		}
	}
	return b.String()
}

func has(t testing.TB, text string, lines ...string) {
	t.Helper()
	for _, want := range lines {
		if !strings.Contains("\n"+text, "\n"+want+"\n") {
			t.Errorf("no line %q", want)
		}
	}
	if t.Failed() {
		t.Log(text)
	}
}

func report() status.Report {
	return status.Report{
		Revision:   "sha256:abc",
		Conditions: []status.Condition{{Type: status.Fetched, Status: status.True}, {Type: status.Accepted, Status: status.False}, {Type: status.Programmed, Status: status.Unknown}},
		Suspended:  &status.Suspension{},
		Envoys:     []status.Envoy{{Node: "a"}, {Node: "b", Cordoned: &status.Cordon{}}},
	}
}

func progress() []deliver.Progress {
	return []deliver.Progress{{Node: "a", Connected: true, Errors: 3}, {Node: "b", Errors: 7}}
}

func declared() []diag.Object {
	return []diag.Object{{Kind: "ApiInstance", Namespace: "default", Name: "de.ad"}, {Kind: "ApiInstance", Namespace: "team", Name: `o"d\d`}}
}

// options are those of a daemon with two APIs.
func options() metrics.Options {
	return metrics.Options{Report: report, Progress: progress, APIs: declared}
}

// Everything is there before anything happened: an alert cannot see what is not.
func TestZeros(t *testing.T) {
	t.Parallel()
	m := metrics.New(metrics.Options{Version: "1.2.3", Report: func() status.Report { return status.Report{} }, Progress: func() []deliver.Progress { return nil },
		APIs: func() []diag.Object { return []diag.Object{{Kind: "ApiInstance", Namespace: "default", Name: "shop"}} }})
	want := []string{
		`flexgw_build_info{goversion="` + runtime.Version() + `",version="1.2.3"} 1`,
		`flexgw_revision_info{revision=""} 1`,
		`flexgw_revision_programmed_timestamp_seconds 0`,
		`flexgw_revision_programmed_duration_seconds_count 0`,
		`flexgw_rollbacks_total 0`, `flexgw_fetch_errors_total 0`, `flexgw_rejected_resources 0`, `flexgw_envoys_connected 0`, `flexgw_envoys_cordoned 0`, `flexgw_suspended 0`, `flexgw_pinned 0`,
		`flexgw_condition{status="Unknown",type="Programmed"} 1`, `flexgw_condition{status="True",type="Programmed"} 0`,
		`flexgw_envoy_stats_up 0`, `flexgw_envoy_stats_timestamp_seconds 0`,
		`flexgw_webhook_events_total{result="dropped"} 0`, `flexgw_webhook_queue_length 0`, `flexgw_hook_requests_total{result="taken"} 0`, `flexgw_hook_requests_total{result="too_many"} 0`,
		`flexgw_unmatched_requests_total{code_class="4xx"} 0`,
		`flexgw_usage_counting 0`, `flexgw_usage_counted_total{of="api"} 0`, `flexgw_usage_unmatched_total{what="missing"} 0`, `flexgw_usage_alarms 0`,
		`flexgw_usage_delivery_waiting_requests 0`, `flexgw_usage_delivery_oldest_timestamp_seconds 0`, `flexgw_usage_delivery_batches_total{result="refused"} 0`, `flexgw_condition{status="Unknown",type="UsageReported"} 1`,
		`flexgw_api_requests_total{namespace="default",api="shop",code_class="2xx"} 0`,
		`flexgw_api_requests_total{namespace="default",api="shop",code_class="none"} 0`,
		`flexgw_api_upstream_failures_total{namespace="default",api="shop"} 0`,
		`flexgw_api_latency_seconds_bucket{namespace="default",api="shop",le="0.005"} 0`,
		`flexgw_api_latency_seconds_bucket{namespace="default",api="shop",le="+Inf"} 0`,
		`flexgw_api_latency_seconds_sum{namespace="default",api="shop"} 0`,
	}
	for _, outcome := range []string{"fetched", "invalid", "accepted", "held", "programmed", "rejected", "proof_failed", "rolled_back", "refused"} {
		want = append(want, `flexgw_revisions_total{outcome="`+outcome+`"} 0`)
	}
	has(t, text(t, m), want...)
}

func TestReport(t *testing.T) {
	t.Parallel()
	o := options()
	o.Webhook = func() notify.Counts { return notify.Counts{Waiting: 4, Delivered: 3, Dropped: 2, Failed: 1} }
	o.Forge = func() notify.Counts { return notify.Counts{Waiting: 8, Delivered: 7} }
	o.Hook = func() []hook.Count { return []hook.Count{{Result: hook.Taken, N: 5}, {Result: hook.Forbidden, N: 6}} }
	o.Usage = func() metrics.Usage {
		return metrics.Usage{Counting: true, Counted: 1, NoAPI: 2, Sealed: 3, Acknowledged: 4, Missing: 5, Extra: 6, Unreadable: 7, Lost: 8, SpoolBytes: 9, Pending: 10, Quarantined: 11, Alarms: 12}
	}
	o.Delivery = func() (usage.Delivery, bool) {
		return usage.Delivery{Backlog: usage.Backlog{Requests: 11, Oldest: time.Unix(7200, 0), Quarantined: 12}, Acked: time.Unix(9, 0), Failures: 14, Batches: map[string]uint64{"retried": 15}}, true
	}
	m := metrics.New(o)
	has(t, text(t, m), `flexgw_usage_counting 1`, `flexgw_usage_counted_total{of="api"} 1`, `flexgw_usage_counted_total{of="nothing"} 2`, `flexgw_usage_sealed_total 3`,
		`flexgw_usage_acknowledged_total 4`, `flexgw_usage_unmatched_total{what="missing"} 5`, `flexgw_usage_unmatched_total{what="extra"} 6`, `flexgw_usage_unreadable_lines_total 7`,
		`flexgw_usage_lost_total 8`, `flexgw_usage_spool_bytes 9`, `flexgw_usage_pending_batches 10`, `flexgw_usage_quarantined_batches 11`, `flexgw_usage_alarms 12`)
	has(t, text(t, m), `flexgw_usage_delivery_waiting_requests 11`, `flexgw_usage_delivery_oldest_timestamp_seconds 7200`, `flexgw_usage_delivery_set_aside_requests 12`,
		`flexgw_usage_delivery_acknowledged_timestamp_seconds 9`, `flexgw_usage_delivery_failures 14`, `flexgw_usage_delivery_batches_total{result="retried"} 15`, `flexgw_usage_delivery_batches_total{result="stopped"} 0`)
	has(t, text(t, m), `flexgw_hook_requests_total{result="taken"} 5`, `flexgw_hook_requests_total{result="forbidden"} 6`, `flexgw_revision_info{revision="sha256:abc"} 1`,
		`flexgw_condition{status="True",type="Fetched"} 1`, `flexgw_condition{status="False",type="Accepted"} 1`, `flexgw_condition{status="True",type="Accepted"} 0`,
		`flexgw_rejected_resources 3`, `flexgw_envoys_connected 1`, `flexgw_envoys_cordoned 1`, `flexgw_suspended 1`, `flexgw_pinned 0`,
		`flexgw_commit_status_queue_length 8`, `flexgw_commit_statuses_total{result="delivered"} 7`, `flexgw_webhook_queue_length 4`, `flexgw_webhook_events_total{result="delivered"} 3`, `flexgw_webhook_events_total{result="dropped"} 2`, `flexgw_webhook_events_total{result="failed"} 1`,
		`flexgw_api_upstream_failures_total{namespace="team",api="o\"d\\d"} 0`)
}

func TestEvents(t *testing.T) {
	t.Parallel()
	m := metrics.New(options())
	at := time.Unix(1700000000, 0)
	event := func(typ reconcile.EventType, revision string, after time.Duration) {
		m.Event(reconcile.Event{Type: typ, Revision: revision, At: at.Add(after)})
	}
	event(reconcile.Fetched, "a", 0)
	event(reconcile.Accepted, "a", 10*time.Millisecond)
	event(reconcile.Programmed, "a", 20*time.Millisecond)
	event(reconcile.Programmed, "a", time.Hour) // again, after a new key set: nobody changed anything
	event(reconcile.Fetched, "b", time.Hour)
	event(reconcile.Invalid, "b", time.Hour)
	event(reconcile.RolledBack, "c", time.Hour)
	event(reconcile.SourceUnavailable, "", time.Hour)
	has(t, text(t, m), `flexgw_revisions_total{outcome="fetched"} 2`, `flexgw_revisions_total{outcome="programmed"} 2`, `flexgw_revisions_total{outcome="invalid"} 1`,
		`flexgw_revisions_total{outcome="rolled_back"} 1`, `flexgw_rollbacks_total 1`, `flexgw_fetch_errors_total 1`,
		`flexgw_revision_programmed_timestamp_seconds 1.7000036e+09`,
		`flexgw_revision_programmed_duration_seconds_count 1`, `flexgw_revision_programmed_duration_seconds_sum 0.02`,
		`flexgw_revision_programmed_duration_seconds_bucket{le="0.01"} 0`, `flexgw_revision_programmed_duration_seconds_bucket{le="0.025"} 1`)
}

func TestAPIs(t *testing.T) {
	t.Parallel()
	asked, fails := 0, false
	o := options()
	o.Process = func(context.Context) (int, error) { return 1, nil }
	o.Stats = func(_ context.Context, filter string) (map[string]uint64, error) {
		asked++
		if fails {
			return nil, errors.New("no Envoy")
		}
		all := map[string]uint64{
			"flexgw.requests.api.default/de.ad.class.2.ms.5":    7,
			"flexgw.requests.api.default/de.ad.class.2.ms.50":   2,
			"flexgw.requests.api.default/de.ad.class.5.ms.more": 1,
			"flexgw.requests.api.default/de.ad.class..ms.none":  3,
			"flexgw.micros.api.default/de.ad":                   1_500_000,
			"flexgw.failures.api.default/de.ad":                 1,
			"flexgw.requests.api.default/gone.class.2.ms.5":     9, // it was deleted; Envoy keeps it
			"flexgw.requests.api..class.4.ms.5":                 4,
			"cluster.flexgw-xds.upstream_cx_total":              1,
		}
		for name := range all {
			if !regexp.MustCompile(filter).MatchString(name) {
				delete(all, name)
			}
		}
		return all, nil
	}
	m := metrics.New(o)
	want := []string{
		`flexgw_envoy_stats_up 1`,
		`flexgw_api_requests_total{namespace="default",api="de.ad",code_class="2xx"} 9`,
		`flexgw_api_requests_total{namespace="default",api="de.ad",code_class="5xx"} 1`,
		`flexgw_api_requests_total{namespace="default",api="de.ad",code_class="none"} 3`,
		`flexgw_api_latency_seconds_bucket{namespace="default",api="de.ad",le="0.005"} 7`,
		`flexgw_api_latency_seconds_bucket{namespace="default",api="de.ad",le="0.025"} 7`,
		`flexgw_api_latency_seconds_bucket{namespace="default",api="de.ad",le="0.05"} 9`,
		`flexgw_api_latency_seconds_bucket{namespace="default",api="de.ad",le="10"} 9`,
		`flexgw_api_latency_seconds_bucket{namespace="default",api="de.ad",le="+Inf"} 10`,
		`flexgw_api_latency_seconds_count{namespace="default",api="de.ad"} 10`,
		`flexgw_api_latency_seconds_sum{namespace="default",api="de.ad"} 1.5`,
		`flexgw_api_upstream_failures_total{namespace="default",api="de.ad"} 1`,
		`flexgw_unmatched_requests_total{code_class="4xx"} 4`,
	}
	began := time.Now()
	got := text(t, m)
	has(t, got, want...)
	if strings.Contains(got, `api="gone"`) {
		t.Error("an API that is not declared has metrics")
	}
	text(t, m)
	if asked != 1 && time.Since(began) < time.Second {
		t.Errorf("two answers within a second asked Envoy %d times", asked)
	}
	fails = true
	time.Sleep(1100 * time.Millisecond)
	want[0] = `flexgw_envoy_stats_up 0`
	has(t, text(t, m), want...) // counters must not fall
}

// What Envoy counts begins anew when it is restarted, also when it has counted more than before by the time somebody looks, and one
// counter or another when a listener is edited. What Prometheus gets never falls, and loses nothing that was seen.
func TestCountersNeverFall(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const fast, slow, failed, micros, failures = "requests.api.default/de.ad.class.2.ms.5", "requests.api.default/de.ad.class.2.ms.10", "requests.api.default/de.ad.class.5.ms.more", "micros.api.default/de.ad", "failures.api.default/de.ad"
		var stats map[string]uint64
		o := options()
		o.Stats = func(context.Context, string) (map[string]uint64, error) { return stats, nil }
		pid := 0
		o.Process = func(context.Context) (int, error) { return pid, nil }
		m := metrics.New(o)
		for _, step := range []struct {
			why             string
			pid             int
			envoy           map[string]uint64
			good, bad, cuts int
			within5         int
			seconds         string
		}{
			{"first look", 1, map[string]uint64{fast: 7, slow: 2, failed: 1, micros: 500_000, failures: 1}, 9, 1, 1, 7, "0.5"},
			{"more of it", 1, map[string]uint64{fast: 8, slow: 2, failed: 1, micros: 600_000, failures: 1}, 10, 1, 1, 8, "0.6"},
			{"a listener was edited: some are gone, one is lower, one goes on", 1, map[string]uint64{fast: 1, slow: 3, micros: 100_000}, 12, 1, 1, 9, "0.7"},
			{"what is gone comes back", 1, map[string]uint64{fast: 1, slow: 3, failed: 2, micros: 200_000, failures: 1}, 12, 3, 2, 9, "0.8"},
			{"Envoy was restarted, and has counted nothing", 2, map[string]uint64{}, 12, 3, 2, 9, "0.8"},
			{"it counts", 2, map[string]uint64{fast: 4}, 16, 3, 2, 13, "0.8"},
			{"it was restarted, and has counted more than before", 3, map[string]uint64{fast: 5}, 21, 3, 2, 18, "0.8"},
		} {
			pid, stats = step.pid, map[string]uint64{}
			for name, n := range step.envoy {
				stats["flexgw."+name] = n
			}
			const api = `{namespace="default",api="de.ad"`
			has(t, text(t, m), `flexgw_api_requests_total`+api+`,code_class="2xx"} `+fmt.Sprint(step.good), `flexgw_api_requests_total`+api+`,code_class="5xx"} `+fmt.Sprint(step.bad),
				`flexgw_api_upstream_failures_total`+api+`} `+fmt.Sprint(step.cuts), `flexgw_api_latency_seconds_bucket`+api+`,le="0.005"} `+fmt.Sprint(step.within5),
				`flexgw_api_latency_seconds_count`+api+`} `+fmt.Sprint(step.good+step.bad), `flexgw_api_latency_seconds_sum`+api+`} `+step.seconds)
			if t.Failed() {
				t.Fatal(step.why)
			}
			time.Sleep(10 * time.Second)
		}
		// An answer that may be of either of two processes does not count.
		o.Process = func(context.Context) (int, error) { pid++; return pid, nil }
		other := metrics.New(o)
		has(t, text(t, other), `flexgw_envoy_stats_up 0`, `flexgw_api_requests_total{namespace="default",api="de.ad",code_class="2xx"} 0`)
	})
}

// Debian's own promtool reads what we write, and finds nothing to say about names.
func TestPromtoolLint(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("promtool is left out with -short")
	}
	m := metrics.New(options())
	cmd := exec.Command("promtool", "check", "metrics")
	cmd.Stdin = strings.NewReader(text(t, m))
	if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("promtool (Debian's package prometheus): %v\n%s", err, out)
	}
}

func TestGzip(t *testing.T) {
	t.Parallel()
	m := metrics.New(options())
	r := httptest.NewRequest(http.MethodGet, metrics.Path, nil)
	r.Header.Set("Accept-Encoding", "gzip")
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, r)
	z, err := gzip.NewReader(w.Body)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(z)
	if err != nil || !bytes.Contains(b, []byte("flexgw_api_requests_total{")) {
		t.Errorf("%v in %d bytes", err, len(b))
	}
}

func TestOnlyMetrics(t *testing.T) {
	t.Parallel()
	m := metrics.New(options())
	for _, c := range []struct {
		method, path string
		status       int
	}{{http.MethodGet, "/", 404}, {http.MethodPost, metrics.Path, 405}, {http.MethodGet, "/v1/status", 404}} {
		w := httptest.NewRecorder()
		m.Handler().ServeHTTP(w, httptest.NewRequest(c.method, c.path, nil))
		if w.Code != c.status {
			t.Errorf("%s %s: %d, want %d", c.method, c.path, w.Code, c.status)
		}
	}
}

// BenchmarkScrape is an answer at 10,000 APIs that all had requests, Envoy's own part aside.
func BenchmarkScrape(b *testing.B) {
	stats, list := map[string]uint64{}, []diag.Object(nil)
	for i := range 10_000 {
		name := fmt.Sprintf("api-%05d", i)
		list = append(list, diag.Object{Kind: "ApiInstance", Namespace: "default", Name: name})
		stats["flexgw.requests.api.default/"+name+".class.2.ms.5"] = 7
		stats["flexgw.requests.api.default/"+name+".class.2.ms.10"] = 7
		stats["flexgw.micros.api.default/"+name] = 70
	}
	o := options()
	o.APIs = func() []diag.Object { return list }
	o.Stats = func(context.Context, string) (map[string]uint64, error) { return stats, nil }
	o.Process = func(context.Context) (int, error) { return 1, nil }
	m := metrics.New(o)
	b.ReportAllocs()
	for b.Loop() {
		w := discard{http.Header{}}
		m.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, metrics.Path, nil))
	}
}

type discard struct{ header http.Header }

func (d discard) Header() http.Header         { return d.header }
func (d discard) Write(b []byte) (int, error) { return len(b), nil }
func (d discard) WriteHeader(int)             {}
