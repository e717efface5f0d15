package status_test

import (
	"context"
	"encoding/json"
	"net"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/flexgw/flexgw/reconcile/status"
	"github.com/flexgw/flexgw/schema/diag"
)

func TestEmptyReportHasNoNulls(t *testing.T) {
	t.Parallel()
	b, err := status.Report{}.JSON()
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{"revision": "", "source": "", "addresses": []any{}, "conditions": []any{}, "objects": []any{}, "envoys": []any{}, "lastFailed": nil}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error("-want +got\n" + diff)
	}
}

func TestServeAndGet(t *testing.T) {
	t.Parallel()
	place := diag.Range{File: "a.yaml", Start: diag.Pos{Line: 3, Column: 4, Offset: 20}, End: diag.Pos{Line: 3, Column: 9, Offset: 25}}
	want := status.Report{
		Revision: "sha256:1", Source: "dir", Addresses: []string{"0.0.0.0:80"},
		Conditions: []status.Condition{{Type: status.Accepted, Status: status.False, Reason: "Invalid", Message: "m", Place: &place}},
		Objects:    []status.Object{{Kind: "Service", Namespace: "n", Name: "s", Place: &place, Conditions: []status.Condition{}}},
		Envoys:     []status.Envoy{{Node: "e", Version: "1.40.0", Connected: true, Types: []status.TypeDelivery{{Type: "Listener", Synced: 1}}}},
		LastFailed: &status.Failed{Revision: "sha256:2", At: time.Unix(5, 0).UTC(), Reason: "Invalid", Diagnostics: diag.List{{Severity: diag.Error, Code: "a/b", Summary: "s", Subject: place, Related: []diag.Related{{Subject: place, Summary: "r"}}}}},
	}
	socket := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- status.Serve(ctx, l, func() status.Report { return want }) }()
	got, err := status.Get(t.Context(), socket)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error("-want +got\n" + diff)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if _, err := status.Get(t.Context(), socket); err == nil {
		t.Error("a daemon that is gone answered")
	}
}
