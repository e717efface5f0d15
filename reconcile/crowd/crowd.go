// Package crowd bounds how many connections of strangers are open, so that whoever opens many shuts out nobody but itself.
//
// It does not know what is said on them, and remembers nobody who has gone.
package crowd

import (
	"net"
	"net/netip"
	"slices"
	"sync"
)

// Crowd are connections that are open. It is safe for concurrent use.
type Crowd struct {
	max int

	mu     sync.Mutex
	guests []*guest // the oldest first
}

type guest struct {
	conn net.Conn
	from string
}

// New makes a Crowd of at most max connections.
func New(max int) *Crowd { return &Crowd{max: max} }

// Enter adds a connection; leave is called when it is over. When there are too many, the oldest of the address that has the most
// gives way: it is closed, and returned.
func (c *Crowd) Enter(conn net.Conn) (out net.Conn, leave func()) {
	me := &guest{conn, from(conn)}
	c.mu.Lock()
	c.guests = append(c.guests, me)
	if len(c.guests) > c.max {
		i := c.worst()
		out = c.guests[i].conn
		c.guests = slices.Delete(c.guests, i, i+1)
	}
	c.mu.Unlock()
	if out != nil {
		shut(out)
	}
	return out, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if i := slices.Index(c.guests, me); i >= 0 {
			c.guests = slices.Delete(c.guests, i, i+1)
		}
	}
}

// worst is the place of who gives way.
func (c *Crowd) worst() int {
	count, most := map[string]int{}, ""
	for _, g := range c.guests {
		if count[g.from]++; count[g.from] > count[most] {
			most = g.from
		}
	}
	return slices.IndexFunc(c.guests, func(g *guest) bool { return g.from == most })
}

// shut ends a connection without a word, which might take until somebody reads it.
func shut(conn net.Conn) {
	if t, ok := conn.(interface{ NetConn() net.Conn }); ok {
		conn = t.NetConn()
	}
	conn.Close()
}

// from is what counts as one address: of IPv6 a /64, which is what one host is given.
func from(conn net.Conn) string {
	host := Host(conn)
	ip, err := netip.ParseAddr(host)
	if err != nil || ip.Unmap().Is4() {
		return host
	}
	p, err := ip.WithZone("").Prefix(64)
	if err != nil {
		return host
	}
	return p.String()
}

// Host is the address of who is at the other end, without its port.
func Host(conn net.Conn) string {
	address := conn.RemoteAddr().String()
	if host, _, err := net.SplitHostPort(address); err == nil {
		return host
	}
	return address
}

// Listen lets no more than max connections of l be open at a time.
func Listen(l net.Listener, max int) net.Listener { return &listener{l, New(max)} }

type listener struct {
	net.Listener
	crowd *Crowd
}

// Accept implements net.Listener.
func (l *listener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	_, leave := l.crowd.Enter(conn)
	return &member{Conn: conn, leave: leave}, nil
}

type member struct {
	net.Conn
	leave func()
}

// Close implements net.Conn.
func (m *member) Close() error {
	m.leave()
	return m.Conn.Close()
}
