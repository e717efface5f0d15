package preflight

import (
	"cmp"
	"encoding/hex"
	"fmt"
	"net/netip"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/flexgw/flexgw/schema/ir"
)

// socket is one that listens, as /proc/net tells it.
type socket struct {
	transport string // tcp, udp
	addr      netip.AddrPort
	inode     string
}

// sockets are those that listen, with the processes that hold them as far as this user may see.
type sockets struct {
	list  []socket
	owner map[string]process // by inode
}

func (r *run) listening() *sockets {
	if r.seen != nil {
		return r.seen
	}
	s := &sockets{owner: map[string]process{}}
	r.seen = s
	for _, f := range []struct{ name, transport, state string }{{"tcp", "tcp", "0A"}, {"tcp6", "tcp", "0A"}, {"udp", "udp", "07"}, {"udp6", "udp", "07"}} {
		text, _ := r.read("/proc/net/" + f.name)
		for line := range strings.Lines(text) {
			part := strings.Fields(line)
			if len(part) < 10 || part[3] != f.state {
				continue
			}
			if addr, ok := procAddr(part[1]); ok {
				s.list = append(s.list, socket{f.transport, addr, part[9]})
			}
		}
	}
	wanted := map[string]bool{}
	for _, x := range s.list {
		wanted[x.inode] = true
	}
	for _, p := range r.procs {
		for _, fd := range r.glob(fmt.Sprintf("/proc/%d/fd/*", p.pid)) {
			link, _ := os.Readlink(r.path(fd))
			inode, ok := strings.CutPrefix(link, "socket:[")
			if inode = strings.TrimSuffix(inode, "]"); ok && wanted[inode] {
				s.owner[inode] = p
			}
		}
	}
	return s
}

// procAddr reads "0100007F:1F90": words of the host's order, which is little-endian wherever a gateway runs.
func procAddr(text string) (netip.AddrPort, bool) {
	host, port, _ := strings.Cut(text, ":")
	b, err := hex.DecodeString(host)
	p, err2 := strconv.ParseUint(port, 16, 16)
	if err != nil || err2 != nil || len(b)%4 != 0 {
		return netip.AddrPort{}, false
	}
	for i := 0; i < len(b); i += 4 {
		slices.Reverse(b[i : i+4])
	}
	addr, ok := netip.AddrFromSlice(b)
	return netip.AddrPortFrom(addr.Unmap(), uint16(p)), ok
}

// process is one that runs.
type process struct {
	pid  int
	name string // as the kernel keeps it: 15 bytes at most
}

func (p process) String() string {
	if p.pid == 0 {
		return "a process that this user cannot see"
	}
	return fmt.Sprintf("%s (process %d)", p.name, p.pid)
}

// processes are all that run, by their numbers.
func (r *run) processes() []process {
	var all []process
	for _, f := range r.glob("/proc/[0-9]*/comm") {
		if pid, err := strconv.Atoi(path.Base(path.Dir(f))); err == nil {
			all = append(all, process{pid, r.line(f)})
		}
	}
	slices.SortFunc(all, func(a, b process) int { return a.pid - b.pid })
	return all
}

// on is the first socket in the way of addr, and who holds it.
func (r *run) on(transport string, addr netip.AddrPort) (socket, process, bool) {
	s := r.listening()
	for _, x := range s.list {
		if x.transport == transport && x.addr.Port() == addr.Port() && overlap(x.addr.Addr(), addr.Addr()) {
			return x, s.owner[x.inode], true
		}
	}
	return socket{}, process{}, false
}

// Listener is a socket that listens on TCP, and who holds it.
type Listener struct {
	Addr netip.AddrPort
	PID  int    // 0: a process that this user may not see
	Name string // of the process, as the kernel keeps it
}

// Holder is the process in words.
func (l Listener) Holder() string { return process{l.PID, l.Name}.String() }

// Listening are the sockets of this host that are in the way of addr, sorted by process and address; Linux only. Whoever binds with
// SO_REUSEPORT, as Envoy does, is not told of those that others bound so: the kernel deals connections out among them.
func Listening(addr netip.AddrPort) []Listener {
	r := &run{}
	r.procs = r.processes()
	s := r.listening()
	var all []Listener
	for _, x := range s.list {
		if x.transport != "tcp" || x.addr.Port() != addr.Port() || !overlap(x.addr.Addr(), addr.Addr()) {
			continue
		}
		p := s.owner[x.inode]
		if l := (Listener{x.addr, p.pid, p.name}); !slices.Contains(all, l) { // one for each worker
			all = append(all, l)
		}
	}
	slices.SortFunc(all, func(a, b Listener) int { return cmp.Or(a.PID-b.PID, a.Addr.Compare(b.Addr)) })
	return all
}

// overlap reports whether both cannot be bound at once. :: takes IPv4 too, unless a socket says otherwise, which /proc does not tell.
func overlap(a, b netip.Addr) bool {
	return a == b || a.IsUnspecified() && (a.Is6() || b.Is4()) || b.IsUnspecified() && (b.Is6() || a.Is4())
}

