package reconcile_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/flexgw/flexgw/reconcile"
	"github.com/flexgw/flexgw/reconcile/deliver"
	"github.com/flexgw/flexgw/reconcile/status"
	"github.com/flexgw/flexgw/render"
	"github.com/flexgw/flexgw/schema"
	"github.com/flexgw/flexgw/schema/source"

	"github.com/flexgw/flexgw/render/policy/all"
)

// stand is what several Envoys say at once.
func (f *fakeTarget) stand(report []deliver.Delivery, progress ...deliver.Progress) {
	f.mu.Lock()
	f.progress, f.report = progress, report
	f.mu.Unlock()
	select {
	case f.changed <- struct{}{}:
	default:
	}
}

// refusal is that of the only listener of what is published, by a node.
func (f *fakeTarget) refusal(t *testing.T, node string) []deliver.Delivery {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []deliver.Delivery
	f.published[len(f.published)-1].Resources.Each(render.ListenerType, func(r *render.Resource) {
		out = append(out, deliver.Delivery{Node: node, TypeURL: r.TypeURL, Name: r.Name, Hash: r.Hash, State: deliver.Error, Message: "cannot bind", Origins: r.Origins})
	})
	if len(out) != 1 {
		t.Fatalf("%d listeners", len(out))
	}
	return out
}

// edited is api with another address, so that its listener is another one too.
func edited(host string) string { return strings.Replace(api(1), "0.0.0.0", host, 1) }

func TestProgrammedIsEveryConnectedEnvoy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := run(t)
		here := deliver.Progress{Node: "here", Connected: true, Since: time.Now()}
		away := deliver.Progress{Node: "away", Address: "192.0.2.1:1", Identity: "edge", Since: time.Now()}
		slow := deliver.Progress{Node: "slow", Address: "192.0.2.2:1", Identity: "edge", Connected: true, Stale: 1, Since: time.Now()}
		w.source.put(api(1), nil)
		w.target.stand(nil, away)
		settle(time.Second)
		condition(t, w, status.Programmed, status.Unknown, "NoEnvoy")
		w.target.stand(nil, away, here, slow)
		settle(time.Second)
		condition(t, w, status.Programmed, status.False, "Pending")
		slow.Stale = 0
		w.target.stand(nil, away, here, slow)
		settle(time.Second)
		condition(t, w, status.Programmed, status.True, "Live")
		for _, e := range w.loop.Report().Envoys {
			if e.Node != "here" && e.Identity != "edge" || e.Since.IsZero() || e.Connected == (e.Node == "away") {
				t.Errorf("%+v", e)
			}
		}
	})
}

// A refusal of something new by any Envoy takes the revision back; one of what was right before is told of, and stops nobody.
func TestRefusalOnAnotherHost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := run(t)
		here := deliver.Progress{Node: "here", Connected: true}
		edge := deliver.Progress{Node: "edge-1", Address: "192.0.2.1:1", Identity: "edge", Connected: true}
		w.source.put(api(1), nil)
		settle(time.Second)
		w.target.stand(nil, here, edge)
		settle(time.Second)
		condition(t, w, status.Programmed, status.True, "Live")

		waits := here
		waits.Stale = 1
		w.target.stand(nil, waits, edge)
		w.source.put(edited("127.0.0.1"), nil)
		settle(time.Second)
		bad := edge
		bad.Errors = 1
		w.target.stand(w.target.refusal(t, "edge-1"), here, bad)
		settle(time.Second)
		if got := served(w); got != set(api(1)).Revision {
			t.Errorf("served is %s", got)
		}
		w.target.stand(nil, here, edge)
		settle(time.Second)
		c := condition(t, w, status.Programmed, status.False, "RolledBack")
		if !strings.Contains(c.Message, "Envoy edge-1 refused") || c.Place == nil || c.Place.Start.Line != 5 {
			t.Errorf("%+v", c)
		}

		w.source.put(api(1), nil)
		settle(time.Second)
		late := deliver.Progress{Node: "late", Address: "192.0.2.3:1", Identity: "edge", Connected: true, Errors: 1}
		w.target.stand(w.target.refusal(t, "late"), here, edge, late)
		settle(time.Second)
		condition(t, w, status.Programmed, status.True, "Live")
		w.source.put(api(2), nil)
		settle(time.Second)
		condition(t, w, status.Programmed, status.True, "Live")
		r := w.loop.Report().Lists()
		if r.Revision != set(api(2)).Revision {
			t.Errorf("a host with a taken port kept the next revision from the others: %s", r.Revision)
		}
		for _, o := range r.Objects {
			if c := o.Conditions[2]; o.Kind == "ApiInstance" && (c.Status != status.False || c.Place == nil) {
				t.Errorf("%s: %+v", o.Name, c)
			}
		}
		if e := r.Envoys[2]; e.Node != "late" || len(e.Types) != 1 || e.Types[0].Error != 1 {
			t.Errorf("%+v", e)
		}

		here.Errors = 1 // an Envoy beside the daemon is told of whatever it refuses
		w.target.stand(w.target.refusal(t, "here"), here, edge)
		settle(time.Second)
		condition(t, w, status.Programmed, status.False, "Rejected")
	})
}

