package schema

import (
	"embed"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/flexgw/flexgw/schema/syntax"
	"github.com/flexgw/flexgw/schema/v1alpha1"
)

//go:embed kinds/*.schema.json
var kindFiles embed.FS

// kindNames are the kinds of the product's group, and ours.
var (
	kindNames = []string{v1alpha1.ApiInstance, v1alpha1.Configuration, v1alpha1.Contract, v1alpha1.Extension, v1alpha1.PolicyBinding, v1alpha1.Secret, v1alpha1.Service}
	ourKinds  = []string{v1alpha1.Echo, v1alpha1.Probe}
)

// The policies that are no effects on a chain but the routing itself; this list is closed (house.md).
const (
	routePolicy    = "route"
	weightedPolicy = "route-weighted"
)

// KindSchema returns the JSON Schema of a kind, or of the policies route and route-weighted.
func KindSchema(name string) ([]byte, bool) {
	b, err := kindFiles.ReadFile("kinds/" + strings.ToLower(name) + ".schema.json")
	return b, err == nil
}

// Kinds are the names of all kinds, sorted.
func Kinds() []string {
	names := append(slices.Clone(kindNames), ourKinds...)
	slices.Sort(names)
	return names
}

// RoutePolicies are the names of the policies that are the routing itself, sorted. KindSchema has the schemas of their configs.
func RoutePolicies() []string { return []string{routePolicy, weightedPolicy} }

// TakesNothing reports whether a JSON Schema of a config is content with an empty one, so that a binding may leave it out.
func TakesNothing(text []byte) (bool, error) {
	s, err := compileShape(text)
	if err != nil {
		return false, err
	}
	return (verdict{}).ok(s, &syntax.Node{Kind: syntax.Mapping}), nil
}

// kindJudges are the compiled schemas of kinds and route policies. They are constants, compiled when first needed.
var kindJudges = sync.OnceValue(func() map[string]*judge {
	out := map[string]*judge{}
	names := append(append([]string{routePolicy, weightedPolicy}, kindNames...), ourKinds...)
	for _, name := range names {
		text, ok := KindSchema(name)
		if !ok {
			panic("schema: no schema of " + name)
		}
		j, err := newJudge(text)
		if err != nil {
			panic(fmt.Sprintf("schema: %s: %v", name, err))
		}
		out[name] = j
	}
	return out
})
