// Package workload generates declarations for benchmarks: many APIs that differ, always the same ones for a seed.
package workload

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

// Options say what the generated gateway looks like. The zero value of a field means its default.
type Options struct {
	Seed     uint64
	Port     int    // of every API; 0: 8081
	Upstream string // address of every second API's service; "": an address of its own for each API
}

// Name is the name of the i-th API.
func Name(i int) string { return fmt.Sprintf("api-%05d", i) }

// BasePath is the base path of the i-th API: two to four segments, so that depths are mixed on one port.
func BasePath(i int) string {
	switch i % 4 {
	case 0:
		return fmt.Sprintf("/api/v%d/%s", i%3+1, Name(i))
	case 1:
		return "/" + Name(i)
	case 2:
		return fmt.Sprintf("/team-%02d/%s", i%29, Name(i))
	}
	return fmt.Sprintf("/team-%02d/internal/%s/v1", i%29, Name(i))
}

// API is the i-th declaration: one ApiInstance with a service, two rules and three policies. version is the value of the
// header x-version that the API adds to requests, so that an edit shows in the echo of an upstream. Below BasePath,
// /items/ is a path that every API takes.
func API(i int, version string, o Options) string {
	r := rand.New(rand.NewPCG(o.Seed, uint64(i)))
	port, upstream := o.Port, o.Upstream
	if port == 0 {
		port = 8081
	}
	if upstream == "" {
		upstream = fmt.Sprintf("http://10.%d.%d.%d:%d", r.IntN(256), r.IntN(256), 1+r.IntN(254), 8000+r.IntN(2000))
	}
	var b strings.Builder
	fmt.Fprintf(&b, `apiVersion: gateway.mulesoft.com/v1alpha1
kind: ApiInstance
metadata:
  name: %s
  namespace: team-%02d
  labels:
    tier: "%d"
spec:
  address: http://0.0.0.0:%d%s
  services:
    main:
      address: %s
      routes:
        - rules:
            - path: /items(/.*)
              methods: GET|POST|HEAD
            - path: /orders(/[a-z0-9-]{1,%d}/.*)
`, Name(i), i%29, r.IntN(4), port, BasePath(i), upstream, 16+r.IntN(48))
	if i%3 == 0 {
		fmt.Fprintf(&b, "              headers:\n                x-channel: mobile|kiosk|c%d\n", r.IntN(100))
	}
	if i%2 == 0 {
		fmt.Fprintf(&b, "          config:\n            destinationPath: /d%d\n", r.IntN(1000))
	}
	fmt.Fprintf(&b, `  policies:
    - policyRef:
        name: header-injection-flex
        namespace: default
      config:
        inboundHeaders:
          - key: x-version
            value: "%s"
    - policyRef:
        name: ip-blocklist-flex
        namespace: default
      config:
        ipExpression: "#[attributes.remoteAddress]"
        ips: [203.0.%d.0/24]
    - policyRef:
        name: header-removal-flex
        namespace: default
      config:
        inboundHeaders: [x-debug, x-internal-%d]
`, version, r.IntN(256), r.IntN(1000))
	return b.String()
}

// File is n APIs in one multi-document file.
func File(n int, o Options) []byte {
	var b strings.Builder
	for i := range n {
		b.WriteString("---\n")
		b.WriteString(API(i, "1", o))
	}
	return []byte(b.String())
}