// What a cordoned Envoy says decides about no revision; it is served like the others, and what it said is still shown.
func TestCordon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var kept reconcile.Control
		w := run(t, func(w *world) { w.loop.Remember = func(c reconcile.Control) { kept = c } })
		ctx := t.Context()
		here := deliver.Progress{Node: "here", Version: "1.40.0", Connected: true}
		edge := deliver.Progress{Node: "edge-1", Version: "1.40.0", Address: "192.0.2.1:1", Identity: "edge", Connected: true}
		bad := edge
		bad.Errors = 1
		live := func(text string) {
			t.Helper()
			settle(time.Second)
			condition(t, w, status.Programmed, status.True, "Live")
			if got := w.loop.Report().Revision; got != set(text).Revision {
				t.Errorf("programmed is %s", got)
			}
		}
		w.source.put(api(1), nil)
		w.target.stand(nil, here, edge)
		live(api(1))

		// It refuses all that is new: a revision goes back for it.
		waits := here
		waits.Stale = 1
		w.target.stand(nil, waits, edge)
		w.source.put(edited("127.0.0.1"), nil)
		settle(time.Second)
		w.target.stand(w.target.refusal(t, "edge-1"), here, bad)
		settle(time.Second)
		w.target.stand(nil, here, edge)
		settle(time.Second)
		condition(t, w, status.Programmed, status.False, "RolledBack")

		if err := w.loop.Cordon(ctx, "egde-1", "a slip", "me"); !errors.Is(err, reconcile.ErrNoNode) || !strings.Contains(err.Error(), "known are here, edge-1") {
			t.Errorf("cordon of nobody: %v", err)
		}
		if err := w.loop.Uncordon(ctx, "edge-1", "me"); !errors.Is(err, reconcile.ErrNoNode) {
			t.Errorf("uncordon of one that is not: %v", err)
		}
		if err := w.loop.Cordon(ctx, "edge-1", "refuses everything", "me"); err != nil {
			t.Fatal(err)
		}
		if x := kept.Cordoned["edge-1"]; x.Reason != "refuses everything" || x.By != "me" || x.Since.IsZero() {
			t.Errorf("remembered: %+v", kept)
		}
		go w.loop.Sync(ctx, "", "me") // tries the revision again, which the other Envoy takes
		settle(time.Second)
		w.target.stand(w.target.refusal(t, "edge-1"), here, bad)
		live(edited("127.0.0.1"))
		r := w.loop.Report().Lists()
		if e := r.Envoys[1]; e.Node != "edge-1" || e.Cordoned == nil || e.Cordoned.Reason != "refuses everything" || len(e.Types) != 1 || e.Types[0].Error != 1 || r.Envoys[0].Cordoned != nil {
			t.Errorf("%+v", r.Envoys)
		}
		for _, o := range r.Objects {
			if c := o.Conditions[2]; c.Status != status.True {
				t.Errorf("%s %s: %+v", o.Kind, o.Name, c)
			}
		}
		bad.Stale = 7 // nor is it waited for
		w.target.stand(w.target.refusal(t, "edge-1"), here, bad)
		w.source.put(api(2), nil)
		live(api(2))

		w.target.stand(nil, bad) // alone, it is nobody
		settle(time.Second)
		if c := condition(t, w, status.Programmed, status.Unknown, "NoEnvoy"); !strings.Contains(c.Message, "cordoned") {
			t.Errorf("%+v", c)
		}
		if err := w.loop.Resume(ctx, "me"); err != nil || kept.Cordoned["edge-1"].Reason == "" {
			t.Errorf("resume, which is about the source: %v %+v", err, kept)
		}

		// What it refuses while it is cordoned was programmed without it, and takes nothing back later.
		bad.Stale = 0
		w.target.stand(w.target.refusal(t, "edge-1"), here, bad)
		live(api(2))
		if err := w.loop.Uncordon(ctx, "edge-1", "me"); err != nil || len(kept.Cordoned) != 0 {
			t.Errorf("%v %+v", err, kept)
		}
		live(api(2))
		w.target.stand(nil, waits, edge)
		w.source.put(edited("127.0.0.2"), nil)
		settle(time.Second)
		w.target.stand(w.target.refusal(t, "edge-1"), here, bad)
		settle(time.Second)
		if got := served(w); got != set(api(2)).Revision {
			t.Errorf("it counts again, and served is %s", got)
		}
		types := w.types()
		if !slices.Contains(types, reconcile.Cordoned) || !slices.Contains(types, reconcile.Uncordoned) {
			t.Errorf("events %v", types)
		}
	})
}

