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
	addr      string   // host:port
	purposes  []string // what for, in words
	why       string   // what the tables say of it
	transport string
	found     []netip.Addr // its addresses; nil: not known
}

// host is its name, or its address.
func (p peer) host() string {
	host, _, _ := net.SplitHostPort(p.addr)
	return host
}

// text says whom a rule is for, and what for.
func (p peer) text() string {
	text := "out, " + strings.Join(p.purposes, " and ") + ": " + p.host()
	if p.why != "" {
		text += ", " + p.why
	}
	return text
}

// in are the addresses of a family.
func (p peer) in(four bool) []netip.Addr {
	return slices.DeleteFunc(slices.Clone(p.found), func(a netip.Addr) bool { return a.Is4() != four })
}

// inlet is a port that others call.
type inlet struct {
	to        netip.Addr // of this host; the zero Addr: any
	four, six bool       // by which family
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
		p := peer{addr: t.addr, purposes: []string{t.forWhat()}, why: t.purpose, transport: "tcp"}
		if via := o.via(t); via != "" {
			p.addr, p.why = via, "the proxy that carries it"
		}
		i := slices.IndexFunc(all, func(q peer) bool { return q.addr == p.addr })
		if i < 0 {
			all = append(all, p)
		} else if !slices.Contains(all[i].purposes, p.purposes[0]) {
			all[i].purposes = append(all[i].purposes, p.purposes[0])
		}
	}
	return all
}

// forWhat is who calls a target, and what for.
func (t target) forWhat() string {
	switch {
	case t.role == "registration":
		return "registration"
	case t.role == "usage":
		return "usage reports"
	case t.fabric:
		return "Runtime Fabric"
	case t.mode == "connected":
		return "the product in Connected Mode"
	}
	return "the product"
}

func (o Options) inlets() []inlet {
	var all []inlet
	for _, d := range o.Declared {
		if d.Addr.Addr().IsLoopback() || d.Product && !o.Product {
			continue
		}
		in := inlet{to: d.Addr.Addr(), four: d.Addr.Addr().Is4(), six: d.Addr.Addr().Is6(), ports: span{d.Addr.Port(), d.Addr.Port()}, transport: "tcp", why: "clients of the API " + d.By}
		if d.Product {
			in.why = d.By
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
			nodes := strings.Contains(x["source"], "nodes") // each has an IPv4 address: rtf.ip
			all = append(all, inlet{four: true, six: !nodes, ports: s, transport: x["transport"], nodes: nodes, why: "Runtime Fabric, " + x["source"] + ": " + x["description"]})
		}
	}
	return all
}

// Firewall writes chains of rules that let through what a gateway needs, for the operator to lead to from a chain that drops: an accept
// that another base chain reaches undoes no drop. Nothing is dropped by them, so that loading them locks nobody out.
// found has the addresses of the hosts of Outward; what it lacks is left for the operator to fill in. Nameservers are asked unless all that is
// called has an address: behind a proxy, the proxy.
func Firewall(format string, o Options, found map[string][]netip.Addr, nameservers []netip.Addr) string {
	f := rules{o: o, inlets: o.inlets()}
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
			if a.IsLoopback() {
				f.own = append(f.own, a.String())
			} else {
				for _, transport := range []string{"udp", "tcp"} {
					peers = append(peers, peer{addr: netip.AddrPortFrom(a, 53).String(), purposes: []string{"name look-up"}, transport: transport, found: []netip.Addr{a}})
				}
			}
		}
	}
	f.peers = peers
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
	own    []string // name servers of this host itself
	b      strings.Builder
}

func (f *rules) line(format string, args ...any) { fmt.Fprintf(&f.b, format+"\n", args...) }

