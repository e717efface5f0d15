// Package render turns the model into Envoy resources.
//
// It is pure: no I/O, no clock, no environment. It does not know where text comes from nor how resources travel.
package render

import (
	"time"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/flexgw/flexgw/render/policy"
	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/ir"
	"github.com/flexgw/flexgw/schema/source"
)

// Hash is the SHA-256 of a resource's deterministic bytes; it is the resource's version.
type Hash = source.Hash

// Types finds a listed policy type by name.
type Types interface {
	Type(name string) (policy.Type, bool)
	All() []policy.Type // sorted by name; their replies and access logs stand in every listener
}

// Options are the parameters of Render.
type Options struct {
	Files    string                           // folder that content-addressed files are written to before they are named
	SystemCA string                           // path of the host's CA bundle, for https upstreams
	UsageLog string                           // path of the metering access log; "": off
	Got      func(policy.Need) ([]byte, bool) // what Needs fetched; nil: nothing
}

// Key names one resource.
type Key struct{ TypeURL, Name string }

// Resource is one Envoy resource as it is offered.
type Resource struct {
	Key
	Hash    Hash
	Any     *anypb.Any  // deterministic bytes
	Origins []ir.Origin // a listener, a shared cluster, a grouped scope have several
	Refs    []Key       // the clusters and secrets that it names (closure)
}

// Resources is the whole ordered, validated, hashed set. It is immutable.
type Resources struct {
	resources // unexported state
}

// Memo keeps what Render made of unchanged elements. Not safe for concurrent use. The zero Memo is empty.
type Memo struct{ memo }

type (
	resources struct{}
	memo      struct{}
)

// Render is the back half of the pipeline. The result is nil if the list has an Error. m may be nil.
func Render(g *ir.Gateway, t Types, o Options, m *Memo) (*Resources, diag.List) {
	panic("not built yet")
}

// Needs lists what must be fetched before g can be rendered, sorted and without repetitions.
func Needs(g *ir.Gateway, t Types) []policy.Need { panic("not built yet") }

// Each calls f for every resource of a type, sorted by name.
func (r *Resources) Each(typeURL string, f func(*Resource)) { panic("not built yet") }

// Get finds one resource.
func (r *Resources) Get(k Key) (*Resource, bool) { panic("not built yet") }

// Changed lists what differs from since (nil: everything), removed names included, sorted.
func (r *Resources) Changed(since *Resources) []Key { panic("not built yet") }

// Instances maps "<uid>@<hash>" to the policy and configuration that the request-time server starts.
func (r *Resources) Instances() map[string]Instance { panic("not built yet") }

// Files are the content-addressed files that resources name: full path, content, mode. Sorted by path.
func (r *Resources) Files() []File { panic("not built yet") }

// Revision is that of the source.
func (r *Resources) Revision() string { panic("not built yet") }

// Addresses are the listeners' addresses "host:port", sorted by port, then host.
func (r *Resources) Addresses() []string { panic("not built yet") }

// Instance is what the request-time server needs to start one policy instance.
type Instance struct {
	Policy string // policyRef.name
	ID     string // stable name of the binding
	Config any    // Effect.Enforce
}

// File is content that Envoy reads by name.
type File struct {
	Path   string
	Data   []byte
	Secret bool
}

// BootstrapOptions are the parameters of Bootstrap. Socket paths must stay under 108 bytes.
type BootstrapOptions struct {
	NodeID         string
	XDSSocket      string
	EnforceSocket  string
	AdminSocket    string
	MaxHeapBytes   uint64        // 0: no heap limit
	MaxConnections uint64        // downstream; 0: 50,000
	XDSBackoff     time.Duration // largest reconnect delay; 0: 1 s
}

// Bootstrap is the Envoy bootstrap of the daemon: nothing in it depends on declarations.
func Bootstrap(o BootstrapOptions) *bootstrapv3.Bootstrap { panic("not built yet") }

// Static is one Envoy file with all resources in it, for `--mode validate` and for hosts without a daemon. With inline,
// files and secrets are part of it (a self-contained file); else files are named by path.
func Static(r *Resources, o BootstrapOptions, inline bool) (*bootstrapv3.Bootstrap, error) {
	panic("not built yet")
}
