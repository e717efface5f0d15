package cli_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	crand "crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"maps"
	"math/big"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/flexgw/flexgw/cli"
	"github.com/flexgw/flexgw/cli/report"
)

// changing is a repository that changes at random, and the world around it.
type changing struct {
	t     *testing.T
	r     *rand.Rand
	root  string
	files map[string]string // by name, below conf
	env   map[string]string
	set   map[string]string // flags
	now   time.Time
	certs []string
}

func newChanging(t *testing.T, seed uint64) *changing {
	t.Helper()
	c := &changing{t: t, r: rand.New(rand.NewPCG(seed, 7)), root: t.TempDir(), files: map[string]string{}, env: map[string]string{}, set: map[string]string{}, now: time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)}
	key, err := ecdsa.GenerateKey(elliptic.P256(), crand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	c.env["KEY"] = string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}))
	c.certs = []string{"", c.certificate(key, -10, 20), c.certificate(key, -10, 50), c.certificate(key, 5, 60)}
	c.env["CRT"], c.files["tls-t.yaml"] = c.certs[1], strings.ReplaceAll(changingTLS, "NAME", "tls")
	for _, name := range []string{"api0", "api1"} {
		c.files[name+"-s.yaml"] = strings.ReplaceAll(changingScope(), "NAME", name)
	}
	c.env["GIT_DIR"], c.env["GIT_WORK_TREE"] = filepath.Join(c.root, ".git"), c.root
	c.git("init", "-q", "-b", "main")
	for range 8 {
		c.edit()
	}
	c.git("add", "-A")
	c.git("commit", "-q", "-m", "first", "--allow-empty")
	return c
}

func (c *changing) git(args ...string) {
	c.t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir = c.root
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null", "GIT_AUTHOR_NAME=A", "GIT_AUTHOR_EMAIL=a@example.org", "GIT_COMMITTER_NAME=A", "GIT_COMMITTER_EMAIL=a@example.org")
	if out, err := cmd.CombinedOutput(); err != nil {
		c.t.Fatalf("git %v: %v\n%s", args, err, out)
	}
}

