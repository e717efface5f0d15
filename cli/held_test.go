package cli

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/flexgw/flexgw/reconcile"
	"github.com/flexgw/flexgw/reconcile/deliver"
	"github.com/flexgw/flexgw/reconcile/echo"
	"github.com/flexgw/flexgw/reconcile/egress"
	"github.com/flexgw/flexgw/reconcile/fetch"
	"github.com/flexgw/flexgw/reconcile/status"
	"github.com/flexgw/flexgw/reconcile/store"
	"github.com/flexgw/flexgw/render"
	"github.com/flexgw/flexgw/schema/ir"
	"github.com/flexgw/flexgw/schema/source"
)

// picky is a target whose Envoy takes everything at once, but for listeners of APIs below a path that says so.
type picky struct {
	mu      sync.Mutex
	gateway *ir.Gateway
	changed chan struct{}
}

const refusedByEnvoy = "/refused"

func (p *picky) Publish(context.Context, deliver.Revision) error {
	select {
	case p.changed <- struct{}{}:
	default:
	}
	return nil
}

func (p *picky) published(g *ir.Gateway) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.gateway = g
}

func (p *picky) served() *ir.Gateway {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.gateway
}

func (p *picky) Changed() <-chan struct{}      { return p.changed }
func (p *picky) Prune(func(string) bool) error { return nil }

func (p *picky) Report() []deliver.Delivery {
	var out []deliver.Delivery
	for _, l := range p.served().Listeners {
		for _, a := range l.APIs {
			if strings.HasSuffix(a.BasePath, refusedByEnvoy) {
				out = append(out, deliver.Delivery{Node: "n", TypeURL: render.ListenerType, Name: l.Addr.String(), State: deliver.Error, Message: "cannot bind", Origins: []*ir.Origin{&a.Origin}})
			}
		}
	}
	return out
}

func (p *picky) Progress() []deliver.Progress {
	if p.served() == nil {
		return nil
	}
	return []deliver.Progress{{Node: "n", Connected: true, Errors: len(p.Report())}}
}

// holder is a daemon with --on-invalid hold that has a picky target and no source.
type holder struct {
	*daemon
	target *picky
	stop   func()
}

func newHolder(t *testing.T, dir string) *holder {
	log := slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelError + 1}))
	env := Env{Stdout: io.Discard, Stderr: io.Discard, Getenv: func(string) (string, bool) { return "", false }}
	d := &daemon{env: env, log: log, hold: true, pipeline: newPipeline(env), egress: egress.New(egress.Options{}), last: store.New(filepath.Join(dir, "last-good")), unit: newUnit(nil)}
	d.pipeline.load.RequireEnv = true
	d.fetcher = fetch.New(d.egress.HTTPClient(egress.JWKS), usable, filepath.Join(dir, "fetched"), log)
	d.echoes = echo.New(log)
	d.scribe = newScribe(d.last, log)
	h := &holder{daemon: d, target: &picky{changed: make(chan struct{}, 1)}}
	d.loop = d.newLoop(nil, h.target, nil)
	d.loop.Enforce, d.loop.Proof, d.loop.Ready, d.loop.Blame, d.loop.Tell = nil, nil, nil, nil, d.scribe.event
	d.loop.Published = func(b reconcile.Built) {
		d.published(b)
		h.target.published(b.Gateway)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	go d.scribe.run()
	running.Go(func() { _ = d.loop.Run(ctx) })
	h.stop = func() {
		cancel()
		running.Wait()
		d.scribe.stop()
		d.fetcher.Close()
		d.echoes.Close()
	}
	return h
}

// versions is what is served: the path of each API, and the order of the binding of one.
func (h *holder) versions() map[string]string {
	out := map[string]string{}
	g := h.target.served()
	if g == nil {
		return out
	}
	for _, l := range g.Listeners {
		for _, a := range l.APIs {
			name := a.Origin.Object.Name
			out[name] = fmt.Sprintf("%d%s", l.Addr.Port(), a.BasePath)
			for _, b := range a.Bindings {
				out[name+" guard"] = fmt.Sprint(b.Order)
			}
		}
	}
	return out
}

