package cli

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/txtar"
	"golang.org/x/sync/errgroup"

	"github.com/flexgw/flexgw/cli/report"
	"github.com/flexgw/flexgw/reconcile/envoy"
	"github.com/flexgw/flexgw/render"
	"github.com/flexgw/flexgw/schema/source"
)

// gatewayCase is a set of declarations that somebody wrote to show something: an example, or a case of a policy.
type gatewayCase struct {
	name  string
	files []source.File
	env   map[string]string
}

func (c gatewayCase) getenv(name string) (string, bool) {
	v, ok := c.env[name]
	return v, ok
}

func isDeclaration(name string) bool {
	switch filepath.Ext(name) {
	case ".yaml", ".yml", ".json", ".cue":
		return !strings.HasPrefix(name, "want/") && !strings.HasPrefix(name, "got/")
	}
	return false
}

// gatewayCases are the examples, the cases of every policy and the broken inputs.
func gatewayCases(t testing.TB) []gatewayCase {
	t.Helper()
	var out []gatewayCase
	dirs, err := filepath.Glob("../examples/*/README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, readme := range dirs {
		c := gatewayCase{name: "example " + filepath.Base(filepath.Dir(readme))}
		paths, _ := filepath.Glob(filepath.Join(filepath.Dir(readme), "*"))
		for _, p := range paths {
			if !isDeclaration(filepath.Base(p)) {
				continue
			}
			b, err := os.ReadFile(p)
			if err != nil {
				t.Fatal(err)
			}
			c.files = append(c.files, source.NewFile(filepath.Base(p), b))
		}
		out = append(out, c)
	}
	return append(out, casesOf(t, "../render/policy/*/testdata/*.txtar", "testdata/badinput/*.txtar")...)
}

// casesOf are the txtar cases that patterns match, each of which must match some.
func casesOf(t testing.TB, patterns ...string) (out []gatewayCase) {
	t.Helper()
	for _, pattern := range patterns {
		paths, err := filepath.Glob(pattern)
		if err != nil || len(paths) == 0 {
			t.Fatalf("%s: %d cases, %v", pattern, len(paths), err)
		}
		for _, p := range paths {
			a, err := txtar.ParseFile(p)
			if err != nil {
				t.Fatal(err)
			}
			c := gatewayCase{name: strings.TrimPrefix(filepath.ToSlash(p), "../render/policy/"), env: map[string]string{}}
			for _, f := range a.Files {
				if f.Name == "env" {
					for line := range strings.Lines(string(f.Data)) {
						k, v, _ := strings.Cut(strings.TrimSpace(line), "=")
						c.env[k] = v
					}
				}
				if isDeclaration(f.Name) {
					c.files = append(c.files, source.NewFile(f.Name, f.Data))
				}
			}
			if len(c.files) > 0 {
				out = append(out, c)
			}
		}
	}
	return out
}

// printedAll is every resource as bytes, in the renderer's order.
func printedAll(r *render.Resources) []byte {
	var b bytes.Buffer
	for _, t := range []string{render.ListenerType, render.ClusterType, render.ScopeType, render.SecretType} {
		r.Each(t, func(res *render.Resource) {
			fmt.Fprintf(&b, "%s %s %x\n", t, res.Name, res.Any.GetValue())
		})
	}
	return b.Bytes()
}

// hold is what is true of all declarations, right or wrong: no stage panics; what has no error renders, and the same way
// twice; and the renderer never finds a mistake of its own (it passes all that it makes through ValidateAll and a closure
// check, and says render/internal).
func hold(t *testing.T, set source.Set, getenv func(string) (string, bool)) *render.Resources {
	t.Helper()
	build := func() (*render.Resources, string) {
		p := newPipeline(Env{Getenv: getenv})
		_, r, list := p.build(set)
		if !list.HasErrors() && r == nil {
			t.Errorf("no error, and nothing rendered")
		}
		for _, d := range list {
			if d.Code == "render/internal" || d.Code == "shape/internal" {
				t.Errorf("%s\n%s", d, d.Hint)
			}
			if d.Code == "" || d.Summary == "" {
				t.Errorf("a diagnostic without words: %+v", d)
			}
			if d.Subject.File != "" && !d.Subject.Start.IsZero() && d.Subject.Start.Line < 1 {
				t.Errorf("a place outside its file: %s", d)
			}
		}
		return r, fmt.Sprint(list)
	}
	first, said := build()
	second, again := build()
	if said != again {
		t.Errorf("said differently the second time:\n%s\n%s", said, again)
	}
	if first != nil && second != nil && !bytes.Equal(printedAll(first), printedAll(second)) {
		t.Error("the same declarations gave other bytes")
	}
	return first
}

