package sim

import (
	"bytes"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/flexgw/flexgw/reconcile/anypoint"
)

// TestTornJournals cuts a journal at every byte: what was written whole is there, and the next line can be written.
func TestTornJournals(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	count := func(into *int) func(put) error {
		return func(put) error { *into++; return nil }
	}
	n := 0
	j, _, err := openJournal(dir, count(&n))
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		if err := j.append([]put{value(kindToken, fmt.Sprint(i), token{})}, true); err != nil {
			t.Fatal(err)
		}
	}
	if err := j.sync(); err != nil {
		t.Fatal(err)
	}
	if err := j.close(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "state.journal")
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := bytes.SplitAfter(whole, []byte("\n"))
	for cut := range len(whole) + 1 {
		if err := os.WriteFile(path, append(slices.Clone(whole[:cut]), "\x00\x00"...), 0o600); err != nil {
			t.Fatal(err)
		}
		want, at := 0, 0
		for _, l := range lines[:3] {
			if at += len(l); at <= cut {
				want++
			}
		}
		n = 0
		j, dropped, err := openJournal(dir, count(&n))
		if err != nil {
			t.Fatal(err)
		}
		if n != want || dropped == 0 {
			t.Fatalf("cut at %d: %d lines, want %d; %d bytes dropped", cut, n, want, dropped)
		}
		if err := j.append([]put{value(kindToken, "x", token{})}, true); err != nil {
			t.Fatal(err)
		}
		if err := j.close(); err != nil {
			t.Fatal(err)
		}
		n = 0
		if j, dropped, err = openJournal(dir, count(&n)); err != nil || n != want+1 || dropped != 0 {
			t.Fatalf("cut at %d, and one more: %d lines, want %d; %d bytes dropped; %v", cut, n, want+1, dropped, err)
		}
		if err := j.close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestSnapshotAndJournal has both, as a crash between the two leaves them: the same lines twice change nothing.
func TestSnapshotAndJournal(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	st := newState()
	j, _, err := openJournal(dir, st.apply)
	if err != nil {
		t.Fatal(err)
	}
	commit := func(p put) {
		t.Helper()
		if err := j.append([]put{p}, true); err != nil {
			t.Fatal(err)
		}
		if err := st.apply(p); err != nil {
			t.Fatal(err)
		}
	}
	r := row{"agent", "replica", "ns/api", 3600}
	for i := range 10 {
		commit(value(kindUsage, r.key(), count{Cumulative: uint64(i)}))
		commit(value(kindToken, fmt.Sprint(i%3), token{Kind: accessToken}))
	}
	commit(value(kindToken, "1", nil))
	journal, err := os.ReadFile(filepath.Join(dir, "state.journal"))
	if err != nil {
		t.Fatal(err)
	}
	if err := j.compact(st.all()); err != nil {
		t.Fatal(err)
	}
	if err := j.close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "state.journal"), journal, 0o600); err != nil {
		t.Fatal(err)
	}
	again := newState()
	if j, _, err = openJournal(dir, again.apply); err != nil {
		t.Fatal(err)
	}
	defer j.close()
	if a, b := fmt.Sprintf("%s", st.all()), fmt.Sprintf("%s", again.all()); a != b {
		t.Errorf("%s\n%s", a, b)
	}
	if again.usage[r].Cumulative != 9 || len(again.tokens) != 2 {
		t.Errorf("%v %v", again.usage, again.tokens)
	}
}

// TestEpochs sends numbers in any order, doubled, with some left out, and holds what is said of them against a model.
func TestEpochs(t *testing.T) {
	t.Parallel()
	for range 2000 {
		e := &epoch{}
		came := map[uint64]bool{}
		for range 60 {
			seq := 1 + rand.Uint64N(20)
			again := came[seq] && seq > e.Acked
			if e.has(seq) != (seq <= e.Acked || came[seq]) {
				t.Fatalf("has(%d) of %+v", seq, e)
			}
			was := e.Acked
			e.take(seq)
			came[seq] = true
			if e.Acked < was || again && e.Acked < seq || !e.has(seq) || !slices.IsSorted(e.Beyond) {
				t.Fatalf("%d: from %d to %+v", seq, was, e)
			}
			if !again {
				for n := was + 1; n <= e.Acked; n++ {
					if !came[n] {
						t.Fatalf("%d is acknowledged and never came: %+v", n, e)
					}
				}
			}
			if len(e.Beyond) > 0 && e.Beyond[0] <= e.Acked+1 {
				t.Fatalf("%+v", e)
			}
		}
		missing := uint64(0)
		for n := uint64(1); n <= e.Acked; n++ {
			if !came[n] {
				missing++
			}
		}
		if e.Skipped < missing {
			t.Fatalf("%d never came, %+v", missing, e)
		}
	}
	e := &epoch{}
	for seq := range uint64(5000) {
		e.take(seq + 2)
	}
	if len(e.Beyond) != maxBeyond {
		t.Errorf("%d are remembered", len(e.Beyond))
	}
	r := &replica{Epochs: map[uint64]*epoch{}}
	for n := range uint64(100) {
		r.begin(1000-n, 0)
	}
	if len(r.Epochs) > maxEpochs {
		t.Errorf("%d epochs", len(r.Epochs))
	}
}

