package api_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/flexgw/flexgw/reconcile/api"
	"github.com/flexgw/flexgw/reconcile/egress"
	"github.com/flexgw/flexgw/reconcile/status"
	"github.com/flexgw/flexgw/schema/diag"
)

// fake answers what it is told, and remembers what it was asked.
type fake struct {
	report  status.Report
	history api.History
	egress  api.Egress
	outcome api.Outcome
	usage   api.Usage
	bundle  api.UsageBundle
	err     error
	asked   any
}

func (f *fake) Report() status.Report { return f.report }
func (f *fake) History(limit int) (api.History, error) {
	f.asked = limit
	return f.history, f.err
}
func (f *fake) Egress() api.Egress { return f.egress }
func (f *fake) Apply(_ context.Context, r api.ApplyRequest) (api.Outcome, error) {
	f.asked = r
	return f.outcome, f.err
}
func (f *fake) Rollback(_ context.Context, r api.RollbackRequest) (api.Outcome, error) {
	f.asked = r
	return f.outcome, f.err
}
func (f *fake) Sync(_ context.Context, r api.SyncRequest) (api.Outcome, error) {
	f.asked = r
	return f.outcome, f.err
}
func (f *fake) Suspend(_ context.Context, r api.SuspendRequest) error {
	f.asked, f.report.Suspended = r, &status.Suspension{Reason: r.Reason}
	return f.err
}
func (f *fake) Resume(_ context.Context, r api.OperatorRequest) error {
	f.asked, f.report.Suspended = r, nil
	return f.err
}
func (f *fake) Cordon(_ context.Context, r api.CordonRequest) error {
	f.asked = r
	return f.err
}
func (f *fake) Uncordon(_ context.Context, r api.UncordonRequest) error {
	f.asked = r
	return f.err
}

func (f *fake) Usage() (api.Usage, error) { return f.usage, f.err }
func (f *fake) FlushUsage(_ context.Context, r api.UsageFlushRequest) (api.Usage, error) {
	f.asked = r
	return f.usage, f.err
}
func (f *fake) ExportUsage(_ context.Context, r api.UsageExportRequest) (api.UsageBundle, error) {
	f.asked = r
	return f.bundle, f.err
}
func (f *fake) AckUsage(_ context.Context, r api.UsageAckRequest) (api.Usage, error) {
	f.asked = r
	return f.usage, f.err
}

func (f *fake) ForgetUsage(_ context.Context, r api.UsageForgetRequest) (api.Usage, error) {
	f.asked = r
	return f.usage, f.err
}

// served is a fake behind a real socket.
func served(t *testing.T, f *fake) (api.Client, string) {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- api.Serve(ctx, l, api.Handler(f)) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if _, err := (api.Client{Socket: socket}).Status(context.Background()); err == nil {
			t.Error("a daemon that is gone answered")
		}
	})
	return api.Client{Socket: socket}, socket
}

