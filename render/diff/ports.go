package diff

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/flexgw/flexgw/render"
	"github.com/flexgw/flexgw/render/policy"
	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/ir"
)

// Port is what connected clients of a port notice.
type Port struct {
	Port    uint16
	Address string // host:port, the new one where there is one
	Effect  Effect
	Reason  string
}

// Effect is what happens to the connections of a port.
type Effect string

// The effects.
const (
	Opens  Effect = "opens"  // there were none
	Closes Effect = "closes" // they are drained, and the port is closed
	Drains Effect = "drains" // they are drained once: websockets and streams are cut at the end of the drain
	Keeps  Effect = "keeps"  // they stay, and the next request meets what is new
)

func byPort(g *ir.Gateway) map[uint16]*ir.Listener {
	m := map[uint16]*ir.Listener{}
	for _, l := range g.Listeners {
		m[l.Addr.Port()] = l
	}
	return m
}

func objectsOf(l *ir.Listener) []diag.Object {
	var os []diag.Object
	for _, a := range l.APIs {
		os = append(os, a.Origin.Object)
	}
	return os
}

func firstAddress(l *ir.Listener) diag.Range {
	if len(l.APIs) == 0 {
		return diag.Range{}
	}
	at := l.APIs[0].Address
	for _, a := range l.APIs {
		if a.Address.Compare(at) < 0 {
			at = a.Address
		}
	}
	return at
}

// ports tells which ports came and went, and what changes for all APIs of one that stays.
func (c *comparison) ports() {
	was, now := byPort(c.old.Gateway), byPort(c.now.Gateway)
	for _, l := range c.now.Gateway.Listeners {
		o := was[l.Addr.Port()]
		if o == nil {
			c.opened(l)
			continue
		}
		if o != l {
			c.bind(o, l)
			c.terminates(o, l)
		}
	}
	for _, l := range c.old.Gateway.Listeners {
		if now[l.Addr.Port()] == nil {
			c.add(Change{Class: Traffic, Kind: PortClosed, Affects: objectsOf(l), Summary: fmt.Sprintf("port %d is closed", l.Addr.Port()), Reason: "no API is on it any more",
				Place: Place{true, firstAddress(l)}, about: objectsOf(l)})
		}
	}
}

func (c *comparison) opened(l *ir.Listener) {
	x := Change{Class: Security, Way: Looser, Kind: PortOpened, Affects: objectsOf(l), Summary: fmt.Sprintf("port %d is opened on %s", l.Addr.Port(), l.Addr.Addr()),
		Reason: "clients can connect where they could not", Place: Place{false, firstAddress(l)}, about: objectsOf(l)}
	if l.Addr.Addr().IsLoopback() {
		x.Class, x.Way, x.Reason = Traffic, "", "only clients on the same host can connect"
	}
	c.add(x)
}

// bind tells of another bind address.
func (c *comparison) bind(o, l *ir.Listener) {
	a, b := o.Addr.Addr(), l.Addr.Addr()
	if a == b {
		return
	}
	x := Change{Class: Security, Kind: PortBind, Affects: objectsOf(l), Summary: fmt.Sprintf("port %d is bound to %s instead of %s", l.Addr.Port(), b, a), Reason: "it is reachable over other interfaces",
		Fields: []Field{{Path: "spec.address", Old: o.Addr.String(), New: l.Addr.String(), Place: Place{false, firstAddress(l)}}},
		Place:  Place{false, firstAddress(l)}, about: append(objectsOf(l), objectsOf(o)...)}
	switch {
	case a.IsLoopback() && !b.IsLoopback(), !a.IsUnspecified() && b.IsUnspecified():
		x.Way, x.Reason = Looser, "clients can connect over interfaces where they could not"
	case !a.IsLoopback() && b.IsLoopback(), a.IsUnspecified() && !b.IsUnspecified():
		x.Way, x.Reason = Tighter, "clients can connect over fewer interfaces"
	}
	c.add(x)
}

