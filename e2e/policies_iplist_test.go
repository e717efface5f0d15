package e2e

import (
	"fmt"
	"strings"
	"testing"
)

// ipAPI is one API with some policies, given as text of its `policies`.
func ipAPI(name, policies string) string {
	return strings.NewReplacer("NAME", name).Replace(`---
apiVersion: gateway.mulesoft.com/v1alpha1
kind: ApiInstance
metadata:
  name: NAME
spec:
  address: http://0.0.0.0:8081/NAME
  services:
    upstream:
      address: http://127.0.0.1:9001
      routes:
        - config: {}
  policies:
`) + policies
}

func TestIPLists(t *testing.T) {
	t.Parallel()
	var many strings.Builder
	for i := range 50_000 {
		fmt.Fprintf(&many, "          - %d.%d.%d.0/24\n", 20+i/65536, i/256%256, i%256)
	}
	const list = `        ips: [192.168.3.1/30, "10", 172.16, 203.0.113.9, "2001:db8::/32"]
`
	g := start(t, "\n-- gateway.yaml --\n"+
		ipAPI("allow", "    - policyRef:\n        name: ip-allowlist-flex\n      config:\n"+list)+
		ipAPI("block", "    - policyRef:\n        name: ip-blocklist-flex\n      config:\n"+list)+
		ipAPI("peer", "    - policyRef:\n        name: ip-allowlist-flex\n      config:\n        ips: [127.0.0.1]\n        ipExpression: \"#[attributes.remoteAddress]\"\n")+
		ipAPI("notpeer", "    - policyRef:\n        name: ip-blocklist-flex\n      config:\n        ips: [127]\n        ipExpression: \"#[attributes.remoteAddress]\"\n")+
		ipAPI("header", "    - policyRef:\n        name: ip-allowlist-flex\n      config:\n        ips: [10.0.0.0/8]\n        ipExpression: \"#[attributes.headers['x-client'] default attributes.queryParams.ip]\"\n")+
		ipAPI("one", "    - policyRef:\n        name: ip-allowlist-flex\n      config:\n        ips: [203.0.113.9]\n")+
		ipAPI("notone", "    - policyRef:\n        name: ip-blocklist-flex\n      config:\n        ips: [203.0.113.9]\n")+
		ipAPI("both", "    - policyRef:\n        name: ip-allowlist-flex\n      config:\n        ips: [10.0.0.0/8]\n    - policyRef:\n        name: ip-blocklist-flex\n      config:\n        ips: [10.1.0.0/16]\n")+
		ipAPI("rules", "    - policyRef:\n        name: ip-allowlist-flex\n      rules:\n        - methods: POST\n          path: /admin/.*\n      config:\n        ips: [10.0.0.0/8]\n")+
		ipAPI("many", "    - policyRef:\n        name: ip-blocklist-flex\n      config:\n        ips:\n"+many.String()))

	const allowed, blocked = `{"error":"The address of this request is not allowed."}`, `{"error":"The address of this request is blocked."}`
	for _, tc := range []struct {
		name, method, path string
		headers            []string
		body               string // of a 403; "" is a 200
	}{
		{"single address", "GET", "/allow", []string{"x-forwarded-for: 203.0.113.9"}, ""},
		{"other address", "GET", "/allow", []string{"x-forwarded-for: 203.0.113.8"}, allowed},
		{"first of several", "GET", "/allow", []string{"x-forwarded-for: 10.9.9.9, 1.1.1.1"}, ""},
		{"not the second", "GET", "/allow", []string{"x-forwarded-for: 1.1.1.1, 10.9.9.9"}, allowed},
		{"first of two lines", "GET", "/allow", []string{"x-forwarded-for: 10.9.9.9", "x-forwarded-for: 1.1.1.1"}, ""},
		{"with a port", "GET", "/allow", []string{"x-forwarded-for: 10.9.9.9:4711"}, ""},
		{"octets", "GET", "/allow", []string{"x-forwarded-for: 172.16.200.1"}, ""},
		{"outside octets", "GET", "/allow", []string{"x-forwarded-for: 172.17.0.1"}, allowed},
		{"masked range, first", "GET", "/allow", []string{"x-forwarded-for: 192.168.3.0"}, ""},
		{"masked range, after", "GET", "/allow", []string{"x-forwarded-for: 192.168.3.4"}, allowed},
		{"IPv6", "GET", "/allow", []string{"x-forwarded-for: 2001:db8:1::1"}, ""},
		{"IPv6 in brackets", "GET", "/allow", []string{"x-forwarded-for: [2001:db8:1::1]:80"}, ""},
		{"other IPv6", "GET", "/allow", []string{"x-forwarded-for: 2001:db9::1"}, allowed},
		{"mapped", "GET", "/allow", []string{"x-forwarded-for: ::ffff:10.1.2.3"}, ""},
		{"no address", "GET", "/allow", []string{"x-forwarded-for: unknown"}, allowed},
		{"no header", "GET", "/one", nil, allowed},
		{"the helper cannot be sent", "GET", "/allow", []string{"x-flexgw-client-ip: 10.1.1.1", "x-forwarded-for: 1.1.1.1"}, allowed},
		{"nor instead", "GET", "/header", []string{"x-flexgw-client-ip: 10.1.1.1"}, allowed},

		{"blocked address", "GET", "/block", []string{"x-forwarded-for: 203.0.113.9"}, blocked},
		{"blocked mapped", "GET", "/block", []string{"x-forwarded-for: ::ffff:10.1.2.3"}, blocked},
		{"blocked mapped in hexadecimal", "GET", "/block", []string{"x-forwarded-for: ::ffff:a01:203"}, blocked},
		{"blocked mapped at length", "GET", "/block", []string{"x-forwarded-for: 0:0:0:0:0:FFFF:10.1.2.3"}, blocked},
		{"blocked IPv6", "GET", "/block", []string{"x-forwarded-for: 2001:DB8::7"}, blocked},
		{"not blocked", "GET", "/block", []string{"x-forwarded-for: 11.0.0.1"}, ""},
		{"not blocked: no address", "GET", "/block", []string{"x-forwarded-for: unknown"}, ""},
		{"not blocked: no header", "GET", "/notone", nil, ""},

		{"peer", "GET", "/peer", []string{"x-forwarded-for: 1.1.1.1"}, ""},
		{"blocked peer", "GET", "/notpeer", []string{"x-forwarded-for: 1.1.1.1"}, blocked},
		{"expression", "GET", "/header", []string{"x-client: 10.0.0.1"}, ""},
		{"expression's other half", "GET", "/header?ip=10.0.0.1", nil, ""},
		{"expression, null", "GET", "/header", nil, allowed},
		{"in both", "GET", "/both", []string{"x-forwarded-for: 10.2.0.1"}, ""},
		{"in both, blocked", "GET", "/both", []string{"x-forwarded-for: 10.1.0.1"}, blocked},
		{"in both, not allowed", "GET", "/both", []string{"x-forwarded-for: 9.1.0.1"}, allowed},
		{"rules do not select", "GET", "/rules/admin/x", []string{"x-forwarded-for: 1.1.1.1"}, ""},
		{"rules do not select the path", "POST", "/rules/other", []string{"x-forwarded-for: 1.1.1.1"}, ""},
		{"rules select", "POST", "/rules/admin/x", []string{"x-forwarded-for: 1.1.1.1"}, allowed},
		{"rules select, allowed", "POST", "/rules/admin/x", []string{"x-forwarded-for: 10.1.1.1"}, ""},
		{"one of many", "GET", "/many", []string{"x-forwarded-for: 20.195.79.200"}, blocked},
		{"none of many", "GET", "/many", []string{"x-forwarded-for: 20.195.80.200"}, ""},
	} {
		a := g.send(tc.method, 8081, tc.path, tc.headers...)
		switch {
		case tc.body == "":
			if a.Status != 200 {
				t.Errorf("%s: got %d %s, want 200", tc.name, a.Status, a.Body)
				continue
			}
			if _, seen := a.got(t).Headers["x-flexgw-client-ip"]; seen {
				t.Errorf("%s: the service saw the helper header", tc.name)
			}
		case a.Status != 403 || a.Body != tc.body || a.Header.Get("content-type") != "application/json; charset=UTF-8":
			t.Errorf("%s: got %d %s %s, want 403 %s", tc.name, a.Status, a.Header.Get("content-type"), a.Body, tc.body)
		}
	}
}