func (h *holder) apply(t *testing.T, texts map[string]string) reconcile.Outcome {
	t.Helper()
	var files []source.File
	for name, text := range texts {
		files = append(files, source.NewFile(name, []byte(text)))
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	o, err := h.loop.Apply(ctx, source.NewSet(files), "", "test")
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func testAPI(name string, port int, path string) string {
	return fmt.Sprintf("apiVersion: gateway.mulesoft.com/v1alpha1\nkind: ApiInstance\nmetadata: {name: %s}\nspec: {address: \"http://0.0.0.0:%d%s\", services: {s: {address: \"http://127.0.0.1:9\"}}}\n", name, port, path)
}

func testGuard(order int, more string) string {
	return fmt.Sprintf("apiVersion: gateway.mulesoft.com/v1alpha1\nkind: PolicyBinding\nmetadata: {name: p}\nspec:\n  targetRef: {name: g}\n  policyRef: {name: header-injection-flex}\n  order: %d\n  config: {outboundHeaders: [{key: x, value: \"1\"}]}\n%s", order, more)
}

const cutOff = "nonsense: [\n"

// A was right in one revision and B in another, then both are wrong: each stays at its own last good version, also after a restart.
func TestEachFileIsHeldAtItsOwnLastGoodVersion(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	h := newHolder(t, dir)
	one, two := func(v string) string { return testAPI("a", 8001, "/"+v) }, func(v string) string { return testAPI("b", 8002, "/"+v) }
	want := map[string]string{"a": "8001/2", "b": "8002/2"}
	for _, files := range []map[string]string{
		{"a.yaml": one("1"), "b.yaml": two("1")},
		{"a.yaml": one("2"), "b.yaml": two("x") + cutOff},
		{"a.yaml": one("x") + cutOff, "b.yaml": two("2")},
		{"a.yaml": one("y") + cutOff, "b.yaml": two("y") + cutOff},
	} {
		h.apply(t, files)
	}
	if got := h.versions(); !maps.Equal(got, want) {
		t.Errorf("served are %v, want %v", got, want)
	}
	for range 2 {
		h.stop()
		h = newHolder(t, dir)
		if o := h.apply(t, map[string]string{"a.yaml": one("z") + cutOff, "b.yaml": two("z") + cutOff}); o.Result != reconcile.Programmed {
			t.Errorf("after a restart: %+v", o)
		}
		if got := h.versions(); !maps.Equal(got, want) {
			t.Errorf("after a restart served are %v, want %v", got, want)
		}
	}
	h.stop()
}

// model is what must be served, file by file: the newest version of what is right, the last good one of what is not.
type model struct {
	text    map[string]string            // of each file, as it is
	right   map[string]map[string]string // of each file, the versions of its objects that are right; one that is wrong is not in it
	objects map[string][]string          // of each file, that it has or had
	good    map[string]map[string]string // of each file, the versions in the newest revision in which all of it was right; nil: there is none
}

// put is a new text of a file, of objects by their versions; bad are those that are wrong.
func (m *model) put(file, text string, versions map[string]string, bad ...string) {
	m.text[file] = text
	m.right[file] = maps.Clone(versions)
	for _, name := range bad {
		delete(m.right[file], name)
	}
	if len(m.right[file]) == 0 {
		delete(m.right, file)
	}
	if len(bad) == 0 {
		m.objects[file] = slices.Sorted(maps.Keys(versions))
	}
}

func (m *model) remove(file string) {
	delete(m.text, file)
	delete(m.right, file)
}

// TestHeldIsTheLastGoodVersionOfEachFile edits, breaks, mends, deletes and restarts at random. After each step everything that is right is
// served as it is, and everything else as it was when it was right last.
func TestHeldIsTheLastGoodVersionOfEachFile(t *testing.T) {
	t.Parallel()
	seeds := uint64(8)
	if testing.Short() {
		seeds = 3
	}
	for seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			heldAtRandom(t, rand.New(rand.NewPCG(seed, 3)))
		})
	}
}

