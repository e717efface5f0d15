package sim_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/flexgw/flexgw/reconcile/anypoint"
	"github.com/flexgw/flexgw/reconcile/anypoint/sim"
	"github.com/flexgw/flexgw/reconcile/anypoint/sim/simtest"
)

var noon = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

func ack(t *testing.T, a simtest.Answer, status int, seq uint64) {
	t.Helper()
	var got anypoint.Ack
	if a.Status != status || json.Unmarshal(a.Body, &got) != nil || !got.Accepted || got.AckedSeq != seq {
		t.Errorf("got %d %s, want %d and %d", a.Status, a.Body, status, seq)
	}
}

func TestUsage(t *testing.T) {
	t.Parallel()
	s := simtest.Start(t, sim.Options{Clock: &noon})
	g := s.Register(org, "edge")
	one, two := simtest.UUID(1), simtest.UUID(2)
	later := noon.Add(time.Hour)
	ack(t, g.Send(g.Batch(one, 1, 1, noon, "default/shop", 5, "default/orders", 1)), 202, 1)
	ack(t, g.Send(g.Batch(one, 1, 1, noon, "default/shop", 5, "default/orders", 1)), 200, 1) // it came twice
	ack(t, g.Send(g.Batch(one, 1, 2, noon, "default/shop", 9)), 202, 2)
	ack(t, g.Send(g.Batch(one, 1, 1, noon, "default/shop", 5)), 200, 2) // an old one came late
	ack(t, g.Send(g.Batch(one, 1, 3, later, "default/shop", 2)), 202, 3)
	ack(t, g.Send(g.Batch(two, 1, 1, noon, "default/shop", 100)), 202, 1) // replicas share a registration
	ack(t, g.Send(g.Batch(one, 1, 4, noon)), 202, 4)                      // a heartbeat
	body, err := json.Marshal(g.Batch(one, 1, 5, later, "default/shop", 3))
	if err != nil {
		t.Fatal(err)
	}
	ack(t, g.Send(simtest.Gzip(body), "Content-Encoding", "gzip", anypoint.IdempotencyKey, g.Batch(one, 1, 5, later).BatchID), 202, 5)
	other := s.Register(org, "other")
	ack(t, other.Send(other.Batch(simtest.UUID(3), 1, 1, noon, "default/shop", 1000)), 202, 1)
	st := s.State()
	if len(st.Usage) != 2 || st.Usage["default/shop"] != 9+3+100+1000 || st.Usage["default/orders"] != 1 {
		t.Errorf("usage %v", st.Usage)
	}
	if len(st.Hours) != 4 {
		t.Errorf("hours %+v", st.Hours)
	}
	if n := call(t, s, "POST", anypoint.PathMetering, 202); n != 7 {
		t.Errorf("%d batches were counted", n)
	}
	if err := s.SetOptions(sim.Tunables{Duplicates: 409}); err != nil {
		t.Fatal(err)
	}
	a := g.Send(g.Batch(one, 1, 5, later, "default/shop", 3))
	want(t, a, 409, "already accepted")
	ack(t, a, 409, 5)
	if len(st.Unexpected) != 0 {
		t.Errorf("unexpected: %v", st.Unexpected)
	}
}

