package mutation

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/flexgw/flexgw/cli"
	"github.com/flexgw/flexgw/schema/diag"
)

// today is the day of every run: certificates in cases must not expire.
var today = time.Date(2026, 11, 20, 0, 0, 0, 0, time.UTC)

// door is a gateway on the disk, for the command.
type door struct {
	gateway
	dir string
}

func (g gateway) door(t *testing.T) door {
	t.Helper()
	d := door{g, t.TempDir()}
	for name, text := range g.files {
		d.write(t, name, text)
	}
	return d
}

func (d door) write(t *testing.T, name, text string) {
	t.Helper()
	file := filepath.Join(d.dir, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// command is held while flexgw runs in this process: the command line library has flags that all commands of a process share.
var command sync.Mutex

// ask is what flexgw validate says about the declarations with one text changed ("": none), with the names that they have here.
func (d door) ask(t *testing.T, changed, text string) diag.List {
	t.Helper()
	if changed != "" {
		d.write(t, changed, text)
		defer d.write(t, changed, d.files[changed])
	}
	var out, errs bytes.Buffer
	command.Lock()
	defer command.Unlock()
	code := cli.Main([]string{"flexgw", "validate", "--no-config", "--output", "json", d.dir}, cli.Env{Stdin: strings.NewReader(""), Stdout: &out, Stderr: &errs,
		Getenv: d.getenv, Now: func() time.Time { return today }})
	var said struct{ Diagnostics diag.List }
	if err := json.Unmarshal(out.Bytes(), &said); err != nil || code > 1 {
		t.Fatalf("%s: %v, exit %d: %s", d.name, err, code, errs.String())
	}
	prefix := filepath.ToSlash(d.dir) + "/"
	own := func(r *diag.Range) { r.File = strings.TrimPrefix(r.File, prefix) }
	for i := range said.Diagnostics {
		x := &said.Diagnostics[i]
		own(&x.Subject)
		x.Summary = strings.ReplaceAll(x.Summary, prefix, "")
		for j := range x.Related {
			own(&x.Related[j].Subject)
		}
	}
	return said.Diagnostics
}
