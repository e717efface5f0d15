package preflight

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
)

// Firewalls are the formats of Firewall.
func Firewalls() []string { return []string{"nft", "iptables", "ip6tables"} }

// peer is somebody whom this host calls: one host and port.
type peer struct {
	addr      string // host:port
	why       string
	transport string
	found     []netip.Addr // its addresses; nil: not known
}

// inlet is a port that others call.
type inlet struct {
	to        netip.Addr // of this host; the zero Addr: any
	ports     span
	transport string
	nodes     bool // only the other nodes of Runtime Fabric call it
	why       string
}

// Outward are the hosts ("host:port") that the rules of Firewall let out to: whom flexgw calls, or the proxies in their place; with
// AllHosts the plane's documented hosts.
func Outward(o Options) []string {
	var all []string
	for _, p := range o.peers() {
		all = append(all, p.addr)
	}
	return all
}

// peers are without their addresses.
func (o Options) peers() []peer {
	o.NoNetwork = false
	var all []peer
	for _, t := range o.targets() {
		if !o.probed(t) {
			continue
		}
		p := peer{addr: t.addr, why: t.purpose, transport: "tcp"}
		if via := o.via(t); via != "" {
			p.addr, p.why = via, "proxy"
		}
		if !slices.ContainsFunc(all, func(q peer) bool { return q.addr == p.addr }) {
			all = append(all, p)
		}
	}
	return all
}

func (o Options) inlets() []inlet {
	var all []inlet
	for _, d := range o.Declared {
		in := inlet{to: d.Addr.Addr(), ports: span{d.Addr.Port(), d.Addr.Port()}, transport: "tcp", why: d.By}
		if in.to.IsLoopback() {
			continue
		}
		if in.to.IsUnspecified() {
			in.to = netip.Addr{}
		}
		all = append(all, in)
	}
	if o.Profile != Fabric {
		return all
	}
	for _, x := range table("fabric_ports") {
		if x["destination"] == "internet" || x["destination"] == "localhost" {
			continue
		}
		for _, s := range spans(x["ports"]) {
			all = append(all, inlet{ports: s, transport: x["transport"], nodes: strings.Contains(x["source"], "nodes"), why: "Runtime Fabric: " + x["description"]})
		}
	}
	return all
}

// Firewall writes rules that let through what a gateway needs: nothing is dropped by them, so that loading them locks nobody out.
// found has the addresses of the hosts of Outward; what it lacks is left for the operator to fill in. Nameservers are asked unless all that is
// called has an address: behind a proxy, the proxy.
func Firewall(format string, o Options, found map[string][]netip.Addr, nameservers []netip.Addr) string {
	peers := o.peers()
	for i := range peers {
		host, _, _ := net.SplitHostPort(peers[i].addr)
		if a, err := netip.ParseAddr(host); err == nil {
			peers[i].found = []netip.Addr{a}
			continue
		}
		for _, a := range found[peers[i].addr] {
			peers[i].found = append(peers[i].found, a.Unmap())
		}
		slices.SortFunc(peers[i].found, netip.Addr.Compare)
		peers[i].found = slices.Compact(peers[i].found)
	}
	if slices.ContainsFunc(peers, func(p peer) bool {
		host, _, _ := net.SplitHostPort(p.addr)
		_, err := netip.ParseAddr(host)
		return err != nil
	}) {
		for _, a := range nameservers {
			if !a.IsLoopback() {
				for _, transport := range []string{"udp", "tcp"} {
					peers = append(peers, peer{addr: netip.AddrPortFrom(a, 53).String(), why: "name server", transport: transport, found: []netip.Addr{a}})
				}
			}
		}
	}
	f := rules{o: o, peers: peers, inlets: o.inlets()}
	if format == "nft" {
		f.nft()
	} else {
		f.iptables(format)
	}
	return f.b.String()
}

type rules struct {
	o      Options
	peers  []peer
	inlets []inlet
	b      strings.Builder
}

func (f *rules) line(format string, args ...any) { fmt.Fprintf(&f.b, format+"\n", args...) }

// head says what is in the rules, and what is not.
func (f *rules) head(format, load string) {
	f.line("# flexgw preflight --firewall %s, plane %s: what a gateway on this host needs.", format, f.o.PlaneOf())
	f.line("# Nothing here drops a packet. Where a firewall drops by default, these rules are to be reached before it does.")
	f.line("# %s", load)
	if documented, _ := Planes(); !slices.Contains(documented, f.o.PlaneOf()) && f.o.Registration.Usage == "" {
		f.line("# The hosts of plane %s are not documented for the gateway: none is let out to here.", f.o.PlaneOf())
	}
	f.line("# Not here: upstreams of APIs, and the servers that keep the clock (123/udp).")
}

// plain is a text that cannot end a comment or a string: letters, digits and a few signs, at most 100 bytes.
func plain(text string) string {
	text = strings.Map(func(c rune) rune {
		if c < 128 && (c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.ContainsRune(" ._/:()-,;", c)) {
			return c
		}
		return '_'
	}, text)
	return text[:min(len(text), 100)]
}

// setName is a name for the addresses of a host.
func setName(host, family string) string {
	return strings.Map(func(c rune) rune {
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' {
			return c
		}
		return '_'
	}, "h_"+host) + "_" + family
}

