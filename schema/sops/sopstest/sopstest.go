// Package sopstest encrypts with SOPS itself, for tests.
//
// The program is installed through Go, once for a user; it knows all clouds, which is why no package of flexgw imports it.
package sopstest

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"filippo.io/age"
)

// The releases that tests are made with.
const (
	Version    = "v3.13.3"
	AgeVersion = "v1.3.2"
)

// Keeper is an author who has a key.
type Keeper struct {
	Identity, Recipient string // as age-keygen writes them

	t    testing.TB
	path string
	rule string
}

// New is a Keeper with a key of its own. With -short the test is left out.
func New(t testing.TB) *Keeper {
	t.Helper()
	if testing.Short() {
		t.Skip("SOPS itself is left out with -short")
	}
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	return &Keeper{Identity: id.String(), Recipient: id.Recipient().String(), t: t, path: path}
}

// In is the same author in another test.
func (k Keeper) In(t testing.TB) *Keeper {
	k.t = t
	return &k
}

// Encrypt is what SOPS makes of a file.
func (k *Keeper) Encrypt(name, text string, args ...string) string {
	k.t.Helper()
	return k.run(name, text, append([]string{"encrypt", "--age", k.Recipient}, args...)...)
}

// EncryptBy is what SOPS makes of a file by a rule of .sops.yaml, of which not all are flags: "name: value".
func (k *Keeper) EncryptBy(rule, name, text string) string {
	k.t.Helper()
	k.rule = rule
	defer func() { k.rule = "" }()
	return k.run(name, text, "encrypt")
}

// Decrypt is what SOPS reads in one.
func (k *Keeper) Decrypt(name, text string) string {
	k.t.Helper()
	return k.run(name, text, "decrypt")
}

func (k *Keeper) run(name, text string, args ...string) string {
	k.t.Helper()
	dir, err := os.MkdirTemp("", "sops")
	if err != nil {
		k.t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, name)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		k.t.Fatal(err)
	}
	if k.rule != "" {
		config := "creation_rules: [{age: " + k.Recipient + ", " + k.rule + "}]\n"
		if err := os.WriteFile(filepath.Join(dir, ".sops.yaml"), []byte(config), 0o600); err != nil {
			k.t.Fatal(err)
		}
	}
	cmd := exec.Command(k.path, append(args, file)...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr, cmd.Dir = &out, &errs, dir
	cmd.Env = []string{"PATH=" + filepath.Dir(k.path), "HOME=" + dir, "SOPS_AGE_KEY=" + k.Identity, "SOPS_DISABLE_VERSION_CHECK=1"}
	if err := cmd.Run(); err != nil {
		k.t.Fatalf("sops %v: %v\n%s", args, err, errs.String())
	}
	return out.String()
}

// folder is where the program is kept between runs.
func folder() (string, error) {
	dir, err := os.UserCacheDir()
	return filepath.Join(dir, "flexgw-test", "sops-"+Version), err
}

var installing sync.Mutex

func program() (string, error) {
	installing.Lock()
	defer installing.Unlock()
	dir, err := folder()
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "sops")
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	cmd := exec.Command("go", "install", "github.com/getsops/sops/v3/cmd/sops@"+Version)
	cmd.Dir = os.TempDir()
	cmd.Env = append(os.Environ(), "GOBIN="+dir, "GOFLAGS=")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", &installError{err, out}
	}
	return path, nil
}

type installError struct {
	err error
	out []byte
}

func (e *installError) Error() string { return "install SOPS: " + e.err.Error() + "\n" + string(e.out) }
func (e *installError) Unwrap() error { return e.err }
