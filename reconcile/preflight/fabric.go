package preflight

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// fabric judges what Runtime Fabric, in its appliance generation ([I]), asks of a node beside hosts: ports, kernel, addresses. What no
// program on the node can see is listed.
func (r *run) fabric() {
	for _, x := range table("fabric_ports") {
		r.fabricPorts(x)
	}
	for _, x := range table("fabric_requirements") {
		r.requirement(x)
	}
}

// fabricProcesses are what its parts are called.
var fabricProcesses = []string{"planet", "gravity", "teleport", "serf", "etcd", "kubelet", "kube-proxy", "kube-apiserver", "kube-controller", "kube-scheduler", "dockerd", "docker-proxy", "registry", "flanneld", "coredns", "dnsmasq", "satellite"}

func (r *run) fabricPorts(x row) {
	res := Result{"fabric.ports", OK, x["ports"] + "/" + x["transport"] + ", " + x["source"] + " to " + x["destination"], x["description"] + ": open between them", "free", "[D] S-RTF, ports", ""}
	if x["protocol"] != "" {
		res.Expected += " (" + x["protocol"] + ")"
	}
	if x["when"] == "installation" {
		res.Expected += "; during installation alone"
	}
	if x["destination"] == "internet" {
		res.Severity, res.Observed, res.Hint = Info, "leaves this host", "see network.* for the hosts, with --all-hosts"
		if x["transport"] == "udp" {
			res.Hint = "see clock.synchronised: a clock that is kept shows it"
		}
		r.add(res)
		return
	}
	ports := spans(x["ports"])
	within := func(port uint16) bool { return slices.ContainsFunc(ports, func(s span) bool { return s.has(port) }) }
	for _, d := range r.Declared {
		if x["transport"] == "tcp" && within(d.Addr.Port()) {
			res.Severity, res.Observed, res.Hint = Error, fmt.Sprintf("port %d is declared by %s", d.Addr.Port(), d.By), "give the API another port: Runtime Fabric needs this one on the same host"
			r.add(res)
			return
		}
	}
	if r.OS != "linux" {
		res.Severity, res.Observed = Skipped, "not looked at on "+r.OS
		r.add(res)
		return
	}
	s := r.listening()
	for _, l := range s.list {
		if l.transport != x["transport"] || !within(l.addr.Port()) {
			continue
		}
		p := s.owner[l.inode]
		if slices.Contains(fabricProcesses, p.name) {
			res.Observed = fmt.Sprintf("port %d is taken by %s, its own", l.addr.Port(), p)
			continue
		}
		res.Severity, res.Observed, res.Hint = Warn, fmt.Sprintf("port %d is taken by %s", l.addr.Port(), p), "stop it before Runtime Fabric is installed; if it is a part of that, all is well"
		break
	}
	r.add(res)
}

// requirement judges one row. The rest of the rows is for people.
func (r *run) requirement(x row) {
	res := Result{x["id"], Manual, strings.TrimPrefix(x["id"], "rtf."), x["requirement"], "no program on one host sees it", "[D] S-RTF, requirements", "see to it by hand"}
	switch x["id"] {
	case "rtf.forwarding":
		r.switched(&res, "/proc/sys/net/ipv4/ip_forward", "net.ipv4.ip_forward", "sysctl -w net.ipv4.ip_forward=1")
	case "rtf.brnetfilter":
		r.module(&res)
	case "rtf.ip":
		r.addresses(&res)
	case "rtf.ssh":
		res.Hint = ""
		if _, p, on := r.on("tcp", netip.AddrPortFrom(netip.IPv4Unspecified(), 22)); on {
			res.Severity, res.Observed = OK, p.String()+" listens on port 22"
		} else {
			res.Severity, res.Observed, res.Hint = Warn, "nothing listens on port 22", "start sshd while Runtime Fabric is installed, if it is reached by its usual port"
		}
	case "rtf.httpproxy":
		res.Severity, res.Observed, res.Hint = Info, "no proxy named", "if a proxy stands before the internet, name it with --https-proxy, and in the installation"
		if r.Proxy != nil {
			res.Severity, res.Observed, res.Hint = OK, r.Proxy.String(), "name it in the installation too"
		}
	case "rtf.socks5":
		res.Severity, res.Observed, res.Hint = Info, "no SOCKS5 proxy named", "if a proxy stands before the internet, name one with --socks5-proxy, and in the installation"
		switch {
		case r.Socks != nil:
			res.Severity, res.Observed, res.Hint = OK, r.Socks.String(), "name it in the installation too"
		case r.Proxy != nil:
			res.Severity, res.Observed = Warn, "an HTTP proxy is named, and no SOCKS5 proxy"
		}
	case "rtf.bandwidth.nodes", "rtf.bandwidth.internet":
		res.Hint = "measure it between the hosts (iperf3): this command sends no load"
	case "rtf.region":
		res.Hint = "measure the latency between the nodes: they stand in one region"
	case "rtf.smtp":
		res.Hint = "send a mail through the server that alerts will use: this command dials no mail server"
	}
	r.add(res)
}

func (r *run) switched(res *Result, file, name, how string) {
	res.Hint = ""
	switch value := r.line(file); value {
	case "1":
		res.Severity, res.Observed = OK, name+" is 1"
	case "":
		res.Severity, res.Observed = Skipped, "the kernel does not say"
	default:
		res.Severity, res.Observed, res.Hint = Warn, name+" is "+value, how+", and in /etc/sysctl.d; the installation does it too"
	}
}

func (r *run) module(res *Result) {
	res.Hint = ""
	builtin, _ := r.read("/proc/modules")
	switch {
	case r.exists("/sys/module/br_netfilter"), r.exists("/proc/sys/net/bridge/bridge-nf-call-iptables"), strings.Contains("\n"+builtin, "\nbr_netfilter "):
		res.Severity, res.Observed = OK, "br_netfilter is loaded"
	default:
		res.Severity, res.Observed, res.Hint = Warn, "br_netfilter is not loaded", "modprobe br_netfilter, and name it in /etc/modules-load.d; the installation does it too"
	}
}

// addresses judges whether this host has a private IPv4 address that does not come from a DHCP lease.
func (r *run) addresses(res *Result) {
	res.Hint = ""
	text, _ := r.read("/proc/net/fib_trie")
	last, seen := netip.Addr{}, map[string]bool{}
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if a, ok := strings.CutPrefix(line, "|-- "); ok {
			last, _ = netip.ParseAddr(a)
		}
		if line == "/32 host LOCAL" && last.IsPrivate() {
			seen[last.String()] = true
		}
	}
	var private []string
	for a := range seen {
		private = append(private, a)
	}
	slices.Sort(private)
	var leases []string
	for _, pattern := range []string{"/run/systemd/netif/leases/*", "/var/lib/dhcp/*.leases", "/var/lib/dhclient/*.leases", "/var/lib/NetworkManager/*.lease"} {
		for _, f := range r.glob(pattern) {
			if text, _ := r.read(f); strings.TrimSpace(text) != "" {
				leases = append(leases, f)
			}
		}
	}
	switch {
	case len(private) == 0:
		res.Severity, res.Observed, res.Hint = Warn, "no private IPv4 address", "give each node one"
	case len(leases) > 0:
		res.Severity, res.Observed, res.Hint = Warn, strings.Join(private, ", ")+", and a DHCP lease ("+leases[0]+")", "have the address reserved for this host, or set it by hand: it must survive restarts"
	default:
		res.Severity, res.Observed = OK, strings.Join(private, ", ")+", and no DHCP lease"
	}
}
