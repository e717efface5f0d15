// Package probe asks the probes of a gateway through the ports on which it is served, and watches how many requests fail.
//
// It decides nothing: what speaks against a revision is a diagnostic, and its caller rolls back or does not. It starts no
// connection to anything but the gateway's own listeners, and keeps none.
package probe

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/flexgw/flexgw/reconcile/egress"
	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/ir"
)

// atOnce is how many probes are asked side by side: enough to be through with hundreds of them in a moment, and few beside what
// else a gateway has to do.
const atOnce = 16

// grace is how much longer others are asked once a probe failed: users meet what it failed at, so going back does not wait for those
// that take their time.
const grace = time.Second

// Prober asks probes.
type Prober struct {
	// Dial is the way to the listeners: that of package egress, for the purpose egress.Probe.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
	// Now is when certificates must be valid.
	Now func() time.Time
}

// Ask asks all probes of a gateway that Envoy serves, those of APIs that did not change too: what a probe sees also depends on
// Services, selectors, TLS and settings that belong to no single API, and on the APIs beside its own. The list has an error for
// each probe that failed until a second after the first one did, at its place. A probe is given its attempts, and the first
// right answer ends it. When ctx ends nothing is said.
func (p Prober) Ask(ctx context.Context, g *ir.Gateway) diag.List {
	ports := portsOf(g)
	wrong := make([]error, len(g.Probes))
	asking, enough := context.WithCancel(ctx)
	defer enough()
	first := sync.OnceFunc(func() { time.AfterFunc(grace, enough) })
	var wait sync.WaitGroup
	slots := make(chan struct{}, atOnce)
	for i, x := range g.Probes {
		wait.Go(func() {
			select {
			case slots <- struct{}{}:
			case <-asking.Done():
				return
			}
			defer func() { <-slots }()
			err := p.persist(asking, target{Probe: x, port: ports[x.API], proxied: g.Settings.ProxyProtocol})
			if err == nil || asking.Err() != nil {
				return
			}
			wrong[i] = err
			first()
		})
	}
	wait.Wait()
	if ctx.Err() != nil {
		return nil
	}
	var list diag.List
	for i, err := range wrong {
		if err != nil {
			list = append(list, failure(target{Probe: g.Probes[i], port: ports[g.Probes[i].API]}, err))
		}
	}
	return list.Sort()
}

// Destinations are the listeners that the probes of a gateway are asked at, for egress.
func Destinations(g *ir.Gateway) []egress.Destination {
	ports := portsOf(g)
	var out []egress.Destination
	for _, p := range g.Probes {
		out = append(out, egress.Destination{Host: target{Probe: p, port: ports[p.API]}.addr(), Why: "probe " + p.Origin.Object.Name + ": " + p.Origin.Range.String()})
	}
	return out
}

// portsOf are the listeners of the APIs that probes ask.
func portsOf(g *ir.Gateway) map[*ir.API]*ir.Listener {
	out := make(map[*ir.API]*ir.Listener, len(g.Probes))
	for _, p := range g.Probes {
		out[p.API] = nil
	}
	if len(out) == 0 {
		return out
	}
	for _, l := range g.Listeners {
		for _, a := range l.APIs {
			if _, asked := out[a]; asked {
				out[a] = l
			}
		}
	}
	return out
}

// target is one probe and where it is asked.
type target struct {
	*ir.Probe
	port    *ir.Listener
	proxied bool // the listener expects the PROXY header
}

// addr is the listener as a process on this host reaches it.
func (t target) addr() string {
	ip := t.port.Addr.Addr()
	switch {
	case ip.IsUnspecified() && ip.Is6():
		ip = netip.IPv6Loopback()
	case ip.IsUnspecified():
		ip = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	return net.JoinHostPort(ip.String(), strconv.Itoa(int(t.port.Addr.Port())))
}

// asked is what is asked, for a person.
func (t target) asked() string {
	scheme := "http"
	if t.port.TLS != nil {
		scheme = "https"
	}
	switch {
	case t.GRPC != nil && t.GRPC.Service == "":
		return "gRPC " + scheme + "://" + t.addr() + t.method()
	case t.GRPC != nil:
		return "gRPC " + scheme + "://" + t.addr() + t.method() + " of service " + strconv.Quote(t.GRPC.Service)
	case t.HTTP == nil:
		return "a TLS handshake with " + t.addr()
	}
	return t.HTTP.Method + " " + scheme + "://" + t.addr() + t.API.BasePath + t.HTTP.Path
}

// persist asks until the answer is right; the error is that of the last attempt.
func (p Prober) persist(ctx context.Context, t target) error {
	for attempt := 1; ; attempt++ {
		err := p.once(ctx, t)
		if err == nil || attempt >= t.Attempts {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(t.Period):
		}
	}
}

func failure(t target, err error) diag.Diagnostic {
	times := ""
	if t.Attempts > 1 {
		times = fmt.Sprintf(", %d times", t.Attempts)
	}
	at := t.Origin.Range
	var f fault
	switch {
	case errors.As(err, &f) && f.tls && t.TLS != nil:
		at = t.TLS.At
	case t.HTTP != nil:
		at = t.HTTP.At
	case t.GRPC != nil:
		at = t.GRPC.At
	case t.TLS != nil:
		at = t.TLS.At
	}
	hint := "mend the API or what it leads to; flexgw sync, or apply, tries a revision again that was rolled back"
	if f.tls && strings.HasSuffix(err.Error(), "certificate required") {
		hint = "the port wants a client certificate: give the probe one (tls: {certificate: {crt: $NAME, key: $NAME}}) that its trustedCA signed"
	}
	if f.hint != "" {
		hint = f.hint
	}
	return diag.Diagnostic{
		Severity: diag.Error, Code: "probe/failed", Object: t.Origin.Object, Subject: at,
		Summary: fmt.Sprintf("%s %s%s", t.asked(), err, times),
		Hint:    hint,
		Related: []diag.Related{{Subject: t.API.Origin.Range, Summary: "the API that was asked"}},
	}
}

// rangesOf are statuses for a person: "200 to 299 or 404".
func rangesOf(l []ir.StatusRange) string {
	text := ""
	for i, r := range l {
		switch {
		case i == 0:
		case i == len(l)-1:
			text += " or "
		default:
			text += ", "
		}
		text += strconv.Itoa(r.From)
		if r.To != r.From {
			text += " to " + strconv.Itoa(r.To)
		}
	}
	return text
}

func within(l []ir.StatusRange, status int) bool {
	return slices.ContainsFunc(l, func(r ir.StatusRange) bool { return status >= r.From && status <= r.To })
}