// head says what is in the rules, what is not, and what to do with them.
func (f *rules) head(format, check, load string, lead ...string) {
	f.line("# flexgw preflight --firewall %s, plane %s: what a gateway on this host needs.", format, f.o.PlaneOf())
	f.line("# To be reviewed: it is made of documented hosts, the declarations that were named, and this host's name servers, and knows nothing else of your network.")
	f.line("#")
	f.line("# OUT are connections that this host opens, IN those that others open to it. The comment of each rule says which of the two, what for, and whom it is about.")
	f.line("# An empty list is no rule: what has no address here lets nobody through, until you put addresses in its place.")
	if f.o.NoNetwork {
		f.line("# Names were not looked up (--no-network): their places are empty.")
	} else {
		f.line("# Names were looked up when this was written. Addresses change: write it anew from time to time, or let a proxy through in their place.")
	}
	f.line("# Not here: upstreams of APIs, what else flexgw egress show lists (key sets, Git, webhooks), and the servers that keep the clock (123/udp).")
	if len(f.own) > 0 {
		f.line("# Nor here: whom the name server of this host itself (%s) asks in turn.", strings.Join(f.own, ", "))
	}
	f.line("#")
	f.line("# Nothing here drops a packet, and nothing is let through before a chain that drops by default leads here, before it does.")
	f.line("# Check: %s", check)
	f.line("# Load:  %s", load)
	for _, l := range lead {
		f.line("%s", strings.TrimRight("# "+l, " "))
	}
}

// nobody says why there is no rule in a direction; over is the family of addresses that the rules are for, " over IPv4", or "".
func (f *rules) nobody(direction, over string) string {
	switch documented, _ := Planes(); {
	case direction == "IN" && len(f.o.Declared) > 0:
		return "No rule: the declarations have no port that others can call" + over + ": what listens on loopback needs none."
	case direction == "IN":
		return "No rule: no declarations were named of which others call a port" + over + " (flexgw preflight --firewall FORMAT PATH)."
	case !slices.Contains(documented, f.o.PlaneOf()) && f.o.Registration.Usage == "":
		return "No rule: the hosts of plane " + f.o.PlaneOf() + " are not documented for the gateway; with --registration the two that flexgw calls are known."
	}
	return "No rule: nobody is called" + over + "."
}

// empty says why a name has no address of a family.
func (f *rules) empty(p peer, family string) string {
	switch {
	case p.found == nil && f.o.NoNetwork:
		return "the name was not looked up (--no-network)"
	case p.found == nil:
		return "the name was not found"
	}
	return "the name has no " + family + " address"
}

// plain is a text that cannot end a comment or a string: letters, digits and a few signs, at most 120 bytes (nft takes 127).
func plain(text string) string {
	text = strings.Map(func(c rune) rune {
		if c < 128 && (c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.ContainsRune(" ._/:()-,;", c)) {
			return c
		}
		return '_'
	}, text)
	return text[:min(len(text), 120)]
}

// setName is a name for the addresses of a host in a family.
func setName(host string, four bool) string {
	family := "v6"
	if four {
		family = "v4"
	}
	return strings.Map(func(c rune) rune {
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' {
			return c
		}
		return '_'
	}, "flexgw_"+host) + "_" + family
}

// nftTable is where base chains usually are.
const nftTable = "inet filter"

// neighbours is what IPv6 cannot do without, and connection tracking does not know (RFC 4890, 4.4.1).
const neighbours = "neighbours over IPv6 find each other"

func nftType(four bool) string {
	if four {
		return "ipv4_addr"
	}
	return "ipv6_addr"
}

