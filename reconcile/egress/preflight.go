package egress

import (
	"context"
	"net"
	"net/netip"
)

// Preflight is to look, before a gateway runs, whether it could reach whom it would call: name look-up, TCP and TLS, no request.
const Preflight Purpose = "preflight"

// Resolve looks up the addresses of a host ("host:port") if it is allowed for the purpose.
func (e *Egress) Resolve(ctx context.Context, purpose Purpose, addr string) ([]netip.Addr, error) {
	if err := e.check(purpose, addr); err != nil {
		return nil, err
	}
	host, _, err := net.SplitHostPort(normal(addr))
	if err != nil {
		return nil, err
	}
	return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
}

// Tunnel connects to addr ("host:port") through a forward proxy if it is allowed for the purpose. The proxy looks up the name, and
// gets nothing but CONNECT. An error is a *ProxyAuthError, a *ProxyError or a *RefusedError.
func (e *Egress) Tunnel(ctx context.Context, purpose Purpose, p Proxy, addr string) (net.Conn, error) {
	if err := e.check(purpose, addr); err != nil {
		return nil, err
	}
	return e.tunnel(ctx, e.patient, p, addr)
}

// Carries reports whether a connection to host:port goes through the proxy, and not past it.
func (p Proxy) Carries(addr string) bool { return p.carries(addr) }

// Addr is the proxy's host:port; "" for none.
func (p Proxy) Addr() string { return p.host }
