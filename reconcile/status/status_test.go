package status_test

import (
	"bytes"
	"encoding/json"
	"iter"
	"slices"
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
	want := map[string]any{"revision": "", "requires": "", "remote": "", "source": "", "addresses": []any{}, "commit": nil, "conditions": []any{}, "objects": []any{}, "envoys": []any{}, "lastFailed": nil, "daemon": map[string]any{"host": "", "version": "", "started": "0001-01-01T00:00:00Z", "stateDir": "", "follows": ""}, "suspended": nil, "waiting": nil, "pinned": nil, "refusedPeers": []any{}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error("-want +got\n" + diff)
	}
}

// What is written one object at a time is the text that the whole report is, whatever is in it.
func TestWriteJSONIsTheReport(t *testing.T) {
	t.Parallel()
	object := func(name string, conditions ...status.Condition) status.Object {
		return status.Object{Kind: "Service", Namespace: "<n>", Name: name, Conditions: conditions}
	}
	live, not := status.Condition{Type: status.Programmed, Status: status.True}, status.Condition{Type: status.Programmed, Status: status.False, Message: "\n  \"objects\": []"}
	var many []status.Object
	for range 2_000 { // more than is written at once
		many = append(many, object("many", live, not))
	}
	for name, objects := range map[string][]status.Object{"none": nil, "one": {object("a")}, "two": {object("a", live), object("b", not, live)}, "many": many} {
		r := status.Report{Source: "\n  \"objects\": []", Objects: objects, Envoys: []status.Envoy{{Node: "e"}}}
		want, err := r.JSON()
		if err != nil {
			t.Fatal(err)
		}
		frame := r
		frame.Objects = nil
		var got bytes.Buffer
		if err := status.WriteJSON(&got, frame.Lists(), status.Listed(objects)(false)); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want)+"\n", got.String()); diff != "" {
			t.Errorf("%s: -want +got\n%s", name, diff)
		}
		// A list that yields one place again and again comes to the same.
		lazy := status.Report{Source: r.Source, Envoys: r.Envoys, List: func(bool) iter.Seq[*status.Object] {
			return func(yield func(*status.Object) bool) {
				var place status.Object
				var conditions [2]status.Condition
				for _, o := range objects {
					place = o
					place.Conditions = conditions[:copy(conditions[:], o.Conditions)]
					if !yield(&place) {
						return
					}
				}
			}
		}}
		if b, err := lazy.JSON(); err != nil || !bytes.Equal(b, want) {
			t.Errorf("%s: of a list %s, %v", name, b, err)
		}
	}
	var unsettled []string
	for o := range status.Listed([]status.Object{object("a", live), object("b", live, not), object("c")})(true) {
		unsettled = append(unsettled, o.Name)
	}
	if !slices.Equal(unsettled, []string{"b"}) {
		t.Errorf("unsettled are %v", unsettled)
	}
	if err := status.WriteJSON(&bytes.Buffer{}, struct{}{}, status.Listed(nil)(false)); err == nil {
		t.Error("what has no objects was written with them")
	}
}