// certificate is valid between days from now.
func (c *changing) certificate(key *ecdsa.PrivateKey, from, until int) string {
	c.t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"localhost"}, NotBefore: c.now.AddDate(0, 0, from), NotAfter: c.now.AddDate(0, 0, until)}
	der, err := x509.CreateCertificate(crand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		c.t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

// changingTLS has a certificate of the environment, and a suppression that ends.
const changingTLS = `# flexgw:ignore lint/certificate-ends-soon until 2026-06-10: it is renewed by then
apiVersion: gateway.mulesoft.com/v1alpha1
kind: ApiInstance
metadata:
  name: NAME
spec:
  address: https://0.0.0.0:8443/NAME
  services:
    store:
      address: https://store.example.org
  policies:
    - policyRef: {name: tls}
      config: {certificate: {key: $KEY, crt: $CRT}}
`

// changingScope is an API that shares a scope with others, and has as many policies with rules as a port has slots.
func changingScope() string {
	text := `apiVersion: gateway.mulesoft.com/v1alpha1
kind: ApiInstance
metadata:
  name: NAME-s
spec:
  address: http://0.0.0.0:8085/shared/NAME
  services:
    backend:
      address: http://shared.example.org:8080
      routes: [{rules: [{path: /items/.*}]}]
  policies:
`
	for i := range 16 {
		text += fmt.Sprintf("    - policyRef: {name: header-injection-flex}\n      config: {inboundHeaders: [{key: x-%d, value: a}]}\n      rules:\n        - path: /x/%d\n", i, i)
	}
	return text + "#   - policyRef: {name: header-injection-flex}\n#     config: {inboundHeaders: [{key: x-17, value: a}]}\n#     rules: [{path: /x/17}]\n"
}

// changingBinding comes to an API of another file.
const changingBinding = `apiVersion: gateway.mulesoft.com/v1alpha1
kind: PolicyBinding
metadata:
  name: NAME-late
spec:
  targetRef: {kind: ApiInstance, name: NAME-s}
  policyRef: {name: header-injection-flex}
  order: 1
  config: {inboundHeaders: [{key: x-late, value: a}]}
  rules:
    - path: /items/late
`

// changingShop has in each document what only some files have: secrets that stand there, texts in quotes, headers, labels that are
// selected, notes, and policies that are not enforced or that nobody knows.
const changingShop = `# flexgw:ignore link/plain-text-secret: it is of the sandbox
apiVersion: gateway.mulesoft.com/v1alpha1
kind: ApiInstance
metadata: {name: NAME-shop, namespace: shop, labels: {tier: gold, "team": 'pay\x6dents'}}
spec:
  address: http://0.0.0.0:8086/shop/NAME/
  services:
    main:
      address: http://SHOP.example.org
      routes:
        - config: {destinationPath: /v1}
          rules: [{path: "/a(/.*)", host: a.example, headers: {X-Channel: "mob\u0069le", authorization: Basic b3BlbjpzZXNhbWU=}}, {path: /naïve}]
  policies:
    - policyRef: {name: http-basic-authentication-flex}
      config: {username: alice, password: open-Sesame-4711}
    - policyRef: {name: ip-allowlist-flex, namespace: default}
      config: {ips: [10.0.0.0/8], ipExpression: "#[attributes.remoteAddress]"}
    - policyRef: {name: header-injection-flex, namespace: default}
      config: {inboundHeaders: [{key: x-one, value: "1"}]}
    - policyRef: {name: NAME-own}
      config: {mode: block}
---
apiVersion: gateway.mulesoft.com/v1alpha1
kind: PolicyBinding
metadata: {name: NAME-all}
spec:
  targetRef: {kind: Selector, selector: {kind: ApiInstance, labels: {tier: gold}}}
  policyRef: {name: header-injection-flex}
  order: 7
  config: {inboundHeaders: [{key: x-one, value: "2"}]}
---
apiVersion: gateway.mulesoft.com/v1alpha1
kind: PolicyBinding
metadata: {name: NAME-split}
spec:
  targetRef: {name: NAME-r}
  policyRef: {name: route-weighted}
  order: 4
  config: {routes: [{weight: 30, destinationRef: {name: NAME-service}}, {weight: 70, destinationRef: {name: NAME-service}, destinationPath: /x}]}
---
apiVersion: flexgw/v1alpha1
kind: Probe
metadata: {name: NAME-probe}
spec: {targetRef: {name: NAME-shop, namespace: shop}, http: {path: /a}}
`

// withoutOdd leaves out what makes a file be decoded each time.
func withoutOdd(text string) string {
	text, _, _ = strings.Cut(text, "---\napiVersion: flexgw/v1alpha1")
	text = strings.ReplaceAll(text, "    - policyRef: {name: NAME-own}\n      config: {mode: block}\n", "")
	return strings.NewReplacer("NAME-", "NAME-n-", "/NAME", "/NAME-n", `pay\x6dents`, "payments", `mob\u0069le`, "mobile").Replace(text)
}

func pick[T any](r *rand.Rand, list []T) T { return list[r.IntN(len(list))] }

// edit changes something.
func (c *changing) edit() {
	texts := map[string]string{".yaml": seedYAML, ".json": seedJSON, "/gateway.cue": seedCUE, "-r.yaml": seedResources, "-t.yaml": changingTLS, "-s.yaml": changingScope(), "-b.yaml": changingBinding, "-m.yaml": changingShop, "-n.yaml": withoutOdd(changingShop)}
	names := slices.Sorted(maps.Keys(c.files))
	what := c.r.IntN(18)
	if len(names) == 0 {
		what = 0
	}
	switch what {
	case 0, 1: // a new file, or the old text of one that is there
		end := pick(c.r, slices.Sorted(maps.Keys(texts)))
		name := fmt.Sprintf("api%d", c.r.IntN(4))
		c.files[name+end] = strings.ReplaceAll(texts[end], "NAME", name)
	case 2:
		delete(c.files, pick(c.r, names))
	case 3: // to another name
		from := pick(c.r, names)
		to := pick(c.r, names)
		c.files[from], c.files[to] = c.files[to], c.files[from]
	case 4: // lines move
		name := pick(c.r, names)
		comment := "# \n"
		if !strings.HasSuffix(name, ".yaml") {
			comment = "\n"
		}
		c.files[name] = comment + c.files[name]
	case 5, 6:
		c.env["PASSWORD"] = pick(c.r, []string{"", "open-sesame", "x"})
		if c.env["PASSWORD"] == "" {
			delete(c.env, "PASSWORD")
		}
	case 7, 8:
		c.env["CRT"] = pick(c.r, c.certs)
	case 9, 10, 11:
		c.now = c.now.Add(time.Duration(c.r.IntN(1000)-450) * time.Hour)
	case 12, 13, 14, 15: // what only rendering finds, or finds no more
		const late = "    - policyRef: {name: header-injection-flex}\n      config: {inboundHeaders: [{key: x-17, value: a}]}\n      rules: [{path: /x/17}]\n"
		pairs := [][2]string{{"{path: /items/.*}", "{path: _items/.*}"}, {"path: /x/1\n", "path: /x/2\n"}, {regexp.MustCompile("(?m)^    ").ReplaceAllString(late, "#   "), late}, {"key: x-9", "key: x-10"}, {"order: 1", "order: 3"}, {"8080", "8181"}, {"tier: gold", "tier: iron"}, {"order: 7", "order: 0"}, {"key: x-one", "key: x-two"},
			{"weight: 30", "weight: 31"}, {"shop/NAME", "shop/other"}, {"password: open-Sesame-4711", "password: $PASSWORD"}, {"X-Channel", "x-path"}, {"ip-allowlist-flex", "ip-blocklist-flex"}, {"mode: block", "mode: $PASSWORD"}}
		pair := pick(c.r, pairs)
		if c.r.IntN(2) == 0 {
			pair[0], pair[1] = pair[1], pair[0]
		}
		names = slices.DeleteFunc(names, func(n string) bool { return !strings.Contains(c.files[n], pair[0]) })
		if len(names) > 0 {
			name := pick(c.r, names)
			c.files[name] = strings.Replace(c.files[name], pair[0], pair[1], 1)
		}
	default: // one of the mistakes
		name, s := pick(c.r, names), pick(c.r, seeds)
		own, _, _ := strings.Cut(name, ".")
		of, _, _ := strings.Cut(s.file, ".")
		old, mistaken := strings.ReplaceAll(s.old, of, own), strings.ReplaceAll(s.new, of, own)
		c.files[name] = strings.Replace(c.files[name], old, mistaken, 1)
	}
	dir := filepath.Join(c.root, "conf")
	if err := os.RemoveAll(dir); err != nil {
		c.t.Fatal(err)
	}
	for name, text := range c.files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			c.t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			c.t.Fatal(err)
		}
	}
}

