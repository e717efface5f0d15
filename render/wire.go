package render

import (
	"bytes"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/known/anypb"
)

const (
	anyType    = "google.protobuf.Any"
	typePrefix = "type.googleapis.com/"
)

// marshal gives the same bytes for the same message, which anypb.New does not.
func marshal(m proto.Message) ([]byte, error) {
	return proto.MarshalOptions{Deterministic: true}.Marshal(m)
}

// validate applies the constraints of the Envoy API (protoc-gen-validate), which do not look into an Any.
func validate(m proto.Message) error {
	if v, ok := m.(interface{ ValidateAll() error }); ok {
		return v.ValidateAll()
	}
	return nil
}

// wire turns the messages of one resource into bytes. It validates each of them once, and notes what they refer to and
// what is wrong with them.
type wire struct {
	*walker
	judging  bool     // nobody wants the bytes
	fresh    []made   // so already looked into
	clusters []string // names, some more than once
	secrets  []string
	files    []string
	faults   []string // bugs of ours

	// Memory for the next resource.
	cluster *clusterv3.Cluster
	scope   *scopeMessages
	sets    [2]map[string]bool
}

// set is an empty set, of two that one resource may need at a time.
func (w *wire) set(i int) map[string]bool {
	if w.sets[i] == nil {
		w.sets[i] = map[string]bool{}
	}
	clear(w.sets[i])
	return w.sets[i]
}

// made is an Any beside the message that it was made from.
type made struct {
	any     *anypb.Any
	message proto.Message
}

func newWire(w *walker) *wire { return &wire{walker: w, fresh: make([]made, 0, 16)} }

// wire is one for a resource of this run; release gives it back.
func (r *renderer) wire() *wire {
	w, _ := r.wires.Get().(*wire)
	if w == nil {
		w = newWire(r.walker)
	}
	w.judging = r.opts.Judge
	return w
}

// release lets another resource use the memory of w. A resource that is only judged gives its largest messages back as well.
func (r *renderer) release(w *wire) {
	clear(w.fresh)
	*w = wire{walker: w.walker, fresh: w.fresh[:0], clusters: w.clusters[:0], secrets: w.secrets[:0], files: w.files[:0], cluster: w.cluster, scope: w.scope, sets: w.sets}
	if w.cluster != nil {
		w.cluster.Reset()
	}
	if w.scope != nil {
		w.scope.reset()
	}
	r.wires.Put(w)
}

// newCluster is an empty message.
func (w *wire) newCluster() *clusterv3.Cluster {
	switch {
	case !w.judging:
		return &clusterv3.Cluster{}
	case w.cluster == nil:
		w.cluster = &clusterv3.Cluster{}
	}
	return w.cluster
}

// newScope are the empty messages of a scope.
func (w *wire) newScope() *scopeMessages {
	switch {
	case !w.judging:
		return &scopeMessages{}
	case w.scope == nil:
		w.scope = &scopeMessages{}
	}
	return w.scope
}

// scopeMessages are the largest of a scope.
type scopeMessages struct {
	scope   routev3.ScopedRouteConfiguration
	table   routev3.RouteConfiguration
	host    routev3.VirtualHost
	routes  store[routev3.Route, *routev3.Route]
	actions store[routev3.RouteAction, *routev3.RouteAction]
}

func (m *scopeMessages) reset() {
	m.scope.Reset()
	m.table.Reset()
	m.host.Reset()
	m.routes.reset()
	m.actions.reset()
}

// store is messages that are used again.
type store[M any, P interface {
	*M
	Reset()
}] struct {
	all  []P
	used int
}

// take is an empty message.
func (s *store[M, P]) take() P {
	if s.used == len(s.all) {
		s.all = append(s.all, new(M))
	}
	s.used++
	return s.all[s.used-1]
}

func (s *store[M, P]) reset() {
	for _, m := range s.all[:s.used] {
		m.Reset()
	}
	s.used = 0
}

func (w *wire) fault(format string, args ...any) {
	w.faults = append(w.faults, fmt.Sprintf(format, args...))
}

