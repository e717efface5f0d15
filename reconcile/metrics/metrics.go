// Package metrics says in Prometheus' words what the daemon does and what the APIs get.
//
// It is told events and asks for the report; it decides nothing, keeps no history, and reads Envoy's statistics only while
// somebody asks.
package metrics

import (
	"context"
	"log/slog"
	"net/http"
	"runtime"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/flexgw/flexgw/reconcile"
	"github.com/flexgw/flexgw/reconcile/deliver"
	"github.com/flexgw/flexgw/reconcile/hook"
	"github.com/flexgw/flexgw/reconcile/notify"
	"github.com/flexgw/flexgw/reconcile/status"
	metering "github.com/flexgw/flexgw/reconcile/usage"
	"github.com/flexgw/flexgw/schema/diag"
)

// Options are where the figures come from. Each is asked once for an answer; only Stats and Webhook may be nil.
type Options struct {
	Version  string                    // of flexgw
	Report   func() status.Report      // its objects and deliveries do not matter, and may be left out
	Progress func() []deliver.Progress // of each Envoy
	APIs     func() []diag.Object      // that are declared, in the order in which they are to be written
	// Stats are the counters of the one Envoy on this host whose names match an RE2 expression; nil: there is none.
	Stats func(ctx context.Context, filter string) (map[string]uint64, error)
	// Process is the process that Stats asks: another one counts from zero. Needed with Stats.
	Process  func(ctx context.Context) (pid int, err error)
	Webhook  func() notify.Counts             // nil: no webhook
	Forge    func() notify.Counts             // of the statuses of commits; nil: no forge is told
	Hook     func() []hook.Count              // of the forges' webhooks; nil: none are taken
	Usage    func() Usage                     // nil: requests are not counted for the platform
	Delivery func() (metering.Delivery, bool) // how far usage got; nil, or false: none is counted
	Expires  func() time.Time                 // when the certificate of the registration does; nil, or the zero time: unregistered
	Renewals func() Renewals                  // of the registration by itself; nil: it is not
	Log      *slog.Logger                     // nil: silence
}

// Renewals are those of a registration by the daemon itself.
type Renewals struct {
	Next                          time.Time // zero: none is planned
	Extended, NotExtended, Failed uint64    // not extended: the new certificate ends no later than the old one
}

// M is all metrics of one daemon. It is safe for concurrent use.
type M struct {
	options  Options
	registry *prometheus.Registry

	revisions  *prometheus.CounterVec
	live       prometheus.Histogram
	programmed prometheus.Gauge
	rollbacks  prometheus.Counter
	outages    prometheus.Counter

	mu       sync.Mutex // guards what follows
	revision string     // that was fetched last, and is not programmed yet
	seen     time.Time
	told     bool // that Envoy does not answer

	answering sync.Mutex // one answer at a time; guards what follows
	stats     reading
}

// outcomes are the values of a label, for the events that are the fate of a revision.
var outcomes = map[reconcile.EventType]string{
	reconcile.Fetched: "fetched", reconcile.Waiting: "waiting", reconcile.Invalid: "invalid", reconcile.Accepted: "accepted", reconcile.HeldBack: "held", reconcile.Programmed: "programmed",
	reconcile.Rejected: "rejected", reconcile.ProofFailed: "proof_failed", reconcile.RolledBack: "rolled_back", reconcile.Refused: "refused",
}