func heldAtRandom(t *testing.T, r *rand.Rand) {
	dir := t.TempDir()
	h := newHolder(t, dir)
	defer func() { h.stop() }()
	m := &model{text: map[string]string{}, right: map[string]map[string]string{}, objects: map[string][]string{}, good: map[string]map[string]string{}}
	version := 0
	single := map[string]int{"a": 8001, "b": 8002, "c": 8003, "d": 8004}
	edit := func() {
		version++
		v := fmt.Sprintf("/v%d", version)
		switch what := r.IntN(8); what {
		case 0, 1, 2, 3: // one API in a file of its own
			name := []string{"a", "b", "c", "d"}[what]
			file, at := name+".yaml", fmt.Sprint(single[name], v)
			switch r.IntN(7) {
			case 0:
				m.remove(file)
			case 1:
				m.put(file, testAPI(name, single[name], v)+cutOff, nil, name)
			case 2:
				m.put(file, testAPI(name, -1, v), nil, name)
			case 3:
				m.put(file, testAPI(name, single[name], v+refusedByEnvoy), nil, name)
			default:
				m.put(file, testAPI(name, single[name], v), map[string]string{name: at})
			}
		case 4: // two in one
			x, y := testAPI("x", 8010, v), testAPI("y", 8011, v)
			at := map[string]string{"x": "8010" + v, "y": "8011" + v}
			switch r.IntN(6) {
			case 0:
				m.put("xy.yaml", testAPI("x", -1, v)+"---\n"+y, at, "x")
			case 1:
				m.put("xy.yaml", x+"---\n"+testAPI("y", 8011, v+refusedByEnvoy), at, "y")
			case 2:
				m.put("xy.yaml", x+cutOff+"---\n"+y, nil, "x", "y")
			default:
				m.put("xy.yaml", x+"---\n"+y, at)
			}
		case 5: // one that has a binding
			if r.IntN(3) == 0 {
				m.put("g.yaml", testAPI("g", -1, v), nil, "g")
			} else {
				m.put("g.yaml", testAPI("g", 8020, v), map[string]string{"g": "8020" + v})
			}
		default: // which stands elsewhere
			switch r.IntN(4) {
			case 0:
				m.remove("p.yaml")
			case 1:
				m.put("p.yaml", testGuard(version, "  nonsense: 1\n"), nil, "g guard")
			default:
				m.put("p.yaml", testGuard(version, ""), map[string]string{"g guard": fmt.Sprint(version)})
			}
		}
	}
	m.put("g.yaml", testAPI("g", 8020, "/v0"), map[string]string{"g": "8020/v0"})
	m.put("xy.yaml", testAPI("x", 8010, "/v0")+"---\n"+testAPI("y", 8011, "/v0"), map[string]string{"x": "8010/v0", "y": "8011/v0"})
	m.put("a.yaml", testAPI("a", 8001, "/v0"), map[string]string{"a": "8001/v0"})
	h.apply(t, m.text)
	m.live()
	held := 0
	for step := range 50 {
		for range 1 + r.IntN(3) {
			edit()
		}
		o := h.apply(t, m.text)
		want := m.want()
		got := h.versions()
		if !maps.Equal(got, want) || o.Result != reconcile.Programmed {
			var b bytes.Buffer
			for _, f := range slices.Sorted(maps.Keys(m.text)) {
				fmt.Fprintf(&b, "-- %s --\n%s", f, m.text[f])
			}
			t.Fatalf("step %d: %s; served are\n%v\nwant\n%v\ngood are %v\n%s\nheld %v\n%v", step, o.Result, got, want, m.good, b.String(), o.Held, o.Diagnostics)
		}
		if len(o.Held) > 0 {
			held++
		}
		m.live()
		if r.IntN(6) > 0 {
			continue
		}
		h.stop()
		h = newHolder(t, dir)
		late := time.Now().Add(2 * time.Minute)
		for !maps.Equal(h.versions(), want) {
			if time.Now().After(late) {
				t.Fatalf("step %d: after a restart served are\n%v\nwant\n%v", step, h.versions(), want)
			}
			time.Sleep(time.Millisecond)
		}
	}
	t.Logf("in %d of 50 steps something was held", held)
}

// unguarded says that the API g is not to be served as it is: the binding that it has is wrong, and there is no version of it that was right.
func (m *model) unguarded() bool {
	_, there := m.text["p.yaml"]
	return there && m.right["p.yaml"]["g guard"] == "" && m.good["p.yaml"] == nil
}

// want is what must be served, by object.
func (m *model) want() map[string]string {
	out := map[string]string{}
	for file := range m.text {
		for _, name := range m.objects[file] {
			if file == "g.yaml" && m.unguarded() {
				out[name] = m.good[file][name]
			} else if v, ok := m.right[file][name]; ok {
				out[name] = v
			} else if v, ok := m.good[file][name]; ok {
				out[name] = v
			}
		}
	}
	if _, there := m.text["p.yaml"]; !there && m.right["g.yaml"] == nil && m.good["p.yaml"] != nil {
		out["g guard"] = m.good["p.yaml"]["g guard"] // deleted, but what is held keeps its guards
	}
	return out
}

// live takes in that what is wanted is served. What was deleted while it was good is gone, and so is what was deleted while it was wrong.
func (m *model) live() {
	for file := range m.good {
		if _, there := m.text[file]; !there && (file != "p.yaml" || m.right["g.yaml"] != nil) {
			delete(m.good, file)
		}
	}
	for file := range m.text {
		if n := len(m.right[file]); n > 0 && n == len(m.objects[file]) && (file != "g.yaml" || !m.unguarded()) {
			m.good[file] = m.right[file]
		}
	}
}

// A held object whose file cannot be read has a line of its own, which says why; what refers to it is as right as it was.
func TestAHeldObjectSaysWhatKeepsIt(t *testing.T) {
	t.Parallel()
	h := newHolder(t, t.TempDir())
	defer h.stop()
	texts := map[string]string{"a.yaml": testAPI("a", 8081, "/a"), "b.yaml": testAPI("b", 8082, "/b"),
		"probe.yaml": "apiVersion: flexgw/v1alpha1\nkind: Probe\nmetadata: {name: a-health}\nspec: {targetRef: {name: a}, http: {path: /a/health}}\n"}
	h.apply(t, texts)
	texts["a.yaml"] = cutOff
	h.apply(t, texts)
	var got []string
	for _, o := range h.loop.Report().Lists().Objects {
		for _, c := range o.Conditions {
			if c.Type == status.Accepted && c.Status != status.True {
				got = append(got, fmt.Sprintf("%s %s %s: %s", o.Kind, o.Name, c.Reason, c.Message))
			}
		}
	}
	if want := []string{"ApiInstance a Held: a.yaml:1:11 cannot be read: this bracket is not closed [yaml/syntax]"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}