// direct is a simulator without a network between, and a gateway of it.
func direct(t testing.TB) (*Sim, *gateway, func(b []byte, key string) answer) {
	t.Helper()
	s, err := Open(Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	g := &gateway{ID: derived("g"), Name: "edge", Organization: "o", Environment: "e"}
	if err := s.commit(true, value(kindGateway, g.ID, g)); err != nil {
		t.Fatal(err)
	}
	peer := &x509.Certificate{Subject: pkix.Name{CommonName: g.ID + ".RR"}, DNSNames: []string{"offline", "org=o", "env=e"}, NotAfter: time.Now().Add(time.Hour)}
	return s, g, func(b []byte, key string) answer {
		r := httptest.NewRequest(http.MethodPost, anypoint.PathMetering, nil)
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set(anypoint.IdempotencyKey, key)
		return s.once(&query{Request: r, listener: onIngest, body: b, peer: peer})
	}
}

func batchOf(g *gateway, seq uint64, points ...anypoint.Point) anypoint.Batch {
	r := derived("r")
	return anypoint.Batch{Schema: anypoint.UsageSchema, MeteringSchemaID: meteringSchemaID, AgentID: g.ID, AssetName: g.Name, ReplicaID: r, BootEpoch: 1, Seq: seq, BatchID: anypoint.BatchID(g.ID, r, 1, seq), Points: points}
}

// TestAMillionDuplicates is about what is kept, in memory and on disk.
func TestAMillionDuplicates(t *testing.T) {
	t.Parallel()
	n := 1_000_000
	if testing.Short() {
		n = 20_000
	}
	s, g, send := direct(t)
	b := batchOf(g, 1, anypoint.Point{Meter: anypoint.Meter, APIInstance: "default/shop", HourStart: time.Unix(0, 0).UTC(), Delta: 3, Cumulative: 3})
	body, err := json.Marshal(b)
	if err != nil {
		t.Fatal(err)
	}
	if a := send(body, b.BatchID); a.status != 202 {
		t.Fatalf("%d %s", a.status, a.body)
	}
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	largest := int64(0)
	for range n {
		if a := send(body, b.BatchID); a.status != 200 {
			t.Fatalf("%d %s", a.status, a.body)
		}
		largest = max(largest, s.journal.size)
	}
	if grown := int64(heap()) - int64(before); !testing.Short() && grown > 8<<20 { //nolint:gosec // bytes of a heap
		t.Errorf("%d bytes more in memory", grown)
	}
	if largest > maxJournal+1<<20 {
		t.Errorf("the journal had %d bytes", largest)
	}
	st := s.State()
	if st.Usage["default/shop"] != 3 || len(st.Calls) != 2 || st.Calls[0].Count != uint64(n) {
		t.Errorf("usage %v, calls %v", st.Usage, st.Calls)
	}
	if len(s.state.usage) != 1 || len(s.state.replicas) != 1 {
		t.Errorf("%d rows, %d replicas", len(s.state.usage), len(s.state.replicas))
	}
}

// TestFullDisk takes nothing that it cannot keep, and says so.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip("no /dev/full:", err)
	}
	defer full.Close()
	s, g, send := direct(t)
	b := batchOf(g, 1, anypoint.Point{Meter: anypoint.Meter, APIInstance: "default/shop", HourStart: time.Unix(0, 0).UTC(), Delta: 3, Cumulative: 3})
	body, err := json.Marshal(b)
	if err != nil {
		t.Fatal(err)
	}
	good := s.journal.file
	s.journal.file = full
	for range 2 { // the second one meets a journal that is known to be broken
		if a := send(body, b.BatchID); a.status != http.StatusInternalServerError || !bytes.Contains(a.body, []byte("no space left")) {
			t.Errorf("%d %s", a.status, a.body)
		}
	}
	if len(s.state.usage) != 0 || len(s.state.replicas) != 0 {
		t.Errorf("%v %v", s.state.usage, s.state.replicas)
	}
	s.journal.file = good
}

