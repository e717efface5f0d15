package schema_test

import (
	"strings"
	"testing"

	"github.com/flexgw/flexgw/render/policy/all"
	"github.com/flexgw/flexgw/schema"
	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/ir"
	"github.com/flexgw/flexgw/schema/sops"
	"github.com/flexgw/flexgw/schema/sops/sopstest"
	"github.com/flexgw/flexgw/schema/source"
)

const sealedGateway = `apiVersion: gateway.mulesoft.com/v1alpha1
kind: ApiInstance
metadata:
  name: shop
spec:
  address: http://0.0.0.0:8081/shop
  services:
    shop:
      address: http://shop.example.com:8080/
  policies:
    # who may come in
    - policyRef:
        name: http-basic-authentication-flex
      config: {username: alice, password: correct-horse}
    - policyRef:
        name: rate-limiting-flex
      config:
        rateLimits:
          - maximumRequests: 77
            timePeriodInMilliseconds: 60000
        exposeHeaders: true
---
apiVersion: gateway.mulesoft.com/v1alpha1
kind: PolicyBinding
metadata:
  name: headers
spec:
  targetRef:
    name: shop
  policyRef:
    name: header-injection-flex
  config:
    inboundHeaders:
      - {key: x-partner, value: hidden-partner-word}
`

func setOf(pairs ...string) source.Set {
	var files []source.File
	for i := 0; i < len(pairs); i += 2 {
		files = append(files, source.NewFile(pairs[i], []byte(pairs[i+1])))
	}
	return source.NewSet(files)
}