func example() *fake {
	place := diag.Range{File: "a.yaml", Start: diag.Pos{Line: 3, Column: 4, Offset: 20}, End: diag.Pos{Line: 3, Column: 9, Offset: 25}}
	list := diag.List{{Severity: diag.Error, Code: "a/b", Summary: "s", Subject: place, Related: []diag.Related{{Subject: place, Summary: "r"}}}}
	at := time.Unix(5, 0).UTC()
	return &fake{
		report: status.Report{
			Revision: "sha256:1", Source: "dir", Addresses: []string{"0.0.0.0:80"},
			Conditions: []status.Condition{{Type: status.Accepted, Status: status.False, Reason: "Invalid", Message: "m", Place: &place}},
			Objects:    []status.Object{{Kind: "Service", Namespace: "n", Name: "s", Place: &place, Conditions: []status.Condition{}}},
			Envoys: []status.Envoy{{Node: "e", Version: "1.40.0", PID: 7, Address: "192.0.2.1:4711", Identity: "edge", Connected: true, Since: at, Revision: "sha256:1", Cordoned: &status.Cordon{Since: at, Reason: "r", By: "me"},
				Types: []status.TypeDelivery{{Type: "Listener", Synced: 1}}, Limits: list}},
			Refused:    []status.RefusedPeer{{Address: "192.0.2.2", Identity: "other", Reason: "NotAllowed", Message: "m", At: at, Count: 2}},
			LastFailed: &status.Failed{Revision: "sha256:2", At: at, Reason: "Invalid", Diagnostics: list},
			Pinned:     &status.Pin{Revision: "sha256:1", From: "sha256:2", At: at, By: "me"},
		},
		usage: api.Usage{SchemaVersion: 1, Condition: status.Condition{Type: status.UsageReported, Status: status.False, Reason: "Waiting", Message: "m"}, Since: &at, NextTry: &at,
			Registration: &api.UsageRegistration{AgentID: "a", AssetName: "n"}, Requests: api.UsageRequests{Counted: 6, Reported: 1, Waiting: 2, SetAside: 3, Unregistered: 4, NoAPI: 5, Lost: 6},
			Hours: []api.UsageHour{{Hour: at, API: "n/a", AgentID: "a", AssetName: "n", Counted: 6, Reported: 1, Waiting: 2, SetAside: 3, Final: true}}, NoAPI: []api.UsageHour{{Hour: at, Counted: 5}},
			SetAside: []api.UsageBatch{{AgentID: "a", Seq: 7, Requests: 3, Why: "w"}}, Alarms: []api.UsageAlarm{{Code: "full", Message: "m", Since: at}},
			Spool: api.UsageSpool{ReplicaID: "r", BootEpoch: 1, LastSeq: 9, AckedSeq: 8, Batches: 1, Bytes: 10, MaxBytes: 11}},
		bundle:  api.UsageBundle{Name: "b.tar.gz", Content: []byte{1, 2}, Batches: 1, Requests: 2, Signed: true},
		history: api.History{SchemaVersion: 1, Kept: []string{"sha256:1"}, Records: []api.Record{{At: at, Event: "RolledBack", Revision: "sha256:2", Previous: "sha256:1", By: "source", Reason: "Rejected", Message: "m"}}},
		egress:  api.Egress{SchemaVersion: 1, Mode: api.EgressOpen, Destinations: []egress.Destination{{Purpose: egress.Usage, Host: "metering.example:443", Why: "registration.yaml: metering"}}},
		outcome: api.Outcome{SchemaVersion: 1, Revision: "sha256:2", Result: api.RolledBack, Served: "sha256:1", Previous: "sha256:1", Reason: "Rejected", Message: "m", Diagnostics: list,
			Held: []api.Held{{Kind: "Service", Namespace: "n", Name: "s", Place: &place}}, Objects: []status.Object{{Kind: "Service", Namespace: "n", Name: "s", Place: &place, Conditions: []status.Condition{{Type: status.Programmed, Status: status.True, Reason: "Live"}}}}, Deleted: []string{"Service n/x"}, Changes: []byte(`{}`), ChangesText: "no difference\n"},
	}
}

func TestEverythingComesThrough(t *testing.T) {
	t.Parallel()
	f := example()
	c, _ := served(t, f)
	ctx := t.Context()
	three := 3
	check := func(what string, got, want any, err error, asked any) {
		t.Helper()
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: -want +got\n%s", what, diff)
		}
		if diff := cmp.Diff(asked, f.asked); asked != nil && diff != "" {
			t.Errorf("%s asked: -want +got\n%s", what, diff)
		}
	}
	report, err := c.Status(ctx)
	check("status", report, f.report, err, nil)
	if got, err := c.Egress(ctx); err != nil || !cmp.Equal(got, f.egress) {
		t.Errorf("egress = %+v, %v", got, err)
	}
	history, err := c.History(ctx, 7)
	check("history", history, f.history, err, 7)
	apply := api.ApplyRequest{Files: []api.File{{Name: "a.yaml", Content: []byte("x: \xff")}}, Base: "sha256:1", MaxDelete: &three, DryRun: true, By: "me", Wait: 9}
	outcome, err := c.Apply(ctx, apply)
	check("apply", outcome, f.outcome, err, apply)
	outcome, err = c.Rollback(ctx, api.RollbackRequest{Revision: "r", By: "me", Wait: 1})
	check("rollback", outcome, f.outcome, err, api.RollbackRequest{Revision: "r", By: "me", Wait: 1})
	outcome, err = c.Sync(ctx, api.SyncRequest{Revision: "abcdef", By: "me"})
	check("sync", outcome, f.outcome, err, api.SyncRequest{Revision: "abcdef", By: "me"})
	report, err = c.Suspend(ctx, api.SuspendRequest{Seconds: 5, Reason: "why", By: "me"})
	check("suspend", report, f.report, err, api.SuspendRequest{Seconds: 5, Reason: "why", By: "me"})
	if report.Suspended == nil {
		t.Error("the report is of before the suspension")
	}
	report, err = c.Resume(ctx, api.OperatorRequest{By: "me"})
	check("resume", report, f.report, err, api.OperatorRequest{By: "me"})
	report, err = c.Cordon(ctx, api.CordonRequest{Node: "e", Reason: "why", By: "me"})
	check("cordon", report, f.report, err, api.CordonRequest{Node: "e", Reason: "why", By: "me"})
	usage, err := c.Usage(ctx)
	check("usage", usage, f.usage, err, nil)
	usage, err = c.FlushUsage(ctx, api.UsageFlushRequest{Wait: 4})
	check("flush", usage, f.usage, err, api.UsageFlushRequest{Wait: 4})
	bundle, err := c.ExportUsage(ctx, api.UsageExportRequest{})
	check("export", bundle, f.bundle, err, api.UsageExportRequest{})
	ack := api.UsageAckRequest{Content: []byte("xÿ"), Unsigned: true}
	usage, err = c.AckUsage(ctx, ack)
	check("ack", usage, f.usage, err, ack)
	usage, err = c.ForgetUsage(ctx, api.UsageForgetRequest{BootEpoch: 7, Seqs: []uint64{1, 3}})
	check("forget", usage, f.usage, err, api.UsageForgetRequest{BootEpoch: 7, Seqs: []uint64{1, 3}})
	report, err = c.Uncordon(ctx, api.UncordonRequest{Node: "e", By: "me"})
	check("uncordon", report, f.report, err, api.UncordonRequest{Node: "e", By: "me"})
}

