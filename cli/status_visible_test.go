package cli

import (
	"bytes"
	"strings"
	"testing"

	"github.com/flexgw/flexgw/reconcile/status"
)

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
