package preflight_test

import (
	"net/netip"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/flexgw/flexgw/reconcile/egress"
	"github.com/flexgw/flexgw/reconcile/preflight"
)

func addrs(list ...string) []netip.Addr {
	var all []netip.Addr
	for _, a := range list {
		all = append(all, netip.MustParseAddr(a))
	}
	return all
}

func TestFirewallRules(t *testing.T) {
	t.Parallel()
	o := preflight.Options{Declared: []preflight.Declared{declared("0.0.0.0:8081"), declared("192.0.2.7:8443"), declared("[2001:db8::7]:8444"), declared("[::]:8445"), declared("127.0.0.1:9000")}}
	found := map[string][]netip.Addr{"anypoint.mulesoft.com:443": addrs("203.0.113.2", "203.0.113.1", "2001:db8::1")}
	servers := addrs("127.0.0.53", "192.0.2.53")
	for format, want := range map[string]string{
		"nft": `add table inet filter
add chain inet filter flexgw_out
flush chain inet filter flexgw_out
add chain inet filter flexgw_in
flush chain inet filter flexgw_in
add set inet filter flexgw_anypoint_mulesoft_com_v4 { type ipv4_addr; }
flush set inet filter flexgw_anypoint_mulesoft_com_v4
add set inet filter flexgw_anypoint_mulesoft_com_v6 { type ipv6_addr; }
flush set inet filter flexgw_anypoint_mulesoft_com_v6
table inet filter {
	# anypoint.mulesoft.com, IPv4, for registration
	set flexgw_anypoint_mulesoft_com_v4 {
		type ipv4_addr
		elements = { 203.0.113.1, 203.0.113.2 }
	}
	# anypoint.mulesoft.com, IPv6, for registration
	set flexgw_anypoint_mulesoft_com_v6 {
		type ipv6_addr
		elements = { 2001:db8::1 }
	}
	# metering.ingestion.us-east-1.prod.cloudhub.io, IPv4, for usage reports
	# EMPTY, so no rule: the name was not found. nft add element inet filter flexgw_metering_ingestion_us_east_1_prod_cloudhub_io_v4 '{ ADDRESS }'
	set flexgw_metering_ingestion_us_east_1_prod_cloudhub_io_v4 {
		type ipv4_addr
	}
	# metering.ingestion.us-east-1.prod.cloudhub.io, IPv6, for usage reports
	# EMPTY, so no rule: the name was not found. nft add element inet filter flexgw_metering_ingestion_us_east_1_prod_cloudhub_io_v6 '{ ADDRESS }'
	set flexgw_metering_ingestion_us_east_1_prod_cloudhub_io_v6 {
		type ipv6_addr
	}
	# OUT: connections that this host opens.
	chain flexgw_out {
		ct state established,related accept comment "out, answers"
		oifname "lo" accept comment "out, this host to itself"
		icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept comment "out, neighbours over IPv6 find each other"
		ip daddr @flexgw_anypoint_mulesoft_com_v4 tcp dport 443 accept comment "out, registration: anypoint.mulesoft.com, control plane; internal metrics; custom policy binaries"
		ip6 daddr @flexgw_anypoint_mulesoft_com_v6 tcp dport 443 accept comment "out, registration: anypoint.mulesoft.com, control plane; internal metrics; custom policy binaries"
		ip daddr @flexgw_metering_ingestion_us_east_1_prod_cloudhub_io_v4 tcp dport 443 accept comment "out, usage reports: metering.ingestion.us-east-1.prod.cloudhub.io, analytics (usage)"
		ip6 daddr @flexgw_metering_ingestion_us_east_1_prod_cloudhub_io_v6 tcp dport 443 accept comment "out, usage reports: metering.ingestion.us-east-1.prod.cloudhub.io, analytics (usage)"
		ip daddr 192.0.2.53 udp dport 53 accept comment "out, name look-up: 192.0.2.53"
		ip daddr 192.0.2.53 tcp dport 53 accept comment "out, name look-up: 192.0.2.53"
	}
	# IN: connections that others open to this host.
	chain flexgw_in {
		ct state established,related accept comment "in, answers"
		iifname "lo" accept comment "in, this host to itself"
		icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept comment "in, neighbours over IPv6 find each other"
		meta nfproto ipv4 tcp dport 8081 accept comment "in, clients of the API default/orders (gateway.yaml:4)"
		ip daddr 192.0.2.7 tcp dport 8443 accept comment "in, clients of the API default/orders (gateway.yaml:4)"
		ip6 daddr 2001:db8::7 tcp dport 8444 accept comment "in, clients of the API default/orders (gateway.yaml:4)"
		meta nfproto ipv6 tcp dport 8445 accept comment "in, clients of the API default/orders (gateway.yaml:4)"
	}
}
`,
		"iptables": `*filter
:FLEXGW-OUT - [0:0]
:FLEXGW-IN - [0:0]
# OUT: connections that this host opens.
-A FLEXGW-OUT -m conntrack --ctstate RELATED,ESTABLISHED -m comment --comment "out, answers" -j ACCEPT
-A FLEXGW-OUT -o lo -m comment --comment "out, this host to itself" -j ACCEPT
-A FLEXGW-OUT -d 203.0.113.1/32 -p tcp -m tcp --dport 443 -m comment --comment "out, registration: anypoint.mulesoft.com, control plane; internal metrics; custom policy binaries" -j ACCEPT
-A FLEXGW-OUT -d 203.0.113.2/32 -p tcp -m tcp --dport 443 -m comment --comment "out, registration: anypoint.mulesoft.com, control plane; internal metrics; custom policy binaries" -j ACCEPT
# EMPTY, so no rule, for metering.ingestion.us-east-1.prod.cloudhub.io: the name was not found. With its address in place of ADDRESS:
# -A FLEXGW-OUT -d ADDRESS -p tcp -m tcp --dport 443 -m comment --comment "out, usage reports: metering.ingestion.us-east-1.prod.cloudhub.io, analytics (usage)" -j ACCEPT
-A FLEXGW-OUT -d 192.0.2.53/32 -p udp -m udp --dport 53 -m comment --comment "out, name look-up: 192.0.2.53" -j ACCEPT
-A FLEXGW-OUT -d 192.0.2.53/32 -p tcp -m tcp --dport 53 -m comment --comment "out, name look-up: 192.0.2.53" -j ACCEPT
# IN: connections that others open to this host.
-A FLEXGW-IN -m conntrack --ctstate RELATED,ESTABLISHED -m comment --comment "in, answers" -j ACCEPT
-A FLEXGW-IN -i lo -m comment --comment "in, this host to itself" -j ACCEPT
-A FLEXGW-IN -p tcp -m tcp --dport 8081 -m comment --comment "in, clients of the API default/orders (gateway.yaml:4)" -j ACCEPT
-A FLEXGW-IN -d 192.0.2.7/32 -p tcp -m tcp --dport 8443 -m comment --comment "in, clients of the API default/orders (gateway.yaml:4)" -j ACCEPT
COMMIT
`,
		"ip6tables": `*filter
:FLEXGW-OUT - [0:0]
:FLEXGW-IN - [0:0]
# OUT: connections that this host opens.
-A FLEXGW-OUT -m conntrack --ctstate RELATED,ESTABLISHED -m comment --comment "out, answers" -j ACCEPT
-A FLEXGW-OUT -o lo -m comment --comment "out, this host to itself" -j ACCEPT
-A FLEXGW-OUT -p ipv6-icmp -m icmp6 --icmpv6-type neighbour-solicitation -m comment --comment "out, neighbours over IPv6 find each other" -j ACCEPT
-A FLEXGW-OUT -p ipv6-icmp -m icmp6 --icmpv6-type neighbour-advertisement -m comment --comment "out, neighbours over IPv6 find each other" -j ACCEPT
-A FLEXGW-OUT -d 2001:db8::1/128 -p tcp -m tcp --dport 443 -m comment --comment "out, registration: anypoint.mulesoft.com, control plane; internal metrics; custom policy binaries" -j ACCEPT
# EMPTY, so no rule, for metering.ingestion.us-east-1.prod.cloudhub.io: the name was not found. With its address in place of ADDRESS:
# -A FLEXGW-OUT -d ADDRESS -p tcp -m tcp --dport 443 -m comment --comment "out, usage reports: metering.ingestion.us-east-1.prod.cloudhub.io, analytics (usage)" -j ACCEPT
# IN: connections that others open to this host.
-A FLEXGW-IN -m conntrack --ctstate RELATED,ESTABLISHED -m comment --comment "in, answers" -j ACCEPT
-A FLEXGW-IN -i lo -m comment --comment "in, this host to itself" -j ACCEPT
-A FLEXGW-IN -p ipv6-icmp -m icmp6 --icmpv6-type neighbour-solicitation -m comment --comment "in, neighbours over IPv6 find each other" -j ACCEPT
-A FLEXGW-IN -p ipv6-icmp -m icmp6 --icmpv6-type neighbour-advertisement -m comment --comment "in, neighbours over IPv6 find each other" -j ACCEPT
-A FLEXGW-IN -d 2001:db8::7/128 -p tcp -m tcp --dport 8444 -m comment --comment "in, clients of the API default/orders (gateway.yaml:4)" -j ACCEPT
-A FLEXGW-IN -p tcp -m tcp --dport 8445 -m comment --comment "in, clients of the API default/orders (gateway.yaml:4)" -j ACCEPT
COMMIT
`,
	} {
		got := preflight.Firewall(format, o, found, servers)
		if again := preflight.Firewall(format, o, found, servers); again != got {
			t.Errorf("%s: other rules the second time", format)
		}
		var rules strings.Builder
		head := true
		for line := range strings.Lines(got) {
			if head = head && strings.HasPrefix(line, "#"); !head {
				rules.WriteString(line)
			}
		}
		if diff := cmp.Diff(want, rules.String()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", format, diff)
		}
	}

	// Behind a proxy for both nobody else is called, and no name is looked up here. That of registration alone carries no usage.
	p, err := egress.ParseProxy("http://user:secret@192.0.2.9:3128")
	if err != nil {
		t.Fatal(err)
	}
	o.Proxy = &p
	if got := preflight.Firewall("nft", o, nil, servers); !strings.Contains(got, `comment "out, registration: 192.0.2.9, the proxy that carries it"`) || strings.Contains(got, "anypoint.mulesoft") || !strings.Contains(got, "ip daddr @flexgw_metering_ingestion_us_east_1_prod_cloudhub_io_v4 tcp dport 443") || !strings.Contains(got, "look-up") {
		t.Errorf("a proxy for registration:\n%s", got)
	}
	o.Forward = p
	got := preflight.Firewall("nft", o, nil, servers)
	if !strings.Contains(got, `ip daddr 192.0.2.9 tcp dport 3128 accept comment "out, registration and usage reports: 192.0.2.9, the proxy that carries it"`) || strings.Contains(got, "anypoint.mulesoft") || strings.Contains(got, "look-up") || strings.Contains(got, "secret") {
		t.Errorf("behind a proxy:\n%s", got)
	}
}

