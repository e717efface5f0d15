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
	o := preflight.Options{Declared: []preflight.Declared{declared("0.0.0.0:8081"), declared("192.0.2.7:8443"), declared("[2001:db8::7]:8444"), declared("127.0.0.1:9000")}}
	found := map[string][]netip.Addr{"anypoint.mulesoft.com:443": addrs("203.0.113.2", "203.0.113.1", "2001:db8::1")}
	servers := addrs("127.0.0.53", "192.0.2.53")
	for format, want := range map[string]string{
		"nft": `table inet flexgw
delete table inet flexgw
table inet flexgw {
	# anypoint.mulesoft.com
	set h_anypoint_mulesoft_com_v4 {
		type ipv4_addr
		elements = { 203.0.113.1, 203.0.113.2 }
	}
	# anypoint.mulesoft.com
	set h_anypoint_mulesoft_com_v6 {
		type ipv6_addr
		elements = { 2001:db8::1 }
	}
	# metering.ingestion.us-east-1.prod.cloudhub.io
	set h_metering_ingestion_us_east_1_prod_cloudhub_io_v4 {
		type ipv4_addr
		# not looked up: nft add element inet flexgw h_metering_ingestion_us_east_1_prod_cloudhub_io_v4 '{ ADDRESS }'
	}
	# metering.ingestion.us-east-1.prod.cloudhub.io
	set h_metering_ingestion_us_east_1_prod_cloudhub_io_v6 {
		type ipv6_addr
		# not looked up: nft add element inet flexgw h_metering_ingestion_us_east_1_prod_cloudhub_io_v6 '{ ADDRESS }'
	}
	chain outbound {
		type filter hook output priority filter; policy accept;
		ct state established,related accept
		oifname "lo" accept
		ip daddr @h_anypoint_mulesoft_com_v4 tcp dport 443 accept comment "anypoint.mulesoft.com: control plane; internal metrics; custom policy binaries"
		ip6 daddr @h_anypoint_mulesoft_com_v6 tcp dport 443 accept comment "anypoint.mulesoft.com: control plane; internal metrics; custom policy binaries"
		ip daddr @h_metering_ingestion_us_east_1_prod_cloudhub_io_v4 tcp dport 443 accept comment "metering.ingestion.us-east-1.prod.cloudhub.io: analytics (usage)"
		ip6 daddr @h_metering_ingestion_us_east_1_prod_cloudhub_io_v6 tcp dport 443 accept comment "metering.ingestion.us-east-1.prod.cloudhub.io: analytics (usage)"
		ip daddr 192.0.2.53 udp dport 53 accept comment "name server"
		ip daddr 192.0.2.53 tcp dport 53 accept comment "name server"
	}
	chain inbound {
		type filter hook input priority filter; policy accept;
		ct state established,related accept
		iifname "lo" accept
		tcp dport 8081 accept comment "default/orders (gateway.yaml:4)"
		ip daddr 192.0.2.7 tcp dport 8443 accept comment "default/orders (gateway.yaml:4)"
		ip6 daddr 2001:db8::7 tcp dport 8444 accept comment "default/orders (gateway.yaml:4)"
	}
}
`,
		"iptables": `*filter
:FLEXGW-OUT - [0:0]
:FLEXGW-IN - [0:0]
-A FLEXGW-OUT -d 203.0.113.1/32 -p tcp -m tcp --dport 443 -m comment --comment "anypoint.mulesoft.com: control plane; internal metrics; custom policy binaries" -j ACCEPT
-A FLEXGW-OUT -d 203.0.113.2/32 -p tcp -m tcp --dport 443 -m comment --comment "anypoint.mulesoft.com: control plane; internal metrics; custom policy binaries" -j ACCEPT
# metering.ingestion.us-east-1.prod.cloudhub.io was not looked up; put its address in place of ADDRESS:
# -A FLEXGW-OUT -d ADDRESS -p tcp -m tcp --dport 443 -m comment --comment "metering.ingestion.us-east-1.prod.cloudhub.io: analytics (usage)" -j ACCEPT
-A FLEXGW-OUT -d 192.0.2.53/32 -p udp -m udp --dport 53 -m comment --comment "192.0.2.53: name server" -j ACCEPT
-A FLEXGW-OUT -d 192.0.2.53/32 -p tcp -m tcp --dport 53 -m comment --comment "192.0.2.53: name server" -j ACCEPT
-A FLEXGW-IN -p tcp -m tcp --dport 8081 -m comment --comment "default/orders (gateway.yaml:4)" -j ACCEPT
-A FLEXGW-IN -d 192.0.2.7/32 -p tcp -m tcp --dport 8443 -m comment --comment "default/orders (gateway.yaml:4)" -j ACCEPT
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

	// Behind a proxy nobody else is called, and no name is looked up here.
	p, err := egress.ParseProxy("http://user:secret@192.0.2.9:3128")
	if err != nil {
		t.Fatal(err)
	}
	o.Proxy = &p
	got := preflight.Firewall("nft", o, nil, servers)
	if !strings.Contains(got, "ip daddr 192.0.2.9 tcp dport 3128 accept") || strings.Contains(got, "anypoint.mulesoft") || strings.Contains(got, "name server") || strings.Contains(got, "secret") {
		t.Errorf("behind a proxy:\n%s", got)
	}
	if got := preflight.Firewall("nft", preflight.Options{Plane: "JP"}, nil, nil); !strings.Contains(got, "plane JP are not documented") {
		t.Errorf("plane JP:\n%s", got)
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
