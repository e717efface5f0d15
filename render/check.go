package render

import (
	"slices"
	"strconv"
	"strings"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	compositev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/composite/v3"
	filterchainv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/filter_chain/v3"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/flexgw/flexgw/render/policy"
	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/ir"
)

// Envoy accepts a misspelt slot, a wrong message in a slot and a terminal filter inside a chain without a word: the
// policy is simply missing. So what is emitted is looked at once more (design.md, decision 6).

const (
	chainType  = typePrefix + "envoy.extensions.filters.http.filter_chain.v3.FilterChainConfigPerRoute"
	condType   = typePrefix + "envoy.extensions.filters.http.composite.v3.CompositePerRoute"
	switchType = typePrefix + "envoy.config.route.v3.FilterConfig"
)

// unchainable filters end a chain, so that what follows is never asked, or cannot live in one.
var unchainable = map[string]bool{"Router": true, "Composite": true, "FilterChainConfig": true, "ExtensionWithMatcher": true, "UpstreamCodec": true}

func isSlot(name string) bool { _, _, ok := slotNumber(name); return ok }

// slotNumber is the number of a slot and whether it is a chain's; ok is false for other names.
func slotNumber(name string) (n int, chain, ok bool) {
	s, chain := strings.CutPrefix(name, chainSlot)
	if !chain {
		if s, ok = strings.CutPrefix(name, condSlot); !ok {
			return 0, false, false
		}
	}
	n, err := strconv.Atoi(s)
	return n, chain, err == nil && n >= 0 && strconv.Itoa(n) == s && (chain || n > 0)
}

// level is what one typed_per_filter_config says.
type level struct {
	last   int // the highest slot number
	slots  bool
	marked bool // the last slot in use holds a chain that ends in the marker
}

// checkScope notes as faults of w what Envoy would accept in silence. It returns the highest slot number.
func checkScope(w *wire, sc *routev3.ScopedRouteConfiguration) (slots int) {
	rc := sc.GetRouteConfiguration()
	above := checkLevel(w, sc.GetName(), rc.GetTypedPerFilterConfig())
	slots = above.last
	names := w.set(0)
	for _, h := range rc.GetVirtualHosts() {
		for _, x := range h.GetRoutes() {
			if x.GetName() == "" || names[x.GetName()] {
				w.fault("scope %s: the route name %q is empty or not unique", sc.GetName(), x.GetName())
			}
			names[x.GetName()] = true
			own := above
			if len(x.GetTypedPerFilterConfig()) > 0 {
				if own = checkLevel(w, x.GetName(), x.GetTypedPerFilterConfig()); !own.slots {
					own = above
				}
			}
			if !own.marked || own.last < above.last {
				w.fault("scope %s: the chain of route %s does not end in its marker", sc.GetName(), x.GetName())
			}
			slots = max(slots, own.last)
		}
	}
	return slots
}

func checkLevel(w *wire, where string, entries map[string]*anypb.Any) level {
	l := level{}
	inner := w.set(1)
	marked := -1
	for name, a := range entries {
		n, chain, ok := slotNumber(name)
		if !ok {
			continue
		}
		l.slots, l.last = true, max(l.last, n)
		switch {
		case chain && a.GetTypeUrl() == chainType:
			if checkChain(w, where, name, a, inner) {
				marked = max(marked, n)
			}
		case !chain && a.GetTypeUrl() == condType:
			checkCondition(w, where, name, a)
		case a.GetTypeUrl() != switchType:
			w.fault("%s: slot %s holds a %s", where, name, shortType(a.GetTypeUrl()))
		}
	}
	for name := range entries {
		if !isSlot(name) && !inner[name] {
			w.fault("%s: %s is neither a slot nor a filter of a chain", where, name)
		}
	}
	l.marked = marked >= 0 && marked == l.last
	return l
}

// checkChain notes the inner names of a chain and reports whether it ends in the marker.
func checkChain(w *wire, where, slot string, a *anypb.Any, inner map[string]bool) bool {
	c, err := contentOf(w, a, &filterchainv3.FilterChainConfigPerRoute{})
	if err != nil {
		w.fault("%s: %s: %v", where, slot, err)
		return false
	}
	last := ""
	for _, f := range c.GetFilterChain().GetFilters() {
		if last = f.GetName(); inner[last] {
			w.fault("%s: two filters are named %s", where, last)
		}
		inner[last] = true
		if t := shortType(f.GetTypedConfig().GetTypeUrl()); unchainable[t] {
			w.fault("%s: a %s cannot stand in a chain (%s)", where, t, last)
		}
	}
	return last == markName
}

// checkCondition makes sure that a composite slot runs exactly one filter.
func checkCondition(w *wire, where, slot string, a *anypb.Any) {
	c, err := contentOf(w, a, &compositev3.CompositePerRoute{})
	if err != nil {
		w.fault("%s: %s: %v", where, slot, err)
		return
	}
	for _, m := range c.GetMatcher().GetMatcherList().GetMatchers() {
		e, err := contentOf(w, m.GetOnMatch().GetAction().GetTypedConfig(), &compositev3.ExecuteFilterAction{})
		if err != nil {
			w.fault("%s: %s: %v", where, slot, err)
			continue
		}
		t := shortType(e.GetTypedConfig().GetTypedConfig().GetTypeUrl())
		if t == "" || unchainable[t] || e.FilterChain != nil || e.FilterChainName != "" || e.DynamicConfig != nil {
			w.fault("%s: %s does not run exactly one filter", where, slot)
		}
	}
}

// checkFiles notes files of ours that are named but not written.
func (r *renderer) checkFiles(w *wire, out *bundle) {
	for _, name := range w.files {
		if !strings.HasPrefix(name, r.opts.Files+"/") {
			continue
		}
		found := false
		for _, f := range out.files {
			found = found || f.Path == name
		}
		if !found {
			w.fault("file %s is named, but not listed", name)
		}
	}
}

// checkClosure reports names that nothing bears, and names that two resources bear: every cluster and secret that is named must be offered. What was in
// last, which held, is not looked at again unless names went away.
func checkClosure(r, last *Resources) diag.List {
	var l diag.List
	held := last != nil && sameNames(r, last, ClusterType) && sameNames(r, last, SecretType)
	for _, t := range resourceTypes {
		for i, x := range r.list(t) {
			if i > 0 && r.list(t)[i-1].Name == x.Name {
				l = append(l, internal(firstOrigin(x), "two resources are the %s %s", shortType(t), x.Name))
			}
			if held && i < len(last.list(t)) && last.list(t)[i] == x {
				continue
			}
			for _, ref := range x.Refs {
				if _, ok := r.Get(ref); ok || ref == (Key{ClusterType, policy.EnforceCluster}) {
					continue
				}
				l = append(l, internal(firstOrigin(x), "%s %s names %s %s, which there is not", shortType(x.TypeURL), x.Name, shortType(ref.TypeURL), quote(ref.Name)))
			}
		}
	}
	return l
}

func firstOrigin(x *Resource) ir.Origin {
	if len(x.Origins) == 0 {
		return ir.Origin{}
	}
	return *x.Origins[0]
}

func sameNames(a, b *Resources, t string) bool {
	return slices.EqualFunc(a.list(t), b.list(t), func(x, y *Resource) bool { return x == y || x.Name == y.Name })
}
