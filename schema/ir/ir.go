// Package ir is one gateway, linked and defaulted, still free of Envoy.
//
// The model is immutable once schema.Load returned it. Elements are shared between loads: an element that nothing
// changed is the same pointer as before, so later stages may keep what they made of it by pointer (design.md, decision 11).
package ir

import (
	"net/netip"
	"strings"
	"time"

	"github.com/flexgw/flexgw/schema/diag"
)

// Origin says which object an element came from, and where it stands.
type Origin struct {
	Object diag.Object // of what stands inline, under the name that the product derives: PolicyBinding orders-cors-flex-1
	Range  diag.Range
	Of     *diag.Object // of what stands inline: the declared object that holds it; else nil
}

// Declared is the object that the user declared: what diagnostics name.
func (o Origin) Declared() diag.Object {
	if o.Of != nil {
		return *o.Of
	}
	return o.Object
}

// Gateway is the whole linked model.
type Gateway struct {
	Revision  string
	Settings  *Settings   // never nil
	Listeners []*Listener // sorted by address
	Upstreams []*Upstream // sorted by name; every Service, referenced or not
	Probes    []*Probe    // sorted by namespace and name
	Echoes    []*Echo     // sorted by address
	Sealed    []string    // texts that were encrypted where they were written: nobody may be shown them; sorted
	Gaps      bool        // some binding reaches nothing: what APIs lack may have been meant for them

	ForwardProxy *ForwardProxy // nil: none. It is not one of Settings, since nothing that Envoy gets depends on it
	Readiness    *Readiness    // nil: none. Nor is this
	LogOutputs   []LogOutput   // nor these
}

// LogOutput is one that a Configuration names. flexgw writes to none; who asks what a proxy carries has to know of it.
type LogOutput struct{ Name, Type string } // Type in lower case

// Readiness is the HTTP endpoint of the product's own readiness, which a Configuration asks for. flexgw does not serve it; who compares
// ports has to know of it.
type Readiness struct {
	Origin Origin // of the port
	Port   uint16
}

// ForwardProxy is the proxy that a Configuration names. Reports of usage go through it, and nothing else.
type ForwardProxy struct {
	Origin   Origin
	Address  string // http://host:port or https://host:port; the port may be missing
	Username string // "": no credentials
	Password Secret
	NoProxy  []string // exact names, or suffixes that start with a dot; as written
}

// Bindings are all bindings of the model, those of ports and of Services too; one that a selector bound comes once for each
// API.
func (g *Gateway) Bindings() []*Binding {
	var all []*Binding
	for _, l := range g.Listeners {
		if l.TLS != nil {
			all = append(all, l.TLS)
		}
		for _, a := range l.APIs {
			all = append(all, a.Bindings...)
		}
	}
	for _, u := range g.Upstreams {
		all = append(all, u.Bindings...)
	}
	return all
}

// Settings is what Configuration objects and the product's FLEX_* environment variables say about the whole gateway.
// Defaults are the product's (flex-resources.md, 6.7, 8.7 and 11.6).
type Settings struct {
	Origins            []Origin
	StreamIdle         time.Duration // 300 s: no data in either direction
	UpstreamIdle       time.Duration // 60 s: an upstream connection without a request
	UpstreamResponse   time.Duration // 15 s: from the last request byte to the end of the response
	ConnectionIdle     time.Duration // 60 s: a client connection without a request
	RewriteHost        bool          // true: Host becomes the upstream's
	EnvoyHeaders       bool          // false: x-envoy-* are suppressed
	RemoveServerHeader bool          // false: responses carry a Server header
	ForwardClientCert  string        // SANITIZE, FORWARD_ONLY, APPEND_FORWARD, SANITIZE_SET, ALWAYS_FORWARD_ONLY
	SharedStorage      bool          // replicas have a store in common
	Tracing            bool          // spans have somewhere to go
	ProxyProtocol      bool          // listeners expect the HAProxy PROXY header
	MaxConnections     uint32        // circuitBreaker thresholds; 0: Envoy's default
	MaxPendingRequests uint32
	MaxRequests        uint32
	MaxRetries         uint32
	MaxConnectionPools uint32
}

// Listener is one port. TLS belongs to the port, so every API of it has it.
type Listener struct {
	Addr netip.AddrPort
	TLS  *Binding // the `tls` binding that reaches the port; nil: plain text
	APIs []*API   // longest base path first, then by namespace and name
}