// any is the one way from a message to an Any.
func (w *wire) any(m proto.Message) *anypb.Any {
	if m == nil || !m.ProtoReflect().IsValid() {
		w.fault("a message is missing")
		return nil
	}
	d := m.ProtoReflect().Descriptor()
	if err := validate(m); err != nil {
		w.fault("%s: %v", d.FullName(), err)
	}
	p := w.plan(d)
	if w.judging && w.look(m) {
		a := &anypb.Any{TypeUrl: p.url, Value: w.unwritten}
		w.fresh = append(w.fresh, made{a, m})
		return a
	}
	b, err := marshal(m)
	if err != nil {
		w.fault("%s: %v", d.FullName(), err)
	}
	if w.scan(b, p) {
		m = proto.Clone(m)
		w.canonical(m.ProtoReflect())
		if b, err = marshal(m); err != nil {
			w.fault("%s: %v", d.FullName(), err)
		}
	}
	a := &anypb.Any{TypeUrl: p.url, Value: b}
	w.fresh = append(w.fresh, made{a, m})
	return a
}

// contentOf is the message in an Any; one that was made here need not be read again.
func contentOf[M proto.Message](w *wire, a *anypb.Any, empty M) (M, error) {
	for i := range w.fresh {
		if w.fresh[i].any == a {
			if m, ok := w.fresh[i].message.(M); ok {
				return m, nil
			}
		}
	}
	return empty, a.UnmarshalTo(empty)
}

// unsourced: a generic credential that names a secret without saying where it comes from segfaults a running Envoy.
func (w *wire) unsourced(name string) { w.fault("secret %q has no sds_config", name) }

// scan notes what a marshalled message refers to. It reports whether an Any inside has other bytes than the deterministic
// ones. It reads bytes because going through a message by reflection costs more, once there are bytes.
func (w *wire) scan(b []byte, p *plan) (odd bool) {
	for in := b; len(in) > 0; {
		num, typ, n := protowire.ConsumeTag(in)
		if n < 0 {
			w.fault("%s: %v", p.url, protowire.ParseError(n))
			return odd
		}
		in = in[n:]
		s := p.step(num)
		if s == nil || typ != protowire.BytesType {
			n = protowire.ConsumeFieldValue(num, typ, in)
		} else {
			var v []byte
			if v, n = protowire.ConsumeBytes(in); n >= 0 {
				if s.entries {
					v = fieldOf(v, mapValue)
				}
				odd = w.take(b, s, v) || odd
			}
		}
		if n < 0 {
			w.fault("%s: %v", p.url, protowire.ParseError(n))
			return odd
		}
		in = in[n:]
	}
	return odd
}

// mapValue is the number of the value in an entry of a map.
const mapValue = 2

// fieldOf is the last value of a field of strings, bytes or messages; nil: it is not there.
func fieldOf(b []byte, want protowire.Number) (found []byte) {
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return found
		}
		b = b[n:]
		if num == want && typ == protowire.BytesType {
			found, n = protowire.ConsumeBytes(b)
		} else {
			n = protowire.ConsumeFieldValue(num, typ, b)
		}
		if n < 0 {
			return found
		}
		b = b[n:]
	}
	return found
}

// take looks at one value of a field of the message whose bytes are holder.
func (w *wire) take(holder []byte, s *step, v []byte) (odd bool) {
	switch s.kind {
	case refCluster:
		w.clusters = note(w.clusters, v)
	case refSecret:
		if fieldOf(holder, s.beside.Number()) == nil {
			w.unsourced(string(v))
		}
		w.secrets = note(w.secrets, v)
	case refFile:
		w.files = note(w.files, v)
	case refAny:
		return w.open(fieldOf(v, anyURL), fieldOf(v, anyValue))
	default:
		return w.scan(v, s.sub)
	}
	return false
}

func note(names []string, name []byte) []string {
	if len(name) == 0 || slices.ContainsFunc(names, func(s string) bool { return s == string(name) }) {
		return names
	}
	return append(names, string(name))
}

// The fields of google.protobuf.Any.
const (
	anyURL   protowire.Number = 1
	anyValue protowire.Number = 2
)

// open looks into an Any that a policy made itself.
func (w *wire) open(url, value []byte) (odd bool) {
	same := func(a *anypb.Any) bool { return a.TypeUrl == string(url) && bytes.Equal(a.Value, value) }
	if slices.ContainsFunc(w.shared, same) || slices.ContainsFunc(w.fresh, func(x made) bool { return same(x.any) }) || w.harmless(url, value) {
		return false
	}
	in, err := unpack(&anypb.Any{TypeUrl: string(url), Value: value})
	if err != nil {
		w.fault("%v", err)
		return false
	}
	x := wire{walker: w.walker} // knows nothing of w, so that what it finds holds everywhere
	if err := validate(in); err != nil {
		x.fault("%s: %v", in.ProtoReflect().Descriptor().FullName(), err)
	}
	odd = x.scan(value, w.plan(in.ProtoReflect().Descriptor()))
	b, err := marshal(in)
	odd = odd || err != nil || !bytes.Equal(b, value)
	if !odd && len(x.faults)+len(x.clusters)+len(x.secrets)+len(x.files) == 0 {
		w.remember(url, value)
	}
	w.faults = append(w.faults, x.faults...)
	w.clusters = append(w.clusters, x.clusters...)
	w.secrets = append(w.secrets, x.secrets...)
	w.files = append(w.files, x.files...)
	return odd
}

