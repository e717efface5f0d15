// Package policy is the contract between the renderer and the policy types.
//
// A policy type says what its configuration may be and what one binding of it asks of Envoy. It does not know where in a
// chain it runs, which other policies run there, or how its filters reach Envoy: package render owns that.
package policy

import (
	"fmt"
	"time"

	accesslogv3 "github.com/envoyproxy/go-control-plane/envoy/config/accesslog/v3"
	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"google.golang.org/protobuf/proto"

	"github.com/flexgw/flexgw/render/policy/enforce"
	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/ir"
	"github.com/flexgw/flexgw/schema/syntax"
)

// Spec is one policy type. C is the type of its configuration, decoded by syntax.Node.Decode (struct tag `flex`).
type Spec[C any] struct {
	Name    string    // what policyRef.name says, for example "cors-flex"
	Also    []string  // other names that the product's own pages use for it
	Schema  []byte    // JSON Schema of the configuration; closed objects, every property described
	Page    []byte    // the user's page in Markdown
	Codes   []byte    // of each code of the page: why, a bad and a good example, and the source (see Type.Explain)
	Targets ir.Target // what it may be bound to
	Place   ir.Place  // Ordered unless it is cors (First) or tls (Outside)
	Since   string    // the release of the product that has it first: "1.12.0"

	// Defaults returns the configuration that an empty document stands for; nil: the zero C.
	Defaults func() C
	// OwnRules: the filters (or the daemon) judge Binding.Rules themselves, so no composite slot is needed.
	OwnRules bool
	// Replies and AccessLogs stand in the listener, so they are the type's, never a binding's: one that depended on a
	// binding would drain the port.
	Replies    []Reply
	AccessLogs []*accesslogv3.AccessLog
	// Check says what a schema cannot say; may be nil. It runs once the schema holds and every $VARIABLE is known.
	Check func(c *C, at Locator) diag.List
	// Guard says what a configuration keeps away; nil: nothing. It is asked about what is known of a C where an unset
	// $VARIABLE hides the rest.
	Guard func(c *C) ir.Guard
	// Shares says whether a configuration asks for counts or contents that all replicas have in common; nil: never.
	Shares func(c *C) bool
	// Validity names the certificates of a configuration and when they are valid, for those who have a clock; nil: none.
	Validity func(c *C, at Locator) []ir.Validity
	// Shifts says what a change of the configuration does to who gets through and who can listen. It decides nothing: it is
	// for a reviewer. A nil configuration is that of a binding that is not there; the other one guards nothing then. No
	// Shifts: what the schema's `x-looser` say (see LooserWords) counts, and without those any change of a configuration that guards.
	Shifts func(was, now *C) []Shift
	// Needs names what the daemon must fetch before rendering (a remote key set); nil: nothing. Its bytes are part of
	// what the rendering depends on.
	Needs func(c *C) []Need
	// Usable says whether an answer to a Need can be rendered: one that cannot is kept away from Effect, and the last
	// usable one stays. Nil: every answer is.
	Usable func(n Need, answer []byte) error
	// Effect is pure: the same input gives the same effect. An error is a bug of ours, never a user's mistake. Nil: the
	// policy is judged, but not enforced yet; bindings of it are refused by all who serve.
	Effect func(c *C, in Input) (Effect, error)
	// Start makes the request-time half from Effect.Enforce; nil: Envoy decides alone.
	Start enforce.Start
}

// Locator finds the place of a value in the binding's config: Locator("ips", "0"). No path: the config itself. A path
// that was not declared gives the place of the nearest thing that was.
type Locator func(path ...string) diag.Range

// Input is what an Effect may look at.
type Input struct {
	Binding  *ir.Binding
	API      *ir.API      // nil for an outbound policy
	Upstream *ir.Upstream // nil for an inbound policy
	Settings *ir.Settings
	// ID is the stable inner name of the binding, "<namespace>.<binding>": a prefix for stat_prefix, metadata keys and
	// helper names. It never holds a hash or a position (statistics are never freed).
	ID string
	// Instance is "<ID>@<hash of Effect.Enforce>": what the daemon knows this configuration by, to be sent as
	// InstanceMetadata. The renderer asks an Effect that sets Enforce twice: first without Instance, then with it.
	Instance string
	// Got returns what a Need fetched; false while it was not.
	Got func(Need) ([]byte, bool)
	// Path names the file that content-addressed data is written to; list the same data in Effect.Files.
	Path func(data []byte, ext string) string
	// Earlier says where earlier policies of the chain leave the principal, the claims and the client id.
	Earlier Published
}

// EnforceCluster is the name of the bootstrap's cluster for the request-time server.
const EnforceCluster = "flexgw-enforce"

// InstanceMetadata is the gRPC initial metadata key that carries Input.Instance.
const InstanceMetadata = enforce.InstanceMetadata

