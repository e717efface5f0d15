package sops_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"filippo.io/age"
	"github.com/google/go-cmp/cmp"

	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/sops"
	"github.com/flexgw/flexgw/schema/sops/sopstest"
	"github.com/flexgw/flexgw/schema/source"
	"github.com/flexgw/flexgw/schema/syntax"
)

func keysOf(t *testing.T, k *sopstest.Keeper) *sops.Keys {
	t.Helper()
	keys, err := sops.ParseKeys("# created today\n" + k.Identity + "\n")
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

func documents(t *testing.T, name, text string) []*syntax.Document {
	t.Helper()
	units, ds := syntax.Units(source.NewSet([]source.File{source.NewFile(name, []byte(text))}))
	if len(units) != 1 || ds.HasErrors() {
		t.Fatal(ds)
	}
	docs, ds := units[0].Parse()
	if ds.HasErrors() {
		t.Fatalf("%v\n%s", ds, text)
	}
	return docs
}

func valuesOf(docs []*syntax.Document) (all []any) {
	for _, d := range docs {
		all = append(all, d.Root.Value())
	}
	return all
}

const mixed = `# a comment, which is encrypted too
apiVersion: gateway.mulesoft.com/v1alpha1
kind: PolicyBinding
metadata:
  name: shop # of the shop
spec:
  # a list
  list: [one, 2, 3.50, true, null, "false", ""]
  deep:
    - name: a
      secret: "s3cr3t: with # marks"
    # a comment between
    - name: b
      secret: |
        several
        lines
  port: 8081
  hex: 0x1F
  octal: 014
  big: 12345678901
  underscored: 1_000
  negative: -5
  ratio: 0.250
  exponent: 1e3
  on: yes
  off: false
  text: "8081"
  day: 2024-03-04
  at: 2024-03-04T05:06:07Z
  word: ünïcode ✓
  plain_unencrypted: 0x10
  also_unencrypted: 2024-03-04
  more_unencrypted: {a: 1.50, b: True, c: no, d: 017, e: ~, f: .5, g: "1.50"}
  empty: ""
  nothing:
---
second: document
password: hunter22
...
---
third: {a: {b: c}}
`

func TestOpen(t *testing.T) {
	t.Parallel()
	k := sopstest.New(t)
	for _, c := range []struct {
		name, file, text string
		args             []string
	}{
		{"all", "a.yaml", mixed, nil},
		{"a regex", "a.yaml", mixed, []string{"--encrypted-regex", "^(secret|password|port)$"}},
		{"a regex of what is not", "a.yaml", mixed, []string{"--unencrypted-regex", "^(apiVersion|kind|metadata|list)$"}},
		{"a suffix", "a.yaml", mixed, []string{"--encrypted-suffix", "ord"}},
		{"another suffix", "a.yaml", mixed, []string{"--unencrypted-suffix", "et"}},
		{"the MAC over encrypted values alone", "a.yaml", mixed, []string{"rule", "mac_only_encrypted: true, encrypted_regex: ^(secret|password|port)$"}},
		{"the MAC over all that is encrypted", "a.yaml", mixed, []string{"rule", "mac_only_encrypted: true"}},
		{"comments say it", "a.yaml", mixed, []string{"rule", "encrypted_comment_regex: between"}},
		{"comments say it not", "a.yaml", mixed, []string{"rule", "unencrypted_comment_regex: of the shop"}},
		{"JSON", "a.json", `{"kind": "X", "n": 1, "f": 1.50, "t": true, "z": null, "s": "text", "e": "", "l": [1, {"a": "b"}, [2]], "big": 9007199254740993, "x_unencrypted": [1.50, 7, true, "a"]}`, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var text string
			k := k.In(t)
			if len(c.args) > 0 && c.args[0] == "rule" {
				text = k.EncryptBy(c.args[1], c.file, c.text)
			} else {
				text = k.Encrypt(c.file, c.text, c.args...)
			}
			docs := documents(t, c.file, text)
			if docs[0].Sops == nil || docs[0].Root.Get("sops") != nil {
				t.Fatal("the block of SOPS is not taken out")
			}
			opened, ds := sops.Open(docs, keysOf(t, k))
			if len(ds) > 0 || !opened.Plain {
				t.Fatalf("%v\n%s", ds, text)
			}
			// SOPS decrypts to what it understood, which is what counts: 0x1F is 31 then.
			plain := k.Decrypt(c.file, text)
			if diff := cmp.Diff(valuesOf(documents(t, c.file, plain)), valuesOf(docs)); diff != "" {
				t.Errorf("-sops +flexgw\n%s", diff)
			}
			// Places are those of the encrypted file.
			for at := range opened.At {
				if got := text[at.Start.Offset:at.End.Offset]; !strings.Contains(got, "ENC[") {
					t.Errorf("%v is %q", at, got)
				}
			}
		})
	}
}