// ofProduct and ofFlexgw are what gateways' processes are called.
var (
	productProcesses = []string{"flex-gateway", "flex-agent", "flexctl"}
	flexgwProcesses  = []string{"flexgw", "envoy"}
)

// ports judges the ports that the product keeps for itself, and those that the declarations listen on.
func (r *run) ports() {
	r.reserved()
	for _, d := range r.Declared {
		res := Result{"ports.in_use", OK, d.Addr.String() + "/tcp", "free", "free", "ours: declared by " + d.By, ""}
		if r.OS != "linux" {
			res.Severity, res.Observed = Skipped, "not looked at on "+r.OS
		} else if s, p, taken := r.on("tcp", d.Addr); taken {
			res.Severity, res.Observed, res.Hint = Error, "taken by "+p.String()+" on "+s.addr.String(), "stop it, or give the API another port"
			switch {
			case d.Product && slices.Contains(productProcesses, p.name):
				res.Severity, res.Observed, res.Hint = OK, res.Observed+", the product itself", ""
			case d.Product:
				res.Severity, res.Hint = r.product(), "stop it, or give the readiness endpoint another port; flexgw does not open it"
			case slices.Contains(flexgwProcesses, p.name):
				res.Severity, res.Hint = Warn, "a gateway runs here already; with a second one on the port, each answers some of the calls"
			case p.pid == 0:
				res.Hint = "ask as root who it is (ss -ltnp); stop it, or give the API another port"
			}
		}
		r.add(res)
		r.privileged(d)
	}
	if len(r.Declared) == 0 {
		r.add(Result{"ports.in_use", Skipped, "listeners", "free", "no declarations given", "ours", "name them: flexgw preflight PATH…"})
	}
}

// capNetBind is the number of CAP_NET_BIND_SERVICE (capabilities(7)).
const capNetBind = 10

// privileged judges ports that not everybody may listen on.
func (r *run) privileged(d Declared) {
	first := uint64(1024)
	if n, err := strconv.ParseUint(r.line("/proc/sys/net/ipv4/ip_unprivileged_port_start"), 10, 16); err == nil {
		first = n
	}
	if uint64(d.Addr.Port()) >= first || r.OS != "linux" || d.Product {
		return
	}
	u := r.user()
	res := Result{"ports.privileged", OK, d.Addr.String() + "/tcp", "root, or CAP_NET_BIND_SERVICE, for ports below " + strconv.FormatUint(first, 10), "user " + u.name, "ours: ip(7); declared by " + d.By, ""}
	caps, _ := strconv.ParseUint(r.status("CapEff"), 16, 64)
	if u.id != 0 && (r.User != "" || caps&(1<<capNetBind) == 0) {
		res.Severity = Error
		if r.User != "" {
			res.Severity = Warn // its unit may give it the capability
		}
		res.Hint = "give the unit AmbientCapabilities=CAP_NET_BIND_SERVICE, or lower net.ipv4.ip_unprivileged_port_start, or take a port from " + strconv.FormatUint(first, 10) + " on"
	}
	r.add(res)
}

// reserved judges the ports that the product keeps for itself: those of the release may not be declared, and those of any release, with
// 2000 for its metrics, had better not be. It is the table of validate (link/reserved-port), which
// only warns where the vendor's pages disagree.
func (r *run) reserved() {
	for _, p := range ir.ReservedPorts() {
		r.reservedPort(p)
	}
}

func (r *run) reservedPort(p ir.ReservedPort) {
	now := p.Listed(r.Release)
	res := Result{CheckID: "ports.reserved", Severity: OK, Subject: fmt.Sprintf("%d/tcp", p.Port), Expected: "not declared: it " + p.Words(r.Release), Observed: "free", Source: "[D] reserved ports"}
	if len(p.In) == 0 {
		res.Source = "[C] the product's images, reserved ports"
	}
	for _, d := range r.Declared {
		if d.Addr.Port() != p.Port {
			continue
		}
		res.Severity, res.Observed, res.Hint = Warn, "declared by "+d.By+", and "+p.Words(r.Release), "choose another port if the declarations are to run there"
		if now {
			res.Severity, res.Hint = Error, "choose another port"
		}
		r.add(res)
		return
	}
	if _, owner, taken := r.on("tcp", netip.AddrPortFrom(netip.IPv4Unspecified(), p.Port)); taken && r.OS == "linux" {
		res.Observed = "taken by " + owner.String()
		switch {
		case slices.Contains(productProcesses, owner.name):
			res.Observed += ", the product itself"
		case now && r.Product:
			res.Severity, res.Hint = Error, "the product cannot start beside it: stop it, or move it to another port"
		case now:
			res.Severity, res.Hint = Info, "the product could not start beside it; flexgw does not use this port"
		}
	}
	r.add(res)
}