// FuzzBatch holds what the decoder takes against a second reading: what it takes has our names and no other, each once.
func FuzzBatch(f *testing.F) {
	_, g, send := direct(f)
	b := batchOf(g, 1, anypoint.Point{Meter: anypoint.Meter, APIInstance: "default/shop", HourStart: time.Unix(0, 0).UTC(), Delta: 3, Cumulative: 3})
	good, err := json.Marshal(b)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add(bytes.Replace(good, []byte(`"seq"`), []byte(`"Seq"`), 1))
	f.Add(bytes.Replace(good, []byte(`"points":[`), []byte(`"points":[null,`), 1))
	f.Add(bytes.Replace(good, []byte(`"lost":{`), []byte(`"lost":[],"lost":{`), 1))
	f.Add([]byte(`{}`))
	f.Add([]byte(`null`))
	f.Add(bytes.Replace(good, []byte(`"points":[{`), []byte(`"points":null,"x":[{`), 1))
	f.Fuzz(func(t *testing.T, body []byte) {
		a := send(body, b.BatchID)
		if a.status >= 500 || a.status < 200 || !json.Valid(a.body) {
			t.Fatalf("%d %s", a.status, a.body)
		}
		got, err := decodeBatch("application/json", body)
		if err != nil {
			return
		}
		var loose map[string]any
		if err := json.Unmarshal(body, &loose); err != nil {
			t.Fatal(err)
		}
		if len(loose) != 11 {
			t.Fatalf("%d fields", len(loose))
		}
		again, err := json.Marshal(got)
		if err != nil {
			t.Fatal(err)
		}
		if got.Points == nil {
			return // null counts as none
		}
		if _, err := decodeBatch("application/json", again); err != nil {
			t.Fatalf("what it took it does not take again: %v\n%s", err, again)
		}
	})
}

// FuzzSelect is about queries that nobody would write.
func FuzzSelect(f *testing.F) {
	f.Add("SELECT asset_name, SUM(api_call_count) FROM flex_api_call_count WHERE timestamp BETWEEN 1 AND 2 AND asset_name IN ('a', 'b''c') GROUP BY asset_name TIMESERIES P1D LIMIT 3;")
	f.Add("SELECT 'x")
	f.Fuzz(func(t *testing.T, text string) {
		s, err := parseSelect(text)
		if err == nil && (s.from < 0 || s.to < s.from || !slices.Contains(resolutions(), s.every)) {
			t.Fatalf("%+v", s)
		}
	})
}

// TestPageOfTheSimulator reads the JSON of docs/anypoint.md: a fault, and a seed.
func TestPageOfTheSimulator(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../../docs/anypoint.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, ok := bytes.Cut(page, []byte("\n## The simulator\n"))
	if section, _, _ = bytes.Cut(section, []byte("\n## ")); !ok {
		t.Fatal("no section")
	}
	found := map[string]bool{}
	for _, part := range bytes.Split(section, []byte("```json\n"))[1:] {
		block, _, _ := bytes.Cut(part, []byte("```"))
		if bytes.Contains(block, []byte(`"next"`)) {
			found["fault"] = true
			if list, err := parseFaults(block); err != nil || list[0].Next == 0 {
				t.Errorf("%v\n%s", err, block)
			}
			continue
		}
		found["seed"] = true
		path := filepath.Join(t.TempDir(), "seed.json")
		if err := os.WriteFile(path, block, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadSeed(path); err != nil {
			t.Errorf("%v\n%s", err, block)
		}
	}
	if len(found) != 2 {
		t.Errorf("found %v", found)
	}
	for _, word := range append(append(words(), AllScopes()...), Token, Username, Password, ClientID, ClientSecret) {
		if !bytes.Contains(section, []byte("`"+word+"`")) {
			t.Errorf("the page has no %s", word)
		}
	}
}