// FuzzYAML goes from text to resources through every policy that there is.
func FuzzYAML(f *testing.F) {
	for _, c := range gatewayCases(f) {
		var b strings.Builder
		for _, file := range c.files {
			if ext := filepath.Ext(file.Name); ext == ".yaml" || ext == ".yml" {
				text, err := file.Bytes()
				if err != nil {
					f.Fatal(err)
				}
				b.WriteString("---\n" + string(text))
			}
		}
		if b.Len() > 0 && b.Len() < 8<<10 {
			f.Add(b.String())
		}
	}
	f.Fuzz(func(t *testing.T, text string) {
		set := source.NewSet([]source.File{source.NewFile("fuzz.yaml", []byte(text))})
		hold(t, set, func(name string) (string, bool) { return "v", len(name)%2 == 0 })
	})
}

// FuzzValues puts one value into every place where a declaration takes free text: mutations of whole files seldom get
// past the shape.
func FuzzValues(f *testing.F) {
	for _, s := range []string{"/a(/.*)?", "/v(\\d+)(/.*)", "x", "#[attributes.headers['x']]", "", "(?i)a|b", "\\Q.\\E", "é", "a{0,1000}", "/a//b/../c", "$", "[^\\x00-\\x{10ffff}]", "(((a)*)*)*", "^$", "\\pL+"} {
		f.Add(s, "/base", "/dest", "x-name")
	}
	f.Add("(.*)", "", "/d\\1", "x y")
	f.Add("/", "/%41/ü", "/%s%zz", "\r\n")
	f.Fuzz(func(t *testing.T, pattern, base, dest, header string) {
		text := fmt.Sprintf(valuesGateway, quoted("http://0.0.0.0:8081"+base), quoted(pattern), quoted(pattern), quoted(pattern), quoted(header), quoted(pattern), quoted(dest),
			quoted(header), quoted(pattern), quoted(header), quoted(dest), quoted(header), quoted(pattern), quoted(pattern), quoted(dest))
		hold(t, source.NewSet([]source.File{source.NewFile("fuzz.json", []byte(text))}), func(string) (string, bool) { return "", false })
	})
}

func quoted(s string) string {
	b := new(bytes.Buffer)
	_ = report.Indented(b, strings.ToValidUTF8(s, "?"))
	return strings.TrimSpace(b.String())
}

const valuesGateway = `{"apiVersion": "gateway.mulesoft.com/v1alpha1", "kind": "ApiInstance", "metadata": {"name": "a"}, "spec": {
  "address": %s,
  "services": {"s": {"address": "http://127.0.0.1:9001", "routes": [{
    "rules": [{"path": %s, "methods": %s, "host": %s, "headers": {%s: %s}}], "config": {"destinationPath": %s}}]}},
  "policies": [
    {"policyRef": {"name": "header-injection-flex"}, "config": {"inboundHeaders": [{"key": %s, "value": %s}], "outboundHeaders": [{"key": %s, "value": %s}]}},
    {"policyRef": {"name": "header-removal-flex"}, "config": {"inboundHeaders": [%s]}, "rules": [{"path": %s}]},
    {"policyRef": {"name": "http-basic-authentication-flex"}, "config": {"username": %s, "password": %s}}]}}
`

// TestHold runs the whole pipeline over every example and case, CUE and JSON included.
func TestHold(t *testing.T) {
	t.Parallel()
	for _, c := range gatewayCases(t) {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			hold(t, source.NewSet(c.files), c.getenv)
		})
	}
}

// TestEnvoyTakesAll has Envoy itself judge the static form of all that the pipeline accepts.
func TestEnvoyTakesAll(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("a real Envoy is left out with -short")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	found, err := envoy.Find(ctx, envoy.FindOptions{Choice: "auto", Getenv: os.LookupEnv})
	if err != nil {
		t.Fatal(err)
	}
	secrets := exampleSecrets(t)
	var g errgroup.Group
	g.SetLimit(2)
	var mu sync.Mutex
	accepted := 0
	for _, c := range gatewayCases(t) {
		getenv := c.getenv
		if strings.HasPrefix(c.name, "example") {
			getenv = secrets
		}
		p := newPipeline(Env{Getenv: getenv})
		p.load.RequireEnv = true
		_, r, list := p.build(source.NewSet(c.files))
		if r == nil {
			if strings.HasPrefix(c.name, "example") {
				t.Errorf("%s: %v", c.name, list.Err())
			}
			continue
		}
		text, err := printed(benchEnv(), r, "static", true)
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		accepted++
		g.Go(func() error {
			if err := envoy.Validate(ctx, found.Path, envoy.Candidate{Name: "envoy.json", Data: text}, 0); err != nil {
				mu.Lock()
				defer mu.Unlock()
				t.Errorf("%s: %v", c.name, err)
			}
			return nil
		})
	}
	_ = g.Wait()
	if accepted < 30 {
		t.Errorf("only %d cases were accepted by the pipeline", accepted)
	}
	t.Logf("%d cases", accepted)
}

// exampleSecrets is an environment for the examples: a key, and a certificate that is its own authority.
func exampleSecrets(t *testing.T) func(string) (string, bool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"localhost"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	crt := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	values := map[string]string{"VAULT_CRT": crt, "STORE_CA": crt, "VAULT_KEY": string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}))}
	return func(name string) (string, bool) { v, ok := values[name]; return v, ok }
}
