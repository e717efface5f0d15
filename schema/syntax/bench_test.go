package syntax

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"

	"github.com/flexgw/flexgw/schema/source"
)

// apiDocument is one ApiInstance of about 1.3 KB, as a typical declaration is.
func apiDocument(i int) string {
	return fmt.Sprintf(`---
apiVersion: gateway.mulesoft.com/v1alpha1
kind: ApiInstance
metadata:
  name: orders-%[1]d # the team's name for it
  namespace: retail
spec:
  address: http://0.0.0.0:8081/api/v1/orders-%[1]d
  services:
    main:
      address: http://orders-%[1]d.internal:8080/
      routes:
        - rules:
            - path: /items(/.*)?
              method: GET|POST
              host: "api.example.com"
              headers:
                x-tenant: "[a-z]+-%[1]d"
          config:
            destinationPath: /v2/items
        - rules:
            - path: /status
    spare:
      address: https://spare-%[1]d.internal/
  policies:
    - policyRef:
        name: http-basic-authentication-flex
      config:
        username: user-%[1]d
        password: secret-%[1]d
    - policyRef:
        name: cors-flex
      order: 2
      config:
        publicResource: false
        supportCredentials: true
        originGroups:
          - originGroupName: main
            plainDomains: ["https://shop.example.com", "https://m.example.com"]
            allowedMethods:
              - methodName: GET
                isAllowed: true
            headers: [x-allow-origin, x-yet-another-valid-header]
            accessControlMaxAge: 60
    - policyRef:
        name: rate-limiting-flex
      rules:
        - path: /items.*
      config:
        rateLimits:
          - maximumRequests: 100
            timePeriodInMilliseconds: 60000
        exposeHeaders: true
`, i)
}

func apiStream(n int) []byte {
	var b strings.Builder
	for i := range n {
		b.WriteString(apiDocument(i))
	}
	return []byte(b.String())
}

func BenchmarkParseYAML(b *testing.B) {
	for _, n := range []int{1, 1000} {
		src := apiStream(n)
		u, _ := Units(source.NewSet([]source.File{source.NewFile("apis.yaml", src)}))
		b.Run(fmt.Sprintf("documents=%d", n), func(b *testing.B) {
			b.SetBytes(int64(len(src)))
			b.ReportAllocs()
			for b.Loop() {
				if docs, ds := u[0].Parse(); len(docs) != n || ds != nil {
					b.Fatal(len(docs), ds)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*n), "us/doc")
		})
	}
}

// BenchmarkLibrary is what the YAML library costs on its own: the floor of BenchmarkParseYAML on one processor.
func BenchmarkLibrary(b *testing.B) {
	const n = 1000
	src := apiStream(n)
	b.SetBytes(int64(len(src)))
	b.ReportAllocs()
	for b.Loop() {
		l, err := yaml.NewLoader(bytes.NewReader(src))
		if err != nil {
			b.Fatal(err)
		}
		for {
			var doc yaml.Node
			if err := l.Load(&doc); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				b.Fatal(err)
			}
		}
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*n), "us/doc")
}
