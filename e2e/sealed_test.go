package e2e

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/flexgw/flexgw/schema/sops/sopstest"
)

// TestSealedPassword serves an API whose password SOPS encrypted. The right key comes late, by a reload; the password stands
// nowhere in what the daemon says and keeps.
func TestSealedPassword(t *testing.T) {
	t.Parallel()
	k := sopstest.New(t)
	const password = "correct-horse-battery"
	keys := filepath.Join(t.TempDir(), "keys.txt")
	put := func(k *sopstest.Keeper) {
		if err := os.WriteFile(keys, []byte(k.Identity+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put(sopstest.New(t))
	g := prepare(t, "\n-- gateway.yaml --\n"+policyAPI("plain", "http-basic-authentication-flex", "username: alice\npassword: "+password), withEnv("SOPS_AGE_KEY_FILE="+keys))
	text, err := os.ReadFile(filepath.Join(g.Dir, "gateway.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	g.Put("gateway.yaml", k.Encrypt("gateway.yaml", string(text), "--encrypted-regex", "^password$"))
	g.Run()
	g.WaitLog(`\[sops/no-key\]`)
	if strings.Contains(g.Log(), "\nready ") {
		t.Fatal("it serves without the key")
	}
	put(k)
	if err := g.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	g.WaitReady()
	for credentials, want := range map[string]int{"alice:" + password: 200, "alice:wrong": 401, "alice:ENC[AES256_GCM": 401} {
		if got := g.get(8081, "/plain", "Authorization: Basic "+base64Of(credentials)); got.Status != want {
			t.Errorf("%s: status %d, want %d", credentials, got.Status, want)
		}
	}
	g.Kill()
	g.Run() // what it kept is the encrypted file, and opens again
	g.WaitReady()
	if code := g.Stop(); code != 0 {
		t.Errorf("it ended with %d", code)
	}
	if strings.Contains(g.Log(), password) {
		t.Error("the password is in the log")
	}
	kept := 0
	err = filepath.WalkDir(g.State, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		if strings.Contains(string(b), password) {
			t.Errorf("the password is in %s", path)
		}
		if strings.Contains(string(b), "ENC[AES256_GCM") {
			kept++
		}
		return err
	})
	if err != nil || kept == 0 {
		t.Errorf("%v; the encrypted file was kept %d times", err, kept)
	}
}