func (f *rules) nft() {
	f.head("nft", "Load with: nft -f FILE (again after each change: the table is made anew)")
	f.line("table inet flexgw")
	f.line("delete table inet flexgw")
	f.line("table inet flexgw {")
	sets := map[string]bool{}
	for _, p := range f.peers {
		host, _, _ := net.SplitHostPort(p.addr)
		if _, err := netip.ParseAddr(host); err == nil || sets[host] {
			continue
		}
		sets[host] = true
		for _, family := range []string{"v4", "v6"} {
			var elements []string
			for _, a := range p.found {
				if a.Is4() == (family == "v4") {
					elements = append(elements, a.String())
				}
			}
			name := setName(host, family)
			f.line("\t# %s", plain(host))
			f.line("\tset %s {", name)
			f.line("\t\ttype %s", map[string]string{"v4": "ipv4_addr", "v6": "ipv6_addr"}[family])
			if len(elements) > 0 {
				f.line("\t\telements = { %s }", strings.Join(elements, ", "))
			} else if p.found == nil {
				f.line("\t\t# not looked up: nft add element inet flexgw %s '{ ADDRESS }'", name)
			}
			f.line("\t}")
		}
	}
	fabric := slices.ContainsFunc(f.inlets, func(in inlet) bool { return in.nodes })
	if fabric {
		f.line("\t# the other nodes: nft add element inet flexgw nodes '{ ADDRESS }'")
		f.line("\tset nodes {\n\t\ttype ipv4_addr\n\t}")
	}
	f.line("\tchain outbound {")
	f.line("\t\ttype filter hook output priority filter; policy accept;")
	f.line("\t\tct state established,related accept")
	f.line("\t\toifname \"lo\" accept")
	for _, p := range f.peers {
		host, port, _ := net.SplitHostPort(p.addr)
		if a, err := netip.ParseAddr(host); err == nil {
			f.line("\t\t%s daddr %s %s dport %s accept comment \"%s\"", ipWord(a), a, p.transport, port, plain(p.why))
			continue
		}
		f.line("\t\tip daddr @%s %s dport %s accept comment \"%s\"", setName(host, "v4"), p.transport, port, plain(host+": "+p.why))
		f.line("\t\tip6 daddr @%s %s dport %s accept comment \"%s\"", setName(host, "v6"), p.transport, port, plain(host+": "+p.why))
	}
	f.line("\t}")
	f.line("\tchain inbound {")
	f.line("\t\ttype filter hook input priority filter; policy accept;")
	f.line("\t\tct state established,related accept")
	f.line("\t\tiifname \"lo\" accept")
	for _, in := range f.inlets {
		from := ""
		if in.nodes {
			from = "ip saddr @nodes "
		}
		if in.to.IsValid() {
			from += ipWord(in.to) + " daddr " + in.to.String() + " "
		}
		f.line("\t\t%s%s dport %s accept comment \"%s\"", from, in.transport, in.ports.text("-"), plain(in.why))
	}
	f.line("\t}")
	f.line("}")
}

func (s span) text(between string) string {
	if s.first == s.last {
		return fmt.Sprint(s.first)
	}
	return fmt.Sprintf("%d%s%d", s.first, between, s.last)
}

func ipWord(a netip.Addr) string {
	if a.Is4() {
		return "ip"
	}
	return "ip6"
}

// iptables writes for one family of addresses: iptables or ip6tables.
func (f *rules) iptables(format string) {
	four := format == "iptables"
	f.head(format, fmt.Sprintf("Load with: %s-restore --noflush FILE, and lead there once: %s -I OUTPUT -j FLEXGW-OUT; %s -I INPUT -j FLEXGW-IN", format, format, format))
	f.line("*filter")
	f.line(":FLEXGW-OUT - [0:0]")
	f.line(":FLEXGW-IN - [0:0]")
	for _, p := range f.peers {
		host, port, _ := net.SplitHostPort(p.addr)
		rule := func(to string) string {
			return fmt.Sprintf("-A FLEXGW-OUT -d %s -p %s -m %s --dport %s -m comment --comment \"%s\" -j ACCEPT", to, p.transport, p.transport, port, plain(host+": "+p.why))
		}
		if p.found == nil {
			f.line("# %s was not looked up; put its address in place of ADDRESS:", plain(host))
			f.line("# %s", rule("ADDRESS"))
		}
		for _, a := range p.found {
			if a.Is4() == four {
				f.line("%s", rule(netip.PrefixFrom(a, a.BitLen()).String()))
			}
		}
	}
	for _, in := range f.inlets {
		to := ""
		if in.to.IsValid() {
			if in.to.Is4() != four {
				continue
			}
			to = "-d " + netip.PrefixFrom(in.to, in.to.BitLen()).String() + " "
		}
		rule := fmt.Sprintf("-A FLEXGW-IN %s-p %s -m %s --dport %s -m comment --comment \"%s\" -j ACCEPT", to, in.transport, in.transport, in.ports.text(":"), plain(in.why))
		if in.nodes {
			f.line("# for each other node, with its address: %s", strings.Replace(rule, "-A FLEXGW-IN ", "-A FLEXGW-IN -s NODE ", 1))
			continue
		}
		f.line("%s", rule)
	}
	f.line("COMMIT")
}

// Nameservers are those that this host asks for names.
func Nameservers(w World) []netip.Addr {
	text, _ := w.read("/etc/resolv.conf")
	var all []netip.Addr
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) < 2 || f[0] != "nameserver" {
			continue
		}
		if a, err := netip.ParseAddr(f[1]); err == nil {
			all = append(all, a.WithZone(""))
		}
	}
	slices.SortFunc(all, netip.Addr.Compare)
	return slices.Compact(all)
}
