package cli_test

import (
	"bytes"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/flexgw/flexgw/cli"
	"github.com/flexgw/flexgw/reconcile/anypoint"
)

// real is a control plane that has never heard of flexgw: it knows the calls that are documented, and answers them as it does.
type real struct {
	*httptest.Server
	ca    string
	mu    sync.Mutex
	calls []string
}

const orgID, envID = "cccccccc-0000-4000-8000-00000000c001", "dddddddd-0000-4000-8000-00000000d001"

func newReal(t *testing.T, gateways []anypoint.Gateway) *real {
	t.Helper()
	r := &real{}
	at := "/standalone/api/v1/organizations/" + orgID + "/environments/" + envID + "/gateways"
	mux := http.NewServeMux()
	answer := func(w http.ResponseWriter, v any) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(v)
	}
	mux.HandleFunc("POST /accounts/api/v2/oauth2/token", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, map[string]any{"access_token": "access", "token_type": "bearer", "expires_in": 3600})
	})
	mux.HandleFunc("GET "+at, func(w http.ResponseWriter, _ *http.Request) {
		answer(w, anypoint.Gateways{Content: append([]anypoint.Gateway{}, gateways...), TotalElements: len(gateways)}) // an empty list, not null
	})
	mux.HandleFunc("DELETE "+at+"/{id}", func(w http.ResponseWriter, q *http.Request) {
		for i := range gateways {
			if gateways[i].ID == q.PathValue("id") {
				gateways[i].Status = "DELETED"
			}
		}
		w.WriteHeader(http.StatusAccepted)
	})
	mux.HandleFunc("GET "+at+"/{id}", func(w http.ResponseWriter, q *http.Request) {
		for _, g := range gateways {
			if g.ID == q.PathValue("id") {
				answer(w, g)
			}
		}
	})
	r.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		b, _ := io.ReadAll(q.Body)
		q.Body = io.NopCloser(bytes.NewReader(b))
		r.mu.Lock()
		r.calls = append(r.calls, fmt.Sprintf("%s %s %d", q.Method, q.URL.Path, len(b)))
		r.mu.Unlock()
		mux.ServeHTTP(w, q)
	}))
	t.Cleanup(r.Close)
	r.ca = filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(r.ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: r.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	return r
}

func (r *real) asked() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.calls)
}

// command runs one command line. stdin nil: nothing is there.
func command(t *testing.T, stdin io.Reader, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	if stdin == nil {
		stdin = strings.NewReader("")
	}
	var out, err bytes.Buffer
	code = cli.Alone(append([]string{"flexgw"}, args...), cli.Env{Stdin: stdin, Stdout: &out, Stderr: &err, Getenv: func(string) (string, bool) { return "", false },
		Now: func() time.Time { return time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC) }})
	return code, out.String(), err.String()
}

// TestNothingIsGuessed: a server that may be the real platform is told nothing that is not documented, and no credential either.
func TestNothingIsGuessed(t *testing.T) {
	t.Parallel()
	r := newReal(t, nil)
	dir := t.TempDir()
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"--token-file", "-"}, "'--token=<registration-token>' --organization=" + orgID + " --anypoint-url=" + r.URL + " --output-directory=" + dir + " 'my gateway'"},
		{[]string{"--username", "jo", "--password-file", "-", "--environment", envID}, "--username=jo '--password=<password>' --environment=" + envID + " --organization=" + orgID},
		{[]string{"--client-id", "app", "--client-secret-file", "-", "--environment", envID, "--split"}, "--client-id=app '--client-secret=<client-secret>' --environment=" + envID + " --organization=" + orgID + " --anypoint-url=" + r.URL + " --output-directory=" + dir + " --split=true 'my gateway'"},
	} {
		args := append([]string{"register", "--organization", orgID, "--anypoint-url", r.URL, "--ca-file", r.ca, "--output-directory", dir, "my gateway"}, c.args...)
		code, out, said := command(t, strings.NewReader("hush\n"), args...)
		if code != cli.ExitWorld || out != "" || !strings.Contains(said, "flexctl registration create "+c.want) || !strings.Contains(said, "does not guess it with your account") || strings.Contains(said, "hush") {
			t.Errorf("%d %s%s", code, out, said)
		}
	}
	for _, call := range r.asked() {
		if call != "GET /flexgw-sim/v1/hello 0" {
			t.Errorf("asked %s", call)
		}
	}
	if list, err := os.ReadDir(dir); err != nil || len(list) > 0 {
		t.Errorf("left behind: %v %v", list, err)
	}
}

// TestGatewaysOfTheRealPlatform: listing and deleting are documented, and work without the simulator's word.
func TestGatewaysOfTheRealPlatform(t *testing.T) {
	t.Parallel()
	long := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	id := func(n int) string { return fmt.Sprintf("aaaaaaaa-0000-4000-8000-%012d", n) }
	r := newReal(t, []anypoint.Gateway{
		{ID: id(1), Name: "orders", Status: "CONNECTED", LastUpdate: long, Replicas: []anypoint.ReplicaCount{{Status: "CONNECTED", Count: 2, CertificateExpirationDates: []time.Time{long.AddDate(1, 0, 0)}}}},
		{ID: id(2), Name: "old\x1b[2J", Status: "DISCONNECTED", LastUpdate: long},
		{ID: id(3), Name: "twin", Status: "DISCONNECTED", LastUpdate: time.Date(2026, 5, 31, 0, 0, 0, 0, time.UTC)},
		{ID: id(4), Name: "twin", Status: "DISCONNECTED", LastUpdate: long},
		{ID: id(5), Name: "gone", Status: "DELETED", LastUpdate: long},
		{ID: id(6), Name: "orders", Status: "DELETED", LastUpdate: long},
	})
	run := func(args ...string) (int, string, string) {
		t.Helper()
		args = append(args, "--client-id", "app", "--client-secret-file", "-", "--organization", orgID, "--environment", envID, "--anypoint-url", r.URL, "--ca-file", r.ca)
		return command(t, strings.NewReader("hush"), args...)
	}
	code, out, said := run("gateways", "list")
	if code != 0 || strings.Count(out, "\n") != 5 || strings.Contains(out, "\x1b") || strings.Contains(out, "gone") || !strings.Contains(out, "2 of 2") || !strings.Contains(out, "2027-01-01T00:00:00Z") {
		t.Errorf("%d %s%s", code, out, said)
	}
	code, out, said = run("gateways", "list", "--stale", "30d", "-o", "json")
	var got struct{ Gateways []struct{ ID string } }
	if err := json.Unmarshal([]byte(out), &got); code != 0 || err != nil || len(got.Gateways) != 2 || got.Gateways[0].ID != id(2) || got.Gateways[1].ID != id(4) {
		t.Errorf("%d %s%s", code, out, said)
	}
	if code, _, said = run("gateways", "delete", "twin"); code != cli.ExitUsage || !strings.Contains(said, "2 gateways are called \"twin\"") || !strings.Contains(said, id(3)) || !strings.Contains(said, id(4)) {
		t.Errorf("%d %s", code, said)
	}
	for name, want := range map[string]string{"gone": "was deleted already", id(4): "is deleted", "orders": "(" + id(1) + ") is deleted"} {
		if code, out, said = run("gateways", "delete", name); code != 0 || !strings.Contains(out, want) {
			t.Errorf("%s: %d %s%s", name, code, out, said)
		}
	}
	if slices.ContainsFunc(r.asked(), func(c string) bool { return strings.Contains(c, "flexgw") }) {
		t.Errorf("the platform was asked for what is ours: %v", r.asked())
	}
}
