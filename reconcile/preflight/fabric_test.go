package preflight_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/flexgw/flexgw/reconcile/egress"
	"github.com/flexgw/flexgw/reconcile/preflight"
)

func onFabric() preflight.Options {
	return preflight.Options{Profile: preflight.Fabric, NoNetwork: true}
}

func TestEveryHostOfFabric(t *testing.T) {
	t.Parallel()
	rows := preflight.Table("fabric_hosts")
	if len(rows) != 27 {
		t.Errorf("the table has %d rows, the reference has 27", len(rows))
	}
	for _, plane := range []string{"US", "EU"} {
		n := newInternet(t)
		w := world(t, with(map[string]string{"/usr/local/share/ca-certificates/corp.crt": n.corp.pem()}))
		n.join(&w)
		w.Roots.AddCert(n.corp.cert)
		for _, x := range preflight.Table("hosts") {
			n.mutual[x["host"]] = x["protocol"] == "mTLS"
		}
		o := preflight.Options{Profile: preflight.Fabric, Plane: plane, AllHosts: true}
		good := run(t, w, o)
		n.nameless = all(rows)
		nameless := run(t, w, o)
		n.nameless, n.closed = map[string]bool{}, all(rows)
		closed := run(t, w, o)
		n.closed, n.opened = map[string]bool{}, all(rows)
		opened := run(t, w, o)
		o.AllHosts = false
		listed := run(t, w, o)
		for _, x := range rows {
			if x["plane"] != plane && x["plane"] != "ALL" {
				continue
			}
			addr := x["host"] + ":" + x["port"]
			r := find(t, good, "network.tcp", addr)
			if want(t, r, preflight.OK, "connected"); !strings.Contains(r.Source, "S-RTF") {
				t.Errorf("source %q", r.Source)
			}
			want(t, find(t, nameless, "network.dns", addr), preflight.Error, "no such host")
			want(t, find(t, closed, "network.tcp", addr), preflight.Error, "refused")
			if ours := addr == "anypoint.mulesoft.com:443" && plane == "US"; !ours {
				r := find(t, listed, "network.host", addr)
				if want(t, r, preflight.Info, "not probed"); !strings.Contains(r.Expected, x["purpose"]) {
					t.Errorf("expected %q", r.Expected)
				}
			}
			if strings.HasPrefix(x["protocol"], "TCP") {
				want(t, find(t, good, "network.tls", addr), preflight.Skipped, "does not say")
				continue
			}
			want(t, find(t, good, "network.chain", addr), preflight.OK, "Everybody Knows CA")
			sev := preflight.Info
			if x["passthrough"] == "yes" {
				sev = preflight.Error
			}
			want(t, find(t, opened, "network.passthrough", addr), sev, "Corp Gateway CA")
		}
	}
}

// lines is a listening socket in the words of /proc/net, of tcp or udp.
func lines(transport string, port int) map[string]string {
	line := "head\n" + listens(everywhere, port, 61)
	if transport == "udp" {
		line = strings.Replace(line, " 0A ", " 07 ", 1)
	}
	return map[string]string{"/proc/net/" + transport: line, "/proc/31/comm": "nginx\n", "/proc/31/fd/9": "-> socket:[61]"}
}

func TestEveryPortOfFabric(t *testing.T) {
	t.Parallel()
	rows := preflight.Table("fabric_ports")
	if len(rows) != 28 {
		t.Errorf("the table has %d rows, the reference has 3 and 25", len(rows))
	}
	free := run(t, world(t, good()), onFabric())
	for _, x := range rows {
		subject := x["ports"] + "/" + x["transport"] + ", " + x["source"] + " to " + x["destination"]
		r := find(t, free, "fabric.ports", subject)
		if !strings.HasPrefix(r.Expected, x["description"]) {
			t.Errorf("expected %q", r.Expected)
		}
		if x["destination"] == "internet" {
			want(t, r, preflight.Info, "leaves this host")
			continue
		}
		want(t, r, preflight.OK, "free")
		for part := range strings.SplitSeq(x["ports"], ";") {
			first, last, both := strings.Cut(part, "-")
			if !both {
				last = first
			}
			for _, text := range []string{first, last} {
				var port int
				if _, err := fmt.Sscan(text, &port); err != nil {
					t.Fatal(err)
				}
				taken := lines(x["transport"], port)
				want(t, find(t, run(t, world(t, with(taken)), onFabric()), "fabric.ports", subject), preflight.Warn, fmt.Sprintf("port %d is taken by nginx (process 31)", port))
				taken["/proc/31/comm"] = "planet\n"
				want(t, find(t, run(t, world(t, with(taken)), onFabric()), "fabric.ports", subject), preflight.OK, "its own")
				o := onFabric()
				o.Declared = []preflight.Declared{declared("0.0.0.0:" + text)}
				r := find(t, run(t, world(t, good()), o), "fabric.ports", subject)
				if x["transport"] == "tcp" {
					want(t, r, preflight.Error, "is declared by default/orders")
				} else {
					want(t, r, preflight.OK, "free") // APIs listen on TCP
				}
			}
		}
	}
	// The ports of which the reference says that both products want them on one host.
	for _, port := range []string{"443", "5000", "6060", "8080", "30000", "31234", "32767"} {
		o := onFabric()
		o.Declared = []preflight.Declared{declared("0.0.0.0:" + port)}
		if !slices.ContainsFunc(run(t, world(t, good()), o), func(r preflight.Result) bool { return r.CheckID == "fabric.ports" && r.Severity == preflight.Error }) {
			t.Errorf("port %s is declared, and nothing is said", port)
		}
	}
	for _, r := range run(t, world(t, good()), offline()) {
		if strings.HasPrefix(r.CheckID, "fabric.") || strings.HasPrefix(r.CheckID, "rtf.") {
			t.Errorf("nobody asked for Runtime Fabric: %+v", r)
		}
	}
}

