// Package preflight says whether a host can run a gateway and reach the platform.
//
// What is asked for stands in tables (tables/*.csv), each row of which is a check. It reads a folder that stands for the host's /,
// and gets its clock, its dialer and its resolver handed in. It changes nothing, sends no HTTP request to anybody but a forward
// proxy (CONNECT), and does not read declarations or registration files: whoever calls it says what is in them.
package preflight

import (
	"context"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/flexgw/flexgw/reconcile/egress"
	"github.com/flexgw/flexgw/schema/ir"
)

// Severity is what a check came to.
type Severity string

// The severities. Error alone makes a preflight fail; Manual is for what no program can judge, Skipped for what was not asked.
const (
	OK      Severity = "ok"
	Info    Severity = "info"
	Warn    Severity = "warn"
	Error   Severity = "error"
	Skipped Severity = "skipped"
	Manual  Severity = "manual"
)

// Severities are all of them, the worst last.
func Severities() []Severity { return []Severity{OK, Skipped, Info, Manual, Warn, Error} }

// Result is the answer of one check about one subject.
type Result struct {
	CheckID  string   `json:"check_id"` // "area.slug"
	Severity Severity `json:"severity"`
	Subject  string   `json:"subject"`  // what was looked at: a host:port, a file, a port
	Expected string   `json:"expected"` // by the source
	Observed string   `json:"observed"` // on this host
	Source   string   `json:"source"`   // where the expectation comes from, with its mark: [D] documented, [C] seen in clients, [I] inferred, "ours"
	Hint     string   `json:"hint"`     // what to do; may be empty
}

// The profiles.
const (
	Gateway = "gateway"
	Fabric  = "runtime-fabric"
)

// Options are what is asked of a host.
type Options struct {
	Profile      string     // Gateway (also "") or Fabric, which adds its checks to the gateway's
	Plane        string     // US, EU, or one of Planes; "": the registration's, else US
	Release      ir.Release // of the product; zero: the newest
	Product      bool       // the product itself is to run here: what it needs and flexgw does not is then an error, not a warning
	Size         string     // a row of the product's sizes that this host must hold; "": its smallest is recommended
	Declared     []Declared // listeners of the declarations
	Counts       *Counts    // of the declarations; nil: none were given
	Registration Registration
	StateDirs    []string // in which daemons may keep their state
	User         string   // who runs the gateway, a name or a number of /etc/passwd; "": the process's own user
	Envoy        string   // an Envoy of the operator's own, in words; "": the pinned wheel is used
	NoNetwork    bool     // nothing is resolved or dialed
	AllHosts     bool     // hosts that flexgw never calls are probed too
	Cluster      bool     // kubectl and oc may ask the cluster that they are set up for

	Proxy         *egress.Proxy       // for HTTP(S), but for usage; nil: direct
	Socks         *Socks              // for what is not HTTP(S), which flexgw itself never speaks; nil: direct
	Forward       egress.Proxy        // that usage goes through: of the declarations, or of the environment; zero: direct
	Direct        []string            // what is declared and goes through no proxy, in words
	PasswordShown bool                // a proxy's password stood in the arguments
	PrivateCA     []*x509.Certificate // authorities that somebody named because a proxy opens TLS with them; World.Roots has them too
}

// Declared is a listener of the declarations.
type Declared struct {
	Addr    netip.AddrPort
	By      string // "namespace/name (file:line)"
	Product bool   // the product alone listens there, not flexgw: its readiness endpoint
}

// Counts are the sizes of the declarations that documented limits speak of; each with who has the most.
type Counts struct {
	APIs                                             int
	UpstreamsPerAPI, RoutesPerAPI, UpstreamsPerRoute int
	MostUpstreams, MostRoutes, MostSplits            string
}

// Registration is what a registration file says. The zero Registration says that there is none.
type Registration struct {
	Path     string // "": nobody named one, and none lies beside the declarations
	Named    bool   // a flag named it
	Problem  string // why it cannot be used, in words; "": it can
	Old      string // the .conf of a registration of release 1.0 of the product that is in its place; "": none is
	Exposed  []Exposed
	Platform string // host:port of the control plane; "" as in the tables
	Usage    string // host:port where usage goes; "" as in the tables
	NotAfter time.Time
	CA       []byte // PEM of the authorities that the platform is trusted by; World.Roots has them too
}

// Exposed is a file of a registration that others than its owner may use.
type Exposed struct {
	Text      string // the file, its mode and what others can do, in words
	Path      string
	Everybody bool // everybody on the host, not the file's group alone
}