func TestNumbersOfBatches(t *testing.T) {
	t.Parallel()
	s := simtest.Start(t, sim.Options{Clock: &noon})
	g := s.Register(org, "edge")
	r := simtest.UUID(1)
	send := func(epoch, seq uint64, n int) simtest.Answer {
		return g.Send(g.Batch(r, epoch, seq, noon, "default/shop", n))
	}
	ack(t, send(1, 2, 20), 202, 0) // the first one is missing
	ack(t, send(1, 1, 10), 202, 2) // there it is
	ack(t, send(1, 5, 50), 202, 2)
	ack(t, send(1, 4, 40), 202, 2)
	ack(t, send(1, 3, 30), 202, 5)
	ack(t, send(1, 8, 80), 202, 5)
	ack(t, send(1, 8, 80), 200, 8) // its sender has no 6 and 7: they were set aside
	ack(t, send(1, 7, 70), 200, 8) // and if they come all the same, nothing is lost or doubled
	ack(t, send(2, 1, 5), 202, 1)  // the ledger is a new one
	ack(t, send(1, 9, 90), 202, 9) // and a batch of the old one comes late
	if n := s.State().Usage["default/shop"]; n != 90 {
		t.Errorf("usage %d", n)
	}
	e := s.State().Registrations[0].Replicas[0].Epochs
	if len(e) != 2 || e[0].BootEpoch != 1 || e[0].AckedSeq != 9 || e[0].Skipped != 2 || e[1].AckedSeq != 1 {
		t.Errorf("%+v", e)
	}
	// One that is refused for good is answered too: who sent it goes on with the next.
	bad := g.Batch(r, 2, 2, noon, "default/shop", 7)
	bad.Points[0].Meter = "another"
	want(t, g.Send(bad), 400, "meter")
	ack(t, send(2, 3, 7), 202, 3)

	// The host gets another registration, and its ledger goes on.
	again := s.Register(org, "again")
	ack(t, again.Send(again.Batch(r, 2, 4, noon, "default/shop", 1)), 202, 4)
}

func TestLostAndDiffering(t *testing.T) {
	t.Parallel()
	s := simtest.Start(t, sim.Options{Clock: &noon})
	g := s.Register(org, "edge")
	b := g.Batch(simtest.UUID(1), 1, 1, noon, "default/shop", 5)
	b.Points[0].Delta, b.Points[0].Final = 5, true
	b.Lost = anypoint.Lost{Points: 2, APICalls: 30}
	g.Send(b)
	g.Send(b)
	next := g.Batch(simtest.UUID(1), 1, 2, noon, "default/shop", 9)
	next.Points[0].Delta = 3 // 5 + 3 is not 9
	g.Send(next)
	st := s.State()
	if st.Lost != (anypoint.Lost{Points: 2, APICalls: 30}) || st.Registrations[0].Replicas[0].Epochs[0].Differed != 1 || !st.Hours[0].Final {
		t.Errorf("lost %+v, %+v, %+v", st.Lost, st.Registrations[0].Replicas, st.Hours)
	}
}

