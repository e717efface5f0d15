package envoy_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/flexgw/flexgw/e2e/harness"
	"github.com/flexgw/flexgw/reconcile/envoy"
)

// resolver, in the environment, makes the test binary ask an Envoy beside a name server of its own.
const resolver = "FLEXGW_TEST_RESOLVER"

const byName = `{"staticResources":{"clusters":[{"name":"x","type":"STRICT_DNS","loadAssignment":{"clusterName":"x","endpoints":[{"lbEndpoints":[
{"endpoint":{"address":{"socketAddress":{"address":"nobody.example.org","portValue":80}}}}]}]}}]}}`

// TestValidateAsksNoNameServer: Envoy by itself asks for the names in a configuration that it is to judge; in the sandbox no
// question leaves. The name server is real, and alone in a network of its own.
func TestValidateAsksNoNameServer(t *testing.T) {
	t.Parallel()
	o, _ := gateway(t)
	self, err := os.Executable()
	do(t, err)
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), resolver+"="+o.Binary)
	cmd.Dir = t.TempDir()
	harness.Alone(cmd)
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "by itself: asked\n") || !strings.Contains(string(out), "in the sandbox: 0 questions\n") {
		t.Errorf("%v\n%s", err, out)
	}
}

// besideResolver answers nobody, and says who asked.
func besideResolver(binary string) {
	check := func(what string, err error) {
		if err != nil {
			fmt.Printf("%s: %v\n", what, err)
			os.Exit(1)
		}
	}
	check("write", os.WriteFile("envoy.json", []byte(byName), 0o644))
	questions, err := harness.SilentNameServer(".")
	check("name server", err)
	out, err := exec.Command(binary, "--mode", "validate", "--config-path", "envoy.json", "--disable-hot-restart", "--log-level", "error").CombinedOutput()
	check(string(out), err)
	for range 3000 {
		if questions.Load() > 0 {
			fmt.Println("by itself: asked")
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	time.Sleep(2 * time.Second) // what comes in twos
	before := questions.Load()
	check("validate", envoy.Validate(context.Background(), binary, envoy.Candidate{Name: "envoy.json", Data: []byte(byName)}, 0))
	time.Sleep(500 * time.Millisecond)
	fmt.Printf("in the sandbox: %d questions\n", questions.Load()-before)
}