// Effect is everything that one binding asks of Envoy. The zero Effect asks nothing. Filters run for every request of the
// API, for those that no route matches too (CORS preflights): the last route of an API answers 404 behind its chain.
type Effect struct {
	Filters    []Filter                    // in the API's chain, in this order, at the binding's place
	Route      *routev3.Route              // fields of the API's routes that no filter owns; a field set twice is a conflict
	Downstream *tlsv3.DownstreamTlsContext // of the port (tls)
	Upstream   *Upstream                   // of a Service
	Clusters   []*clusterv3.Cluster        // names start with Input.ID
	Secrets    []*tlsv3.Secret             // names start with Input.ID; referenced with sds_config ADS() (SDS)
	Files      []File                      // content-addressed: named by Input.Path
	Body       BodyNeeds                   // buffering asked for
	Enforce    any                         // the immutable configuration that Start gets; data alone, all of it exported (see InstanceHash); nil: native
	Publishes  Published                   // for later policies
}

// Filter is one HTTP filter of a chain.
type Filter struct {
	Name   string        // suffix of the stable inner name <namespace>.<binding>[.<suffix>]; "" for the only filter
	Config proto.Message // whole
	Route  proto.Message // entry of the route's typed_per_filter_config under the inner name, for a filter that needs one (cors); else nil
}

// Upstream is what an outbound policy asks of a Service's cluster.
type Upstream struct {
	TLS        *tlsv3.UpstreamTlsContext // whole; SNI and SAN matchers are filled in by the renderer when empty
	Unverified bool                      // the certificate of the upstream is not verified: no SAN matcher, no system CA
	Filters    []Filter                  // upstream HTTP filters
	Thresholds *clusterv3.CircuitBreakers_Thresholds
	Idle       time.Duration // 0: the gateway's
}

// File is content that Envoy reads by name. The name is a function of the content, so new content is a new file.
type File struct {
	Ext    string // ".json", ".lua"
	Data   []byte
	Secret bool // mode 0600 and redacted when shown
}

// BodyNeeds says how much of a body a filter must see. Zero: nothing.
type BodyNeeds struct {
	Request uint32 // bytes that may be buffered; over it: 413
}

// Need is something that must be fetched from the network before a binding can be rendered.
type Need struct {
	Policy  string // the policy's name; filled in by Type.Needs
	Purpose string // "jwks"
	URL     string
	TTL     time.Duration // how long the answer stays fresh
	Timeout time.Duration
}

// Reply is how a local reply of Envoy looks as a reply of the product.
type Reply struct {
	Details string // Envoy's RESPONSE_CODE_DETAILS, exact; with a trailing "*" a prefix
	Status  uint32 // 0: keep
	Body    string // sent as application/json; charset=UTF-8; "" keeps Envoy's
	Headers map[string]string
}

// Published says where a policy leaves what it found out, as paths into dynamic metadata. A zero Ref: nowhere.
type Published struct {
	Principal Ref
	Claims    Ref
	ClientID  Ref
}

// Merge returns p with what later sets on top.
func (p Published) Merge(later Published) Published {
	for _, x := range []struct{ to, from *Ref }{{&p.Principal, &later.Principal}, {&p.Claims, &later.Claims}, {&p.ClientID, &later.ClientID}} {
		if !x.from.IsZero() {
			*x.to = *x.from
		}
	}
	return p
}

// Ref is a place in dynamic metadata: the namespace and the keys below it.
type Ref struct {
	Namespace string
	Keys      []string
}

// IsZero reports whether nothing is published.
func (r Ref) IsZero() bool { return r.Namespace == "" }

// Type is a Spec with the configuration's type erased. The zero Type is no policy. A Type is one pointer: there is one for each
// of very many bindings.
type Type struct{ *definition }

type definition struct {
	name       string
	also       []string
	schema     []byte
	page       []byte
	codes      []byte
	targets    ir.Target
	place      ir.Place
	guard      func(any) ir.Guard
	shifts     func(was, now any) ([]Shift, bool)
	since      string
	ownRules   bool
	replies    []Reply
	accessLogs []*accesslogv3.AccessLog
	start      enforce.Start
	decode     func(*syntax.Node) (any, diag.List)
	shares     func(any) bool
	validity   func(any, *syntax.Node) []ir.Validity
	hasNeeds   bool
	needs      func(any) []Need
	usable     func(Need, []byte) error
	effect     func(any, Input) (Effect, error)
}

