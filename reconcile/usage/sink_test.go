package usage_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/flexgw/flexgw/reconcile/anypoint"
	"github.com/flexgw/flexgw/reconcile/usage"
)

// plainBody is the body of a request as it was before it was compressed.
func plainBody(r *http.Request) ([]byte, error) {
	in := io.Reader(r.Body)
	if r.Header.Get("Content-Encoding") == "gzip" {
		z, err := gzip.NewReader(r.Body)
		if err != nil {
			return nil, err
		}
		in = z
	}
	return io.ReadAll(in)
}

func batchSchema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	text, err := os.ReadFile("batch.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	c.AssertFormat()
	if err := c.AddResource("batch.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("batch.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func fits(t *testing.T, s *jsonschema.Schema, text []byte) error {
	t.Helper()
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return s.Validate(v)
}

func somePoints(n int) []anypoint.Point {
	var out []anypoint.Point
	for i := range n {
		out = append(out, anypoint.Point{Meter: anypoint.Meter, APIInstance: fmt.Sprintf("default/api-%d", i), HourStart: time.Date(2026, 1, 2, 3, 0, 0, 0, time.UTC), Delta: 1, Cumulative: uint64(i + 1)})
	}
	return out
}

// TestABatchHasCountsAndIdentifiersAlone holds what goes over the wire to batch.schema.json, in which no object has a property
// that is not named.
func TestABatchHasCountsAndIdentifiersAlone(t *testing.T) {
	t.Parallel()
	schema := batchSchema(t)
	for _, n := range []int{0, 1, 500} {
		var sent []byte
		var header http.Header
		server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set(anypoint.WireHeader, anypoint.WireSim)
			if r.URL.Path == anypoint.PathHello {
				return
			}
			header = r.Header.Clone()
			sent, _ = plainBody(r)
			fmt.Fprint(w, `{"accepted": true, "ackedSeq": 7}`)
		}))
		t.Cleanup(server.Close)
		b := report(7)
		b.Points = append(b.Points, somePoints(n)...)
		acked, err := (&usage.Sink{URL: server.URL + anypoint.PathMetering, Client: server.Client(), Now: time.Now}).Deliver(t.Context(), b)
		if err != nil || acked != 7 {
			t.Fatalf("%d, %v", acked, err)
		}
		if err := fits(t, schema, sent); err != nil {
			t.Errorf("%d points: %v", n, err)
		}
		if zipped := header.Get("Content-Encoding") == "gzip"; zipped != (n == 500) || header.Get(anypoint.IdempotencyKey) != b.BatchID || header.Get("Content-Type") != "application/json" {
			t.Errorf("%d points: %v", n, header)
		}
		for _, k := range []string{"Authorization", "Cookie", "Referer", "X-Anypnt-Org-Id"} {
			if header.Get(k) != "" {
				t.Errorf("%s: %s", k, header.Get(k))
			}
		}
		if n != 1 {
			continue
		}
		for _, more := range []string{`"path": "/x", "seq":`, `"points": [{"host": "a.test", `} { // the schema does refuse
			old, _, _ := strings.Cut(more, `"path": "/x", `)
			old = strings.TrimPrefix(more, `"path": "/x", `)
			old = strings.Replace(old, `"points": [{"host": "a.test", `, `"points":[{`, 1)
			bad := bytes.Replace(sent, []byte(old), []byte(more), 1)
			if bytes.Equal(bad, sent) || fits(t, schema, bad) == nil {
				t.Errorf("taken: %s", bad)
			}
		}
	}
}

// TestWhatIsNoReportIsNotSent: a batch that does not fit batch.schema.json stays on the host, whoever made it.
func TestWhatIsNoReportIsNotSent(t *testing.T) {
	t.Parallel()
	schema := batchSchema(t)
	posts := 0
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set(anypoint.WireHeader, anypoint.WireSim)
		if r.Method == http.MethodPost {
			posts++
			fmt.Fprint(w, `{"accepted": true, "ackedSeq": 7}`)
		}
	}))
	t.Cleanup(server.Close)
	sink := &usage.Sink{URL: server.URL + anypoint.PathMetering, Client: server.Client(), Now: time.Now}
	for name, change := range map[string]func(*anypoint.Batch){
		"as it is":         func(*anypoint.Batch) {},
		"a path":           func(b *anypoint.Batch) { b.Points[0].APIInstance = "default/api/orders/17" },
		"a header":         func(b *anypoint.Batch) { b.Points[0].APIInstance = "default/api x-user: alice" },
		"a host":           func(b *anypoint.Batch) { b.AgentID = "https://gateway.example.com" },
		"an error":         func(b *anypoint.Batch) { b.MeteringSchemaID = "dial tcp: refused" },
		"a long name":      func(b *anypoint.Batch) { b.AssetName = strings.Repeat("x", 257) },
		"another meter":    func(b *anypoint.Batch) { b.Points[0].Meter = "status_500" },
		"a host's name":    func(b *anypoint.Batch) { b.ReplicaID = "edge-1.example.com" },
		"a minute":         func(b *anypoint.Batch) { b.Points[0].HourStart = b.Points[0].HourStart.Add(time.Minute) },
		"a zone":           func(b *anypoint.Batch) { b.CreatedAt = b.CreatedAt.In(time.FixedZone("here", 3600)) },
		"no points, null":  func(b *anypoint.Batch) { b.Points = nil },
		"no number":        func(b *anypoint.Batch) { b.Seq = 0 },
		"not its own name": func(b *anypoint.Batch) { b.BatchID = "1" },
	} {
		b := report(7)
		b.Points = somePoints(2)
		change(&b)
		text, err := json.Marshal(b)
		if err != nil {
			t.Fatal(err)
		}
		posts = 0
		_, err = sink.Deliver(t.Context(), b)
		var refused *usage.RefusedError
		if wrong := fits(t, schema, text); wrong == nil && (err != nil || posts != 1) || wrong != nil && (!errors.As(err, &refused) || posts != 0) || (wrong == nil) != (name == "as it is") {
			t.Errorf("%s: the schema says %v; sent %d times, %v", name, wrong, posts, err)
		}
	}
}

