package reconcile_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/flexgw/flexgw/reconcile"
	"github.com/flexgw/flexgw/reconcile/deliver"
	"github.com/flexgw/flexgw/reconcile/status"
	"github.com/flexgw/flexgw/render"
	"github.com/flexgw/flexgw/render/policy/all"
	"github.com/flexgw/flexgw/schema"
	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/ir"
	"github.com/flexgw/flexgw/schema/source"
)

// fakeSource gives out what a test puts into it.
type fakeSource struct {
	mu      sync.Mutex
	set     source.Set
	err     error
	fetches int
	changed chan struct{}
}

func (s *fakeSource) put(text string, err error) {
	s.mu.Lock()
	s.set, s.err = source.NewSet([]source.File{source.NewFile("api.yaml", []byte(text))}), err
	s.mu.Unlock()
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

func (s *fakeSource) Fetch(context.Context) (source.Set, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fetches++
	return s.set, s.err
}

func (s *fakeSource) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.fetches
}

func (s *fakeSource) Changed() <-chan struct{} { return s.changed }
func (s *fakeSource) Close() error             { return nil }

// fakeTarget takes revisions and answers for one Envoy as a test says.
type fakeTarget struct {
	mu        sync.Mutex
	published []deliver.Revision
	files     []string // as a folder would have them
	progress  []deliver.Progress
	report    []deliver.Delivery
	next      *deliver.Progress // once the next revision is published
	changed   chan struct{}
}

func (f *fakeTarget) Publish(_ context.Context, r deliver.Revision) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.next != nil {
		f.progress, f.report, f.next = []deliver.Progress{*f.next}, nil, nil
		select {
		case f.changed <- struct{}{}:
		default:
		}
	}
	f.published = append(f.published, r)
	for _, x := range r.Resources.Files() {
		f.files = append(f.files, x.Path)
	}
	return nil
}

func (f *fakeTarget) Prune(live func(string) bool) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.files = slices.DeleteFunc(f.files, func(path string) bool { return !live(path) })
	return nil
}

func (f *fakeTarget) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	slices.Sort(f.files)
	f.files = slices.Compact(f.files)
	return len(f.files)
}

func (f *fakeTarget) answer(p deliver.Progress, report ...deliver.Delivery) {
	f.mu.Lock()
	f.progress, f.report = []deliver.Progress{p}, report
	f.mu.Unlock()
	select {
	case f.changed <- struct{}{}:
	default:
	}
}

func (f *fakeTarget) revisions() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []string
	for _, r := range f.published {
		out = append(out, r.Source.Revision)
	}
	return out
}

func (f *fakeTarget) Changed() <-chan struct{} { return f.changed }

func (f *fakeTarget) Report() []deliver.Delivery {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.report
}

func (f *fakeTarget) Progress() []deliver.Progress {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.progress
}

// fakeEnforcer remembers which instances run.
type fakeEnforcer struct {
	mu   sync.Mutex
	runs []string
}

func (e *fakeEnforcer) Load(m map[string]render.Instance) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	for id := range m {
		if !slices.Contains(e.runs, id) {
			e.runs = append(e.runs, id)
		}
	}
	return nil
}

func (e *fakeEnforcer) Retire(live func(string) bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.runs = slices.DeleteFunc(e.runs, func(id string) bool { return !live(id) })
}

func (e *fakeEnforcer) count() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.runs)
}

type world struct {
	source   *fakeSource
	target   *fakeTarget
	enforcer *fakeEnforcer
	again    chan struct{}
	loop     *reconcile.Loop

	mu      sync.Mutex
	ready   []string
	events  []reconcile.Event
	warming error
}

func (w *world) warm(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.warming = err
}

// told is what the callbacks of the loop were told.
func (w *world) told() (ready []string, refused []diag.List) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, e := range w.events {
		if e.Type == reconcile.Invalid || e.Type == reconcile.Rejected {
			refused = append(refused, e.Diagnostics)
		}
	}
	return w.ready, refused
}

