package e2e

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/flexgw/flexgw/e2e/harness"
)

const hookSecret = "only the forge and we know it"

// pushed is a webhook as GitHub posts it after a push; with another secret it is forged.
func pushed(t testing.TB, url, secret, commit string) int {
	t.Helper()
	return pushedTo(t, url, secret, "https://git.example.com/acme/gateway.git", commit)
}

func pushedTo(t testing.TB, url, secret, repository, commit string) int {
	t.Helper()
	body := fmt.Sprintf(`{"ref":"refs/heads/main","after":%q,"repository":{"clone_url":%q}}`, commit, repository)
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(body))
	r, err := http.NewRequestWithContext(context.Background(), http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{"Content-Type": "application/json", "X-GitHub-Event": "push", "X-GitHub-Delivery": commit, "X-Hub-Signature-256": "sha256=" + hex.EncodeToString(mac.Sum(nil))} {
		r.Header.Set(name, value)
	}
	a, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	a.Body.Close()
	return a.StatusCode
}

// A push is live as soon as its webhook came, on a daemon that would look by itself in an hour; one that nobody signed is not.
func TestHookToLive(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	run := func(name string, args ...string) string {
		t.Helper()
		c := exec.CommandContext(t.Context(), name, args...)
		c.Dir = dir
		c.Env = append(os.Environ(), "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL="+filepath.Join(dir, "alice.git"))
		out, err := c.CombinedOutput()
		if err != nil {
			t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
		}
		return strings.TrimSpace(string(out))
	}
	write := func(name, text string) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", "alice")
	pub, err := os.ReadFile(filepath.Join(dir, "alice.pub"))
	if err != nil {
		t.Fatal(err)
	}
	signers := write("signers", "alice@example.com "+string(pub))
	write("alice.git", "[user]\n\tname = Alice\n\temail = alice@example.com\n\tsigningKey = "+filepath.Join(dir, "alice")+"\n[gpg]\n\tformat = ssh\n[commit]\n\tgpgSign = true\n")
	run("git", "init", "-q", "--bare", "-b", "main", "gateway.git")
	run("git", "clone", "-q", "gateway.git", "work")
	port, echo, hook, metrics := harness.FreePort(t), harness.FreePort(t), harness.FreePort(t), harness.FreePort(t)
	push := func(path string, args ...string) (commit string) {
		t.Helper()
		write("work/api.yaml", fmt.Sprintf("apiVersion: gateway.mulesoft.com/v1alpha1\nkind: ApiInstance\nmetadata:\n  name: hello\nspec:\n  address: http://127.0.0.1:%d/%s\n  services:\n    echo:\n      address: http://127.0.0.1:%d\n"+
			"---\napiVersion: flexgw/v1alpha1\nkind: Echo\nmetadata:\n  name: upstream\nspec:\n  address: http://127.0.0.1:%d\n", port, path, echo, echo))
		run("git", "-C", "work", "add", ".")
		run("git", append(append([]string{"-C", "work"}, args...), "commit", "-q", "-m", path)...)
		run("git", "-C", "work", "push", "-q", "origin", "HEAD:main")
		return run("git", "-C", "work", "rev-parse", "HEAD")
	}
	push("v0")
	d := harness.NewDaemon(t)
	d.Dir = "file://" + filepath.Join(dir, "gateway.git")
	d.Args = []string{"--interval", "1h", "--trust-signers", signers, "--hook-listen", "127.0.0.1:" + strconv.Itoa(hook), "--hook-secret-file", write("secret", hookSecret+"\n"),
		"--metrics-listen", "127.0.0.1:" + strconv.Itoa(metrics)}
	d.Run()
	d.WaitReady()
	url := "http://127.0.0.1:" + strconv.Itoa(hook) + "/any/path"
	answers := func(path string) int {
		a, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/%s", port, path))
		if err != nil {
			return 0
		}
		a.Body.Close()
		return a.StatusCode
	}
	if got := answers("v0"); got != 200 {
		t.Fatalf("v0 answers %d", got)
	}

	last := ""
	for i := range 10 {
		last = fmt.Sprintf("v%d", i+1)
		commit := push(last)
		if got := pushed(t, url, hookSecret, commit); got != http.StatusAccepted {
			t.Fatalf("the webhook was answered with %d", got)
		}
		harness.Until(t, func() error {
			if got := answers(last); got != 200 {
				return fmt.Errorf("after the webhook %s answers %d", last, got)
			}
			return nil
		})
		if got := pushed(t, url, hookSecret, commit); got != http.StatusOK {
			t.Errorf("a replay was answered with %d", got)
		}
	}

	// What nobody signed is refused by name, and stays so; nobody who does not know the secret makes the daemon look.
	evil := push("evil", "-c", "commit.gpgSign=false")
	if got := pushed(t, url, "guessed, and wrong", evil); got != http.StatusForbidden {
		t.Errorf("a forged webhook was answered with %d", got)
	}
	if strings.Contains(d.Log(), evil) {
		t.Error("a forged webhook made the daemon look")
	}
	if got := pushed(t, url, hookSecret, evil); got != http.StatusAccepted {
		t.Errorf("the webhook was answered with %d", got)
	}
	d.WaitLog(`commit ` + evil + ` by Alice <alice@example\.com>: it is not signed \[unsigned\]`)
	out, _, _ := harness.Command(t, "status", "--state-dir", d.State)
	if !strings.Contains(out, "Fetched=False (Untrusted)") || !strings.Contains(out, evil) || !strings.Contains(out, "requires  every commit signed by its committer with a key in 1 line of "+signers) {
		t.Errorf("status:\n%s", out)
	}
	if answers("evil") == 200 || answers(last) != 200 {
		t.Errorf("evil answers %d, %s answers %d", answers("evil"), last, answers(last))
	}
	wants(t, func() map[string]string {
		return exposed(t, http.DefaultClient, "http://127.0.0.1:"+strconv.Itoa(metrics)+"/metrics")
	}, map[string]string{`flexgw_hook_requests_total{result="taken"}`: "11", `flexgw_hook_requests_total{result="replayed"}`: "10", `flexgw_hook_requests_total{result="forbidden"}`: "1"})
	if strings.Contains(d.Log(), hookSecret) {
		t.Error("the secret is in the log")
	}
}

