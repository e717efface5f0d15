package docs_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/flexgw/flexgw/cli"
)

// TestReadmeMistake holds the README's demonstration to what the quickstart says when its field is misspelt.
func TestReadmeMistake(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile("../examples/quickstart/gateway.yaml")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "gateway.yaml")
	if err := os.WriteFile(file, bytes.Replace(b, []byte("username: alice"), []byte("usrname: alice"), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	code := cli.Main([]string{"flexgw", "validate", file}, cli.Env{Stdout: &out, Stderr: &out, Getenv: func(string) (string, bool) { return "", false }})
	said, _, _ := strings.Cut(strings.ReplaceAll(out.String(), filepath.Dir(file)+"/", ""), "\n\n")
	if code != 1 || !strings.Contains(string(readme), said) {
		t.Errorf("ended with %d; the README does not show:\n%s", code, said)
	}
}