func TestWithoutKeysValuesStay(t *testing.T) {
	t.Parallel()
	k := sopstest.New(t)
	docs := documents(t, "a.yaml", k.Encrypt("a.yaml", "a: b\nc: [1, d]\n---\ne: true\n"))
	before := valuesOf(docs)
	opened, ds := sops.Open(docs, nil)
	if opened.Plain || len(ds) > 0 || !cmp.Equal(before, valuesOf(docs)) || len(opened.At) == 0 {
		t.Errorf("got %+v, %v", opened, ds)
	}
}

// TestDamaged changes a file beside SOPS: nothing of it is used then.
func TestDamaged(t *testing.T) {
	t.Parallel()
	k, other := sopstest.New(t), sopstest.New(t)
	text := k.Encrypt("a.yaml", "name: shop\na:\n  password: hunter22\nb:\n  password: hunter33\nport: 8081\nlist_unencrypted: [one, two]\n", "--encrypted-regex", "^(password|port)$")
	all := regexp.MustCompile(`ENC\[[^\]]*\]`).FindAllString(text, -1)
	for _, c := range []struct {
		name, from, to, code, want string
	}{
		{"a plain value", "name: shop", "name: shoq", "sops/damaged", "its MAC is another"},
		{"a plain value added", "name: shop", "name: shop\nmore: x", "sops/damaged", "its MAC is another"},
		{"an item of a list", "- one", "- two", "sops/damaged", "its MAC is another"},
		{"a value at another place", all[2], all[1], "sops/damaged", "the encrypted value at port was changed, or moved here"},
		{"a value of another type", "type:int]", "type:bool]", "sops/damaged", "the encrypted value at port is neither true nor false"},
		{"an unknown type", "type:int]", "type:date]", "sops/damaged", "has the type date"},
		{"a torn value", all[0], all[0][:40], "sops/damaged", "the encrypted value at a.password is torn"},
		{"a value in plain", all[0], "hunter22", "sops/damaged", "the encrypted value at a.password is not encrypted"},
		{"no MAC", all[3], "x", "sops/damaged", "its MAC can not be read"},
		{"another time", "lastmodified: \"20", "lastmodified: \"19", "sops/damaged", "its MAC can not be read"},
		{"another version", "version: 3", "version: 4", "sops/not-supported", "expected 3"},
		{"no age key", "    age:", "    kms:", "sops/not-supported", "encrypted with kms, expected age"},
		{"key groups", "    age:", "    key_groups: [{age: []}, {age: []}]\n    more:", "sops/not-supported", "split among 2 key groups"},
		{"the key of somebody else", "", "", "sops/no-key", "none of the age keys"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			keys := keysOf(t, k)
			if c.from == "" {
				keys = keysOf(t, other)
			} else if !strings.Contains(text, c.from) {
				t.Fatalf("no %q in\n%s", c.from, text)
			}
			docs := documents(t, "a.yaml", strings.Replace(text, c.from, c.to, 1))
			before := valuesOf(docs)
			opened, ds := sops.Open(docs, keys)
			if len(ds) == 0 || ds[0].Severity != diag.Error || string(ds[0].Code) != c.code || !strings.Contains(ds[0].Summary, c.want) || ds[0].Hint == "" || ds[0].Subject.Start.IsZero() {
				t.Fatalf("got %v, want %s: …%s…", ds, c.code, c.want)
			}
			if opened.Plain || !cmp.Equal(before, valuesOf(docs)) {
				t.Error("a part of a damaged file was used")
			}
			if said := ds.Err().Error(); strings.Contains(said, "hunter") {
				t.Errorf("a secret is told: %s", said)
			}
		})
	}
}

func TestParseKeys(t *testing.T) {
	t.Parallel()
	const torn = "AGE-SECRET-KEY-1QQQQQQQQQQQQQQQ"
	for _, text := range []string{"", "# nothing", torn} {
		if _, err := sops.ParseKeys(text); err == nil || strings.Contains(err.Error(), torn) {
			t.Errorf("%q: %v", text, err)
		}
	}
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	one, err := sops.ParseKeys(id.String())
	if err != nil || one.Fingerprint() == "" || strings.Contains(id.String(), one.Fingerprint()) {
		t.Errorf("got %q, %v", one.Fingerprint(), err)
	}
	if none := (*sops.Keys)(nil); none.Fingerprint() != "" || none.Join(one) != one || one.Join(none) != one || one.Join(one).Fingerprint() == one.Fingerprint() {
		t.Error("keys are not joined")
	}
}

// TestIdentityOfAgeKeygen takes a key as age's own tool writes it.
func TestIdentityOfAgeKeygen(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("age-keygen is left out with -short")
	}
	cmd := exec.Command("go", "run", "filippo.io/age/cmd/age-keygen")
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	cmd.Env = append(os.Environ(), "GOFLAGS=-mod=mod")
	dir := t.TempDir()
	cmd.Dir = dir
	if err := os.WriteFile(filepath.Join(dir, "go.mod"), []byte(fmt.Sprintf("module x\n\ngo 1.26\n\nrequire filippo.io/age %s\n", sopstest.AgeVersion)), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v\n%s", err, errs.String())
	}
	if _, err := sops.ParseKeys(out.String()); err != nil {
		t.Error(err)
	}
}
