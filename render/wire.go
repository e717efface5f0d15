package render

import (
	"fmt"
	"slices"
	"strings"
	"sync"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/known/anypb"
)

const (
	anyType    = "google.protobuf.Any"
	typePrefix = "type.googleapis.com/"
)

// typeURL is the type URL of a message.
func typeURL(m proto.Message) string {
	return typePrefix + string(m.ProtoReflect().Descriptor().FullName())
}

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
	fresh    []*anypb.Any // made here, so already looked into
	clusters []string     // names, some more than once
	secrets  []string
	files    []string
	faults   []string // bugs of ours
}

func newWire(w *walker) *wire { return &wire{walker: w, fresh: make([]*anypb.Any, 0, 16)} }

func (w *wire) fault(format string, args ...any) {
	w.faults = append(w.faults, fmt.Sprintf(format, args...))
}

// any is the one way from a message to an Any.
func (w *wire) any(m proto.Message) *anypb.Any {
	if m == nil || !m.ProtoReflect().IsValid() {
		w.fault("a message is missing")
		return nil
	}
	name := m.ProtoReflect().Descriptor().FullName()
	if err := validate(m); err != nil {
		w.fault("%s: %v", name, err)
	}
	if w.walk(m.ProtoReflect(), w.plan(m.ProtoReflect().Descriptor())) {
		m = proto.Clone(m)
		w.canonical(m.ProtoReflect())
	}
	b, err := marshal(m)
	if err != nil {
		w.fault("%s: %v", name, err)
	}
	a := &anypb.Any{TypeUrl: typePrefix + string(name), Value: b}
	w.fresh = append(w.fresh, a)
	return a
}

// walk notes what m refers to. It reports whether an Any inside has other bytes than the deterministic ones.
func (w *wire) walk(m protoreflect.Message, p *plan) (odd bool) {
	for i := range p.steps {
		s := &p.steps[i]
		if !m.Has(s.field) {
			continue
		}
		v := m.Get(s.field)
		switch {
		case s.field.IsMap():
			v.Map().Range(func(_ protoreflect.MapKey, v protoreflect.Value) bool {
				odd = w.step(m, s, v) || odd
				return true
			})
		case s.field.IsList():
			for i := range v.List().Len() {
				odd = w.step(m, s, v.List().Get(i)) || odd
			}
		default:
			odd = w.step(m, s, v) || odd
		}
	}
	return odd
}

func (w *wire) step(m protoreflect.Message, s *step, v protoreflect.Value) bool {
	switch s.kind {
	case refCluster:
		w.clusters = append(w.clusters, v.String())
	case refSecret:
		// A generic credential that names a secret without saying where it comes from segfaults a running Envoy.
		if !m.Has(m.Descriptor().Fields().ByName("sds_config")) {
			w.fault("secret %q has no sds_config", v.String())
		}
		w.secrets = append(w.secrets, v.String())
	case refFile:
		w.files = append(w.files, v.String())
	case refAny:
		return w.open(v.Message())
	default:
		return w.walk(v.Message(), s.sub)
	}
	return false
}

// open looks into an Any that a policy made itself.
func (w *wire) open(m protoreflect.Message) (odd bool) {
	a, ok := m.Interface().(*anypb.Any)
	if !ok || w.shared[a] || slices.Contains(w.fresh, a) {
		return false
	}
	in, err := unpack(a)
	if err != nil {
		w.fault("%v", err)
		return false
	}
	if err := validate(in); err != nil {
		w.fault("%s: %v", a.MessageName(), err)
	}
	odd = w.walk(in.ProtoReflect(), w.plan(in.ProtoReflect().Descriptor()))
	b, err := marshal(in)
	return odd || err != nil || string(b) != string(a.Value)
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
type plan struct{ steps []step }

// step is one field worth looking at.
type step struct {
	field protoreflect.FieldDescriptor
	kind  refKind
	sub   *plan // of refBelow
}

// walker knows, for every message type, which of its fields lead to a reference or to an Any. It is safe for concurrent
// use; it exists because a plain walk over every field costs more than the rest of the rendering.
type walker struct {
	shared map[*anypb.Any]bool // constants without references, read only
	mu     sync.Mutex
	nodes  map[protoreflect.FullName]*node
	drawn  map[protoreflect.FullName]*plan
	plans  sync.Map // protoreflect.FullName → *plan, of those that are asked for
}

type node struct {
	desc   protoreflect.MessageDescriptor
	worth  bool
	usedBy []*node
}

func newWalker() *walker {
	return &walker{shared: map[*anypb.Any]bool{}, nodes: map[protoreflect.FullName]*node{}, drawn: map[protoreflect.FullName]*plan{}}
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
	p := &plan{}
	w.drawn[d.FullName()] = p
	for i := range d.Fields().Len() {
		f := d.Fields().Get(i)
		if !w.worth(f) {
			continue
		}
		s := step{field: f, kind: kindOf(f)}
		if s.kind == refBelow {
			s.sub = w.draw(below(f))
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