// flag changes one of validate's flags.
func (c *changing) flag() {
	write := func(name, text string) string {
		path := filepath.Join(c.root, name)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			c.t.Fatal(err)
		}
		return path
	}
	choices := [][]string{ // the name of a flag, and values of which it has one; none: it has no value
		{"--output", pick(c.r, report.Formats())}, {"--partial"}, {"--require-env"}, {"--verbose"}, {"--fail-on", "warning"}, {"--target-version", "1.4", "1.9"},
		{"--severity", "lint/*=warning", "lint/open-api=note", "*=error", "link/*=off"},
		{"--rules", write("rules.cue", fmt.Sprintf("require: \"acme/short\": {message: \"short names\", kind: \"ApiInstance\", that: metadata: name: !=\"api%d\"}\n", c.r.IntN(3)))},
		{"--config", write("settings.yaml", pick(c.r, []string{"{}\n", "severity: {lint/open-api: warning}\n", "partial: true\n", "severity: {nonsense: error}\n"}))},
		{"--staged"}, {"--changed-since", "HEAD"}, {"--diff"},
	}
	one := pick(c.r, choices)
	if _, set := c.set[one[0]]; set {
		delete(c.set, one[0])
		return
	}
	switch one[0] {
	case "--staged", "--changed-since", "--diff": // not together
		for _, other := range []string{"--staged", "--changed-since", "--diff"} {
			delete(c.set, other)
		}
	}
	c.set[one[0]] = ""
	if len(one) > 1 {
		c.set[one[0]] = pick(c.r, one[1:])
	}
}

// flags are those that are set.
func (c *changing) flags() []string {
	var out []string
	if _, ok := c.set["--config"]; !ok {
		out = append(out, "--no-config")
	}
	for _, name := range slices.Sorted(maps.Keys(c.set)) {
		if _, diff := c.set["--diff"]; diff && name == "--output" {
			continue // both want standard output
		}
		if out = append(out, name); c.set[name] != "" {
			out = append(out, c.set[name])
		}
	}
	return out
}