// run starts a loop over fakes with the real pipeline in between; call it within a synctest bubble.
func run(t *testing.T, change ...func(*world)) *world {
	t.Helper()
	w := &world{source: &fakeSource{changed: make(chan struct{}, 1)}, target: &fakeTarget{changed: make(chan struct{}, 1)}, enforcer: &fakeEnforcer{}, again: make(chan struct{}, 1)}
	memo := &schema.Memo{}
	again := func(_ context.Context, g *ir.Gateway) (reconcile.Built, diag.List) {
		r, l := render.Render(g, all.Catalog{}, render.Options{Files: "/files", SystemCA: "/ca.pem"}, nil)
		return reconcile.Built{Gateway: g, Resources: r}, l
	}
	w.loop = &reconcile.Loop{
		Name: "test", Source: w.source, Target: w.target, Enforce: w.enforcer, Log: slog.New(slog.DiscardHandler),
		Quiet: 10 * time.Millisecond, MaxWait: 20 * time.Millisecond, Drain: 5 * time.Second,
		Build: func(ctx context.Context, set source.Set) (reconcile.Built, diag.List) {
			g, l := schema.Load(set, schema.Options{Policies: all.Catalog{}, Memo: memo})
			if g == nil {
				return reconcile.Built{}, l
			}
			return again(ctx, g)
		},
		Render: again, Again: w.again,
		Ready: func(a []string) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.ready = a
		},
		Tell: func(e reconcile.Event) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.events = append(w.events, e)
		},
		Warming: func(context.Context) error {
			w.mu.Lock()
			defer w.mu.Unlock()
			return w.warming
		},
	}
	for _, f := range change {
		f(w)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	go func() { done <- w.loop.Run(ctx) }()
	return w
}

func settle(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func condition(t *testing.T, w *world, typ, wantStatus, wantReason string) status.Condition {
	t.Helper()
	r := w.loop.Report()
	alike(t, w, r)
	c, _ := r.Condition(typ)
	if c.Status != wantStatus || c.Reason != wantReason {
		t.Errorf("%s is %s (%s), want %s (%s): %s", typ, c.Status, c.Reason, wantStatus, wantReason, c.Message)
	}
	return c
}

// alike holds that what is not settled is a part of what is reported, and that an outcome lists what a report does.
func alike(t *testing.T, w *world, r status.Report) {
	t.Helper()
	names := func(list iter.Seq[*status.Object]) (names []string) {
		for o := range list {
			b, err := json.Marshal(o)
			if err != nil {
				t.Fatal(err)
			}
			names = append(names, string(b))
		}
		return names
	}
	all := r.Lists().Objects
	want := names(status.Listed(all)(true))
	if r.List != nil {
		if diff := cmp.Diff(want, names(r.List(true))); diff != "" {
			t.Errorf("unsettled: -want +got\n%s", diff)
		}
	}
	_, list := w.loop.Objects()
	if diff := cmp.Diff(names(status.Listed(all)(false)), names(list(false))); diff != "" {
		t.Errorf("of an outcome: -want +got\n%s", diff)
	}
}

func api(limit int) string {
	return fmt.Sprintf(`apiVersion: gateway.mulesoft.com/v1alpha1
kind: ApiInstance
metadata: {name: a}
spec:
  address: http://0.0.0.0:8081/a
  services: {s: {address: "http://10.0.0.1:80"}}
  policies:
    - policyRef: {name: rate-limiting-flex, namespace: default}
      config: {rateLimits: [{maximumRequests: %d, timePeriodInMilliseconds: 1000}]}
`, limit)
}

var synced = deliver.Progress{Node: "n", Connected: true}

func TestProgrammedMeansLive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := run(t)
		w.source.put(api(1), nil)
		settle(time.Second)
		condition(t, w, status.Accepted, status.True, "Accepted")
		condition(t, w, status.Programmed, status.Unknown, "NoEnvoy")
		w.target.answer(deliver.Progress{Node: "n", Connected: true, Stale: 2})
		settle(time.Second)
		condition(t, w, status.Programmed, status.False, "Pending")
		w.warm(errors.New("listener port-8081 warms"))
		w.target.answer(synced)
		settle(time.Second)
		condition(t, w, status.Programmed, status.False, "Warming")
		if ready, _ := w.told(); ready != nil {
			t.Error("ready while a listener warms")
		}
		w.warm(nil)
		settle(time.Second)
		condition(t, w, status.Programmed, status.True, "Live")
		if ready, _ := w.told(); !slices.Equal(ready, []string{"0.0.0.0:8081"}) {
			t.Errorf("ready %v", ready)
		}
	})
}