// New registers every metric, with zeros.
func New(o Options) *M {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	m := &M{options: o, registry: prometheus.NewRegistry()}
	m.revisions = prometheus.NewCounterVec(prometheus.CounterOpts{Name: "flexgw_revisions_total", Help: "Revisions by what became of them; one may be counted under several outcomes."}, []string{"outcome"})
	for _, name := range outcomes {
		m.revisions.WithLabelValues(name)
	}
	m.live = prometheus.NewHistogram(prometheus.HistogramOpts{Name: "flexgw_revision_programmed_duration_seconds",
		Help:    "Time from a revision being read to every connected Envoy serving it.",
		Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60}})
	m.programmed = prometheus.NewGauge(prometheus.GaugeOpts{Name: "flexgw_revision_programmed_timestamp_seconds", Help: "When a revision was programmed last; 0 before the first."})
	m.rollbacks = prometheus.NewCounter(prometheus.CounterOpts{Name: "flexgw_rollbacks_total", Help: "Revisions that were taken back because Envoy refused them or their probes failed."})
	m.outages = prometheus.NewCounter(prometheus.CounterOpts{Name: "flexgw_fetch_errors_total", Help: "Times that the source became unreadable; counted once until it can be read again."})
	build := prometheus.NewGauge(prometheus.GaugeOpts{Name: "flexgw_build_info", Help: "Always 1.", ConstLabels: prometheus.Labels{"version": o.Version, "goversion": runtime.Version()}})
	build.Set(1)
	m.registry.MustRegister(m.revisions, m.live, m.programmed, m.rollbacks, m.outages, build, state{m}, usage{m},
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// Event counts what happened. It does not block.
func (m *M) Event(e reconcile.Event) {
	if name, ok := outcomes[e.Type]; ok {
		m.revisions.WithLabelValues(name).Inc()
	}
	switch e.Type {
	case reconcile.RolledBack:
		m.rollbacks.Inc()
	case reconcile.SourceUnavailable:
		m.outages.Inc()
	case reconcile.Fetched:
		m.mu.Lock()
		m.revision, m.seen = e.Revision, e.At
		m.mu.Unlock()
	case reconcile.Programmed:
		m.programmed.Set(float64(e.At.UnixMilli()) / 1000)
		m.mu.Lock()
		defer m.mu.Unlock()
		if e.Revision != "" && e.Revision == m.revision {
			m.live.Observe(e.At.Sub(m.seen).Seconds())
			m.revision = ""
		}
	}
}

// state makes metrics of what is so now; its M answers somebody.
type state struct{ m *M }

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(name, help, labels, nil)
}

var (
	revisionInfo   = desc("flexgw_revision_info", "Always 1; the label is the revision that is served, empty before the first.", "revision")
	condition      = desc("flexgw_condition", "1 for the status that a condition has now, 0 for the others.", "type", "status")
	rejected       = desc("flexgw_rejected_resources", "Resources that connected Envoys refuse now.")
	connected      = desc("flexgw_envoys_connected", "Envoys that are connected now.")
	cordoned       = desc("flexgw_envoys_cordoned", "Envoys whose word does not count because an operator said so, connected or not.")
	suspended      = desc("flexgw_suspended", "1 while the source is not followed because an operator said so.")
	pinned         = desc("flexgw_pinned", "1 while an older revision is served because an operator said so.")
	waiting        = desc("flexgw_waiting", "1 while a revision of the source waits for its time, or for somebody to say so.")
	statsRead      = desc("flexgw_envoy_stats_up", "1 when Envoy's statistics, of which the metrics of APIs are made, could be read; else those are as old as flexgw_envoy_stats_timestamp_seconds.")
	statsTimestamp = desc("flexgw_envoy_stats_timestamp_seconds", "When Envoy's statistics were read last; 0 before the first time.")
	statsDuration  = desc("flexgw_envoy_stats_duration_seconds", "How long reading Envoy's statistics took last.")
	webhookQueue   = desc("flexgw_webhook_queue_length", "Events that wait to be delivered to the webhook.")
	statusQueue    = desc("flexgw_commit_status_queue_length", "Statuses of commits that wait to be told to the forge.")
	statusEvents   = desc("flexgw_commit_statuses_total", "Statuses of commits for the forge by what became of them: delivered, dropped because too many waited, or failed after all tries.", "result")
	hookRequests   = desc("flexgw_hook_requests_total", "Requests to --hook-listen by what became of them: taken when the daemon looks for it, forbidden without a right signature.", "result")
	expires        = desc("flexgw_registration_expiry_timestamp_seconds", "When the certificate of the registration with Anypoint expires; 0: unregistered.")
	renewals       = desc("flexgw_registration_renewals_total", "Automatic renewals of the registration by what became of them: extended, not-extended when the new certificate ends no later than the old one, or failed.", "result")
	renewalNext    = desc("flexgw_registration_renewal_timestamp_seconds", "When the registration is renewed by the daemon itself next; 0: it is not.")
	webhookEvents  = desc("flexgw_webhook_events_total", "Events for the webhook by what became of them: delivered, dropped because too many waited, or failed after all tries.", "result")
)