// API is one ApiInstance with its routes and its policies in the order in which they run.
type API struct {
	Origin   Origin // Range: the document's `metadata.name`
	Address  diag.Range
	BasePath string // "" or "/a/b": normalised, no trailing slash
	Settings *Settings
	Routes   []*Route   // in the order in which they are tried
	Bindings []*Binding // in the order in which they run; without `tls` and the route policies
	Gaps     bool       // something that was bound to it is in error: what is absent may have been meant (schema.Options.Salvage)
}

// Route is one inline route, or one `route` or `route-weighted` binding.
type Route struct {
	Origin Origin
	Name   string  // of the route policy: "<api>-<service>-route-<n>", or the binding's
	Order  int     // lower is tried first
	Rules  []Match // alternatives; empty: every request
	To     []Split // one: route; several: route-weighted
}

// Split is one alternative of a Route.
type Split struct {
	Origin   Origin
	Weight   uint32 // 1 to 100; a share of the sum
	Upstream *Upstream
	Prefix   string // destinationPath as written; "" and "/": none
}

// Match is one rule: all of its parts must hold. Every pattern is RE2 and matches the whole value
// (flex-resources.md, 8.3). The zero Pattern holds for everything.
type Match struct {
	Path    Pattern // of the path without base path and query; an empty remainder counts as "/"
	Host    Pattern // of the authority; an optional port is ignored
	Method  Pattern
	Headers []HeaderPattern // sorted by name; each header must be present
}

// Pattern is a regular expression, parsed once to check it and never kept compiled (12.7 KiB each).
type Pattern struct {
	Text  string
	Range diag.Range
}

// IsZero reports whether the pattern was not declared.
func (p Pattern) IsZero() bool { return p.Text == "" }

// HeaderPattern is a Pattern for the value of one header. Name is lower case.
type HeaderPattern struct {
	Name string
	Pattern
}

// IsHeaderName reports whether s may be the name of a header, in any case (RFC 9110, 5.6.2).
func IsHeaderName(s string) bool {
	return s != "" && strings.IndexFunc(s, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("!#$%&'*+-.^_`|~", r))
	}) < 0
}

// Upstream is one Service.
type Upstream struct {
	Origin   Origin
	Name     string // "<service>.<namespace>.svc", as in the product's own logs
	Scheme   string // http, https or h2
	Host     string // a DNS name or an IP address without brackets
	Port     uint16
	Address  diag.Range
	Settings *Settings
	Bindings []*Binding // outbound policies in the order in which they run; `tls-outbound` among them
}

// Target says what a policy may be bound to.
type Target uint8

// A Selector selects ApiInstances, so it needs TargetAPI.
const (
	TargetAPI Target = 1 << iota
	TargetUpstream
)

// Place says where in a chain a policy stands.
type Place uint8

// Ordered policies run by their order. First is cors. Outside policies (tls, tls-outbound) are in no chain.
const (
	Ordered Place = iota
	First
	Outside
)

// Guard says what a policy keeps away from an upstream. The zero Guard keeps away nothing.
type Guard uint8

// The guards, weakest first. A policy that Restricts refuses some requests, by their address, content or number; one that
// Authenticates refuses all whose sender does not prove who it is.
const (
	GuardNone Guard = iota
	Restricts
	Authenticates
)

// Validity is when a certificate is valid, both inclusive.
type Validity struct {
	What        string // "certificate.crt"
	At          diag.Range
	From, Until time.Time
}

// Binding is one policy bound to one target, inline or as a PolicyBinding. There are very many: small fields stand together.
type Binding struct {
	Origin     Origin
	Policy     string  // policyRef.name
	Order      int     // lower runs first; a PolicyBinding has 50 unless declared, inline policies 0 in list order
	Automated  bool    // bound by a Selector
	Guard      Guard   // what it keeps away
	Shares     bool    // it asks for counts or contents that all replicas have in common
	Sets       bool    // its Config is a Setter
	Unenforced bool    // its policy is judged, but not enforced yet: nothing is made of it (validate only)
	Rules      []Match // alternatives; empty: every request
	Made       any     // see Config; or a Later. Nil while Unresolved
	Rare       *Rare   // nil: nothing of it. See More
}

// Later makes the Config or Draft of a binding when it is asked for. Several goroutines may ask at once.
type Later interface{ Make(b *Binding) any }

// Config is made and read by the policy type alone; nil while Unresolved.
func (b *Binding) Config() any { return b.made(b.Made) }