// A cordon outlives the daemon, whether the Envoy comes back or not.
func TestCordonAfterARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		at := time.Now()
		w := run(t, func(w *world) {
			w.loop.Control = reconcile.Control{Cordoned: map[string]status.Cordon{"edge-1": {Since: at, Reason: "why", By: "me"}}}
		})
		w.source.put(api(1), nil)
		w.target.stand(nil, deliver.Progress{Node: "here", Version: "1.40.0", Connected: true})
		settle(time.Second)
		if e := w.loop.Report().Envoys; len(e) != 2 || e[0].Node != "edge-1" || e[0].Cordoned == nil || e[0].Connected || e[1].Cordoned != nil {
			t.Errorf("%+v", e)
		}
		w.target.stand(nil, deliver.Progress{Node: "edge-1", Version: "1.40.0", Address: "192.0.2.1:1", Connected: true, Errors: 1}, deliver.Progress{Node: "here", Version: "1.40.0", Connected: true})
		settle(time.Second)
		condition(t, w, status.Programmed, status.True, "Live")
		if err := w.loop.Uncordon(t.Context(), "edge-1", "me"); err != nil {
			t.Error(err)
		}
	})
}

// A daemon that is started anew knows that what it serves was programmed, although a host with a taken port says no.
func TestRefusalOnAnotherHostAfterARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := run(t, func(w *world) { w.loop.LastGood = func() []source.Set { return []source.Set{set(api(1))} } })
		w.source.put(api(1), nil)
		settle(time.Second)
		w.target.stand(w.target.refusal(t, "late"), deliver.Progress{Node: "late", Address: "192.0.2.3:1", Connected: true, Errors: 1}, deliver.Progress{Node: "edge", Address: "192.0.2.4:1", Connected: true})
		settle(time.Second)
		condition(t, w, status.Programmed, status.True, "Live")
	})
}

func TestLimitsOfAnotherHost(t *testing.T) {
	t.Parallel()
	g, list := schema.Load(source.NewSet([]source.File{source.NewFile("api.yaml", []byte(api(1)+`---
apiVersion: flexgw/v1alpha1
kind: Echo
metadata: {name: stand-in}
spec: {address: "http://127.0.0.1:9001"}
---
apiVersion: flexgw/v1alpha1
kind: Probe
metadata: {name: works}
spec:
  targetRef: {kind: ApiInstance, name: a}
  http: {path: /x}
`))}), schema.Options{Policies: all.Catalog{}})
	if list.HasErrors() {
		t.Fatal(list)
	}
	text := func(local bool) string {
		var lines []string
		for _, x := range reconcile.Limits(g, local) {
			lines = append(lines, x.String())
		}
		return strings.Join(lines, "\n")
	}
	const echo = "api.yaml:13:18: warning: Echo stand-in answers on the daemon's host alone"
	if got := text(false); !strings.Contains(got, echo) || !strings.Contains(got, "api.yaml:18:18:") || !strings.Contains(got, "Probe works is asked of an Envoy on the daemon's host, and none is connected") {
		t.Errorf("got:\n%s", got)
	}
	if got := text(true); !strings.Contains(got, echo) || strings.Contains(got, "Probe") {
		t.Errorf("got:\n%s", got)
	}
	if reconcile.Limits(nil, false) != nil {
		t.Error("of nothing")
	}
}