func (f *rules) nft() {
	f.head("nft", "nft -c -f FILE", "nft -f FILE (again after each change: the chains are filled anew, and sets with addresses that were looked up)",
		"Lead:  once, from the base chains that drop. A jump does not leave its table, and an accept does not undo the drop of another one: so this is",
		"       for the table that has those chains. Here it is inet filter with input and output, as in Debian's nftables.conf; where yours is",
		"       called otherwise (nft list ruleset), write its name in place of \"inet filter\" everywhere below:",
		"  nft insert rule "+nftTable+" output jump flexgw_out",
		"  nft insert rule "+nftTable+" input jump flexgw_in",
		"       To stay, in /etc/nftables.conf after its \"flush ruleset\": include \"FILE\"; and as first lines of chains output and input:",
		"       jump flexgw_out; jump flexgw_in")
	f.line("add table %s", nftTable)
	for _, chain := range []string{"flexgw_out", "flexgw_in"} {
		f.line("add chain %s %s", nftTable, chain)
		f.line("flush chain %s %s", nftTable, chain)
	}
	named := f.named()
	for _, p := range named {
		if p.found == nil {
			continue
		}
		for _, four := range []bool{true, false} {
			f.line("add set %s %s { type %s; }", nftTable, setName(p.host(), four), nftType(four))
			f.line("flush set %s %s", nftTable, setName(p.host(), four))
		}
	}
	f.line("table %s {", nftTable)
	for _, p := range named {
		f.nftSet(p, p.host(), true)
		f.nftSet(p, p.host(), false)
	}
	if slices.ContainsFunc(f.inlets, func(in inlet) bool { return in.nodes }) {
		f.line("\t# The other nodes of Runtime Fabric. EMPTY, so no rule: nobody says here which they are.")
		f.line("\t# nft add element %s flexgw_nodes '{ ADDRESS }'", nftTable)
		f.line("\tset flexgw_nodes {\n\t\ttype ipv4_addr\n\t}")
	}
	f.nftOut()
	f.nftIn()
	f.line("}")
}

// named are the peers that have a name, each name once.
func (f *rules) named() (named []peer) {
	for _, p := range f.peers {
		if _, err := netip.ParseAddr(p.host()); err != nil && !slices.ContainsFunc(named, func(q peer) bool { return q.host() == p.host() }) {
			named = append(named, p)
		}
	}
	return named
}

// nftStanding writes the rules that a chain has whoever is called: direction is out or in, lo how nft calls an interface in it.
func (f *rules) nftStanding(direction, lo string) {
	f.line("\tchain flexgw_%s {", direction)
	f.line("\t\tct state established,related accept comment \"%s, answers\"", direction)
	f.line("\t\t%s \"lo\" accept comment \"%s, this host to itself\"", lo, direction)
	f.line("\t\ticmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept comment \"%s, %s\"", direction, neighbours)
}

func (f *rules) nftOut() {
	f.line("\t# OUT: connections that this host opens.")
	f.nftStanding("out", "oifname")
	for _, p := range f.peers {
		host, port, _ := net.SplitHostPort(p.addr)
		if a, err := netip.ParseAddr(host); err == nil {
			f.line("\t\t%s daddr %s %s dport %s accept comment \"%s\"", ipWord(a), a, p.transport, port, plain(p.text()))
			continue
		}
		f.line("\t\tip daddr @%s %s dport %s accept comment \"%s\"", setName(host, true), p.transport, port, plain(p.text()))
		f.line("\t\tip6 daddr @%s %s dport %s accept comment \"%s\"", setName(host, false), p.transport, port, plain(p.text()))
	}
	if len(f.peers) == 0 {
		f.line("\t\t# %s", f.nobody("OUT", ""))
	}
	f.line("\t}")
}

func (f *rules) nftIn() {
	f.line("\t# IN: connections that others open to this host.")
	f.nftStanding("in", "iifname")
	for _, in := range f.inlets {
		which := ""
		switch {
		case in.nodes:
			which = "ip saddr @flexgw_nodes "
		case in.to.IsValid():
			which = ipWord(in.to) + " daddr " + in.to.String() + " "
		case !in.six:
			which = "meta nfproto ipv4 "
		case !in.four:
			which = "meta nfproto ipv6 "
		}
		f.line("\t\t%s%s dport %s accept comment \"%s\"", which, in.transport, in.ports.text("-"), plain("in, "+in.why))
	}
	if len(f.inlets) == 0 {
		f.line("\t\t# %s", f.nobody("IN", ""))
	}
	f.line("\t}")
}

