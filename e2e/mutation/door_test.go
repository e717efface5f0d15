package mutation

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/flexgw/flexgw/cli"
	"github.com/flexgw/flexgw/schema/diag"
)

// everyNth change is also judged by the command: what TestEveryField puts together itself, because it is called thousands of times,
// must name what users are told.
const everyNth = 150

// door is what flexgw validate says about the declarations with one text changed, with the names that they have here.
func (g gateway) door(t *testing.T, changed, text string) diag.List {
	t.Helper()
	dir := t.TempDir()
	for name, own := range g.files {
		if name == changed {
			own = text
		}
		file := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(own), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	var out, errs bytes.Buffer
	code := cli.Main([]string{"flexgw", "validate", "--output", "json", dir}, cli.Env{Stdin: strings.NewReader(""), Stdout: &out, Stderr: &errs,
		Getenv: func(name string) (string, bool) { v, ok := g.env[name]; return v, ok }, Now: func() time.Time { return today }})
	var said struct{ Diagnostics diag.List }
	if err := json.Unmarshal(out.Bytes(), &said); err != nil || code > 1 {
		t.Fatalf("%s: %v, exit %d: %s", g.name, err, code, errs.String())
	}
	prefix := filepath.ToSlash(dir) + "/"
	for i := range said.Diagnostics {
		d := &said.Diagnostics[i]
		d.Subject.File = strings.TrimPrefix(d.Subject.File, prefix)
		d.Summary = strings.ReplaceAll(d.Summary, prefix, "")
		for j := range d.Related {
			d.Related[j].Subject.File = strings.TrimPrefix(d.Related[j].Subject.File, prefix)
		}
	}
	return said.Diagnostics
}