// Define is the only place that asserts the type of a configuration.
func Define[C any](s Spec[C]) Type {
	t := Type{&definition{name: s.Name, also: s.Also, schema: s.Schema, page: s.Page, codes: s.Codes, targets: s.Targets, place: s.Place, since: s.Since, ownRules: s.OwnRules,
		replies: s.Replies, accessLogs: s.AccessLogs, start: s.Start, usable: s.Usable}}
	t.decode = func(n *syntax.Node) (any, diag.List) {
		c := new(C)
		if s.Defaults != nil {
			*c = s.Defaults()
		}
		l := n.Decode(c)
		if s.Check != nil && !l.HasErrors() {
			l = append(l, s.Check(c, n.Locate)...)
		}
		return c, l
	}
	t.guard = func(c any) ir.Guard {
		cc, ok := c.(*C)
		switch {
		case s.Guard == nil:
			return ir.GuardNone
		case ok:
		case s.Defaults != nil:
			d := s.Defaults()
			cc = &d
		default:
			cc = new(C)
		}
		return s.Guard(cc)
	}
	t.shares = func(c any) bool { return s.Shares != nil && s.Shares(c.(*C)) }
	t.validity = func(c any, n *syntax.Node) []ir.Validity {
		if s.Validity == nil {
			return nil
		}
		return s.Validity(c.(*C), n.Locate)
	}
	derived := derivedShifts(s.Schema, t.guard)
	t.shifts = func(was, now any) ([]Shift, bool) {
		a, known := was.(*C)
		b, too := now.(*C)
		_, absent := was.(Absent)
		_, gone := now.(Absent)
		switch {
		case s.Shifts == nil && known && too:
			return derived(a, b)
		case s.Shifts == nil || !known && !absent || !too && !gone:
			return nil, false
		case absent && gone:
			return nil, true
		case absent && t.guard(now) != ir.GuardNone, gone && t.guard(was) != ir.GuardNone:
			return nil, false // the Guard says it
		}
		return s.Shifts(a, b), true
	}
	t.hasNeeds = s.Needs != nil
	t.needs = func(c any) []Need {
		if s.Needs == nil || c == nil {
			return nil
		}
		needs := s.Needs(c.(*C))
		for i := range needs {
			needs[i].Policy = s.Name
		}
		return needs
	}
	if s.Effect == nil {
		return t
	}
	t.effect = func(c any, in Input) (Effect, error) {
		cc, ok := c.(*C)
		if !ok {
			return Effect{}, fmt.Errorf("policy %s: config is a %T", s.Name, c)
		}
		return s.Effect(cc, in)
	}
	return t
}

// Name is what policyRef.name says.
func (t Type) Name() string {
	if t.definition == nil {
		return ""
	}
	return t.name
}

// Names are what policyRef.name may be: the policy's own, and others that the product's pages use for it.
func (t Type) Names() []string { return append([]string{t.name}, t.also...) }

// ConfigSchema is the JSON Schema of the configuration.
func (t Type) ConfigSchema() []byte { return t.schema }

// Page is the user's page.
func (t Type) Page() []byte { return t.page }

// Codes is what the folder says about its codes, in Markdown.
func (t Type) Codes() []byte { return t.codes }

// Targets says what the policy may be bound to.
func (t Type) Targets() ir.Target { return t.targets }

// Place says where in a chain the policy stands.
func (t Type) Place() ir.Place { return t.place }

// Guard says what the policy keeps away with a configuration; nil: with one that is not known.
func (t Type) Guard(config any) ir.Guard { return t.guard(config) }

// Shares reports whether a configuration that Decode made asks for what all replicas have in common.
func (t Type) Shares(config any) bool { return t.shares(config) }

// Validity names the certificates in a configuration that Decode made of cfg.
func (t Type) Validity(config any, cfg *syntax.Node) []ir.Validity { return t.validity(config, cfg) }

// Shifts says what a change from one configuration to another does to who gets through. known is false when the type cannot say:
// it never does, or one of the configurations is nil, which means that it is not known. Absent{} stands for that of a binding
// that is not there.
func (t Type) Shifts(was, now any) (shifts []Shift, known bool) { return t.shifts(was, now) }

// Always is the Guard of a policy that keeps away the same with every configuration.
func Always[C any](g ir.Guard) func(*C) ir.Guard { return func(*C) ir.Guard { return g } }

// When is the Guard of a policy that keeps something away with some configurations only.
func When[C any](g ir.Guard, on func(*C) bool) func(*C) ir.Guard {
	return func(c *C) ir.Guard {
		if on(c) {
			return g
		}
		return ir.GuardNone
	}
}

// Since is the release of the product that has the policy first.
func (t Type) Since() string { return t.since }

// Enforced reports whether the policy has an Effect; without one, it is only judged.
func (t Type) Enforced() bool { return t.effect != nil }

// OwnRules reports whether the policy judges a binding's rules itself.
func (t Type) OwnRules() bool { return t.ownRules }

// Replies are the local replies that the listener rewrites for this type.
func (t Type) Replies() []Reply { return t.replies }

// AccessLogs are the listener's access logs for this type.
func (t Type) AccessLogs() []*accesslogv3.AccessLog { return t.accessLogs }

// Start makes the request-time half; nil when Envoy decides alone.
func (t Type) Start() enforce.Start { return t.start }

// Decode makes the configuration of a binding: a *C, and what is wrong with it. cfg is a mapping whose shape holds.
func (t Type) Decode(cfg *syntax.Node) (any, diag.List) { return t.decode(cfg) }

// HasNeeds reports whether any configuration of this type needs something.
func (t Type) HasNeeds() bool { return t.hasNeeds }

// Needs names what must be fetched for this configuration.
func (t Type) Needs(config any) []Need { return t.needs(config) }

// Usable says whether an answer to a Need can be rendered.
func (t Type) Usable(n Need, answer []byte) error {
	if t.usable == nil {
		return nil
	}
	return t.usable(n, answer)
}

// Effect asks the policy what it wants of Envoy. The policy must be Enforced.
func (t Type) Effect(config any, in Input) (Effect, error) { return t.effect(config, in) }
