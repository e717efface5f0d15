package gate

import (
	"net"
	"sync"
)

// Listen lets in who comes to l, for a server that is not gRPC's: connections are accepted when their handshake is over. They
// speak HTTP/2, without TLS as far as the server sees.
func (g *Gate) Listen(l net.Listener) net.Listener {
	d := &door{Listener: l, creds: creds{g.transport(), g}, in: make(chan net.Conn), closed: make(chan struct{})}
	go d.run()
	return d
}

// door is a listener behind a gate.
type door struct {
	net.Listener
	creds  creds
	in     chan net.Conn
	closed chan struct{}
	once   sync.Once
	err    error // why nobody comes any more; set before closed is
}

func (d *door) run() {
	for {
		raw, err := d.Listener.Accept()
		if err != nil {
			d.once.Do(func() { d.err = err; close(d.closed) })
			return
		}
		go func() {
			conn, _, err := d.creds.ServerHandshake(raw)
			if err != nil {
				raw.Close() // who was refused is told of already
				return
			}
			select {
			case d.in <- conn:
			case <-d.closed:
				conn.Close()
			}
		}()
	}
}

// Accept implements net.Listener.
func (d *door) Accept() (net.Conn, error) {
	select {
	case c := <-d.in:
		return c, nil
	case <-d.closed:
		return nil, d.err
	}
}

// Close implements net.Listener.
func (d *door) Close() error {
	err := d.Listener.Close()
	d.once.Do(func() { d.err = net.ErrClosed; close(d.closed) })
	return err
}
