package gate

import (
	"errors"
	"net"
	"sync"
	"time"
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
}

// The pauses after an Accept that failed, from the first to the longest.
const (
	firstPause   = 5 * time.Millisecond
	longestPause = time.Second
)

// run lets in whoever comes, until the listener is closed. Another error, such as that no descriptor is free, goes by.
func (d *door) run() {
	var pause time.Duration
	for {
		raw, err := d.Listener.Accept()
		switch {
		case errors.Is(err, net.ErrClosed):
			d.Close()
			return
		case err != nil:
			if pause == 0 {
				d.creds.gate.o.Log.Error("nobody can connect for now; it is tried again", "address", d.Addr().String(), "error", err)
			}
			pause = min(max(2*pause, firstPause), longestPause)
			select {
			case <-time.After(pause):
				continue
			case <-d.closed:
				return
			}
		}
		pause = 0
		go d.admit(raw)
	}
}

func (d *door) admit(raw net.Conn) {
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
}

// Accept implements net.Listener.
func (d *door) Accept() (net.Conn, error) {
	select {
	case c := <-d.in:
		return c, nil
	case <-d.closed:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (d *door) Close() error {
	err := d.Listener.Close()
	d.once.Do(func() { close(d.closed) })
	return err
}
