package envoy_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/flexgw/flexgw/reconcile/envoy"
)

// fake writes a program that stands in for an Envoy; $config is the file that it is asked about.
func fake(t *testing.T, body string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "envoy")
	write(t, path, "#!/bin/sh\nconfig=$4\n"+body+"\n")
	do(t, os.Chmod(path, 0o755))
	return path
}

const saysOK = `echo "[info][config] loading 2 cluster(s)"; echo "[info][config] loading 1 listener(s)" >&2; echo "configuration '$config' OK"`

// TestOnlyAVerdictCounts: an exit status means something beside the words that belong to it, and nothing else is a verdict.
func TestOnlyAVerdictCounts(t *testing.T) {
	t.Parallel()
	two := envoy.Candidate{Name: "envoy.pb", Data: []byte("x"), Clusters: 2, Listeners: 1}
	for _, c := range []struct{ name, body, refused, failed string }{
		{name: "yes", body: saysOK},
		{name: "no", body: `echo "[critical] error initializing configuration '$config': missing ): /a(b" >&2; exit 1`, refused: "missing ): /a(b"},
		{name: "no, and a private key", body: `printf "error initializing configuration '$config': bad -----BEGIN PRIVATE KEY-----\nAA" >&2; exit 1`, refused: "bad [redacted]"},
		{name: "a crash", body: `echo "[critical] Caught Segmentation fault" >&2; sh -c 'kill -SEGV $$'; exit $?`, failed: "it ended with status 139, and not with a verdict; its last words: Caught Segmentation fault"},
		{name: "a hang", body: `echo starting; sleep 60`, failed: "it did not answer in time; its last words: starting"},
		{name: "garbage", body: `head -c 100000 /dev/urandom; exit 0`, failed: "it ended with status 0, and not with a verdict"},
		{name: "garbage, status 1", body: `echo hello; exit 1`, failed: "it ended with status 1, and not with a verdict; its last words: hello"},
		{name: "status 2", body: `exit 2`, failed: "it ended with status 2, and not with a verdict"},
		{name: "a yes with another status", body: saysOK + "; exit 3", failed: "it ended with status 3"},
		{name: "a yes to an empty configuration", body: `echo "loading 0 cluster(s)"; echo "loading 0 listener(s)"; echo "configuration '$config' OK"`, failed: "it ended with status 0, and not with a verdict"},
		{name: "a yes to something else", body: `config=/etc/passwd; ` + saysOK, failed: "it ended with status 0, and not with a verdict"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			limit := 2 * time.Minute
			if c.name == "a hang" {
				limit = 300 * time.Millisecond
			}
			binary := fake(t, c.body)
			err := envoy.Validate(t.Context(), binary, two, limit)
			for ; c.name == "a hang" && limit < time.Minute && !strings.Contains(fmt.Sprint(err), "last words"); limit *= 5 { // it began late
				err = envoy.Validate(t.Context(), binary, two, limit)
			}
			var refused *envoy.RefusedError
			var failed *envoy.FailedError
			switch {
			case c.refused != "":
				if !errors.As(err, &refused) || refused.Message != c.refused {
					t.Errorf("got %v, want the refusal %q", err, c.refused)
				}
			case c.failed != "":
				if !errors.As(err, &failed) || !strings.HasPrefix(err.Error(), "envoy came to no verdict: "+c.failed) || failed.Limited != (c.name == "a hang") {
					t.Errorf("got %v, want %q", err, c.failed)
				}
			case err != nil:
				t.Error(err)
			}
		})
	}
	if err := envoy.Validate(t.Context(), filepath.Join(t.TempDir(), "no"), two, 0); !errors.Is(err, os.ErrNotExist) || errors.As(err, new(*envoy.FailedError)) {
		t.Errorf("no program: %v", err)
	}
}

// sdsOverADS is what segfaults `--mode validate` (envoy-findings/delivery.md, 9).
const sdsOverADS = `{"node":{"id":"n","cluster":"c"},
"dynamicResources":{"adsConfig":{"apiType":"DELTA_GRPC","transportApiVersion":"V3","grpcServices":[{"envoyGrpc":{"clusterName":"xds"}}]}},
"staticResources":{"clusters":[{"name":"xds","type":"STATIC"},{"name":"x","type":"STATIC","transportSocket":{"name":"tls","typedConfig":{
"@type":"type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
"commonTlsContext":{"tlsCertificateSdsSecretConfigs":[{"name":"s","sdsConfig":{"ads":{}}}]}}}}]}}`

func TestValidateAsksTheRealEnvoy(t *testing.T) {
	t.Parallel()
	o, _ := gateway(t)
	for _, c := range []struct {
		name, file, text string
		refused, failed  string
	}{
		{name: "yes", file: "a.json", text: `{"staticResources":{"clusters":[{"name":"x","type":"STATIC"}]}}`},
		{name: "no", file: "a.json", text: `{"staticResources":{"clusters":[{"name":"x"},{"name":"x"}]}}`, refused: "cluster manager: duplicate cluster 'x'"},
		{name: "an unknown field", file: "a.yaml", text: "nonsense: 1\n", refused: "'nonsense') has unknown fields"},
		{name: "a constraint", file: "a.json", text: `{"staticResources":{"clusters":[{"name":"x","connectTimeout":"0s"}]}}`, refused: "Proto constraint validation failed (BootstrapValidationError"},
		{name: "a crash", file: "a.json", text: sdsOverADS, failed: "it crashed (segmentation fault); its last words: Caught Segmentation fault, suspect faulting address 0x0"},
		// This one says yes and does nothing: it has read nothing.
		{name: "binary that is none", file: "a.pb", text: "\xff\xff", failed: "it ended with status 0, and not with a verdict"},
	} {
		err := envoy.Validate(t.Context(), o.Binary, envoy.Candidate{Name: c.file, Data: []byte(c.text), Clusters: 1}, 0)
		var refused *envoy.RefusedError
		var failed *envoy.FailedError
		switch {
		case c.refused != "" && (!errors.As(err, &refused) || !strings.Contains(refused.Message, c.refused)):
			t.Errorf("%s: got %v, want the refusal %q", c.name, err, c.refused)
		case c.failed != "" && (!errors.As(err, &failed) || !strings.Contains(err.Error(), c.failed)):
			t.Errorf("%s: got %v, want %q", c.name, err, c.failed)
		case c.refused+c.failed == "" && err != nil:
			t.Errorf("%s: %v", c.name, err)
		}
	}
}