const trie = "Main:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 127.0.0.1\n        /32 host LOCAL\n     |-- 10.0.0.7\n        /32 host LOCAL\n     |-- 10.0.0.255\n        /32 link BROADCAST\n     |-- 203.0.113.9\n        /32 host LOCAL\n"

func TestEveryRequirementOfFabric(t *testing.T) {
	t.Parallel()
	rows := preflight.Table("fabric_requirements")
	if len(rows) != 12 {
		t.Errorf("the table has %d rows, the reference has 12", len(rows))
	}
	ready := map[string]string{
		"/proc/sys/net/ipv4/ip_forward": "1\n", "/proc/modules": "br_netfilter 32768 0 - Live 0x0\n", "/proc/net/fib_trie": trie,
		"/proc/net/tcp": "head\n" + listens(everywhere, 22, 70), "/proc/32/comm": "sshd\n", "/proc/32/fd/3": "-> socket:[70]",
	}
	o := onFabric()
	p, err := egress.ParseProxy("http://proxy.example:3128")
	if err != nil {
		t.Fatal(err)
	}
	o.Proxy = &p
	if o.Socks, err = preflight.ParseSocks("socks5://user:secret@proxy.example"); err != nil {
		t.Fatal(err)
	}
	met := run(t, world(t, with(ready)), o)
	missing := run(t, world(t, with(map[string]string{"/proc/sys/net/ipv4/ip_forward": "0\n", "/proc/net/fib_trie": strings.ReplaceAll(trie, "10.0.0.7", "198.51.100.7")})), onFabric())
	checked := map[string]struct {
		met     string
		sev     preflight.Severity
		missing string
	}{
		"rtf.forwarding":  {"ip_forward is 1", preflight.Warn, "ip_forward is 0"},
		"rtf.brnetfilter": {"is loaded", preflight.Warn, "is not loaded"},
		"rtf.ip":          {"10.0.0.7, and no DHCP lease", preflight.Warn, "no private IPv4 address"},
		"rtf.ssh":         {"sshd (process 32)", preflight.Warn, "nothing listens on port 22"},
		"rtf.httpproxy":   {"http://proxy.example:3128", preflight.Info, "no proxy"},
		"rtf.socks5":      {"socks5://[redacted]@proxy.example:1080", preflight.Info, "no SOCKS5 proxy"},
	}
	for _, x := range rows {
		subject := strings.TrimPrefix(x["id"], "rtf.")
		r := find(t, met, x["id"], subject)
		if r.Expected != x["requirement"] {
			t.Errorf("expected %q", r.Expected)
		}
		c, ok := checked[x["id"]]
		if !ok {
			if want(t, r, preflight.Manual, "no program"); r.Hint == "" {
				t.Errorf("%s says nothing to do", x["id"])
			}
			continue
		}
		want(t, r, preflight.OK, c.met)
		want(t, find(t, missing, x["id"], subject), c.sev, c.missing)
	}
	ready["/var/lib/dhcp/dhclient.eth0.leases"] = "lease {\n"
	want(t, find(t, run(t, world(t, with(ready)), onFabric()), "rtf.ip", "ip"), preflight.Warn, "10.0.0.7, and a DHCP lease")
	o.Socks = nil
	want(t, find(t, run(t, world(t, with(ready)), o), "rtf.socks5", "socks5"), preflight.Warn, "no SOCKS5 proxy")
}