// Who asks for what is not settled gets that alone, of a report as of an outcome.
func TestUnsettledObjects(t *testing.T) {
	t.Parallel()
	f := example()
	c, socket := served(t, f)
	live := status.Object{Kind: "Service", Namespace: "n", Name: "live", Conditions: []status.Condition{{Type: status.Programmed, Status: status.True}}}
	late := status.Object{Kind: "Service", Namespace: "n", Name: "late", Conditions: []status.Condition{{Type: status.Programmed, Status: status.False}}}
	f.report.Objects, f.outcome.Objects = []status.Object{live, late}, nil
	f.outcome.List = status.Listed([]status.Object{late, live})
	some := api.Client{Socket: socket, Unsettled: true}
	for _, x := range []struct {
		what   string
		client api.Client
		want   []status.Object
		sync   []status.Object
	}{{"all", c, []status.Object{live, late}, []status.Object{late, live}}, {"unsettled", some, []status.Object{late}, []status.Object{late}}} {
		r, err := x.client.Status(t.Context())
		if diff := cmp.Diff(x.want, r.Objects); err != nil || diff != "" {
			t.Errorf("status, %s: %v -want +got\n%s", x.what, err, diff)
		}
		o, err := x.client.Sync(t.Context(), api.SyncRequest{})
		if diff := cmp.Diff(x.sync, o.Objects); err != nil || diff != "" {
			t.Errorf("sync, %s: %v -want +got\n%s", x.what, err, diff)
		}
		if _, err := x.client.History(t.Context(), 0); err != nil {
			t.Errorf("history, %s: %v", x.what, err)
		}
	}
}

func TestRefusalsKeepTheirCode(t *testing.T) {
	t.Parallel()
	f := example()
	c, _ := served(t, f)
	for want, err := range map[string]error{
		api.CodeStale:       &api.Error{Status: http.StatusConflict, Code: api.CodeStale, Message: "stale"},
		api.CodeUnavailable: errors.New("disk on fire"),
	} {
		f.err = err
		_, got := c.Apply(t.Context(), api.ApplyRequest{})
		var e *api.Error
		if !errors.As(got, &e) || e.Code != want || e.Message != err.Error() {
			t.Errorf("got %v, want %s", got, want)
		}
	}
}

func TestBadRequests(t *testing.T) {
	t.Parallel()
	_, socket := served(t, example())
	h := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", socket)
	}}}
	defer h.CloseIdleConnections()
	for _, x := range []struct {
		method, path, body string
		status             int
	}{
		{"POST", api.ApplyPath, "", 400},
		{"POST", api.ApplyPath, `{"fils": []}`, 400},
		{"POST", api.ApplyPath, `{"files": 3}`, 400},
		{"GET", api.HistoryPath + "?limit=x", "", 400},
		{"GET", api.HistoryPath + "?limit=-1", "", 400},
		{"GET", api.StatusPath + "?objects=some", "", 400},
		{"POST", api.SyncPath + "?objects=some", "{}", 400},
		{"POST", api.SyncPath + "?objects=all", "{}", 200},
		{"GET", api.ApplyPath, "", 405},
		{"GET", "/v1/nonsense", "", 404},
		{"GET", api.SpecPath, "", 200},
	} {
		req, err := http.NewRequestWithContext(t.Context(), x.method, "http://flexgw"+x.path, strings.NewReader(x.body))
		if err != nil {
			t.Fatal(err)
		}
		res, err := h.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(res.Body)
		res.Body.Close()
		if res.StatusCode != x.status || x.status == 400 && !strings.Contains(string(b), api.CodeBadRequest) {
			t.Errorf("%s: %d, want %d: %s", fmt.Sprint(x.method, " ", x.path, " ", x.body), res.StatusCode, x.status, b)
		}
	}
}
