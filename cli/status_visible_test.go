package cli

import (
	"bytes"
	"io"
	"strings"
	"testing"

	"github.com/flexgw/flexgw/reconcile/api"
	"github.com/flexgw/flexgw/reconcile/status"
	"github.com/flexgw/flexgw/schema/diag"
)

// Who may commit names files and writes messages: the texts of status and history obey neither, and begin no line with them.
func TestStatusShowsWhatCommittersWrote(t *testing.T) {
	t.Parallel()
	const bad = "a\x1b[2J\nProgrammed=True (Live).yaml"
	at := diag.Range{File: bad, Start: diag.Pos{Line: 1, Column: 4}}
	d := diag.Diagnostic{Severity: diag.Error, Code: "yaml/syntax", Subject: at, Summary: "this bracket is not closed"}
	r := status.Report{
		Suspended:  &status.Suspension{By: bad, Reason: bad},
		Pinned:     &status.Pin{By: bad},
		Conditions: []status.Condition{{Type: status.Fetched, Status: status.False, Message: "read " + bad + ": it is not there"}, {Type: status.Accepted, Status: status.False, Place: &at, Message: d.Summary}},
		Objects:    []status.Object{{Kind: "ApiInstance", Name: "x", Conditions: []status.Condition{{Type: status.Accepted, Status: status.False, Place: &at, Message: d.Summary}}}},
		LastFailed: &status.Failed{Diagnostics: diag.List{d}},
	}
	h := api.History{Records: []api.Record{{By: bad, Message: d.String()}}}
	for name, write := range map[string]func(io.Writer) error{
		"status":  func(w io.Writer) error { return writeStatus(w, r, true) },
		"history": func(w io.Writer) error { return writeHistory(w, h) },
		"outcome": func(w io.Writer) error { return writeOutcome(w, api.Outcome{Held: []api.Held{{Place: &at}}}) },
		"rollout": func(w io.Writer) error { return writeSteps(w, []step{{Daemon: "d", Error: d.String()}}) },
		"fleet":   func(w io.Writer) error { return writeFleet(w, []answer{{Daemon: "d", Error: d.String()}}) },
	} {
		var b bytes.Buffer
		if err := write(&b); err != nil {
			t.Fatal(err)
		}
		if out := b.String(); strings.Contains(out, "\x1b") || strings.Contains(out, "\nProgrammed=True") || !strings.Contains(out, "a·[2J") {
			t.Errorf("%s: %q", name, out)
		}
	}
}

// What others call themselves obeys no terminal and begins no line.
func TestStatusShowsWhatOthersWrote(t *testing.T) {
	t.Parallel()
	const bad = "a\x1b[2J\nenvoy b"
	var b bytes.Buffer
	r := status.Report{Envoys: []status.Envoy{{Node: bad, Version: bad, Address: "192.0.2.1:1", Identity: bad}}, Refused: []status.RefusedPeer{{Address: "192.0.2.2", Identity: bad, Message: bad}}}
	if err := writeStatus(&b, r, false); err != nil {
		t.Fatal(err)
	}
	if out := b.String(); strings.Contains(out, "\x1b") || strings.Contains(out, "\nenvoy b") || strings.Count(out, "a·[2J·envoy b") != 5 {
		t.Errorf("%q", out)
	}
}

// Of several remotes status says which was read last; of one there is nothing to say.
func TestStatusSaysWhichRemote(t *testing.T) {
	t.Parallel()
	for remote, want := range map[string]bool{"": false, "https://a.example/r": false, "https://b.example/r": true} {
		var b bytes.Buffer
		if err := writeStatus(&b, status.Report{Source: "https://a.example/r", Remote: remote}, false); err != nil {
			t.Fatal(err)
		}
		if got := strings.Contains(b.String(), "remote    https://b.example/r was read last\n"); got != want {
			t.Errorf("%q: %s", remote, b.String())
		}
	}
}