func TestMistakeKeepsWhatIsServed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := run(t)
		w.target.answer(synced)
		w.source.put(api(1), nil)
		settle(time.Second)
		live := w.loop.Report().Revision
		w.source.put("kind: [", nil)
		settle(time.Second)
		c := condition(t, w, status.Accepted, status.False, "Invalid")
		if c.Place == nil || c.Place.File != "api.yaml" {
			t.Errorf("place %v", c.Place)
		}
		condition(t, w, status.Programmed, status.True, "Live")
		r := w.loop.Report()
		if r.Revision != live || len(w.target.revisions()) != 1 {
			t.Errorf("revision %s, was %s; published %v", r.Revision, live, w.target.revisions())
		}
		if r.LastFailed == nil || r.LastFailed.Reason != "Invalid" {
			t.Errorf("last failed %+v", r.LastFailed)
		}
		settle(time.Minute) // nothing new: it is not told again
		if _, refused := w.told(); len(refused) != 1 {
			t.Errorf("told %d times", len(refused))
		}
	})
}

// TestFixesOfARefusedRevisionShowNoSecret looks into what the status endpoint serves: the fix of a password with an invisible
// character in it would spell the password, that of an ordinary text is there.
func TestFixesOfARefusedRevisionShowNoSecret(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := run(t)
		w.source.put("apiVersion: gateway.mulesoft.com/v1alpha1\nkind: Nonsense\npassword: s3cr3t\u200bword\nnote: ordinary\u200btext\n", nil)
		settle(time.Second)
		b, err := w.loop.Report().JSON()
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(b, []byte("s3cr3t")) || !bytes.Contains(b, []byte(`"ordinarytext"`)) {
			t.Errorf("the password is shown, or the other fix is not:\n%s", b)
		}
	})
}

func TestUnreadableSourceIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := run(t)
		w.target.answer(synced)
		w.source.put("", errors.New("disk on fire"))
		settle(time.Second)
		condition(t, w, status.Fetched, status.False, "SourceUnavailable")
		w.source.mu.Lock()
		w.source.set, w.source.err = source.NewSet([]source.File{source.NewFile("api.yaml", []byte(api(1)))}), nil
		w.source.mu.Unlock()
		settle(time.Minute) // no signal: the loop comes back by itself
		condition(t, w, status.Fetched, status.True, "Fetched")
		condition(t, w, status.Programmed, status.True, "Live")
	})
}

func TestChangesAreSettledButNotForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := run(t)
		settle(time.Millisecond)
		before := w.source.count()
		for i := range 100 { // a change every millisecond for a tenth of a second
			w.source.put(api(i+1), nil)
			settle(time.Millisecond)
		}
		settle(time.Second)
		if n := w.source.count() - before; n < 4 || n > 8 {
			t.Errorf("%d fetches for 100 ms of changes, a quiet time of 10 ms and 20 ms at most", n)
		}
	})
}

func TestInstancesLiveUntilRequestsMayHaveEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := run(t)
		w.target.answer(synced)
		w.source.put(api(1), nil)
		settle(2 * time.Second)
		w.source.put(api(2), nil)
		settle(2 * time.Second)
		if n := w.enforcer.count(); n != 2 {
			t.Errorf("%d instances while requests of the old revision may be under way", n)
		}
		settle(10 * time.Second)
		if n := w.enforcer.count(); n != 1 {
			t.Errorf("%d instances after the drain", n)
		}
	})
}

// keyed has a file that holds its key.
func keyed(key string) string {
	return fmt.Sprintf(`apiVersion: gateway.mulesoft.com/v1alpha1
kind: ApiInstance
metadata: {name: a}
spec:
  address: http://0.0.0.0:8081/a
  services: {s: {address: "http://10.0.0.1:80"}}
  policies:
    - policyRef: {name: jwt-validation-flex, namespace: default}
      config: {signingMethod: hmac, textKey: %s-0123456789-0123456789-0123456789, skipClientIdValidation: true}
`, key)
}

func TestFilesLiveUntilNoEnvoyCanNameThem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := run(t)
		w.target.files = []string{"/files/of-a-process-before-us.lua"}
		w.target.answer(synced)
		w.source.put(keyed("one"), nil)
		settle(2 * time.Second)
		own := len(w.target.published[0].Resources.Files())
		if n := w.target.count(); own == 0 || n != own+1 {
			t.Fatalf("%d files, want %d and that of before", n, own)
		}
		settle(20 * time.Second)
		if n := w.target.count(); n != own {
			t.Errorf("%d files once the first revision is programmed and drained, want its own %d", n, own)
		}
		w.target.answer(deliver.Progress{Node: "n", Connected: true, Errors: 1})
		settle(time.Second)
		for i := range 3 { // refused in part: Envoy may hold parts of any of them
			w.source.put(keyed(fmt.Sprintf("refused-%d", i)), nil)
			settle(time.Minute)
		}
		if n := w.target.count(); n != own+3 {
			t.Errorf("%d files while Envoy may hold parts of 4 revisions, want %d", n, own+3)
		}
		w.target.answer(synced)
		settle(time.Second)
		if n := w.target.count(); n != own+3 {
			t.Errorf("%d files before the drain, want %d", n, own+3)
		}
		settle(20 * time.Second)
		if n := w.target.count(); n != own {
			t.Errorf("%d files after the drain, want those of the programmed revision, %d", n, own)
		}
	})
}

