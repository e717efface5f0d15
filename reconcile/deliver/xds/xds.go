// Package xds is our delta ADS server: it brings listeners, clusters, scopes and secrets to every Envoy that asks, in
// an order that never breaks what is served, and knows what each Envoy answered to each of them.
//
// It does not render, does not judge content, does not push the last good bytes back after a refusal (an Envoy that
// refuses a resource keeps its last good version by itself), and does not know whether an acknowledged listener is live.
//
// The rules are those of docs "design.md", decisions 8 to 12, found by experiment on Envoy 1.40:
//
//   - one scope or secret per response: the good neighbours of a bad one are applied or dropped at random;
//   - a resource goes out when what it names is there: its clusters acknowledged, its secrets known, and the new secrets
//     of a scope warmed by a copy of the scope under a key that no request can have;
//   - listeners follow scopes, and the first answer about listeners waits for all of them;
//   - removals run the other way: listeners, scopes, clusters, secrets, each when nothing at that Envoy names it;
//   - bytes that an Envoy holds, or refused, are not sent again.
package xds

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"slices"
	"sync"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"

	"github.com/flexgw/flexgw/reconcile/deliver"
	"github.com/flexgw/flexgw/reconcile/gate"
	"github.com/flexgw/flexgw/render"
	"github.com/flexgw/flexgw/render/policy"
)

// Config are the parameters of New. The zero Config is usable.
type Config struct {
	// Static are the clusters that the bootstrap holds: they may be named and are never sent. policy.EnforceCluster always is.
	Static []string
	// Own is the node id of the Envoy beside the daemon, which nobody on another host may have; "": none is.
	Own string
	// Batch is the largest number of listeners or clusters in one response; 0: 64.
	Batch int
	// Window is the largest number of unanswered scope responses, and of secret responses; 0: 128.
	Window int
	// Grace is how long a cluster stays after the last resource that names it is gone; 0: 1 s; negative: none.
	Grace time.Duration
	// Drain is how long scopes stay that a changed listener no longer asks for, because connections of the old listener
	// still do. It should be a second longer than Envoy's --drain-time-s. 0: 30 s; negative: none.
	Drain time.Duration
	// SecretWait bounds the wait for an Envoy to ask for a secret that an acknowledged scope names; 0: 5 s.
	SecretWait time.Duration
	// Files is the folder of the content-addressed files that resources name; "": nothing is ever removed from it.
	Files string
	// Log gets one line for each event that an operator acts on; nil: none.
	Log *slog.Logger
}

func (c Config) withDefaults() Config {
	c.Batch = cmp.Or(max(c.Batch, 0), 64)
	c.Window = cmp.Or(max(c.Window, 0), 128)
	c.Grace = cmp.Or(c.Grace, time.Second)
	c.Drain = cmp.Or(c.Drain, 30*time.Second)
	c.SecretWait = cmp.Or(c.SecretWait, 5*time.Second)
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c
}

// Server is a deliver.Target. All methods are safe for concurrent use.
type Server struct {
	cfg     Config
	static  map[string]bool
	changed chan struct{}
	files   deliver.Files

	publishing sync.Mutex // one Publish at a time; never held by a stream
	admitting  sync.Mutex // one new stream at a time

	mu      sync.Mutex
	world   *world               // nil before the first Publish: nothing is answered
	log     changeLog            // what differs between worlds
	streams map[*stream]struct{} // connected
	nodes   map[string]*nodeMemory
	lastID  uint64
}

// New is a server that holds nothing yet: it answers no Envoy before the first Publish, for an empty answer would be a
// removal.
func New(c Config) *Server {
	s := &Server{
		cfg:     c.withDefaults(),
		static:  map[string]bool{policy.EnforceCluster: true},
		changed: make(chan struct{}, 1),
		streams: map[*stream]struct{}{},
		nodes:   map[string]*nodeMemory{},
	}
	for _, name := range c.Static {
		s.static[name] = true
	}
	return s
}

var _ deliver.Target = (*Server)(nil)

// Serve answers Envoys on l, a Unix socket, whose peers must pass CheckPeer, until ctx ends, then closes their streams and
// l, and returns nil. It returns early only with the error of l. It may be called for several listeners.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	return s.serve(ctx, l, &service{server: s, ctx: ctx}, nil,
		grpc.MaxConcurrentStreams(16),
		grpc.Creds(peerCredentials{}),
	)
}

// ServeRemote is Serve for Envoys on other hosts, whom g lets in. What they ask at request time comes to the same port: more
// registers who answers that.
func (s *Server) ServeRemote(ctx context.Context, l net.Listener, g *gate.Gate, more func(grpc.ServiceRegistrar)) error {
	return s.serve(ctx, l, &service{server: s, ctx: ctx, gate: g}, more,
		grpc.MaxConcurrentStreams(1000),
		grpc.Creds(g.Credentials()),
		grpc.ConnectionTimeout(10*time.Second),
		// A host that vanished says nothing: it would hold back what the others have acknowledged.
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: 10 * time.Second, Timeout: 5 * time.Second}),
	)
}