// Where there is no rule, the file says so, and why.
func TestFirewallSaysWhereThereIsNoRule(t *testing.T) {
	t.Parallel()
	p, err := egress.ParseProxy("http://192.0.2.9:3128")
	if err != nil {
		t.Fatal(err)
	}
	const reviewed, offline, empty = "# To be reviewed: ", "# Names were not looked up (--no-network): their places are empty.", "# An empty list is no rule"
	four := map[string][]netip.Addr{"anypoint.mulesoft.com:443": addrs("203.0.113.1"), "metering.ingestion.us-east-1.prod.cloudhub.io:443": addrs("203.0.113.2")}
	for name, c := range map[string]struct {
		format string
		o      preflight.Options
		found  map[string][]netip.Addr
		want   []string
		not    []string
	}{
		"offline":             {"nft", preflight.Options{NoNetwork: true}, nil, []string{reviewed, offline, empty, "# EMPTY, so no rule: the name was not looked up (--no-network). nft add element"}, []string{"elements = "}},
		"online":              {"nft", preflight.Options{}, four, []string{reviewed, empty, "# Names were looked up when this was written.", "elements = { 203.0.113.1 }", "# EMPTY, so no rule: the name has no IPv6 address."}, []string{offline, "not found", "not looked up"}},
		"one family":          {"ip6tables", preflight.Options{}, four, []string{"# EMPTY, so no rule, for anypoint.mulesoft.com: the name has no IPv6 address.", "This is for IPv6 alone: --firewall iptables writes the rest."}, []string{"\n-A FLEXGW-OUT -d", "\n-A FLEXGW-IN -p tcp"}},
		"offline, iptables":   {"iptables", preflight.Options{NoNetwork: true}, nil, []string{reviewed, offline, empty, "# -A FLEXGW-OUT -d ADDRESS", "This is for IPv4 alone: --firewall ip6tables writes the rest."}, []string{"\n-A FLEXGW-OUT -d", "\n-A FLEXGW-IN -p tcp"}},
		"who asks in turn":    {"nft", preflight.Options{}, nil, []string{"# Nor here: whom the name server of this host itself (127.0.0.53) asks in turn."}, nil},
		"no declarations":     {"nft", preflight.Options{}, nil, []string{"# No rule: no declarations were named of which others call a port (flexgw preflight --firewall FORMAT PATH)."}, []string{`comment "in, clients`}},
		"loopback alone":      {"nft", preflight.Options{Declared: []preflight.Declared{declared("127.0.0.1:8081")}}, nil, []string{"# No rule: the declarations have no port that others can call: what listens on loopback needs none."}, []string{"8081", "no declarations"}},
		"none in this family": {"ip6tables", preflight.Options{Declared: []preflight.Declared{declared("0.0.0.0:8081")}}, nil, []string{"# No rule: the declarations have no port that others can call over IPv6"}, []string{"8081"}},
		"nobody in it":        {"ip6tables", preflight.Options{Proxy: &p, Forward: p}, nil, []string{"# No rule: nobody is called over IPv6."}, []string{"\n-A FLEXGW-OUT -d", "\n-A FLEXGW-IN -p tcp"}},
		"no plane":            {"nft", preflight.Options{Plane: "JP"}, nil, []string{"# No rule: the hosts of plane JP are not documented for the gateway"}, []string{" daddr "}},
		"who needs it":        {"nft", preflight.Options{AllHosts: true}, nil, []string{`"out, the product in Connected Mode: configuration-resolver.prod.cloudhub.io, `, `"out, the product: us1.ingest.mulesoft.com, analytics"`, `"out, usage reports: `, `"out, registration: `}, nil},
		"nodes":               {"nft", preflight.Options{Profile: preflight.Fabric}, nil, []string{"# The other nodes of Runtime Fabric. EMPTY, so no rule", `ip saddr @flexgw_nodes tcp dport 6443 accept comment "in, Runtime Fabric, all nodes: Kubernetes API server"`, `"in, Runtime Fabric, internet: Inbound requests to Mules"`}, nil},
		"readiness":           {"iptables", preflight.Options{Declared: []preflight.Declared{{Addr: netip.MustParseAddrPort("0.0.0.0:3000"), By: "the readiness endpoint", Product: true}}}, nil, nil, []string{"3000"}},
		"readiness, product":  {"iptables", preflight.Options{Product: true, Declared: []preflight.Declared{{Addr: netip.MustParseAddrPort("0.0.0.0:3000"), By: "the readiness endpoint", Product: true}}}, nil, []string{`--dport 3000 -m comment --comment "in, the readiness endpoint"`}, nil},
	} {
		got := preflight.Firewall(c.format, c.o, c.found, addrs("127.0.0.53"))
		for _, w := range c.want {
			if !strings.Contains(got, w) {
				t.Errorf("%s: no %q in\n%s", name, w, got)
			}
		}
		for _, w := range c.not {
			if strings.Contains(got, w) {
				t.Errorf("%s: %q in\n%s", name, w, got)
			}
		}
	}
}

