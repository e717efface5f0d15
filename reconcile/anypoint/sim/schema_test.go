package sim

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// places are all fields of a batch, as ways from its top.
func places(v any, way []any, visit func(way []any)) {
	switch v := v.(type) {
	case map[string]any:
		for k, x := range v {
			w := append(slices.Clone(way), k)
			visit(w)
			places(x, w, visit)
		}
	case []any:
		for i, x := range v {
			w := append(slices.Clone(way), i)
			visit(w)
			places(x, w, visit)
		}
	}
}

// changed is a batch with another value at a place; nil: f removes it.
func changed(t *testing.T, text []byte, way []any, f func(parent map[string]any, name string)) []byte {
	t.Helper()
	var v any
	if err := json.Unmarshal(text, &v); err != nil {
		t.Fatal(err)
	}
	at := v
	for _, step := range way[:len(way)-1] {
		switch step := step.(type) {
		case string:
			at = at.(map[string]any)[step]
		case int:
			at = at.([]any)[step]
		}
	}
	switch last := way[len(way)-1].(type) {
	case string:
		f(at.(map[string]any), last)
	case int:
		m := map[string]any{"x": at.([]any)[last]}
		f(m, "x")
		at.([]any)[last] = m["x"]
	}
	out, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestABatchIsHeldToTheSchema: what batch.schema.json refuses is refused here, and what it allows is not, for every field with values of all
// kinds. The check of values is the one that a sender has, too.
func TestABatchIsHeldToTheSchema(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join("..", "..", "usage", "batch.schema.json"))
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource("batch.json", doc); err != nil {
		t.Fatal(err)
	}
	schema, err := c.Compile("batch.json")
	if err != nil {
		t.Fatal(err)
	}
	taken, refused := 0, 0
	hold := func(body []byte) {
		t.Helper()
		v, err := jsonschema.UnmarshalJSON(bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		want := schema.Validate(v)
		b, got := decodeBatch("application/json", body)
		if got == nil {
			got = b.Check()
		}
		if got == nil {
			got = checkTimes(body)
		}
		if (want == nil) != (got == nil) {
			t.Errorf("%s\nthe schema: %v\nhere: %v", body, want, got)
		}
		if want == nil {
			taken++
		} else {
			refused++
		}
	}
	good := []byte(`{"schema":"flexgw.usage/v1alpha1","meteringSchemaId":"m","agentId":"a","assetName":"edge","replicaId":"cccccccc-0000-4000-8000-00000000c001","bootEpoch":7,"seq":1,
		"batchId":"` + strings.Repeat("0a", 32) + `","createdAt":"2026-01-02T03:04:05.678Z","points":[{"meter":"flex_api_call_count","apiInstance":"default/orders","hourStart":"2026-01-02T03:00:00Z","delta":1,"cumulative":5,"final":false},
		{"meter":"flex_api_call_count","apiInstance":"default/pets","hourStart":"2026-01-02T02:00:00Z","delta":0,"cumulative":5,"final":true}],"lost":{"points":0,"apiCalls":0}}`)
	hold(good)
	if taken != 1 {
		t.Fatal("the batch to begin with is none")
	}
	values := []any{
		nil, true, false, 0, 1, -1, 1 << 50, "", "x", "x y", "x/y", "x/y/z", "/y", "x/", " x/y", "x/y ", "x/y\n", "x\t/y", "x/y\x01", "x\x7f/y", "x/y\u0085", "é/ü", "1", "-1", "a.b_c-D", "a:b", "https://a.test/x", []any{}, []any{nil}, []any{map[string]any{}}, map[string]any{}, map[string]any{"x": 1},
		strings.Repeat("a", 64), strings.Repeat("A", 64), strings.Repeat("a", 63), strings.Repeat("a", 65), strings.Repeat("g", 64), strings.Repeat("x", 128), strings.Repeat("x", 129), strings.Repeat("x", 256), strings.Repeat("x", 257), strings.Repeat("é", 256),
		"x/" + strings.Repeat("y", 510), "x/" + strings.Repeat("y", 511), "é/" + strings.Repeat("ü", 510), "flexgw.usage/v1alpha1", "flexgw.usage/v1", "flex_api_call_count",
		"cccccccc-0000-4000-8000-00000000c001", "CCCCCCCC-0000-4000-8000-00000000C001", "cccccccc-0000-4000-8000-00000000c001x", "cccccccc0000400080000000000c0010000",
		"2026-01-02T03:00:00Z", "2026-01-02T03:00:00+00:00", "2026-01-02T03:00:00-00:00", "2026-01-02T03:00:00+02:00", "2026-01-02T03:00:00.000Z", "2026-01-02T03:00:01Z", "2026-01-02T03:30:00Z", "2026-01-02T24:00:00Z", "2026-13-02T03:00:00Z", "2026-02-30T03:00:00Z",
		"2026-01-02 03:00:00Z", "2026-01-02T03:00:00", "2026-01-02T03:00:00z", "2026-01-02", "26-01-02T03:00:00Z", "0000-01-01T00:00:00Z", "9999-12-31T23:00:00Z",
	}
	var whole any
	if err := json.Unmarshal(good, &whole); err != nil {
		t.Fatal(err)
	}
	places(whole, nil, func(way []any) {
		for _, v := range values {
			hold(changed(t, good, way, func(parent map[string]any, name string) { parent[name] = v }))
		}
		if _, named := way[len(way)-1].(string); !named {
			return
		}
		hold(changed(t, good, way, func(parent map[string]any, name string) { delete(parent, name) }))
		hold(changed(t, good, way, func(parent map[string]any, name string) { // another name of the same
			parent[strings.ToUpper(name)] = parent[name]
			delete(parent, name)
		}))
		for _, more := range []string{"path", "host", "client", "header", "error", "Seq", ""} {
			hold(changed(t, good, way, func(parent map[string]any, _ string) { parent[more] = "/x" }))
		}
	})
	t.Logf("%d batches taken, %d refused", taken, refused)
	if taken < 50 || refused < 1000 {
		t.Errorf("%d batches taken and %d refused: too few to tell", taken, refused)
	}
}