func TestInstancesOfARefusedRevisionLive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := run(t)
		w.target.answer(synced)
		w.source.put(api(1), nil)
		settle(2 * time.Second)
		w.target.answer(deliver.Progress{Node: "n", Connected: true, Errors: 1})
		for i := range 3 {
			w.source.put(api(2+i), nil)
			settle(time.Minute)
		}
		if n := w.enforcer.count(); n != 4 {
			t.Errorf("%d instances while Envoy may hold parts of 4 revisions", n)
		}
		w.target.answer(synced)
		settle(time.Minute)
		if n := w.enforcer.count(); n != 1 {
			t.Errorf("%d instances after the drain", n)
		}
	})
}

func TestRefusalOfEnvoyHasAPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := run(t)
		w.source.put(api(1), nil)
		settle(time.Second)
		var bad deliver.Delivery
		w.target.mu.Lock()
		w.target.published[0].Resources.Each(render.ListenerType, func(r *render.Resource) {
			bad = deliver.Delivery{Node: "n", TypeURL: r.TypeURL, Name: r.Name, State: deliver.Error, Message: "cannot bind", Origins: r.Origins}
		})
		w.target.mu.Unlock()
		w.target.answer(deliver.Progress{Node: "n", Connected: true, Errors: 1}, bad)
		settle(time.Second)
		c := condition(t, w, status.Programmed, status.False, "Rejected")
		if c.Place == nil || c.Place.Start.Line != 5 || c.Place.Start.Column != 12 {
			t.Errorf("a port that cannot be bound is blamed on %v, not on the address", c.Place)
		}
		if _, refused := w.told(); len(refused) != 1 || refused[0][0].Code != "envoy/rejected" {
			t.Errorf("told %v", refused)
		}
		w.target.answer(deliver.Progress{Node: "n", Connected: true, Errors: 1}, bad) // tried again, and refused again
		settle(time.Second)
		if _, refused := w.told(); len(refused) != 1 {
			t.Errorf("the same refusal is told %d times", len(refused))
		}
	})
}

// A key set that was rotated must reach Envoy although somebody is in the middle of breaking a file.
func TestWhatIsServedIsRenderedAgainBesideAMistake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := run(t)
		w.target.answer(synced)
		w.source.put(api(1), nil)
		settle(time.Second)
		w.source.put("kind: [", nil)
		settle(time.Second)
		w.again <- struct{}{}
		settle(time.Second)
		if got := w.target.revisions(); len(got) != 2 || got[0] != got[1] {
			t.Errorf("published %v", got)
		}
		condition(t, w, status.Accepted, status.False, "Invalid")
		condition(t, w, status.Programmed, status.True, "Live")
		if _, refused := w.told(); len(refused) != 1 {
			t.Errorf("the mistake was told %d times", len(refused))
		}
	})
}

// A daemon that starts beside a mistake serves what was served before.
func TestStartBesideAMistakeServesTheLastGood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		good := source.NewSet([]source.File{source.NewFile("api.yaml", []byte(api(1)))})
		w := run(t, func(w *world) { w.loop.LastGood = func() []source.Set { return []source.Set{good} } })
		w.target.answer(synced)
		w.source.put("kind: [", nil)
		settle(2 * time.Second)
		condition(t, w, status.Accepted, status.False, "Invalid")
		condition(t, w, status.Programmed, status.True, "Live")
		if r := w.loop.Report(); r.Revision != good.Revision {
			t.Errorf("revision %q is served, want %q", r.Revision, good.Revision)
		}
		w.source.put(api(2), nil)
		settle(2 * time.Second)
		condition(t, w, status.Accepted, status.True, "Accepted")
		if n := len(w.target.revisions()); n != 2 {
			t.Errorf("%d revisions were published", n)
		}
	})
}
