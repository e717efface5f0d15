package metrics

import "github.com/prometheus/client_golang/prometheus"

// Usage is what is told of the counting of requests. What begins at zero with the daemon says so.
type Usage struct {
	Counting     bool
	Counted      uint64 // requests of APIs, since the daemon began
	NoAPI        uint64 // requests of no API, likewise
	Sealed       uint64 // requests that were put in batches, likewise
	Acknowledged uint64 // requests that the platform has, likewise
	Missing      uint64 // requests of Envoy's own counters without a line, likewise
	Extra        uint64 // lines without a request, likewise
	Unreadable   uint64 // lines that could not be read, likewise
	Lost         uint64 // requests that there was no room for, ever
	SpoolBytes   int64
	Pending      int // batches that wait for the platform
	Quarantined  int // batches that were set aside
	Alarms       int
}

// usage makes metrics of it.
type usage struct{ m *M }

var (
	usageCounting   = desc("flexgw_usage_counting", "1 when requests are counted for usage reports; 0: no Envoy writes the log here (--envoy none without --usage-log), the ledger could not be opened, or somebody removed its folder and it cannot be made again.")
	usageCounted    = desc("flexgw_usage_counted_total", "Requests that were read from the access log and written down, of an API or of nothing; from zero when the daemon starts.", "of")
	usageSealed     = desc("flexgw_usage_sealed_total", "Requests that were put in batches for the platform; from zero when the daemon starts.")
	usageAcked      = desc("flexgw_usage_acknowledged_total", "Requests in batches that the platform acknowledged; from zero when the daemon starts.")
	usageUnmatched  = desc("flexgw_usage_unmatched_total", "Requests of Envoy's own counters that have no line in the access log (missing), and lines that have no request (extra).", "what")
	usageUnreadable = desc("flexgw_usage_unreadable_lines_total", "Lines of the access log that could not be read; an Envoy that was killed leaves one.")
	usageLost       = desc("flexgw_usage_lost_total", "Requests that were not counted because the ledger was full, ever.")
	usageSpool      = desc("flexgw_usage_spool_bytes", "Size of the ledger on disk.")
	usagePending    = desc("flexgw_usage_pending_batches", "Batches that wait for the platform.")
	usageAside      = desc("flexgw_usage_quarantined_batches", "Batches that the platform will never take, and that were set aside.")
	usageAlarms     = desc("flexgw_usage_alarms", "Troubles with usage that somebody should look at; flexgw usage show names them.")
)

// Describe implements prometheus.Collector.
func (u usage) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{usageCounting, usageCounted, usageSealed, usageAcked, usageUnmatched, usageUnreadable, usageLost, usageSpool, usagePending, usageAside, usageAlarms} {
		to <- d
	}
}

// Collect implements prometheus.Collector.
func (u usage) Collect(to chan<- prometheus.Metric) {
	var x Usage
	if u.m.options.Usage != nil {
		x = u.m.options.Usage()
	}
	counter := func(d *prometheus.Desc, n uint64, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), labels...)
	}
	gauge := func(d *prometheus.Desc, v float64) {
		to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v)
	}
	gauge(usageCounting, bit(x.Counting))
	counter(usageCounted, x.Counted, "api")
	counter(usageCounted, x.NoAPI, "nothing")
	counter(usageSealed, x.Sealed)
	counter(usageAcked, x.Acknowledged)
	counter(usageUnmatched, x.Missing, "missing")
	counter(usageUnmatched, x.Extra, "extra")
	counter(usageUnreadable, x.Unreadable)
	counter(usageLost, x.Lost)
	gauge(usageSpool, float64(x.SpoolBytes))
	gauge(usagePending, float64(x.Pending))
	gauge(usageAside, float64(x.Quarantined))
	gauge(usageAlarms, float64(x.Alarms))
}