// canonical gives every Any inside m its deterministic bytes.
func (w *wire) canonical(m protoreflect.Message) {
	eachAny(m, func(a *anypb.Any) {
		in, err := unpack(a)
		if err != nil {
			return
		}
		w.canonical(in.ProtoReflect())
		if b, err := marshal(in); err == nil {
			a.Value = b
		}
	})
}

// unpack finds the type of an Any among those that we emit and allow.
func unpack(a *anypb.Any) (proto.Message, error) {
	t, err := protoregistry.GlobalTypes.FindMessageByURL(a.GetTypeUrl())
	if err != nil {
		return nil, fmt.Errorf("unknown message type %q", a.GetTypeUrl())
	}
	m := t.New().Interface()
	if err := proto.Unmarshal(a.GetValue(), m); err != nil {
		return nil, fmt.Errorf("read %s: %w", a.MessageName(), err)
	}
	return m, nil
}

// eachAny calls f for every Any inside m, but not for those inside an Any.
func eachAny(m protoreflect.Message, f func(*anypb.Any)) {
	eachMessage(m, func(in protoreflect.Message) bool {
		a, ok := in.Interface().(*anypb.Any)
		if ok {
			f(a)
		}
		return !ok
	})
}

// eachMessage calls f for m and for every message below it; below a message for which f is false it does not look.
func eachMessage(m protoreflect.Message, f func(protoreflect.Message) bool) {
	if !f(m) {
		return
	}
	m.Range(func(fd protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case fd.IsMap():
			if fd.MapValue().Message() != nil {
				v.Map().Range(func(_ protoreflect.MapKey, v protoreflect.Value) bool {
					eachMessage(v.Message(), f)
					return true
				})
			}
		case fd.Message() == nil:
		case fd.IsList():
			for i := range v.List().Len() {
				eachMessage(v.List().Get(i).Message(), f)
			}
		default:
			eachMessage(v.Message(), f)
		}
		return true
	})
}

// refs are the clusters and secrets that were named, sorted.
func (w *wire) refs() []Key {
	ks := make([]Key, 0, len(w.clusters)+len(w.secrets))
	for _, n := range w.clusters {
		ks = append(ks, Key{ClusterType, n})
	}
	for _, n := range w.secrets {
		ks = append(ks, Key{SecretType, n})
	}
	slices.SortFunc(ks, Key.Compare)
	return slices.Compact(ks)
}

// refKind says what a field holds.
type refKind uint8

const (
	refBelow refKind = iota // nothing itself, but something below it
	refCluster
	refSecret
	refFile
	refAny
)

// refFields are the fields of the Envoy API by which the messages that we emit name other things.
var refFields = map[protoreflect.FullName]refKind{
	"envoy.config.route.v3.RouteAction.cluster":                      refCluster,
	"envoy.config.route.v3.RouteAction.RequestMirrorPolicy.cluster":  refCluster,
	"envoy.config.route.v3.WeightedCluster.ClusterWeight.name":       refCluster,
	"envoy.config.core.v3.GrpcService.EnvoyGrpc.cluster_name":        refCluster,
	"envoy.config.core.v3.HttpUri.cluster":                           refCluster,
	"envoy.extensions.transport_sockets.tls.v3.SdsSecretConfig.name": refSecret,
	"envoy.config.core.v3.DataSource.filename":                       refFile,
}

// plan is where to look in messages of one type.
type plan struct {
	url   string // of the type
	steps []step
}

func (p *plan) step(n protowire.Number) *step {
	for i := range p.steps {
		if p.steps[i].number == n {
			return &p.steps[i]
		}
	}
	return nil
}

// step is one field worth looking at.
type step struct {
	field   protoreflect.FieldDescriptor
	number  protowire.Number
	entries bool // of a map
	kind    refKind
	beside  protoreflect.FieldDescriptor // of refSecret: the field that says where the secret comes from
	sub     *plan                        // of refBelow
}