// explained holds that each rule says its direction and purpose, and each list without addresses that it is none.
func explained(t *testing.T, rules string) {
	t.Helper()
	chain, before, comments, said := "", "", "", ""
	for line := range strings.Lines(rules) {
		line = strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(line, "chain "):
			chain = map[string]string{"chain flexgw_out {": "out, ", "chain flexgw_in {": "in, "}[line]
		case strings.HasPrefix(line, "-A FLEXGW-OUT "):
			chain = "out, "
		case strings.HasPrefix(line, "-A FLEXGW-IN "):
			chain = "in, "
		}
		if rule := strings.Contains(line, " accept") && !strings.HasPrefix(line, "type ") || strings.HasPrefix(line, "-A "); rule && !strings.HasPrefix(line, "#") && !strings.Contains(line, `comment "`+chain) {
			t.Errorf("a rule that does not say what it is for: %s", line)
		}
		if strings.HasPrefix(line, "set ") {
			said = comments
		}
		if strings.HasPrefix(before, "type ipv") && line == "}" && !strings.Contains(said, "EMPTY, so no rule") {
			t.Errorf("an empty list that does not say so:\n%s", rules)
		}
		if before = line; strings.HasPrefix(line, "#") {
			comments += line
		} else {
			comments = ""
		}
	}
}