// Describe implements prometheus.Collector.
func (s state) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{revisionInfo, condition, rejected, connected, cordoned, suspended, pinned, waiting, statsRead, statsTimestamp, statsDuration, webhookQueue, webhookEvents, statusQueue, statusEvents, hookRequests, expires, renewals, renewalNext} {
		to <- d
	}
	for _, d := range deliveryDescs() {
		to <- d
	}
}

// Collect implements prometheus.Collector.
func (s state) Collect(to chan<- prometheus.Metric) {
	r := s.m.options.Report()
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	gauge(revisionInfo, 1, r.Revision)
	for _, typ := range []string{status.Fetched, status.Accepted, status.Programmed, status.Registered, status.UsageReported} {
		now := status.Unknown
		if c, ok := r.Condition(typ); ok {
			now = c.Status
		}
		for _, v := range []string{status.True, status.False, status.Unknown} {
			gauge(condition, bit(v == now), typ, v)
		}
	}
	refused, envoys := 0, 0
	for _, p := range s.m.options.Progress() {
		if p.Connected {
			envoys++
			refused += p.Errors
		}
	}
	gauge(rejected, float64(refused))
	gauge(connected, float64(envoys))
	aside := 0
	for _, e := range r.Envoys {
		if e.Cordoned != nil {
			aside++
		}
	}
	gauge(cordoned, float64(aside))
	gauge(suspended, bit(r.Suspended != nil))
	gauge(pinned, bit(r.Pinned != nil))
	gauge(waiting, bit(r.Waiting != nil))
	at := time.Time{}
	if s.m.options.Expires != nil {
		at = s.m.options.Expires()
	}
	gauge(expires, timestamp(at))
	n := Renewals{}
	if s.m.options.Renewals != nil {
		n = s.m.options.Renewals()
	}
	gauge(renewalNext, timestamp(n.Next))
	for _, x := range []struct {
		result string
		n      uint64
	}{{"extended", n.Extended}, {"not-extended", n.NotExtended}, {"failed", n.Failed}} {
		to <- prometheus.MustNewConstMetric(renewals, prometheus.CounterValue, float64(x.n), x.result)
	}
	delivered(to, s.m.options.Delivery)
	x := s.m.stats
	gauge(statsRead, bit(x.err == nil && !x.at.IsZero()))
	gauge(statsTimestamp, timestamp(x.at))
	gauge(statsDuration, x.took.Seconds())
	sent(to, webhookQueue, webhookEvents, s.m.options.Webhook)
	sent(to, statusQueue, statusEvents, s.m.options.Forge)
	taken := map[hook.Result]uint64{}
	if s.m.options.Hook != nil {
		for _, c := range s.m.options.Hook() {
			taken[c.Result] = c.N
		}
	}
	for _, r := range hook.Results() {
		to <- prometheus.MustNewConstMetric(hookRequests, prometheus.CounterValue, float64(taken[r]), string(r))
	}
}

// sent says what became of what is posted.
func sent(to chan<- prometheus.Metric, queue, events *prometheus.Desc, counts func() notify.Counts) {
	var n notify.Counts
	if counts != nil {
		n = counts()
	}
	to <- prometheus.MustNewConstMetric(queue, prometheus.GaugeValue, float64(n.Waiting))
	for _, c := range []struct {
		result string
		n      uint64
	}{{"delivered", n.Delivered}, {"dropped", n.Dropped}, {"failed", n.Failed}} {
		to <- prometheus.MustNewConstMetric(events, prometheus.CounterValue, float64(c.n), c.result)
	}
}

// timestamp is a time in seconds; 0 for the zero time.
func timestamp(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return float64(t.UnixMilli()) / 1000
}

func bit(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// Path is where the daemon serves Handler.
const Path = "/metrics"

// Handler answers GET and HEAD of Path in Prometheus' text format. Answers are written one after another: Envoy's main thread
// works for each.
func (m *M) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+Path, m.serve)
	return mux
}