func (s *Server) serve(ctx context.Context, l net.Listener, face *service, more func(grpc.ServiceRegistrar), opts ...grpc.ServerOption) error {
	opts = append(opts,
		// A reconnecting Envoy names every resource it holds in one message: 100 bytes for each.
		grpc.MaxRecvMsgSize(64<<20),
		grpc.WaitForHandlers(true),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 5 * time.Second, PermitWithoutStream: true}),
	)
	g := grpc.NewServer(opts...)
	discoveryv3.RegisterAggregatedDiscoveryServiceServer(g, face)
	if more != nil {
		more(g)
	}
	stop := context.AfterFunc(ctx, g.Stop)
	defer stop()
	err := g.Serve(l)
	if ctx.Err() != nil {
		g.Stop() // waits for the streams to end
		return nil
	}
	if err == nil || errors.Is(err, grpc.ErrServerStopped) {
		return nil
	}
	return fmt.Errorf("serve xDS on %s: %w", l.Addr(), err)
}

// service is the gRPC face of a Server during one Serve.
type service struct {
	discoveryv3.UnimplementedAggregatedDiscoveryServiceServer
	server *Server
	ctx    context.Context
	gate   *gate.Gate // nil: peers are on this host
}

// DeltaAggregatedResources is the one method that our bootstrap asks for.
func (v *service) DeltaAggregatedResources(g discoveryv3.AggregatedDiscoveryService_DeltaAggregatedResourcesServer) error {
	ctx, cancel := context.WithCancelCause(g.Context())
	defer cancel(nil)
	defer context.AfterFunc(v.ctx, func() { cancel(nil) })()

	first, err := g.Recv()
	if err != nil {
		return err
	}
	st, err := v.connect(g, first.GetNode(), cancel)
	if err != nil {
		return err
	}
	requests := make(chan *discoveryv3.DeltaDiscoveryRequest, 64)
	gone := make(chan error, 1)
	go func() {
		for {
			r, err := g.Recv()
			if err != nil {
				gone <- err
				return
			}
			select {
			case requests <- r:
			case <-ctx.Done():
				return
			}
		}
	}()
	err = st.run(ctx, first, requests, gone)
	v.server.disconnect(st, err)
	if v.ctx.Err() != nil {
		return status.Error(codes.Unavailable, "the server stops")
	}
	return err
}

// connect starts the life of a stream, of two under one node id one after the other. cancel ends it, with what its peer is told.
func (v *service) connect(g discoveryv3.AggregatedDiscoveryService_DeltaAggregatedResourcesServer, n *corev3.Node, cancel context.CancelCauseFunc) (*stream, error) {
	v.server.admitting.Lock()
	defer v.server.admitting.Unlock()
	who := peerOf(g.Context())
	if err := v.admit(g.Context(), n.GetId(), who); err != nil {
		return nil, err
	}
	if v.gate == nil {
		v.server.evict(n.GetId())
		return v.server.connect(n, who, g.Send), nil
	}
	st := v.server.connect(n, who, g.Send)
	st.evict = func() {
		p, _ := gate.From(g.Context())
		message := fmt.Sprintf("the node id %q is that of an Envoy on the host of the daemon, which has connected", n.GetId())
		v.gate.Refuse(p, gate.NodeTaken, message)
		cancel(status.Error(codes.AlreadyExists, message))
	}
	return st, nil
}

// evict ends the streams of Envoys on other hosts that took the node id of one on this host: what they say is no longer about it.
// The caller holds admitting.
func (s *Server) evict(id string) {
	for _, st := range s.connected() {
		if n := st.board.who(); n.ID == id && n.Address != "" {
			s.mu.Lock()
			delete(s.streams, st)
			delete(s.nodes, id)
			s.mu.Unlock()
			st.evict()
		}
	}
}

// admit refuses an Envoy on another host that has no node id, or that of another Envoy.
func (v *service) admit(ctx context.Context, id string, who peer) error {
	if v.gate == nil {
		return nil
	}
	p, _ := gate.From(ctx)
	if id == "" {
		const message = "its bootstrap has no node.id"
		v.gate.Refuse(p, gate.NoNode, message)
		return status.Error(codes.InvalidArgument, message)
	}
	if id == v.server.cfg.Own {
		message := fmt.Sprintf("the node id %q is that of the Envoy on the host of the daemon; give each Envoy one of its own", id)
		v.gate.Refuse(p, gate.NodeTaken, message)
		return status.Error(codes.AlreadyExists, message)
	}
	if holder, ok := v.server.holder(id); ok && (holder.Address == "" || holder.Identity != who.Identity) {
		of := "an Envoy on the host of the daemon"
		if holder.Address != "" {
			of = holder.Identity + " at " + holder.Address
		}
		message := fmt.Sprintf("the node id %q is that of %s, which is connected; give each Envoy one of its own", id, of)
		v.gate.Refuse(p, gate.NodeTaken, message)
		return status.Error(codes.AlreadyExists, message)
	}
	return nil
}