func TestBatchesThatAreRefused(t *testing.T) {
	t.Parallel()
	s := simtest.Start(t, sim.Options{Clock: &noon})
	g := s.Register(org, "edge")
	// as JSON, so that it can be wrong in ways that a Batch can not
	fresh := func() map[string]any {
		b, err := json.Marshal(g.Batch(simtest.UUID(1), 1, 1, noon, "default/shop", 5))
		if err != nil {
			t.Fatal(err)
		}
		var m map[string]any
		if err := json.Unmarshal(b, &m); err != nil {
			t.Fatal(err)
		}
		return m
	}
	point := func(m map[string]any) map[string]any {
		p, ok := m["points"].([]any)[0].(map[string]any)
		if !ok {
			t.Fatal("no point")
		}
		return p
	}
	lost := func(m map[string]any) map[string]any {
		p, ok := m["lost"].(map[string]any)
		if !ok {
			t.Fatal("no lost")
		}
		return p
	}
	rename := func(m map[string]any, from, to string) { m[to] = m[from]; delete(m, from) }
	for name, c := range map[string]struct {
		change  func(map[string]any)
		status  int
		message string
	}{
		"unknown":            {func(m map[string]any) { m["path"] = "/secret" }, 400, `unknown field "path"`},
		"unknown in a point": {func(m map[string]any) { point(m)["client"] = "10.0.0.1" }, 400, `unknown field "client"`},
		"unknown in lost":    {func(m map[string]any) { lost(m)["why"] = "disk" }, 400, `unknown field "why"`},
		"other letters":      {func(m map[string]any) { rename(m, "seq", "SEQ") }, 400, `unknown field "SEQ"`},
		"missing":            {func(m map[string]any) { delete(m, "lost") }, 400, `"lost" is missing`},
		"missing in a point": {func(m map[string]any) { delete(point(m), "final") }, 400, `"points[].final" is missing`},
		"null":               {func(m map[string]any) { m["points"] = []any{nil} }, 400, `an object is expected at "points[]"`},
		"null lost":          {func(m map[string]any) { m["lost"] = nil }, 400, `an object is expected at "lost"`},
		"schema":             {func(m map[string]any) { m["schema"] = "v2" }, 400, "schema:"},
		"agent":              {func(m map[string]any) { m["agentId"] = simtest.UUID(5) }, 403, "agentId:"},
		"asset":              {func(m map[string]any) { m["assetName"] = "other" }, 400, "assetName:"},
		"metering schema":    {func(m map[string]any) { m["meteringSchemaId"] = simtest.UUID(5) }, 400, "meteringSchemaId:"},
		"replica":            {func(m map[string]any) { m["replicaId"] = "host-1" }, 400, "replicaId:"},
		"no seq":             {func(m map[string]any) { m["seq"] = 0 }, 400, "seq:"},
		"negative":           {func(m map[string]any) { m["seq"] = -1 }, 400, "seq"},
		"batch id":           {func(m map[string]any) { m["batchId"] = strings.Repeat("a", 64) }, 400, "batchId:"},
		"meter":              {func(m map[string]any) { point(m)["meter"] = "x" }, 400, "points[0].meter:"},
		"no namespace":       {func(m map[string]any) { point(m)["apiInstance"] = "shop" }, 400, "points[0].apiInstance:"},
		"a path":             {func(m map[string]any) { point(m)["apiInstance"] = "a/b/c" }, 400, "points[0].apiInstance:"},
		"a text":             {func(m map[string]any) { point(m)["apiInstance"] = "a/b c" }, 400, "points[0].apiInstance:"},
		"half an hour":       {func(m map[string]any) { point(m)["hourStart"] = "2026-05-01T12:30:00Z" }, 400, "points[0].hourStart:"},
		"another zone":       {func(m map[string]any) { point(m)["hourStart"] = "2026-05-01T12:00:00+02:00" }, 400, "points[0].hourStart:"},
		"delta":              {func(m map[string]any) { point(m)["delta"] = 6 }, 400, "points[0].delta:"},
		"huge":               {func(m map[string]any) { point(m)["cumulative"] = uint64(1) << 60 }, 400, "points[0].cumulative:"},
		"lost":               {func(m map[string]any) { lost(m)["apiCalls"] = uint64(1) << 60 }, 400, "lost:"},
		"too many": {func(m map[string]any) {
			m["points"] = slices.Repeat([]any{point(m)}, 10_001)
		}, 413, "10000 points"},
	} {
		m := fresh()
		key := m["batchId"]
		c.change(m)
		if m["batchId"] != key {
			key = m["batchId"]
		}
		if a := g.Send(m, anypoint.IdempotencyKey, fmt.Sprint(key)); a.Status != c.status || !strings.Contains(a.Message(), c.message) {
			t.Errorf("%s: %d %s", name, a.Status, a.Body)
		}
	}
	good, err := json.Marshal(fresh())
	if err != nil {
		t.Fatal(err)
	}
	key := fmt.Sprint(fresh()["batchId"])
	want(t, g.Send(good), 400, "Idempotency-Key")
	want(t, g.Send(good, anypoint.IdempotencyKey, "x"), 400, "Idempotency-Key")
	want(t, g.Send(append(good, " {}"...), anypoint.IdempotencyKey, key), 400, "follows")
	want(t, g.Send(bytes.Replace(good, []byte(`"seq":1`), []byte(`"seq":1,"seq":2`), 1), anypoint.IdempotencyKey, key), 400, `"seq" comes twice`)
	want(t, g.Send("", anypoint.IdempotencyKey, key), 400, "empty")
	want(t, g.Send("[]", anypoint.IdempotencyKey, key), 400, "body")
	want(t, g.Send(good, anypoint.IdempotencyKey, key, "Content-Type", "text/plain"), 400, "Content-Type")
	want(t, g.Send(good, anypoint.IdempotencyKey, key, "Content-Encoding", "br"), 400, "Content-Encoding")
	want(t, g.Send(good, anypoint.IdempotencyKey, key, "Content-Encoding", "gzip"), 400, "gzip")
	packed := simtest.Gzip(good)
	want(t, g.Send(packed[:len(packed)/2], anypoint.IdempotencyKey, key, "Content-Encoding", "gzip"), 400, "gzip")
	want(t, g.Send(simtest.Gzip(bytes.Repeat([]byte(" "), 20<<20)), anypoint.IdempotencyKey, key, "Content-Encoding", "gzip"), 413, "bytes") // a bomb
	if st := s.State(); len(st.Usage) != 0 || len(st.Unexpected) != 0 {
		t.Errorf("usage %v, unexpected %v", st.Usage, st.Unexpected)
	}
	if a := g.Send(good, anypoint.IdempotencyKey, key); a.Status >= 300 {
		t.Errorf("%d %s", a.Status, a.Body)
	}
}

