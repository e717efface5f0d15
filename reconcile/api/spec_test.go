package api_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/flexgw/flexgw/reconcile/api"
)

// description is openapi.json as far as the tests read it.
type description struct {
	Paths map[string]map[string]struct {
		RequestBody *struct {
			Content map[string]struct{ Schema reference }
		}
		Responses map[string]struct {
			Content map[string]struct{ Schema reference }
		}
	}
}

type reference struct {
	Ref string `json:"$ref"`
}

func readSpec(t *testing.T) (description, *jsonschema.Compiler) {
	t.Helper()
	b, err := os.ReadFile("openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	var d description
	if err := json.Unmarshal(b, &d); err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	if err := c.AddResource("https://flexgw.test/openapi.json", doc); err != nil {
		t.Fatal(err)
	}
	return d, c
}

func fits(t *testing.T, c *jsonschema.Compiler, ref, what string, text []byte) {
	t.Helper()
	s, err := c.Compile("https://flexgw.test/openapi.json" + ref)
	if err != nil {
		t.Fatal(err)
	}
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err == nil {
		err = s.Validate(v)
	}
	if err != nil {
		t.Errorf("%s does not fit %s: %v\n%s", what, ref, err, text)
	}
}

// TestAnswersFitTheDescription asks for every path that is described, with a body that is described, and has the answer
// judged by the schema that its description names; and every path that is served is described.
func TestAnswersFitTheDescription(t *testing.T) {
	t.Parallel()
	d, schemas := readSpec(t)
	f := example()
	_, socket := served(t, f)
	h := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", socket)
	}}}
	defer h.CloseIdleConnections()
	ask := func(method, path, body string) (int, []byte) {
		req, err := http.NewRequestWithContext(t.Context(), method, "http://flexgw"+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		res, err := h.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		b, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return res.StatusCode, b
	}
	bodies := map[string]any{
		api.ApplyPath:    api.ApplyRequest{Files: []api.File{{Name: "a.yaml", Content: []byte("a")}}, DryRun: true, By: "me", Base: "b", MaxDelete: new(int), Wait: 1},
		api.RollbackPath: api.RollbackRequest{Revision: "r", By: "me", Wait: 1}, api.SyncPath: api.SyncRequest{Revision: "abcdef", By: "me", Wait: 1, AllowRewrite: "abcdefa"},
		api.SuspendPath: api.SuspendRequest{Seconds: 1, Reason: "r", By: "me"}, api.ResumePath: api.OperatorRequest{By: "me"},
		api.CordonPath: api.CordonRequest{Node: "e", Reason: "r", By: "me"}, api.UncordonPath: api.UncordonRequest{Node: "e", By: "me"},
		api.UsageFlushPath: api.UsageFlushRequest{Wait: 3}, api.UsageExportPath: api.UsageExportRequest{AgentID: "a"}, api.UsageAckPath: api.UsageAckRequest{Content: []byte("{}"), Unsigned: true, AgentID: "a", Certificate: []byte{1}},
		api.UsageForgetPath: api.UsageForgetRequest{BootEpoch: 1, Seqs: []uint64{2}},
	}
	for _, path := range slices.Sorted(maps.Keys(d.Paths)) {
		for method, op := range d.Paths[path] {
			method = strings.ToUpper(method)
			body := ""
			if op.RequestBody != nil {
				b, err := json.Marshal(bodies[path])
				if err != nil {
					t.Fatal(err)
				}
				body = string(b)
				fits(t, schemas, op.RequestBody.Content["application/json"].Schema.Ref, "the body of "+path, b)
			}
			f.err = nil
			status, b := ask(method, path, body)
			if status != http.StatusOK {
				t.Errorf("%s %s: %d %s", method, path, status, b)
				continue
			}
			if ref := op.Responses["200"].Content["application/json"].Schema.Ref; ref != "" {
				fits(t, schemas, ref, method+" "+path, b)
			}
			if op.Responses["503"].Content == nil {
				continue
			}
			f.err = errors.New("no")
			status, b = ask(method, path, body)
			if status != http.StatusServiceUnavailable {
				t.Errorf("%s %s that fails: %d", method, path, status)
			}
			fits(t, schemas, op.Responses["503"].Content["application/json"].Schema.Ref, method+" "+path+" that fails", b)
		}
	}
	for _, path := range []string{api.StatusPath, api.HistoryPath, api.EgressPath, api.ApplyPath, api.RollbackPath, api.SuspendPath, api.ResumePath, api.SyncPath, api.CordonPath, api.UncordonPath, api.UsagePath, api.UsageFlushPath, api.UsageExportPath, api.UsageAckPath, api.SpecPath} {
		if _, ok := d.Paths[path]; !ok {
			t.Errorf("%s is not described", path)
		}
	}
	empty := &fake{}
	_, bare := served(t, empty)
	if r, err := (api.Client{Socket: bare}).Status(t.Context()); err != nil || r.Revision != "" {
		t.Errorf("%+v %v", r, err)
	}
}