// nftSet writes the addresses of a host in a family.
func (f *rules) nftSet(p peer, host string, four bool) {
	name, family := setName(host, four), "IPv4"
	if !four {
		family = "IPv6"
	}
	var elements []string
	for _, a := range p.in(four) {
		elements = append(elements, a.String())
	}
	f.line("\t# %s, %s, for %s", plain(host), family, strings.Join(p.purposes, " and "))
	if len(elements) == 0 {
		f.line("\t# EMPTY, so no rule: %s. nft add element %s %s '{ ADDRESS }'", f.empty(p, family), nftTable, name)
	}
	f.line("\tset %s {", name)
	f.line("\t\ttype %s", nftType(four))
	if len(elements) > 0 {
		f.line("\t\telements = { %s }", strings.Join(elements, ", "))
	}
	f.line("\t}")
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
	four, family, other := format == "iptables", "IPv4", "ip6tables"
	if !four {
		family, other = "IPv6", "iptables"
	}
	f.head(format, format+"-restore --test FILE", format+"-restore --noflush FILE (again after each change: the chains are filled anew)",
		"Lead:  once, to stay by what keeps your other rules:", "  "+format+" -I OUTPUT -j FLEXGW-OUT", "  "+format+" -I INPUT -j FLEXGW-IN")
	f.line("# This is for %s alone: --firewall %s writes the rest.", family, other)
	f.line("*filter")
	f.line(":FLEXGW-OUT - [0:0]")
	f.line(":FLEXGW-IN - [0:0]")
	f.line("# OUT: connections that this host opens.")
	f.standing("FLEXGW-OUT", "out, ", "-o", four)
	start := f.b.Len()
	for _, p := range f.peers {
		host, port, _ := net.SplitHostPort(p.addr)
		rule := func(to string) string {
			return fmt.Sprintf("-A FLEXGW-OUT -d %s -p %s -m %s --dport %s -m comment --comment \"%s\" -j ACCEPT", to, p.transport, p.transport, port, plain(p.text()))
		}
		for _, a := range p.in(four) {
			f.line("%s", rule(netip.PrefixFrom(a, a.BitLen()).String()))
		}
		if _, err := netip.ParseAddr(host); err != nil && len(p.in(four)) == 0 {
			f.line("# EMPTY, so no rule, for %s: %s. With its address in place of ADDRESS:", plain(host), f.empty(p, family))
			f.line("# %s", rule("ADDRESS"))
		}
	}
	if f.b.Len() == start {
		f.line("# %s", f.nobody("OUT", " over "+family))
	}
	f.line("# IN: connections that others open to this host.")
	f.standing("FLEXGW-IN", "in, ", "-i", four)
	start = f.b.Len()
	for _, in := range f.inlets {
		if four && !in.four || !four && !in.six {
			continue
		}
		to := ""
		if in.to.IsValid() {
			to = "-d " + netip.PrefixFrom(in.to, in.to.BitLen()).String() + " "
		}
		rule := fmt.Sprintf("-A FLEXGW-IN %s-p %s -m %s --dport %s -m comment --comment \"%s\" -j ACCEPT", to, in.transport, in.transport, in.ports.text(":"), plain("in, "+in.why))
		if in.nodes {
			f.line("# EMPTY, so no rule. For each other node, with its address in place of NODE: %s", strings.Replace(rule, "-A FLEXGW-IN ", "-A FLEXGW-IN -s NODE ", 1))
			continue
		}
		f.line("%s", rule)
	}
	if f.b.Len() == start {
		f.line("# %s", f.nobody("IN", " over "+family))
	}
	f.line("COMMIT")
}

// standing are the rules without which no connection stands, whoever it is to.
func (f *rules) standing(chain, direction, by string, four bool) {
	f.line("-A %s -m conntrack --ctstate RELATED,ESTABLISHED -m comment --comment \"%sanswers\" -j ACCEPT", chain, direction)
	f.line("-A %s %s lo -m comment --comment \"%sthis host to itself\" -j ACCEPT", chain, by, direction)
	if !four {
		for _, kind := range []string{"neighbour-solicitation", "neighbour-advertisement"} {
			f.line("-A %s -p ipv6-icmp -m icmp6 --icmpv6-type %s -m comment --comment \"%s%s\" -j ACCEPT", chain, kind, direction, neighbours)
		}
	}
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
