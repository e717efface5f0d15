package cli

import (
	"testing"
	"time"

	"github.com/flexgw/flexgw/reconcile"
	"github.com/flexgw/flexgw/reconcile/status"
)

func TestStatusLine(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 26, 12, 0, 3, 0, time.UTC)
	conditions := func(fetched, accepted, programmed status.Condition) []status.Condition {
		fetched.Type, accepted.Type, programmed.Type = status.Fetched, status.Accepted, status.Programmed
		return []status.Condition{fetched, accepted, programmed}
	}
	ok := status.Condition{Status: status.True}
	for _, c := range []struct {
		report status.Report
		away   time.Time
		want   string
	}{
		{status.Report{Conditions: conditions(status.Condition{Status: status.Unknown}, status.Condition{Status: status.Unknown}, status.Condition{Status: status.Unknown, Reason: "NothingAccepted"})},
			time.Time{}, "serving nothing yet, 0 Envoys connected"},
		{status.Report{Conditions: conditions(ok, ok, status.Condition{Status: status.Unknown, Reason: "NoEnvoy"})},
			time.Time{}, "nothing is live yet (NoEnvoy), 0 Envoys connected"},
		{status.Report{Revision: "sha256:0123456789abcdef", Envoys: []status.Envoy{{Connected: true}, {}}, Conditions: conditions(ok, ok, ok)},
			time.Time{}, "serving sha256:0123456789ab, 1 Envoy connected"},
		{status.Report{Revision: "0123", Envoys: []status.Envoy{{Connected: true}, {Connected: true}}, Pinned: &status.Pin{From: "4567"},
			Conditions: conditions(status.Condition{Status: status.False, Reason: "SourceUnavailable", Message: "connection refused"}, status.Condition{Status: status.False, Message: "no Service named \"x\""}, ok)},
			at, `serving 0123, 2 Envoys connected; the source is away since 2026-11-26T12:00:03Z: connection refused; pinned in place of 4567; the newest revision is refused: no Service named "x"`},
		{status.Report{Revision: "0123", Conditions: conditions(status.Condition{Status: status.False, Reason: "Untrusted", Message: "commit 89ab is not signed"}, ok, status.Condition{Status: status.False, Reason: "Rejected"})},
			at, "serving 0123, 0 Envoys connected; the source is refused since 2026-11-26T12:00:03Z (Untrusted): commit 89ab is not signed; the newest revision is not live (Rejected)"},
		{status.Report{Revision: "0123", Conditions: conditions(status.Condition{Status: status.Unknown, Reason: "Fetching", Message: "https://x/y was asked, and has said nothing since 2026-11-26T12:00:03Z"}, ok, ok)},
			time.Time{}, "serving 0123, 0 Envoys connected; https://x/y was asked, and has said nothing since 2026-11-26T12:00:03Z"},
		{status.Report{Revision: "0123", Waiting: &status.Waiting{Revision: "sha256:89abcdef0123456789", Since: at, Until: &at}, Conditions: conditions(ok, status.Condition{Status: status.Unknown, Reason: "Waiting"}, ok)},
			time.Time{}, "serving 0123, 0 Envoys connected; revision sha256:89abcdef0123 waits until 2026-11-26T12:00:03Z"},
		{status.Report{Revision: "0123", Waiting: &status.Waiting{Revision: "4567", Since: at}, Conditions: conditions(ok, ok, ok)},
			time.Time{}, "serving 0123, 0 Envoys connected; revision 4567 waits until somebody says so"},
	} {
		if got := statusLine(c.report, c.away); got != c.want {
			t.Errorf("got  %s\nwant %s", got, c.want)
		}
	}
}

// The time is of what is wrong now: an outage that goes over into a refusal is not that long.
func TestSinceWhen(t *testing.T) {
	t.Parallel()
	u := newUnit(nil)
	at := time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	for i, c := range []struct {
		event reconcile.EventType
		want  int // hours; -1: nothing is wrong
	}{{reconcile.SourceUnavailable, 0}, {reconcile.Refused, 1}, {reconcile.Programmed, 1}, {reconcile.SourceUnavailable, 3}, {reconcile.SourceBack, -1}, {reconcile.Refused, 5}, {reconcile.Fetched, -1}} {
		u.event(reconcile.Event{Type: c.event, At: at.Add(time.Duration(i) * time.Hour)})
		want := at.Add(time.Duration(c.want) * time.Hour)
		if c.want < 0 {
			want = time.Time{}
		}
		if !u.away.Equal(want) {
			t.Errorf("after %s (%d): since %s, want %s", c.event, i, u.away, want)
		}
	}
}