// ca is that of a simulator's folder, to make what it would not.
type ca struct {
	cert *x509.Certificate
	key  *rsa.PrivateKey
}

func (c ca) issue(t *testing.T, cn string, names []string, ends time.Time) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	leaf := &x509.Certificate{SerialNumber: big.NewInt(9), Subject: pkix.Name{CommonName: cn}, DNSNames: names, NotBefore: ends.Add(-2 * time.Hour), NotAfter: ends,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	der, err := x509.CreateCertificate(rand.Reader, leaf, c.cert, &key.PublicKey, c.key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der, c.cert.Raw}, PrivateKey: key}
}

func intermediateOf(t *testing.T, dir string) ca {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, "pki", "intermediate.pem"))
	if err != nil {
		t.Fatal(err)
	}
	var c ca
	for block, rest := pem.Decode(b); block != nil; block, rest = pem.Decode(rest) {
		if block.Type == "CERTIFICATE" {
			c.cert, err = x509.ParseCertificate(block.Bytes)
		} else {
			c.key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return c
}

func TestClientCertificates(t *testing.T) {
	t.Parallel()
	s := simtest.Start(t, sim.Options{})
	g := s.Register(org, "edge")
	us, stranger := intermediateOf(t, s.Dir), intermediateOf(t, simtest.Start(t, sim.Options{}).Dir)
	now := time.Now()
	cn := g.AgentID + ".RR.us-east-1.prod"
	names := []string{"offline", cn, "masterOrg=" + org, "org=" + org, "env=" + g.EnvironmentID}
	b := g.Batch(simtest.UUID(1), 1, 1, noon, "default/shop", 1)
	send := func(certificates ...tls.Certificate) (simtest.Answer, error) {
		return s.Try(s.Client(certificates...), "POST", s.IngestURL()+anypoint.PathMetering, b, anypoint.IdempotencyKey, b.BatchID)
	}
	for what, c := range map[string]struct {
		certificates []tls.Certificate
		alert        string
	}{
		"none":            {nil, "certificate required"},
		"expired":         {[]tls.Certificate{us.issue(t, cn, names, now.Add(-time.Minute))}, "expired certificate"},
		"wrong authority": {[]tls.Certificate{stranger.issue(t, cn, names, now.Add(time.Hour))}, "certificate"},
	} {
		if a, err := send(c.certificates...); err == nil || !strings.Contains(err.Error(), "remote error: tls: ") || !strings.Contains(err.Error(), c.alert) {
			t.Errorf("%s: %d %v", what, a.Status, err)
		}
	}
	for what, c := range map[string]struct {
		cn      string
		names   []string
		message string
	}{
		"no offline":          {cn, names[1:], "offline"},
		"nobody's":            {simtest.UUID(5) + ".RR.us-east-1.prod", names, "no gateway"},
		"another org":         {cn, []string{"offline", "org=x", "env=" + g.EnvironmentID}, "another organization"},
		"another environment": {cn, []string{"offline", "org=" + org, "env=x"}, "another organization or environment"},
	} {
		a, err := send(us.issue(t, c.cn, c.names, now.Add(time.Hour)))
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if a.Status != 403 || !strings.Contains(a.Message(), c.message) {
			t.Errorf("%s: %d %s", what, a.Status, a.Body)
		}
	}
	if a, err := send(us.issue(t, cn, names, now.Add(time.Hour))); err != nil || a.Status != 202 {
		t.Errorf("the right one: %d %s %v", a.Status, a.Body, err)
	}
	other := s.Register(org, "other")
	want(t, other.Send(b), 403, "agentId")
	if a := s.Call("DELETE", fmt.Sprintf(anypoint.PathGateway, org, g.EnvironmentID, g.AgentID), nil, s.Login()...); a.Status != 202 {
		t.Fatal(a.Status)
	}
	want(t, g.Send(g.Batch(simtest.UUID(1), 1, 2, noon, "default/shop", 2)), 403, "gateway deleted")
	if n := s.State().Usage["default/shop"]; n != 1 {
		t.Errorf("usage %d", n)
	}
}

func TestReplicas(t *testing.T) {
	t.Parallel()
	s := simtest.Start(t, sim.Options{Clock: &noon})
	g := s.Register(org, "edge")
	auth := func() []string { return s.Login() }
	one, two := simtest.UUID(1), simtest.UUID(2)
	at := func() time.Time { return s.State().Clock }
	advance := func(d time.Duration) {
		t.Helper()
		if _, err := s.SetClock(sim.ClockChange{Advance: sim.Duration(d)}); err != nil {
			t.Fatal(err)
		}
	}
	replicas := func(query string) (r anypoint.Replicas) {
		t.Helper()
		a := s.Call("GET", fmt.Sprintf(anypoint.PathReplicas, org, g.EnvironmentID, g.AgentID)+query, nil, auth()...)
		want(t, a, 200, "")
		a.Decode(t, &r)
		return r
	}
	status := func() string {
		t.Helper()
		var o anypoint.Gateway
		s.Call("GET", fmt.Sprintf(anypoint.PathGateway, org, g.EnvironmentID, g.AgentID), nil, auth()...).Decode(t, &o)
		return o.Status
	}
	if status() != "DISCONNECTED" || len(replicas("").Content) != 0 {
		t.Errorf("before it was heard of: %s, %+v", status(), replicas(""))
	}
	g.Send(g.Batch(one, 1, 1, noon))
	g.Send(g.Batch(two, 1, 1, noon))
	r := replicas("")
	if len(r.Content) != 2 || r.TotalElements != 2 || r.Gateway.ID != g.AgentID || r.Gateway.Status != "CONNECTED" {
		t.Fatalf("%+v", r)
	}
	c := r.Content[0]
	if c.ID != one || c.TargetID != g.AgentID || c.Status != "CONNECTED" || c.ConnectedAt == nil || c.DisconnectedAt != nil || c.ConfigurationStatus.Status != "UP_TO_DATE" || c.Provider != "RR" ||
		c.CertificateExpirationDate == nil || !c.CertificateExpirationDate.Equal(g.CertificateExpirationDate) {
		t.Errorf("%+v", c)
	}
	if r.Gateway.Replicas[0].Count != 2 || len(r.Gateway.Replicas[0].CertificateExpirationDates) != 2 {
		t.Errorf("%+v", r.Gateway.Replicas)
	}
	if r := replicas("?pageSize=1&pageNumber=1"); len(r.Content) != 1 || r.Content[0].ID != two || r.TotalElements != 2 {
		t.Errorf("%+v", r)
	}
	advance(40 * time.Minute)
	if status() != "CONNECTED" {
		t.Error("a replica may be silent for three intervals")
	}
	g.Send(g.Batch(two, 1, 2, noon))
	advance(10 * time.Minute)
	if r := replicas("?status=DISCONNECTED"); len(r.Content) != 1 || r.Content[0].ID != one || r.Content[0].DisconnectedAt == nil || status() != "CONNECTED" {
		t.Errorf("%+v", r)
	}
	advance(time.Hour)
	if status() != "DISCONNECTED" {
		t.Error("it is connected still")
	}
	advance(7*24*time.Hour - time.Hour)
	if r := replicas(""); len(r.Content) != 1 || r.Content[0].ID != two {
		t.Errorf("after 7 days: %+v", r)
	}
	g.Send(g.Batch(one, 1, 2, noon)) // it is back, and goes on where it was
	if r := replicas("?status=CONNECTED"); len(r.Content) != 1 || r.Content[0].ID != one || at().Sub(*r.Content[0].ConnectedAt) > time.Minute {
		t.Errorf("%+v", r)
	}
	advance(31 * 24 * time.Hour)
	if !s.State().Registrations[0].Hidden {
		t.Error("after 30 days the console shows it still")
	}
}

func TestUsageIsReadBack(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 5, 31, 22, 0, 0, 0, time.UTC)
	with := seed()
	with.Users = append(with.Users, sim.User{Username: "viewer", Password: "p", Scopes: []string{sim.UsageViewer}})
	with.RegistrationTokens = append(with.RegistrationTokens, sim.RegistrationToken{Token: "production", OrganizationID: org, EnvironmentID: "prod"})
	s := simtest.Start(t, sim.Options{Seed: with, Clock: &at})
	key, csr := simtest.Key(t, 2048)
	edge := s.Gateway(s.Call("POST", anypoint.PathRegistrations, request("edge", csr, 1), "Authorization", "Bearer from-the-console"), key)
	prod := s.Gateway(s.Call("POST", anypoint.PathRegistrations, request("it's", csr, 2), "Authorization", "Bearer production"), key)
	for i := range 4 { // 22:00 and 23:00 of May, 0:00 and 1:00 of June
		hour := at.Add(time.Duration(i) * time.Hour)
		edge.Send(edge.Batch(simtest.UUID(1), 1, uint64(i)+1, hour, "default/shop", 10, "default/orders", 1))
		prod.Send(prod.Batch(simtest.UUID(2), 1, uint64(i)+1, hour, "default/shop", 100))
	}
	auth := s.LoginAs("viewer", "p")
	const meters = "/metering/usage/api/v1"
	for _, path := range []string{"/meters:describe", "/meters/flex_api_call_count:describe"} {
		a := s.Call("GET", meters+path, nil, auth...)
		for _, text := range []string{`"flex_api_call_count"`, `"api_call_count"`, `"SUM"`, `"P1D"`, `"P1M"`, `"asset_name"`, `"deployment_mode"`} {
			if a.Status != 200 || !strings.Contains(string(a.Body), text) {
				t.Errorf("%s: %d %s", path, a.Status, a.Body)
			}
		}
		want(t, s.Call("GET", meters+path, nil), 401, "Unauthorized")
		want(t, s.Call("GET", meters+path, nil, s.LoginAs("reader", "p")...), 403, "Usage Viewer")
	}
	want(t, s.Call("GET", meters+"/meters/mule:describe", nil, auth...), 400, "Unknown meter")
	want(t, s.Call("GET", meters+"/meters/mule", nil, auth...), 404, "")
	want(t, s.Call("POST", meters+"/meters:search", `{"query":"x"}`), 401, "Unauthorized")
	if a := s.Call("GET", meters+"/meters:search", nil, auth...); a.Status != 405 && a.Status != 404 {
		t.Errorf("%d", a.Status)
	}
	search := func(q string) simtest.Answer {
		return s.Call("POST", meters+"/meters:search", map[string]string{"query": q}, auth...)
	}
	from, to := at.Add(-day), at.Add(day)
	between := fmt.Sprintf("timestamp BETWEEN %d AND %d", from.UnixMilli(), to.UnixMilli())
	may, june := time.Date(2026, 5, 31, 0, 0, 0, 0, time.UTC).UnixMilli(), time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC).UnixMilli()
	for q, rows := range map[string]string{
		"SELECT api_call_count FROM flex_api_call_count WHERE " + between + " TIMESERIES P1D": fmt.Sprintf("[[%d 222] [%d 222]]", may, june),
		`select asset_name, "env_name", sum("api_call_count") from "flex_api_call_count" where ` + strings.ToLower(between) + ` group by asset_name, env_name timeseries P1D`: fmt.Sprintf(
			"[[%d 200 it's Production] [%d 22 edge Sandbox] [%d 200 it's Production] [%d 22 edge Sandbox]]", may, may, june, june),
		"SELECT api_call_count FROM flex_api_call_count WHERE " + between + " AND asset_name = 'it''s' TIMESERIES P1M;":                     fmt.Sprintf("[[%d 200] [%d 200]]", time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC).UnixMilli(), june),
		"SELECT api_call_count FROM flex_api_call_count WHERE asset_name IN ('edge', 'nobody') AND " + between + " TIMESERIES PT1H LIMIT 1": fmt.Sprintf("[[%d 11]]", at.UnixMilli()),
		"SELECT org_name, deployment_mode, api_call_count FROM flex_api_call_count WHERE timestamp BETWEEN 0 AND 1 TIMESERIES P1D":          "[]",
	} {
		a := search(q)
		var got struct {
			Metadata struct{ ResponseAsOf int64 }
			Data     []map[string]any
		}
		a.Decode(t, &got)
		list := [][]any{}
		for _, r := range got.Data {
			row := []any{int64(r["timestamp"].(float64)), r["api_call_count"]} //nolint:forcetypeassert // a test
			for _, d := range []string{"asset_name", "env_name"} {
				if v, ok := r[d]; ok {
					row = append(row, v)
				}
			}
			list = append(list, row)
		}
		if a.Status != 200 || fmt.Sprint(list) != rows || got.Metadata.ResponseAsOf == 0 {
			t.Errorf("%s\n got %d %v\nwant %s", q, a.Status, list, rows)
		}
	}
	for q, message := range map[string]string{
		"":                      "it ends where SELECT",
		"DROP TABLE flex":       "SELECT is expected",
		"SELECT x FROM y":       `"x" is neither`,
		"SELECT sum(x) FROM y":  "SUM(api_call_count)",
		"SELECT api_call_count": "it ends where FROM",
		"SELECT 'a":             "not closed",
		"SELECT api_call_count FROM other WHERE " + between:                                                      "unknown meter",
		"SELECT api_call_count FROM flex_api_call_count WHERE asset_name = 'x' TIMESERIES P1D":                   "timestamp BETWEEN is missing",
		"SELECT api_call_count FROM flex_api_call_count WHERE asset_name = x TIMESERIES P1D":                     "single quotes",
		"SELECT api_call_count FROM flex_api_call_count WHERE asset_name LIKE 'x' TIMESERIES P1D":                "= or IN",
		"SELECT api_call_count FROM flex_api_call_count WHERE host = 'x' TIMESERIES P1D":                         "neither timestamp",
		"SELECT api_call_count FROM flex_api_call_count WHERE timestamp BETWEEN 2 AND 1 TIMESERIES P1D":          "the earlier one first",
		"SELECT api_call_count FROM flex_api_call_count WHERE timestamp BETWEEN a AND b TIMESERIES P1D":          "milliseconds",
		"SELECT api_call_count FROM flex_api_call_count WHERE " + between:                                        "it ends where TIMESERIES",
		"SELECT api_call_count FROM flex_api_call_count WHERE " + between + " TIMESERIES P1W":                    "PT1H, P1D, P1M",
		"SELECT api_call_count FROM flex_api_call_count WHERE " + between + " TIMESERIES P1D LIMIT x":            "LIMIT",
		"SELECT api_call_count FROM flex_api_call_count WHERE " + between + " TIMESERIES P1D ORDER BY timestamp": "nothing is expected",
		"SELECT api_call_count FROM flex_api_call_count WHERE " + between + " GROUP BY host TIMESERIES P1D":      "no dimension",
		strings.Repeat("x", 20<<10): "bytes",
	} {
		want(t, search(q), 400, message)
	}
}

const day = 24 * time.Hour