// World is the host as the checks see it. Functions that are nil are not asked.
type World struct {
	Root     string // the folder that stands for /; "": /
	OS, Arch string // of the process, in Go's words
	Now      func() time.Time
	Getenv   func(string) (string, bool)
	Run      func(ctx context.Context, name string, args ...string) ([]byte, error) // exec.ErrNotFound when it is not installed
	Held     func(path string) (bool, error)                                        // whether somebody holds a lock on a file
	Kernel   func() (Kernel, bool)                                                  // false: this system does not say
	Resolve  func(ctx context.Context, addr string) ([]netip.Addr, error)           // of "host:port"
	Dial     func(ctx context.Context, network, addr string) (net.Conn, error)
	Tunnel   func(ctx context.Context, through egress.Proxy, addr string) (net.Conn, error)
	Roots    *x509.CertPool // nil: the system's
	Need     Need
}

// Need is what the pinned Envoy needs (the tag of its wheel).
type Need struct {
	Arch          string // in Go's words
	Glibc         [2]int // at least
	Requirement   string // of pip
	WheelPlatform string
}

// run is one preflight.
type run struct {
	Options
	World
	ctx     context.Context
	results []Result
	seen    *sockets // nil: not yet read
	procs   []process
	siteCAs []*x509.Certificate
}

// Run makes all checks that the options ask for. The order of results is that of the areas: host, resources, ports, files, instances,
// agents, clock, cluster, permissions, network, Runtime Fabric.
func Run(ctx context.Context, w World, o Options) []Result {
	if o.Profile == "" {
		o.Profile = Gateway
	}
	o.Plane = o.PlaneOf()
	r := &run{Options: o, World: w, ctx: ctx}
	r.siteCAs = r.authorities()
	r.procs = r.processes()
	r.system()
	r.resources()
	r.limits()
	r.ports()
	r.files()
	r.instances()
	r.agents()
	r.clock()
	r.cluster()
	r.permissions()
	r.proxySettings()
	r.network()
	if o.Profile == Fabric {
		r.fabric()
	}
	return r.results
}

func (r *run) add(x Result) { r.results = append(r.results, x) }

// product is the severity of what the product needs and flexgw does not.
func (r *run) product() Severity {
	if r.Product {
		return Error
	}
	return Warn
}

// release is the product's release in words.
func (r *run) release() string { return r.Release.String() }

// within reports whether a release lies in a range of minor releases; "" is open. "later" is what the documentation of the newest
// releases says without saying since when: it holds from the newest minor release on that the tables know a change of, 1.10.
func (r *run) within(from, to string) bool {
	if from == "later" {
		from = "1.10"
	}
	if from != "" && r.Release.Before(release(from)) {
		return false
	}
	if to == "" {
		return true
	}
	last := release(to)
	last.Minor++
	return r.Release.Before(last)
}

// release reads a release of the tables, which are right.
func release(s string) ir.Release {
	var v ir.Release
	if _, err := fmt.Sscanf(s, "%d.%d", &v.Major, &v.Minor); err != nil {
		panic("preflight: a table has the release " + s)
	}
	return v
}

func (w World) path(name string) string {
	if w.Root == "" {
		return name
	}
	return filepath.Join(w.Root, name)
}

// readLimit bounds what is read of one file: the largest that is read is a C library.
const readLimit = 16 << 20

// read is a file's text, or "".
func (w World) read(name string) (string, error) {
	f, err := os.Open(w.path(name))
	if err != nil {
		return "", err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, readLimit))
	return string(b), err
}

// line is the first line of a file, without space around it; "" when it cannot be read.
func (w World) line(name string) string {
	text, _ := w.read(name)
	first, _, _ := strings.Cut(text, "\n")
	return strings.TrimSpace(first)
}

func (w World) exists(name string) bool {
	_, err := os.Stat(w.path(name))
	return err == nil
}

// glob is filepath.Glob below the root, with names as seen from there.
func (w World) glob(pattern string) []string {
	found, _ := filepath.Glob(w.path(pattern)) // patterns are constants
	for i, f := range found {
		if w.Root != "" {
			rel, _ := filepath.Rel(w.Root, f)
			found[i] = "/" + filepath.ToSlash(rel)
		}
	}
	return found
}

func (w World) env(name string) string {
	if w.Getenv == nil {
		return ""
	}
	v, _ := w.Getenv(name)
	return v
}

// plural is "1 port", "2 ports".
func plural(n int, word string) string {
	if n == 1 {
		return "1 " + word
	}
	return fmt.Sprintf("%d %ss", n, word)
}
