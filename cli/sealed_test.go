package cli_test

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/flexgw/flexgw/cli"
	"github.com/flexgw/flexgw/schema/sops/sopstest"
)

const sealedDeclarations = `apiVersion: gateway.mulesoft.com/v1alpha1
kind: ApiInstance
metadata:
  name: shop
spec:
  address: http://0.0.0.0:8081/shop
  services:
    shop:
      address: http://shop.example.com:8080/
  policies:
    - policyRef:
        name: http-basic-authentication-flex
      config: {username: alice-in-wonder, password: correct-horse}
    - policyRef:
        name: header-injection-flex
      config:
        inboundHeaders:
          - {key: x-partner, value: hidden-partner-word}
`

// sealedRun is a folder with a file that SOPS wrote, and what commands say of it.
type sealedRun struct {
	t   *testing.T
	dir string
	env map[string]string
}

func (r *sealedRun) write(name, text string) string {
	r.t.Helper()
	path := filepath.Join(r.dir, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		r.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		r.t.Fatal(err)
	}
	return path
}

// run wants an exit code, and returns all that was said.
func (r *sealedRun) run(want int, args ...string) string {
	r.t.Helper()
	var out bytes.Buffer
	code := cli.Alone(append([]string{"flexgw"}, args...), cli.Env{Stdin: strings.NewReader(""), Stdout: &out, Stderr: &out, Getenv: func(name string) (string, bool) {
		v, ok := r.env[name]
		return v, ok
	}})
	if code != want {
		r.t.Errorf("flexgw %v ended with %d, want %d:\n%s", args, code, want, out.String())
	}
	return out.String()
}

var sealedWords = []string{"correct-horse", "hidden-partner-word", "alice-in-wonder", "Y29ycmVjdC1ob3JzZQ"}

func (r *sealedRun) hides(what, said string) {
	r.t.Helper()
	for _, w := range sealedWords {
		if strings.Contains(said, w) {
			r.t.Errorf("%s shows %s", what, w)
		}
	}
}

func TestSealedFiles(t *testing.T) {
	t.Parallel()
	k := sopstest.New(t)
	r := &sealedRun{t: t, dir: t.TempDir(), env: map[string]string{"HOME": t.TempDir()}}
	sealed := k.Encrypt("shop.yaml", sealedDeclarations, "--encrypted-regex", "^config$")
	conf := filepath.Dir(r.write("conf/shop.yaml", sealed))
	key := r.write("age.key", "# mine\n"+k.Identity+"\n")

	// Without the key.
	if said := r.run(0, "validate", "--verbose", conf); !strings.Contains(said, "[sops/no-key]") {
		t.Errorf("validate says nothing of the key:\n%s", said)
	}
	for _, args := range [][]string{{"render", conf}, {"validate", "--require-env", conf}} {
		if said := r.run(1, args...); !strings.Contains(said, "error: the file is encrypted by SOPS, and no age key is at hand [sops/no-key]") || !strings.Contains(said, "--age-key-file") {
			t.Errorf("%v says:\n%s", args, said)
		}
	}

	// With it, from each of its places.
	want := r.run(0, "render", "--show-secrets", "--age-key-file", key, conf)
	for _, w := range sealedWords[1:3] {
		if !strings.Contains(want, w) {
			t.Errorf("render --show-secrets does not show %s:\n%s", w, want)
		}
	}
	for name, value := range map[string]string{"SOPS_AGE_KEY_FILE": key, "SOPS_AGE_KEY": k.Identity, "CREDENTIALS_DIRECTORY": filepath.Dir(r.write("credentials/age-key", k.Identity))} {
		r.env[name] = value
		if got := r.run(0, "render", "--show-secrets", conf); got != want {
			t.Errorf("$%s: got\n%s", name, got)
		}
		delete(r.env, name)
	}
	r.env["SOPS_AGE_KEY"] = k.Identity
	plain := filepath.Dir(r.write("plain/shop.yaml", sealedDeclarations))
	if got := r.run(0, "render", "--show-secrets", plain); got != want {
		t.Error("what is rendered is not what the plain file gives")
	}
	for _, form := range []string{"resources", "static"} {
		said := r.run(0, "render", "--form", form, conf)
		r.hides("render --form "+form, said)
		if !strings.Contains(said, "[redacted]") {
			t.Errorf("nothing is redacted in\n%s", said)
		}
	}

	// What is kept.
	kept := filepath.Join(r.dir, "cache")
	for range 2 {
		r.hides("validate", r.run(0, "validate", "--verbose", "--cache", kept, conf))
	}
	err := filepath.WalkDir(kept, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		r.hides(path, string(b))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	delete(r.env, "SOPS_AGE_KEY")
	if said := r.run(0, "validate", "--verbose", "--cache", kept, conf); !strings.Contains(said, "[sops/no-key]") {
		t.Error("the cache answers as if there was a key")
	}

	// What changed.
	other := filepath.Dir(r.write("other/shop.yaml", k.Encrypt("shop.yaml", strings.Replace(sealedDeclarations, "hidden-partner-word", "another-partner-word", 1), "--encrypted-regex", "^config$")))
	said := r.run(0, "diff", "--age-key-file", key, conf, other)
	r.hides("diff", said)
	if strings.Contains(said, "another-partner") || !strings.Contains(said, "inboundHeaders") {
		t.Errorf("diff says\n%s", said)
	}
	if said := r.run(0, "diff", "--age-key-file", key, conf, plain); !strings.Contains(said, "0 security-relevant, 0 traffic-relevant") {
		t.Errorf("to encrypt is no change, and diff says\n%s", said)
	}

	// Who may write.
	if said := r.run(0, "fmt", conf); !strings.Contains(said, "[sops/left-alone]") {
		t.Errorf("fmt says\n%s", said)
	}
	wrong := filepath.Dir(r.write("wrong/shop.yaml", k.Encrypt("shop.yaml", strings.Replace(sealedDeclarations, "services:", "servces:", 1), "--encrypted-regex", "^config$")))
	before, _ := os.ReadFile(filepath.Join(wrong, "shop.yaml"))
	r.run(1, "validate", "--fix", "--age-key-file", key, wrong)
	if after, _ := os.ReadFile(filepath.Join(wrong, "shop.yaml")); !bytes.Equal(before, after) {
		t.Error("--fix changed a file that SOPS wrote")
	}
	if now, _ := os.ReadFile(filepath.Join(conf, "shop.yaml")); string(now) != sealed {
		t.Error("a file that SOPS wrote was changed")
	}

	// Keys that are none.
	if said := r.run(3, "validate", "--age-key-file", r.write("torn.key", "AGE-SECRET-KEY-1TORN"), conf); strings.Contains(said, "1TORN") || !strings.Contains(said, "expected identities as age-keygen writes them") {
		t.Errorf("of a torn key it says %s", said)
	}
	r.run(3, "validate", "--age-key-file", filepath.Join(r.dir, "none"), conf)
}
