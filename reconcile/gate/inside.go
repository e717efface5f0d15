package gate

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"maps"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/flexgw/flexgw/reconcile/crowd"
)

// Anybody may begin a handshake: there are so many at a time, for so long.
const (
	maxHandshakes = 256
	handshakeFor  = 5 * time.Second
)

// enter begins a handshake; leave is called at its end.
func (g *Gate) enter(raw net.Conn) (leave func()) {
	out, leave := g.waiting.Enter(raw)
	if out != nil {
		g.note(&g.strangers, Refusal{Address: crowd.Host(out), Reason: TooMany, Message: fmt.Sprintf("it has the most of %d handshakes that were open at a time; its oldest was ended", maxHandshakes)})
	}
	return leave
}

// inside is a connection that was let in. It ends with the certificate that was shown, or when that is of no authority any more.
type inside struct {
	net.Conn
	gate  *Gate
	peer  Peer
	chain []*x509.Certificate // its own first
	end   time.Time           // after it, the chain is judged again
	age   int                 // the authorities by which it was judged; 0: not known
	timer *time.Timer
	once  sync.Once
}

// admit looks after a connection from now on.
func (g *Gate) admit(conn net.Conn, p Peer, state tls.ConnectionState) net.Conn {
	c := &inside{Conn: conn, gate: g, peer: p, chain: state.PeerCertificates}
	for _, chain := range state.VerifiedChains {
		end := chain[0].NotAfter
		for _, x := range chain[1:] {
			if x.NotAfter.Before(end) {
				end = x.NotAfter
			}
		}
		if end.After(c.end) {
			c.end = end
		}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.inside[c] = struct{}{}
	// The clock may be set, and stands still while the host sleeps: review looks too.
	c.timer = time.AfterFunc(c.end.Sub(g.o.Now())+time.Millisecond, func() { g.judge(c) })
	return c
}

// Close implements net.Conn.
func (c *inside) Close() error {
	c.once.Do(func() {
		c.gate.mu.Lock()
		delete(c.gate.inside, c)
		c.timer.Stop()
		c.gate.mu.Unlock()
	})
	return c.Conn.Close()
}

// review judges those again who are inside, if there is a reason.
func (g *Gate) review() {
	now := g.o.Now()
	g.mu.Lock()
	all := slices.Collect(maps.Keys(g.inside))
	all = slices.DeleteFunc(all, func(c *inside) bool { return c.age == g.age && !now.After(c.end) })
	g.mu.Unlock()
	for _, c := range all {
		g.judge(c)
	}
}

// judge ends a connection whose certificate is no longer right, and tells of it.
func (g *Gate) judge(c *inside) {
	g.mu.Lock()
	roots, age := g.trusted, g.age
	_, here := g.inside[c]
	g.mu.Unlock()
	if !here {
		return
	}
	o := x509.VerifyOptions{Roots: roots, Intermediates: x509.NewCertPool(), CurrentTime: g.o.Now(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	for _, x := range c.chain[1:] {
		o.Intermediates.AddCert(x)
	}
	_, err := c.chain[0].Verify(o)
	if err == nil {
		g.mu.Lock()
		c.age = age
		g.mu.Unlock()
		return
	}
	r := g.unverified(&tls.CertificateVerificationError{UnverifiedCertificates: c.chain, Err: err})
	c.Close()
	g.Refuse(c.peer, r.Reason, "its connection was ended: "+r.Message)
}