func (c *changing) run(args ...string) ran {
	c.t.Helper()
	var r ran
	var out, errs bytes.Buffer
	r.code = cli.Alone(append([]string{"flexgw", "validate", filepath.Join(c.root, "conf")}, args...), cli.Env{
		Stdin: strings.NewReader(""), Stdout: &out, Stderr: &errs, Now: func() time.Time { return c.now },
		Getenv: func(name string) (string, bool) { v, ok := c.env[name]; return v, ok },
	})
	r.stdout, r.stderr = out.String(), errs.String()
	return r
}

// entries are the files of a cache, each with what tells when it was written anew, and when it was used.
func entries(t *testing.T, dir string) (written map[string]uint64, used int) {
	t.Helper()
	written = map[string]uint64{}
	list, err := filepath.Glob(filepath.Join(dir, "entry-*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range list {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		written[path] = info.Sys().(*syscall.Stat_t).Ino
		if time.Since(info.ModTime()) < time.Hour {
			used++
		}
		long := time.Now().Add(-24 * time.Hour)
		if err := os.Chtimes(path, long, long); err != nil {
			t.Fatal(err)
		}
	}
	return written, used
}

var reported = regexp.MustCompile(`\b(?:render|lint)/[a-z-]+`)

// TestCacheIsNeverStale: whatever changes, a run with a cache prints what a run without one prints, and so does one after it, which
// finds all of it in the cache.
func TestCacheIsNeverStale(t *testing.T) {
	t.Parallel()
	steps := 150
	if testing.Short() {
		steps = 30
	}
	kinds, codes := map[int]int{}, map[string]int{}
	for seed := range uint64(12) {
		c := newChanging(t, seed)
		dir := filepath.Join(t.TempDir(), "cache")
		for step := range steps {
			switch c.r.IntN(6) {
			case 0:
				c.git("add", "-A")
			case 1, 2, 3:
				c.flag()
			default:
				c.edit()
			}
			args := c.flags()
			want := c.run(args...)
			kinds[want.code]++
			for _, code := range reported.FindAllString(want.stdout, -1) {
				codes[code]++
			}
			if got := c.run(append(args, "--cache", dir)...); got != want {
				t.Fatalf("seed %d, step %d, %q: with a cache\n%+v\nwithout\n%+v", seed, step, args, got, want)
			}
			before, _ := entries(t, dir)
			if got := c.run(append(args, "--cache", dir)...); got != want {
				t.Fatalf("seed %d, step %d, %q: again with a cache\n%+v\nwithout\n%+v", seed, step, args, got, want)
			}
			after, used := entries(t, dir)
			if len(c.files) > 0 && want.code <= cli.ExitDiagnostics && (!maps.Equal(before, after) || used == 0) {
				t.Errorf("seed %d, step %d, %q: the second run finds nothing in the cache", seed, step, args)
			}
		}
	}
	if t.Logf("runs by exit code: %v; reported: %v", kinds, codes); kinds[0] == 0 || kinds[1] == 0 {
		t.Errorf("all runs end alike: %v", kinds)
	}
	for _, code := range []string{"render/more-slots", "render/path-never-matches", "lint/certificate-ends-soon", "lint/expired-certificate"} {
		if codes[code] == 0 && !testing.Short() {
			t.Errorf("no run reports %s", code)
		}
	}
}

// TestCacheHoldsNoSecret: neither one of a declaration nor one of the environment, whatever a run has found.
func TestCacheHoldsNoSecret(t *testing.T) {
	t.Parallel()
	c := newChanging(t, 5)
	dir := filepath.Join(t.TempDir(), "cache")
	c.env["PASSWORD"] = "open-sesame-4712"
	for name, text := range map[string]string{"y.yaml": seedYAML, "m.yaml": changingShop, "n.yaml": withoutOdd(changingShop), "t.yaml": changingTLS} {
		if err := os.WriteFile(filepath.Join(c.root, "conf", name), []byte(strings.ReplaceAll(text, "NAME", "kept")), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		if r := c.run("--no-config", "--cache", dir); r.code > cli.ExitDiagnostics {
			t.Fatal(r)
		}
		c.edit()
	}
	written, _ := entries(t, dir)
	size := 0
	for path := range written {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		size += len(b)
		for _, secret := range []string{"open-Sesame", "open-sesame", "b3BlbjpzZXNhbWU", "PRIVATE KEY"} {
			if bytes.Contains(b, []byte(secret)) {
				t.Errorf("an entry holds %s", secret)
			}
		}
	}
	if size < 1000 {
		t.Errorf("the cache holds %d bytes", size)
	}
}

// TestCacheAndLFS: what a Git LFS pointer stands for is no content of the index, so what was found of it is not kept.
func TestCacheAndLFS(t *testing.T) {
	t.Parallel()
	c := newChanging(t, 3)
	dir := filepath.Join(t.TempDir(), "cache")
	content := []byte(strings.ReplaceAll(seedYAML, "NAME", "large"))
	oid := fmt.Sprintf("%x", sha256.Sum256(content))
	pointer := fmt.Sprintf("version https://git-lfs.github.com/spec/v1\noid sha256:%s\nsize %d\n", oid, len(content))
	if err := os.WriteFile(filepath.Join(c.root, "conf", "large.yaml"), []byte(pointer), 0o644); err != nil {
		t.Fatal(err)
	}
	c.git("add", "-A")
	object := filepath.Join(c.root, ".git", "lfs", "objects", oid[:2], oid[2:4], oid)
	var seen []ran
	for range 2 {
		want := c.run("--staged", "--no-config", "--output", "json")
		if got := c.run("--staged", "--no-config", "--output", "json", "--cache", dir); got != want {
			t.Errorf("with a cache\n%+v\nwithout\n%+v", got, want)
		}
		seen = append(seen, want)
		if err := os.MkdirAll(filepath.Dir(object), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(object, content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if seen[0] == seen[1] {
		t.Errorf("the object makes no difference: %+v", seen[0])
	}
}

// TestCacheOfFixes: --fix mends the same with a cache that has seen the mistakes.
func TestCacheOfFixes(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "cache")
	fixed := func(cached bool) (ran, string) {
		c := newChanging(t, 1)
		text := strings.ReplaceAll(seedYAML, "NAME", "one")
		text = strings.Replace(text, "com/v1alpha1", "com/v1alpha2", 1)
		text = strings.Replace(text, "http://one", "http:/one", 1)
		text = strings.Replace(text, "routes:", "route:", 1)
		path := filepath.Join(c.root, "conf", "one.yaml")
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		args := []string{"--fix"}
		if cached {
			c.run("--cache", dir)
			args = append(args, "--cache", dir)
		}
		r := c.run(args...)
		b, err := os.ReadFile(path)
		if err != nil || string(b) == text {
			t.Errorf("nothing was fixed, %v: %+v", err, r)
		}
		r.stdout, r.stderr = strings.ReplaceAll(r.stdout, c.root, ""), strings.ReplaceAll(r.stderr, c.root, "")
		return r, string(b)
	}
	want, wantText := fixed(false)
	for range 2 {
		got, gotText := fixed(true)
		if got != want || gotText != wantText {
			t.Errorf("with a cache\n%+v\n%s\nwithout\n%+v\n%s", got, gotText, want, wantText)
		}
	}
}

// TestCacheTells: what random changes seldom meet: an input like another but for one thing that matters.
func TestCacheTells(t *testing.T) {
	t.Parallel()
	c := newChanging(t, 4)
	dir := filepath.Join(t.TempDir(), "cache")
	conf := filepath.Join(c.root, "conf")
	if err := os.RemoveAll(conf); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(conf, 0o755); err != nil {
		t.Fatal(err)
	}
	text := strings.ReplaceAll(strings.Replace(seedResources, "name: NAME-service\n    dest", "name: nowhere\n    dest", 1), "8084", "4000")
	if err := os.WriteFile(filepath.Join(conf, "a.yaml"), []byte(strings.ReplaceAll(text, "NAME", "a")), 0o644); err != nil {
		t.Fatal(err)
	}
	first := c.run("--no-config")
	for name, args := range map[string][]string{"": nil, "partial": {"--partial"}, "target": {"--target-version", "1.5"}} {
		tells(t, c, dir, name, first, args)
	}
	if err := os.Rename(filepath.Join(conf, "a.yaml"), filepath.Join(conf, "b.yaml")); err != nil {
		t.Fatal(err)
	}
	tells(t, c, dir, "renamed", first, nil)
}

func tells(t *testing.T, c *changing, dir, name string, first ran, args []string) {
	t.Helper()
	args = append([]string{"--no-config"}, args...)
	want := c.run(args...)
	if name != "" && want == first {
		t.Errorf("%s: no difference", name)
	}
	for range 2 {
		if got := c.run(append(args, "--cache", dir)...); got != want {
			t.Errorf("%s: with a cache\n%+v\nwithout\n%+v", name, got, want)
		}
	}
}