func keysOf(t *testing.T, k *sopstest.Keeper) *sops.Keys {
	t.Helper()
	keys, err := sops.ParseKeys(k.Identity)
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

func codes(ds diag.List) string {
	var all []string
	for _, d := range ds {
		all = append(all, d.Severity.String()+" "+string(d.Code))
	}
	return strings.Join(all, ", ")
}

// TestSealed loads what SOPS encrypted with the key, and without.
func TestSealed(t *testing.T) {
	t.Parallel()
	k := sopstest.New(t)
	load := func(o schema.Options, set source.Set) (*ir.Gateway, diag.List) {
		o.Policies = all.Catalog{}
		return schema.Load(set, o)
	}
	plain, ds := load(schema.Options{RequireEnv: true}, setOf("gateway.yaml", sealedGateway))
	if plain == nil {
		t.Fatal(ds)
	}
	for name, args := range map[string][]string{
		"configurations": {"--encrypted-regex", "^config$"},
		"everything":     nil,
		"what is secret": {"--encrypted-regex", "^(password|value|maximumRequests|exposeHeaders)$"},
	} {
		set := setOf("gateway.yaml", k.Encrypt("gateway.yaml", sealedGateway, args...))
		g, ds := load(schema.Options{RequireEnv: true, Keys: keysOf(t, k)}, set)
		if g == nil {
			t.Fatalf("%s: %v", name, ds)
		}
		bindings := g.Bindings()
		if len(bindings) != 3 || len(g.Sealed) == 0 {
			t.Errorf("%s: %d bindings, sealed %q", name, len(bindings), g.Sealed)
		}
		for i, b := range bindings {
			if len(b.Unresolved()) > 0 || b.Config() == nil || b.Policy != plain.Bindings()[i].Policy {
				t.Errorf("%s: %s is not what it is in plain", name, b.Policy)
			}
		}
		if strings.Contains(told(ds), "correct-horse") {
			t.Errorf("%s: a secret is told: %v", name, ds)
		}
		if strings.Contains(codes(ds), "link/plain-text-secret") {
			t.Errorf("%s: it is said that everybody can read what is encrypted: %v", name, ds)
		}

		g, ds = load(schema.Options{}, set)
		if g == nil || !strings.Contains(codes(ds), "note sops/no-key") {
			t.Errorf("%s, without the key: %v", name, ds)
		}
		if skipped := strings.Contains(codes(ds), "note sops/skipped"); skipped != (name == "everything") {
			t.Errorf("%s, without the key: %v", name, ds)
		}
		g, ds = load(schema.Options{RequireEnv: true}, set)
		if g != nil || !strings.Contains(codes(ds), "error sops/no-key") {
			t.Errorf("%s, without the key, to be served: %v", name, ds)
		}
	}
}

// Of a file that SOPS wrote, a secret that the rule leaves out stands there for everybody all the same.
func TestASecretBesideSealedOnes(t *testing.T) {
	t.Parallel()
	k := sopstest.New(t)
	set := setOf("gateway.yaml", k.Encrypt("gateway.yaml", sealedGateway, "--encrypted-regex", "^value$"))
	if _, ds := schema.Load(set, schema.Options{RequireEnv: true, Keys: keysOf(t, k), Policies: all.Catalog{}}); codes(ds) != "warning link/plain-text-secret" {
		t.Errorf("got %v", ds)
	}
}

// TestSealedValuesAreNotTold makes mistakes in encrypted values.
func TestSealedValuesAreNotTold(t *testing.T) {
	t.Parallel()
	k := sopstest.New(t)
	text := strings.NewReplacer("maximumRequests: 77", "maximumRequests: seventy-seven-words", "name: shop\n  policyRef", "name: shopkeeper-of-old\n  policyRef", "http://shop.example.com:8080/", "hxxp://inner.example.com:8080/").Replace(sealedGateway)
	set := setOf("gateway.yaml", k.Encrypt("gateway.yaml", text, "--unencrypted-regex", "^(apiVersion|kind|metadata)$"))
	g, ds := schema.Load(set, schema.Options{RequireEnv: true, Keys: keysOf(t, k), Policies: all.Catalog{}})
	if g != nil || !strings.Contains(codes(ds), "link/unknown-") {
		t.Fatalf("the mistakes were not found: %v", ds)
	}
	for _, secret := range []string{"seventy-seven", "shopkeeper-of-old", "inner.example.com", "correct-horse"} {
		if strings.Contains(told(ds), secret) {
			t.Errorf("%s is told: %v", secret, ds)
		}
	}
	for _, d := range schema.Resolve(set, ds) {
		if len(d.Fixes)+len(d.Edits) > 0 {
			t.Errorf("a fix would break the MAC: %v", d)
		}
	}
	docs := schema.Documents(set, schema.Options{Keys: keysOf(t, k), Policies: all.Catalog{}}, func(string) bool { return true })
	if len(docs) == 0 {
		t.Error("no document to compare")
	}
}

func TestStrayValue(t *testing.T) {
	t.Parallel()
	const stray = "ENC[AES256_GCM,data:AA==,iv:AA==,tag:AA==,type:str]"
	_, ds := schema.Load(setOf("gateway.yaml", strings.Replace(sealedGateway, "correct-horse", "\""+stray+"\"", 1)), schema.Options{Policies: all.Catalog{}})
	if !strings.Contains(codes(ds), "error sops/no-block") {
		t.Errorf("got %v", ds)
	}
}

func TestFormatLeavesSealedFilesAlone(t *testing.T) {
	t.Parallel()
	k := sopstest.New(t)
	set := setOf("a.yaml", k.Encrypt("a.yaml", sealedGateway, "--encrypted-regex", "^config$"), "b.yaml", "kind:   Service\napiVersion: gateway.mulesoft.com/v1alpha1\nmetadata: {name: b}\nspec: {address: 'http://b:80'}\n")
	after, ds, err := schema.Format(set, schema.Options{Policies: all.Catalog{}})
	if err != nil || codes(ds) != "warning sops/left-alone" {
		t.Fatalf("%v, %v", err, ds)
	}
	for i, f := range set.Files {
		was, _ := f.Bytes()
		now, err := after.Bytes(f.Name)
		if err != nil || (string(was) == string(now)) != (i == 0) {
			t.Errorf("%s: %v\n%s", f.Name, err, now)
		}
	}
}

// told is all that people read of a list.
func told(ds diag.List) string {
	var b strings.Builder
	for _, d := range ds {
		b.WriteString(d.String() + "\n" + d.Hint + "\n")
		for _, r := range d.Related {
			b.WriteString(r.Summary + "\n")
		}
	}
	return b.String()
}
