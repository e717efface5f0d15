package schema_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/flexgw/flexgw/schema"
	"github.com/flexgw/flexgw/schema/source"
)

const spotted = `# a comment
apiVersion: gateway.mulesoft.com/v1alpha1
kind: PolicyBinding
metadata: {name: b, namespace: shop}
spec:
  targetRef:
    kind: Service
    name: up
  policyRef: {name: route}
  config:
    destinationRef:
      name: backend
      namespace: other
---
apiVersion: gateway.mulesoft.com/v1alpha1
Kind: ApiInstance
metadata: {name: a, labels: {team: x}}
spec:
  services:
    main: {address: 'http://h:1'}
  policies:
    - policyRef: {name: own}
      config: {free: 1}
---
apiVersion: v1
kind: Service
metadata: {name: not-ours}
`

func TestSpotAt(t *testing.T) {
	t.Parallel()
	json := `{"apiVersion": "gateway.mulesoft.com/v1alpha1", "kind": "Service", "metadata": {"name": "s"}, "spec": {"address": "http://h"}}`
	cue := "package p\n\ns: {\n\tapiVersion: \"gateway.mulesoft.com/v1alpha1\"\n\tkind: \"Service\"\n\tmetadata: name: \"t\"\n\tspec: address: \"http://h\"\n}\n"
	set := source.NewSet([]source.File{source.NewFile("a.yaml", []byte(spotted)), source.NewFile("b.json", []byte(json)), source.NewFile("c.cue", []byte(cue)), source.NewFile("d.yaml", []byte("a: [\n"))})
	for _, c := range []struct{ file, text, at, want string }{
		{"a.yaml", spotted, "targetRef", "PolicyBinding spec.targetRef key [Service shop/up]"},
		{"a.yaml", spotted, "up\n", "PolicyBinding spec.targetRef.name value up [Service shop/up]"},
		{"a.yaml", spotted, "route", "PolicyBinding spec.policyRef.name value route [Extension shop/route Extension default/route]"},
		{"a.yaml", spotted, "destinationRef", "route destinationRef key [Service other/backend]"},
		{"a.yaml", spotted, "backend", "route destinationRef.name value backend [Service other/backend]"},
		{"a.yaml", spotted, "ApiInstance", "ApiInstance Kind value ApiInstance []"},
		{"a.yaml", spotted, "address", "ApiInstance spec.services.main.address key []"},
		{"a.yaml", spotted, "free", "ApiInstance spec.policies.config.free key []"},
		{"a.yaml", spotted, "# a comment", ""},
		{"a.yaml", spotted, "not-ours", ""},
		{"b.json", json, "address", "Service spec.address key []"},
		{"b.json", json, "http://h", "Service spec.address value http://h []"},
		{"c.cue", cue, "address", "Service spec.address key []"},
		{"c.cue", cue, "Service", "Service kind value Service []"},
		{"d.yaml", "a: [\n", "a", ""},
	} {
		i := strings.Index(c.text, c.at) + 1
		s, ok := schema.SpotAt(set, schema.Options{Policies: newCatalog()}, c.file, i)
		got := ""
		if ok {
			got = s.Of + " " + strings.Join(s.Path, ".") + map[bool]string{true: " key", false: " value " + s.Value}[s.Key] + " " + fmt.Sprint(s.Names)
		}
		if got != c.want {
			t.Errorf("%s at %q: %q, want %q", c.file, c.at, got, c.want)
		}
		if ok && (int(s.Range.Start.Offset) > i || int(s.Range.End.Offset) < i || s.Range.File != c.file) {
			t.Errorf("%s at %q: %v", c.file, c.at, s.Range)
		}
	}
}

func TestOutline(t *testing.T) {
	t.Parallel()
	set := source.NewSet([]source.File{source.NewFile("a.yaml", []byte(spotted)), source.NewFile("d.yaml", []byte("a: [\n"))})
	var got []string
	for _, o := range schema.Outline(set, func(string) bool { return true }) {
		got = append(got, fmt.Sprint(o.Object, " ", o.Name, " ", o.Policy, " ", o.Labels))
		for _, i := range o.Inline {
			got = append(got, fmt.Sprint("  ", i.Object, " ", i.Name, " ", i.Policy))
		}
	}
	want := []string{"PolicyBinding shop/b a.yaml:4:18 route map[]", "ApiInstance default/a a.yaml:17:18  map[team:x]",
		"  Service default/a-main a.yaml:20:5 ", "  PolicyBinding default/a-own-1 a.yaml:22:25 own"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func FuzzSpotAt(f *testing.F) {
	f.Add(spotted, 100)
	f.Add(`{"kind": "Service", "spec": {"selector": {"labels": []}, "targetRef": {"name": 1}}}`, 30)
	f.Fuzz(func(t *testing.T, text string, offset int) {
		for _, name := range []string{"a.yaml", "a.json"} {
			set := source.NewSet([]source.File{source.NewFile(name, []byte(text))})
			if s, ok := schema.SpotAt(set, schema.Options{Policies: newCatalog()}, name, offset); ok && (int(s.Range.Start.Offset) > offset || offset > len(text)) {
				t.Errorf("%q at %d: %+v", text, offset, s)
			}
			schema.Outline(set, func(string) bool { return true })
		}
	})
}
