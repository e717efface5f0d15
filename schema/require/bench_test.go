package require_test

import (
	"fmt"
	"testing"

	"github.com/flexgw/flexgw/schema"
	"github.com/flexgw/flexgw/schema/require"
	"github.com/flexgw/flexgw/schema/source"
)

// large is a set of n ApiInstances, each with a Service and a policy inline, in files of their own.
func large(n int) source.Set {
	var files []source.File
	for i := range n {
		files = append(files, source.NewFile(fmt.Sprintf("api%05d.yaml", i), fmt.Appendf(nil, `apiVersion: gateway.mulesoft.com/v1alpha1
kind: ApiInstance
metadata:
  name: api%[1]d
  labels: {team: checkout, exposure: public}
spec:
  address: http://0.0.0.0:8081/api%[1]d
  services:
    up:
      address: http://up%[1]d.acme.example:8080
      routes:
        - rules: [{path: /a.*, methods: GET|POST}]
        - config: {destinationPath: /x}
          rules: [{path: /b(.*)}]
  policies:
    - policyRef: {name: rate-limiting-flex}
      config: {rateLimits: [{maximumRequests: 100, timePeriodInMilliseconds: 1000}]}
`, i)))
	}
	return source.NewSet(files)
}

const threeRules = `
require: "acme/team": {
	kind:    "ApiInstance"
	message: "\(object.metadata.name) has no team"
	that: metadata: labels: team: =~"^[a-z-]+$"
}
require: "acme/limit": {
	kind:    "ApiInstance"
	message: "limit"
	where: metadata: labels: exposure: "public"
	that: linked: policy: "rate-limiting-flex": [...{config: rateLimits: [...{maximumRequests: <=1000}]}]
}
require: "acme/host": {
	kind:    "Service"
	message: "host"
	that: linked: host: =~"\\.acme\\.example$"
}
`

// BenchmarkCheck is 1,000 ApiInstances and their 1,000 Services with three rules, all met.
func BenchmarkCheck(b *testing.B) {
	rules, ds := require.Load([]source.File{source.NewFile("rules.cue", []byte(threeRules))}, require.LoadOptions{})
	set := large(1000)
	g, more := schema.Load(set, schema.Options{Policies: catalog{}})
	if g == nil || len(ds) > 0 {
		b.Fatal(ds, more)
	}
	b.ReportAllocs()
	for b.Loop() {
		if ds := rules.Check(set, g, require.Options{Policies: catalog{}}); len(ds) > 0 {
			b.Fatal(ds)
		}
	}
}