// What the tables and declarations say is read by the tools that load rules, whatever a file is called.
func TestToolsTakeTheRules(t *testing.T) {
	t.Parallel()
	unshare := tool(t, "unshare")
	odd := preflight.Declared{Addr: netip.MustParseAddrPort("0.0.0.0:8081"), By: "ns/\"; flush ruleset\n# " + strings.Repeat("ü", 200)}
	p, err := egress.ParseProxy("http://proxy.example:3128")
	if err != nil {
		t.Fatal(err)
	}
	documented, others := preflight.Planes()
	for _, plane := range append(documented, others...) {
		for _, profile := range []string{preflight.Gateway, preflight.Fabric} {
			for _, proxy := range []*egress.Proxy{nil, &p} {
				for _, named := range []bool{false, true} {
					o := preflight.Options{Plane: plane, Profile: profile, Proxy: proxy, AllHosts: true, Declared: []preflight.Declared{odd, declared("192.0.2.7:8443"), declared("[2001:db8::7]:8444")}}
					found := map[string][]netip.Addr{}
					for _, host := range preflight.Outward(o) {
						if named {
							found[host] = addrs("203.0.113.2", "203.0.113.1", "2001:db8::1")
						}
					}
					for format, check := range map[string][]string{
						"nft": {tool(t, "nft"), "-c", "-f"}, "iptables": {tool(t, "iptables-restore"), "--test"}, "ip6tables": {filepath.Join("/usr/sbin", "ip6tables-restore"), "--test"},
					} {
						rules := preflight.Firewall(format, o, found, addrs("192.0.2.53", "2001:db8::53"))
						file := filepath.Join(t.TempDir(), "rules")
						write(t, file, rules)
						for _, args := range [][]string{check, load(check)} {
							cmd := exec.Command(unshare, append(append([]string{"--user", "--map-root-user", "--net"}, args...), file)...)
							if out, err := cmd.CombinedOutput(); err != nil {
								t.Errorf("%s, plane %s, %s: %q: %v\n%s\n%s", format, plane, profile, args, err, out, rules)
							}
						}
						explained(t, rules)
						for line := range strings.Lines(rules) {
							if !strings.HasPrefix(line, "#") && strings.Contains(line, "flush ruleset\"") {
								t.Errorf("a name became a rule: %s", line)
							}
						}
					}
				}
			}
		}
	}
}

// load is the command that really loads what check only looks at.
func load(check []string) []string {
	if check[1] == "-c" {
		return []string{check[0], "-f"}
	}
	return []string{check[0], "--noflush"}
}

func TestNameserversOfTheHost(t *testing.T) {
	t.Parallel()
	w := world(t, with(map[string]string{"/etc/resolv.conf": "# c\nsearch x\nnameserver 192.0.2.53\nnameserver fe80::1%eth0\nnameserver nonsense\nnameserver 192.0.2.53\n"}))
	if got, want := preflight.Nameservers(w), addrs("192.0.2.53", "fe80::1"); !cmp.Equal(got, want, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })) {
		t.Errorf("got %v, want %v", got, want)
	}
}
