package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	metering "github.com/flexgw/flexgw/reconcile/usage"
)

var (
	deliveryBatches  = desc("flexgw_usage_delivery_batches_total", "Batches of usage by what became of them: acknowledged, retried, refused and set aside, or stopped because somebody has to do something.", "result")
	deliveryWaiting  = desc("flexgw_usage_delivery_waiting_requests", "Requests that were counted for the registration and that the platform has not acknowledged.")
	deliveryOldest   = desc("flexgw_usage_delivery_oldest_timestamp_seconds", "The start of the hour of the oldest of these; 0: there is none.")
	deliveryAcked    = desc("flexgw_usage_delivery_acknowledged_timestamp_seconds", "When the platform acknowledged something last; 0: not since the daemon began.")
	deliveryAside    = desc("flexgw_usage_delivery_set_aside_requests", "Requests in batches that the platform refused, or that were counted for another registration.")
	deliveryFailures = desc("flexgw_usage_delivery_failures", "Attempts in a row that failed; those of one usage flush are one.")
)

func deliveryDescs() []*prometheus.Desc {
	return []*prometheus.Desc{deliveryBatches, deliveryWaiting, deliveryOldest, deliveryAcked, deliveryAside, deliveryFailures}
}

// delivered says how far usage got; nothing counts: zeros.
func delivered(to chan<- prometheus.Metric, how func() (metering.Delivery, bool)) {
	var d metering.Delivery
	if how != nil {
		d, _ = how()
	}
	for _, result := range metering.Results() {
		to <- prometheus.MustNewConstMetric(deliveryBatches, prometheus.CounterValue, float64(d.Batches[result]), result)
	}
	for _, x := range []struct {
		desc *prometheus.Desc
		typ  prometheus.ValueType
		v    float64
	}{
		{deliveryWaiting, prometheus.GaugeValue, float64(d.Backlog.Requests)}, {deliveryOldest, prometheus.GaugeValue, timestamp(d.Oldest)}, {deliveryAcked, prometheus.GaugeValue, timestamp(d.Acked)},
		{deliveryAside, prometheus.GaugeValue, float64(d.Quarantined)}, {deliveryFailures, prometheus.GaugeValue, float64(d.Failures)},
	} {
		to <- prometheus.MustNewConstMetric(x.desc, x.typ, x.v)
	}
}