// TestCertificatesThatAreNotTaken asks a server that wants a certificate which we do not have.
func TestCertificatesThatAreNotTaken(t *testing.T) {
	t.Parallel()
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		server := httptest.NewUnstartedServer(http.NotFoundHandler())
		server.TLS = &tls.Config{ClientAuth: tls.RequireAndVerifyClientCert, MaxVersion: version}
		server.Config.ErrorLog = log.New(io.Discard, "", 0)
		server.StartTLS()
		t.Cleanup(server.Close)
		client := server.Client()
		client.Transport.(*http.Transport).TLSClientConfig.Certificates = server.TLS.Certificates // of nobody whom the server knows
		s := &usage.Sink{URL: server.URL + "/x", Client: client, Now: time.Now}
		var stopped *usage.StoppedError
		var err error
		for range 20 { // a server that closes at once may be seen as a connection that was cut, which is tried again
			if _, err = s.Deliver(t.Context(), report(1)); errors.As(err, &stopped) {
				break
			}
		}
		if stopped == nil || stopped.Reason != usage.Rejected || !strings.Contains(err.Error(), "certificate") {
			t.Errorf("TLS %x: %v", version, err)
		}
	}
}

func TestAServerThatIsNotTrustedIsTriedAgain(t *testing.T) {
	t.Parallel()
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	t.Cleanup(server.Close)
	_, err := (&usage.Sink{URL: server.URL, Client: &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12}}}, Now: time.Now, Trust: "whose is"}).Deliver(t.Context(), report(1))
	var retry *usage.RetryError
	if !errors.As(err, &retry) || !strings.Contains(err.Error(), "not trusted") || !strings.HasSuffix(err.Error(), "; whose is") {
		t.Errorf("%v", err)
	}
}

func TestURLsThatCannotBeCalled(t *testing.T) {
	t.Parallel()
	for _, url := range []string{"", "http://metering.test/", "metering.test", "https://", "wss://metering.test/", "://"} {
		_, err := (&usage.Sink{URL: url, Client: &http.Client{Transport: &platform{}}, Now: time.Now}).Deliver(t.Context(), report(1))
		var stopped *usage.StoppedError
		if !errors.As(err, &stopped) || stopped.Reason != usage.Misconfigured {
			t.Errorf("%s: %v", url, err)
		}
	}
}

func TestWhatLastsIsNotTriedAgain(t *testing.T) {
	t.Parallel()
	wants := errors.New("407")
	p := &platform{answer: func(*http.Request) (int, http.Header, string, error) { return 0, nil, "", wants }}
	s := &usage.Sink{URL: "https://metering.test/x", Client: &http.Client{Transport: p}, Now: time.Now, Lasting: func(err error) (string, bool) { return "the proxy wants credentials", errors.Is(err, wants) }}
	_, err := s.Deliver(t.Context(), report(1))
	var stopped *usage.StoppedError
	if !errors.As(err, &stopped) || stopped.Reason != usage.Misconfigured || err.Error() != "the proxy wants credentials" {
		t.Errorf("%v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Deliver(ctx, report(1)); !errors.Is(err, wants) && !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

// TestWordsOfAServerAreOneShortLine: they reach terminals and logs.
func TestWordsOfAServerAreOneShortLine(t *testing.T) {
	t.Parallel()
	text, err := json.Marshal(anypoint.ErrorBody{Status: 503, Message: "a\n\x1b[31mred\u202e\u009b" + strings.Repeat("x", 5000)})
	if err != nil {
		t.Fatal(err)
	}
	p := &platform{answer: func(*http.Request) (int, http.Header, string, error) { return 503, nil, string(text), nil }}
	_, err = (&usage.Sink{URL: "https://metering.test/x", Client: &http.Client{Transport: p}, Now: time.Now}).Deliver(t.Context(), report(1))
	if err == nil || len(err.Error()) > 300 || strings.ContainsAny(err.Error(), "\n\x1b\u202e\u009b") {
		t.Errorf("%q", err)
	}
}