// The socket is a service manager's: who calls before the daemon runs waits, and is answered.
func TestHookOnASocketOfSystemd(t *testing.T) {
	t.Parallel()
	activate, err := exec.LookPath("systemd-socket-activate")
	if err != nil {
		if testing.Short() {
			t.Skip(err)
		}
		t.Fatal(err)
	}
	dir := t.TempDir()
	repo, secret := filepath.Join(dir, "gateway.git"), filepath.Join(dir, "secret")
	if out, err := exec.Command("git", "init", "-q", "--bare", repo).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if err := os.WriteFile(secret, []byte(hookSecret), 0o600); err != nil {
		t.Fatal(err)
	}
	args := []string{"run", "--observe", "--state-dir", filepath.Join(dir, "state"), "--hook-listen", "systemd", "--hook-secret-file", secret, "file://" + repo}
	if _, stderr, code := harness.Command(t, args...); code != 3 || !strings.Contains(stderr, "--hook-listen systemd: the service manager gave no socket of the name hook") {
		t.Errorf("without a socket: %d, %s", code, stderr)
	}
	address := "127.0.0.1:" + strconv.Itoa(harness.FreePort(t))
	cmd := exec.Command(activate, append([]string{"--listen", address, "--fdname", "hook", harness.Binary(t)}, args...)...)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		_ = cmd.Wait()
	})
	harness.Until(t, func() error {
		c, err := net.Dial("tcp", address)
		if err == nil {
			c.Close()
		}
		return err
	})
	if got := pushed(t, "http://"+address, hookSecret, "1"); got != http.StatusAccepted {
		t.Errorf("answered with %d", got)
	}
}