// walker knows, for every message type, which of its fields lead to a reference or to an Any. It is safe for concurrent
// use; it exists because a plain walk over every field costs more than the rest of the rendering.
type walker struct {
	shared    []*anypb.Any // constants without references, read only
	unwritten []byte       // what Anys have for bytes that nobody wants; one byte that makes no message

	mu     sync.Mutex
	nodes  map[protoreflect.FullName]*node
	drawn  map[protoreflect.FullName]*plan
	plans  sync.Map // protoreflect.FullName → *plan, of those that are asked for
	cut    map[reflect.Type]*shape
	wires  sync.Pool // *wire
	asks   sync.Pool // *asked
	shapes sync.Map  // reflect.Type → *shape, of those that are asked for

	knowing sync.RWMutex
	known   map[string]struct{} // Anys that nothing is wrong with and that refer to nothing: most are made again and again
}

// What is remembered of Anys: how many, and how long they may be.
const (
	maxKnown     = 1024
	maxKnownSize = 256
)

func (w *walker) harmless(url, value []byte) bool {
	if len(url)+len(value) > maxKnownSize {
		return false
	}
	var key [maxKnownSize]byte
	w.knowing.RLock()
	defer w.knowing.RUnlock()
	_, ok := w.known[string(knownKey(key[:0], url, value))]
	return ok
}

func (w *walker) remember(url, value []byte) {
	if len(url)+len(value) > maxKnownSize {
		return
	}
	w.knowing.Lock()
	defer w.knowing.Unlock()
	if w.known == nil || len(w.known) >= maxKnown {
		w.known = map[string]struct{}{}
	}
	w.known[string(knownKey(nil, url, value))] = struct{}{}
}

func knownKey(key, url, value []byte) []byte {
	return append(append(append(key, url...), 0), value...)
}

type node struct {
	desc   protoreflect.MessageDescriptor
	worth  bool
	usedBy []*node
}

func newWalker() *walker {
	return &walker{unwritten: []byte{0}, nodes: map[protoreflect.FullName]*node{}, drawn: map[protoreflect.FullName]*plan{}}
}

func (w *walker) plan(d protoreflect.MessageDescriptor) *plan {
	if p, ok := w.plans.Load(d.FullName()); ok {
		return p.(*plan)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.learn(d)
	p := w.draw(d)
	w.plans.Store(d.FullName(), p)
	return p
}

func (w *walker) draw(d protoreflect.MessageDescriptor) *plan {
	if p := w.drawn[d.FullName()]; p != nil {
		return p
	}
	p := &plan{url: typePrefix + string(d.FullName())}
	w.drawn[d.FullName()] = p
	for i := range d.Fields().Len() {
		f := d.Fields().Get(i)
		if !w.worth(f) {
			continue
		}
		s := step{field: f, number: f.Number(), entries: f.IsMap(), kind: kindOf(f)}
		switch s.kind {
		case refBelow:
			s.sub = w.draw(below(f))
		case refSecret:
			s.beside = d.Fields().ByName("sds_config")
		}
		p.steps = append(p.steps, s)
	}
	return p
}

func (w *walker) worth(f protoreflect.FieldDescriptor) bool {
	if kindOf(f) != refBelow {
		return true
	}
	d := below(f)
	return d != nil && w.nodes[d.FullName()].worth
}

// learn adds d and all types that it can hold, then lets the holders of worthy types be worthy.
func (w *walker) learn(d protoreflect.MessageDescriptor) *node {
	if n := w.nodes[d.FullName()]; n != nil {
		return n
	}
	n := &node{desc: d}
	w.nodes[d.FullName()] = n
	for i := range d.Fields().Len() {
		f := d.Fields().Get(i)
		if kindOf(f) != refBelow {
			n.makeWorthy()
			continue
		}
		if b := below(f); b != nil {
			m := w.learn(b)
			m.usedBy = append(m.usedBy, n)
			if m.worth {
				n.makeWorthy()
			}
		}
	}
	return n
}

func (n *node) makeWorthy() {
	if n.worth {
		return
	}
	n.worth = true
	for _, u := range n.usedBy {
		u.makeWorthy()
	}
}

func kindOf(f protoreflect.FieldDescriptor) refKind {
	if d := below(f); d != nil && d.FullName() == anyType {
		return refAny
	}
	return refFields[f.FullName()]
}

// below is the message type of a field or of a map's values; nil for a scalar.
func below(f protoreflect.FieldDescriptor) protoreflect.MessageDescriptor {
	if f.IsMap() {
		return f.MapValue().Message()
	}
	return f.Message()
}

// shortType is the last part of a type URL.
func shortType(url string) string { return url[strings.LastIndexByte(url, '.')+1:] }