// terminates compares the TLS settings of a port.
func (c *comparison) terminates(o, l *ir.Listener) {
	port := l.Addr.Port()
	x := Change{Class: Security, Affects: objectsOf(l), about: append(objectsOf(l), objectsOf(o)...)}
	switch {
	case o.TLS == nil && l.TLS == nil:
		return
	case l.TLS == nil:
		x.Way, x.Kind, x.Object, x.Place = Looser, TLSRemoved, o.TLS.Origin.Object, Place{true, o.TLS.PolicyAt()}
		x.Summary, x.Reason = fmt.Sprintf("port %d speaks plain text instead of TLS", port), "whoever is on the way can read and change what is sent, passwords and tokens included"
		x.keep = c.hidden(o.TLS)
	case o.TLS == nil:
		x.Way, x.Kind, x.Object, x.Place = Tighter, TLSAdded, l.TLS.Origin.Object, Place{false, l.TLS.PolicyAt()}
		x.Summary, x.Reason = fmt.Sprintf("port %d speaks TLS instead of plain text", port), "clients that do not speak TLS are not served any more"
		x.keep = c.hidden(l.TLS)
	default:
		p, differs := c.compareBindings(o.TLS, l.TLS)
		if !differs {
			return
		}
		p.Kind, p.Affects, p.about = TLSChanged, objectsOf(l), append(p.about, x.about...)
		p.Summary = fmt.Sprintf("port %d has other TLS settings", port)
		if p.Class == Traffic {
			p.Reason = "new connections get them"
		}
		x = p
	}
	c.add(x)
}

// clients tells what connected clients notice.
func (c *comparison) clients(changed []render.Key) []Port {
	was, now := byPort(c.old.Gateway), byPort(c.now.Gateway)
	effects := map[uint16]Port{}
	for _, k := range changed {
		n := portOf(k)
		if n == 0 {
			continue
		}
		p := Port{Port: n, Effect: Keeps, Reason: "only routes and policies change, which the next request meets; websockets and streams stay"}
		o, l := was[n], now[n]
		switch {
		case l == nil:
			p.Effect, p.Reason = Closes, "connections are drained, then nothing listens any more"
		case o == nil:
			p.Effect, p.Reason = Opens, "it is new"
		case k.TypeURL == render.ListenerType:
			p.Effect, p.Reason = Drains, c.why(o, l)+", and websockets and streams are cut at the end of the drain"
		case effects[n].Effect != "":
			continue
		}
		if l == nil {
			l = o
		}
		p.Address = l.Addr.String()
		effects[n] = p
	}
	out := make([]Port, 0, len(effects))
	for _, p := range effects {
		out = append(out, p)
	}
	slices.SortFunc(out, func(a, b Port) int { return cmp.Compare(a.Port, b.Port) })
	return out
}

// portOf is the port that a listener or a scope belongs to: "port-8081", "8081/orders". 0: none.
func portOf(k render.Key) uint16 {
	var text string
	switch k.TypeURL {
	case render.ListenerType:
		text = strings.TrimPrefix(k.Name, "port-")
	case render.ScopeType:
		text, _, _ = strings.Cut(k.Name, "/")
	}
	n, _ := strconv.ParseUint(text, 10, 16)
	return uint16(n)
}

func basePaths(l *ir.Listener) []string {
	var all []string
	for _, a := range l.APIs {
		all = append(all, a.BasePath)
	}
	slices.Sort(all)
	return all
}

// why is the reason why a listener is not what it was (design.md, decision 6).
func (c *comparison) why(o, l *ir.Listener) string {
	switch {
	case o.Addr != l.Addr:
		return "its bind address changes"
	case (o.TLS == nil) != (l.TLS == nil):
		return "it speaks TLS or not"
	case !sameSettings(c.old.Gateway.Settings, c.now.Gateway.Settings):
		return "the gateway's settings change"
	case o.TLS != nil && o.TLS != l.TLS && c.differs(o.TLS, l.TLS):
		return "its TLS settings change"
	case !slices.Equal(basePaths(o), basePaths(l)):
		return "its base paths are sorted in another way"
	}
	return "the number of its filter slots changes"
}

func (c *comparison) differs(o, n *ir.Binding) bool {
	_, differs := c.compareBindings(o, n)
	return differs
}

// hidden reports whether the resources do not show what a binding says: a $VARIABLE is not set here, its policy is judged only,
// or it waits for what nobody fetched (a remote key set).
func (c *comparison) hidden(b *ir.Binding) bool {
	if len(b.Unresolved()) > 0 || b.Unenforced || b.Made == nil {
		return true
	}
	t, ok := c.types.Type(b.Policy)
	return !ok || len(t.Needs(b.Config())) > 0
}

// shifts asks a policy type what a change does.
func (c *comparison) shifts(b *ir.Binding, was, now any) ([]policy.Shift, bool) {
	t, ok := b.More().Type.(policy.Type)
	if !ok {
		t, ok = c.types.Type(b.Policy)
	}
	if !ok {
		return nil, false
	}
	return t.Shifts(was, now)
}