// Draft is, while Unresolved, a Config in which variables stand for themselves; to be judged, never rendered.
func (b *Binding) Draft() any { return b.made(b.More().Drafted) }

func (b *Binding) made(x any) any {
	if l, ok := x.(Later); ok {
		return l.Make(b)
	}
	return x
}

// Rare is what most bindings do not have.
type Rare struct {
	PolicyAt   diag.Range // of policyRef.name, where that is not the binding's own place, as it is of what stands inline
	RulesAt    diag.Range
	Validity   []Validity
	Type       any      // what Catalog.Custom returned, for a policy that an Extension defines; nil for a listed one
	Unresolved []string // names of unset $VARIABLEs in its config: nothing can be made of it (validate only)
	Drafted    any      // see Draft; or a Later
}

// More is what of a binding is rare, to be read.
func (b *Binding) More() Rare {
	if b.Rare == nil {
		return Rare{}
	}
	return *b.Rare
}

// Own is what of a binding is rare, to be written while the binding is made.
func (b *Binding) Own() *Rare {
	if b.Rare == nil {
		b.Rare = &Rare{}
	}
	return b.Rare
}

// PolicyAt is where policyRef.name stands.
func (b *Binding) PolicyAt() diag.Range {
	if b.Rare == nil || b.Rare.PolicyAt.IsZero() {
		return b.Origin.Range
	}
	return b.Rare.PolicyAt
}

// RulesAt is where its rules stand, if it has some.
func (b *Binding) RulesAt() diag.Range {
	if b.Rare == nil {
		return diag.Range{}
	}
	return b.Rare.RulesAt
}

// Unresolved are the names of unset $VARIABLEs in its config; see Rare.
func (b *Binding) Unresolved() []string {
	if b.Rare == nil {
		return nil
	}
	return b.Rare.Unresolved
}

// Probe is a check that must pass before a revision counts as programmed (`apiVersion: flexgw/v1alpha1`, `kind: Probe`). It has
// an HTTP, a gRPC or a TLS part; TLS also beside one of the others.
type Probe struct {
	Origin   Origin
	API      *API
	Timeout  time.Duration // of one attempt
	Period   time.Duration // between two
	Attempts int           // after so many it has failed
	HTTP     *ProbeHTTP    // nil: nothing is requested
	GRPC     *ProbeGRPC    // nil: nothing is called; never with HTTP
	TLS      *ProbeTLS     // nil: the certificate is not judged
}

// ProbeHTTP is a request to an API, and what must be answered.
type ProbeHTTP struct {
	At       diag.Range // of the key
	Method   string
	Path     string        // below the base path, with its query; it begins with "/"
	Host     string        // "": that of the address
	Headers  []ProbeHeader // sorted by name
	Body     Secret
	Status   []StatusRange   // one of them; never empty
	Wanted   []HeaderPattern // of the answer, sorted by name
	Contains string          // what stands in the body; "": anything
}

// ProbeGRPC is a call of grpc.health.v1.Health/Check below the base path of an API, and what must be answered.
// https://github.com/grpc/grpc/blob/master/doc/health-checking.md
type ProbeGRPC struct {
	At      diag.Range // of the key
	Service string     // "": the whole server
	Host    string     // "": that of the address
	Headers []ProbeHeader
	Status  []string // names of ServingStatus, one of which is right; never empty
}

// ProbeHeader is a header of a request; its name is in lower case.
type ProbeHeader struct {
	Name   string
	Value  Secret
	Hidden bool // it came from the environment or looks like a secret: an answer that repeats it is not shown
}

// StatusRange holds statuses, both ends inclusive.
type StatusRange struct{ From, To int }

// ProbeTLS is a handshake with the port of an API.
type ProbeTLS struct {
	At         diag.Range // of the key
	ServerName string     // "": the host of the request, or none
	Client     *ProbePair // nil: no client certificate is shown
}

// ProbePair is a certificate with the chain of its issuers, and its key, both PEM.
type ProbePair struct {
	Certificate string
	Key         Secret
}

// Echo is an upstream that the daemon itself serves, to stand in for a service that does not exist yet
// (`apiVersion: flexgw/v1alpha1`, `kind: Echo`). It answers every request with what it got.
type Echo struct {
	Origin  Origin
	Address string // "host:port" on loopback
}

// Setter is a configuration of a binding that sets parts of messages by name. Sets are those that are known without a request, as
// words: "the request header x-a".
type Setter interface{ Sets() []string }
