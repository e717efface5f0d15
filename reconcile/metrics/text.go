package metrics

import (
	"bufio"
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/prometheus/common/expfmt"

	"github.com/flexgw/flexgw/schema/diag"
)

// The metrics of APIs.
const (
	apiRequests  = "flexgw_api_requests_total"
	apiLatency   = "flexgw_api_latency_seconds"
	apiFailures  = "flexgw_api_upstream_failures_total"
	noAPI        = "flexgw_unmatched_requests_total"
	helpRequests = "Finished requests of an API by the class of their status, those that a policy answered included; none: the client was gone before there was one. Websockets and streams count when they end."
	helpLatency  = "Time from the first byte of a request to the first byte of its response."
	helpFailures = "Requests of an API that its upstream did not answer to the end: it could not be reached, was too slow, or broke off."
	helpNoAPI    = "Finished requests on paths that are no API's, by the class of their status."
)

func (m *M) serve(w http.ResponseWriter, r *http.Request) {
	m.answering.Lock()
	defer m.answering.Unlock()
	if r.Context().Err() != nil {
		return
	}
	m.read(r.Context())
	w.Header().Set("Content-Type", string(expfmt.NewFormat(expfmt.TypeTextPlain)))
	var out io.Writer = w
	if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		w.Header().Set("Content-Encoding", "gzip")
		z, _ := gzip.NewWriterLevel(w, gzip.BestSpeed) // the level is known
		defer z.Close()
		out = z
	}
	b := bufio.NewWriterSize(out, 32<<10)
	defer b.Flush()
	if err := m.write(b); err != nil {
		m.options.Log.Debug("metrics were not written to the end", "error", err)
	}
}

// write writes the daemon's metrics as client_golang has them, and those of APIs line by line: at
// 10,000 of them they are 210,000 lines, and as many objects would be most of the daemon's memory.
func (m *M) write(w *bufio.Writer) error {
	families, err := m.registry.Gather()
	if err != nil {
		return err
	}
	e := expfmt.NewEncoder(w, expfmt.NewFormat(expfmt.TypeTextPlain))
	for _, f := range families {
		if err := e.Encode(f); err != nil {
			return fmt.Errorf("write %s: %w", f.GetName(), err)
		}
	}
	list := m.options.APIs()
	l := lines{w: w, stats: m.stats.apis, labels: make([]string, len(list))}
	for i, o := range list {
		l.labels[i] = `namespace="` + escaper.Replace(o.Namespace) + `",api="` + escaper.Replace(o.Name) + `"`
	}
	l.all(list)
	return w.Flush()
}

// escaper is for values of labels (Prometheus, exposition formats).
var escaper = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`)

// lines writes the metrics of APIs, errors of the writer aside: they stay in it.
type lines struct {
	w      *bufio.Writer
	stats  map[string]counter
	labels []string // of the APIs, in their order
}

func (l *lines) all(list []diag.Object) {
	each := func(f func(labels string, c counts)) {
		for i, o := range list {
			f(l.labels[i], l.stats[o.Namespace+"/"+o.Name].sums())
		}
	}
	none := l.stats[""].sums()
	l.head(noAPI, helpNoAPI, "counter")
	for i, class := range classes {
		l.line(noAPI, `code_class="`+class+`"`, float64(none.class[i]))
	}
	l.head(apiRequests, helpRequests, "counter")
	each(func(labels string, c counts) {
		for i, class := range classes {
			l.line(apiRequests, labels+`,code_class="`+class+`"`, float64(c.class[i]))
		}
	})
	l.head(apiFailures, helpFailures, "counter")
	each(func(labels string, c counts) { l.line(apiFailures, labels, float64(c.failures)) })
	l.head(apiLatency, helpLatency, "histogram")
	each(l.histogram)
}

func (l *lines) histogram(labels string, c counts) {
	var total uint64
	for i, b := range bounds {
		total += c.within[i]
		le := "+Inf"
		if b.Seconds > 0 {
			le = strconv.FormatFloat(b.Seconds, 'g', -1, 64)
		}
		l.line(apiLatency+"_bucket", labels+`,le="`+le+`"`, float64(total))
	}
	l.line(apiLatency+"_sum", labels, float64(c.micros)/1e6)
	l.line(apiLatency+"_count", labels, float64(total))
}

func (l *lines) head(name, help, typ string) {
	fmt.Fprintf(l.w, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, typ)
}

func (l *lines) line(name, labels string, v float64) {
	l.w.WriteString(name)
	l.w.WriteByte('{')
	l.w.WriteString(labels)
	l.w.WriteString("} ")
	l.w.Write(strconv.AppendFloat(l.w.AvailableBuffer(), v, 'g', -1, 64))
	l.w.WriteByte('\n')
}