// holder is the Envoy that is connected under a node id.
func (s *Server) holder(id string) (node, bool) {
	for _, st := range s.connected() {
		if n := st.board.who(); n.ID == id {
			return n, true
		}
	}
	return node{}, false
}

// Publish makes r what every Envoy should have. Files that resources name are written first. It does not wait for any
// Envoy.
func (s *Server) Publish(ctx context.Context, r deliver.Revision) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if r.Resources == nil {
		return errors.New("publish: no resources")
	}
	s.publishing.Lock()
	defer s.publishing.Unlock()
	if err := s.files.Write(r.Resources.Files()); err != nil {
		return fmt.Errorf("publish %s: %w", r.Resources.Revision(), err)
	}
	s.swap(r.Resources.Revision(), rendered{r.Resources}, r.Resources.Sealed()...)
	return nil
}

// Prune removes the files that live does not want from Config.Files.
func (s *Server) Prune(live func(path string) bool) error {
	if s.cfg.Files == "" {
		return nil
	}
	s.publishing.Lock()
	defer s.publishing.Unlock()
	n, err := s.files.Prune(s.cfg.Files, live)
	if n > 0 {
		s.cfg.Log.Info("removed files that nothing names", "files", n)
	}
	if err != nil {
		return fmt.Errorf("remove old files: %w", err)
	}
	return nil
}

// swap replaces the world and wakes the streams. The walk for differences is done once, here, whatever the number of
// Envoys.
func (s *Server) swap(revision string, snap snapshot, sealed ...string) {
	old := s.current()
	next := &world{seq: 1, revision: revision, snap: snap, sealed: sealed}
	var prev snapshot
	if old != nil {
		next.seq, prev = old.seq+1, old.snap
	}
	keys := snap.changed(prev)

	s.mu.Lock()
	s.world = next
	s.log.add(next.seq, keys)
	for st := range s.streams {
		st.poke()
	}
	s.mu.Unlock()
	s.bump()
	s.cfg.Log.Info("published", "revision", revision, "changed", len(keys))
}

func (s *Server) current() *world {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.world
}

// since is the current world and the keys that changed after seq; whole is true when the log does not reach back so far.
func (s *Server) since(seq uint64) (w *world, keys []render.Key, whole bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.world == nil || s.world.seq == seq {
		return s.world, nil, false
	}
	keys, ok := s.log.after(seq)
	return s.world, keys, !ok
}

// Changed says that Report or Progress may differ. It has one reader.
func (s *Server) Changed() <-chan struct{} { return s.changed }

// bump tells whoever looks that something changed.
func (s *Server) bump() {
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

// Report is the state of every resource at every connected Envoy. While an Envoy is replaced by hot restart, two streams
// have its node id; the worse of the two states counts.
func (s *Server) Report() []deliver.Delivery {
	var all []deliver.Delivery
	for _, st := range s.connected() {
		all = st.board.appendTo(all)
	}
	slices.SortFunc(all, func(a, b deliver.Delivery) int {
		return cmp.Or(
			cmp.Compare(a.Node, b.Node),
			cmp.Compare(a.TypeURL, b.TypeURL),
			cmp.Compare(a.Name, b.Name),
			cmp.Compare(severity(b.State), severity(a.State)),
			b.At.Compare(a.At),
		)
	})
	return slices.CompactFunc(all, func(a, b deliver.Delivery) bool {
		return a.Node == b.Node && a.TypeURL == b.TypeURL && a.Name == b.Name
	})
}

func severity(s deliver.State) int {
	return slices.Index([]deliver.State{deliver.Synced, deliver.Stale, deliver.NotSent, deliver.Error}, s)
}

func (s *Server) connected() []*stream {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]*stream, 0, len(s.streams))
	for st := range s.streams {
		all = append(all, st)
	}
	slices.SortFunc(all, func(a, b *stream) int { return cmp.Compare(a.id, b.id) })
	return all
}

// Progress is how far each Envoy is, connected or gone. An Envoy that has not seen the published revision yet has at least
// one resource that is not sent.
func (s *Server) Progress() []deliver.Progress {
	w := s.current()
	all := map[string]deliver.Progress{}
	for _, st := range s.connected() {
		p := st.board.progress(w)
		sum := all[p.Node]
		p.NotSent, p.Stale, p.Errors = p.NotSent+sum.NotSent, p.Stale+sum.Stale, p.Errors+sum.Errors
		all[p.Node] = p
	}
	s.mu.Lock()
	for id, m := range s.nodes {
		if _, ok := all[id]; !ok && !m.gone.At.IsZero() {
			all[id] = m.gone.progress(false)
		}
	}
	s.mu.Unlock()
	return slices.SortedFunc(maps.Values(all), func(a, b deliver.Progress) int { return cmp.Compare(a.Node, b.Node) })
}
