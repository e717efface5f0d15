package schema_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/flexgw/flexgw/schema"
	"github.com/flexgw/flexgw/schema/source"
)

// generated is one file for each of n APIs with three policies: every second one inline, the others as bindings.
func generated(n int) []source.File {
	files := make([]source.File, n)
	for i := range files {
		files[i] = source.NewFile(fmt.Sprintf("apis/%05d.yaml", i), []byte(generatedAPI(i, 100)))
	}
	return files
}

func generatedAPI(i, limit int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "apiVersion: gateway.mulesoft.com/v1alpha1\nkind: ApiInstance\nmetadata:\n  name: api-%05d\n  labels:\n    team: t%d\nspec:\n  address: http://0.0.0.0:8081/v1/team%d/api-%05d\n", i, i%7, i%50, i)
	fmt.Fprintf(&b, "  services:\n    backend:\n      address: http://backend-%d.internal:8080\n      routes:\n        - rules:\n            - path: /items(/.*)\n              methods: GET|POST\n", i%100)
	configs := []struct{ policy, config string }{
		{"http-basic-authentication-flex", "username: ann\npassword: secret\n"},
		{"header-injection-flex", "inboundHeaders:\n  - key: x-api\n    value: api\noutboundHeaders: []\n"},
		{"rate-limiting-flex", fmt.Sprintf("rateLimits:\n  - maximumRequests: %d\n    timePeriodInMilliseconds: 60000\n", limit)},
	}
	indent := func(s, by string) string {
		return by + strings.ReplaceAll(strings.TrimSuffix(s, "\n"), "\n", "\n"+by) + "\n"
	}
	if i%2 == 0 {
		b.WriteString("  policies:\n")
		for _, c := range configs {
			fmt.Fprintf(&b, "    - policyRef:\n        name: %s\n      config:\n%s", c.policy, indent(c.config, "        "))
		}
		return b.String()
	}
	for k, c := range configs {
		fmt.Fprintf(&b, "---\napiVersion: gateway.mulesoft.com/v1alpha1\nkind: PolicyBinding\nmetadata:\n  name: api-%05d-%d\nspec:\n  targetRef:\n    kind: ApiInstance\n    name: api-%05d\n  policyRef:\n    name: %s\n  order: %d\n  config:\n%s",
			i, k, i, c.policy, k+1, indent(c.config, "    "))
	}
	return b.String()
}

func BenchmarkLoadCold(b *testing.B) {
	for _, n := range []int{100, 1000, 10000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			set := source.NewSet(generated(n))
			o := schema.Options{Policies: newCatalog()}
			b.ReportAllocs()
			for b.Loop() {
				if _, ds := schema.Load(set, o); ds.HasErrors() {
					b.Fatal(lines(ds))
				}
			}
		})
	}
}

func BenchmarkLoadOneChange(b *testing.B) {
	for _, n := range []int{100, 1000, 10000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			files := generated(n)
			o := schema.Options{Policies: newCatalog(), Memo: &schema.Memo{}}
			schema.Load(source.NewSet(files), o)
			var sets []source.Set
			for i := range 64 {
				files = slices.Clone(files)
				k := (i * 37) % n
				files[k] = source.NewFile(files[k].Name, []byte(generatedAPI(k, 200+i)))
				sets = append(sets, source.Set{Revision: fmt.Sprint(i), Files: files})
			}
			b.ReportAllocs()
			b.ResetTimer()
			for i := 0; b.Loop(); i++ {
				if _, ds := schema.Load(sets[i%len(sets)], o); ds.HasErrors() {
					b.Fatal(lines(ds))
				}
			}
		})
	}
}

// BenchmarkLoadHeldOneChange changes one API of many while something else stays wrong: a binding, an address, a Configuration, fifty
// APIs, a file of which nothing can be read.
func BenchmarkLoadHeldOneChange(b *testing.B) {
	broken := func(old, new string, at ...int) func([]source.File) {
		return func(files []source.File) {
			for _, i := range at {
				text, _ := files[i].Bytes()
				files[i] = source.NewFile(files[i].Name, []byte(strings.Replace(string(text), old, new, 1)))
			}
		}
	}
	var fifty []int
	for i := range 50 {
		fifty = append(fifty, 1+i)
	}
	for _, c := range []struct {
		name  string
		wrong func([]source.File)
	}{
		{"binding", broken("maximumRequests", "maximum", 11)},
		{"address", broken("http://0.0.0.0:8081", "http://0.0.0.0:port", 11)},
		{"settings", broken("streamIdleSeconds: 9", "streamIdleSeconds: nine", 0)},
		{"fifty", broken("http://0.0.0.0:8081", "http://0.0.0.0:port", fifty...)},
		{"unreadable", broken("apiVersion", "[apiVersion", 11)},
	} {
		for _, n := range []int{100, 1000, 10000} {
			b.Run(fmt.Sprintf("%s/%d", c.name, n), func(b *testing.B) {
				files := append([]source.File{source.NewFile("apis/0.yaml", []byte(doc("Configuration", "t", "spec: {timeouts: {streamIdleSeconds: 9}}\n")))}, generated(n)...)
				good := source.NewSet(files)
				o := schema.Options{Policies: newCatalog(), Memo: &schema.Memo{}}
				schema.Load(good, o)
				files = slices.Clone(good.Files)
				c.wrong(files)
				var sets []source.Set
				for i := range 64 {
					files = slices.Clone(files)
					k := 60 + (i*37)%(n-60)
					files[k+1] = source.NewFile(files[k+1].Name, []byte(generatedAPI(k, 200+i)))
					sets = append(sets, source.Set{Revision: fmt.Sprint(i), Files: files})
				}
				b.ReportAllocs()
				b.ResetTimer()
				for i := 0; b.Loop(); i++ {
					if g, held, ds := schema.LoadHeld(sets[i%len(sets)], good, nil, o); g == nil || len(held) == 0 {
						b.Fatal(held, lines(ds))
					}
				}
			})
		}
	}
}
