package status_test

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/flexgw/flexgw/reconcile/status"
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
	want := map[string]any{"revision": "", "requires": "", "source": "", "addresses": []any{}, "commit": nil, "conditions": []any{}, "objects": []any{}, "envoys": []any{}, "lastFailed": nil, "daemon": map[string]any{"host": "", "version": "", "started": "0001-01-01T00:00:00Z"}, "suspended": nil, "waiting": nil, "pinned": nil, "refusedPeers": []any{}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error("-want +got\n" + diff)
	}
}
