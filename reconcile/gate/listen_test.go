package gate_test

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// scarce is a listener on a host that has no descriptor free for a while.
type scarce struct {
	net.Listener
	left   atomic.Int32 // how often Accept fails yet
	asked  atomic.Int32
	closed atomic.Bool
}

func (s *scarce) Accept() (net.Conn, error) {
	s.asked.Add(1)
	if s.left.Add(-1) >= 0 {
		return nil, &net.OpError{Op: "accept", Net: "tcp", Err: os.NewSyscallError("accept4", syscall.EMFILE)}
	}
	return s.Listener.Accept()
}

func (s *scarce) Close() error {
	s.closed.Store(true)
	return s.Listener.Close()
}

func listen(t *testing.T, fails int32) (*scarce, *door, net.Listener) {
	t.Helper()
	raw, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &scarce{Listener: raw}
	s.left.Store(fails)
	d := newDoor(t)
	in := d.gate.Listen(s)
	t.Cleanup(func() { in.Close() })
	return s, d, in
}

// An Accept that fails shuts the door for a moment, and not for ever.
func TestAcceptFailsForAWhile(t *testing.T) {
	t.Parallel()
	begun := time.Now()
	s, d, in := listen(t, 6)
	come := make(chan error, 1)
	go func() {
		c, err := in.Accept()
		if err == nil {
			c.Close()
		}
		come <- err
	}()
	conf := d.authority.Client(d.authority.Issue(time.Hour, "edge"))
	conf.NextProtos = []string{"h2"}
	dialer := tls.Dialer{Config: conf}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	c, err := dialer.DialContext(ctx, "tcp", s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	select {
	case err := <-come:
		if err != nil {
			t.Error(err)
		}
	case <-ctx.Done():
		t.Fatal("nobody was let in")
	}
	if took := time.Since(begun); took < 315*time.Millisecond { // 5, 10, 20, 40, 80 and 160 ms
		t.Errorf("six failures took %s", took)
	}
	if n := strings.Count(d.log.String(), "nobody can connect for now"); n != 1 {
		t.Errorf("told %d times:\n%s", n, d.log.String())
	}
}

// A door ends with its listener, or when it is closed, even while it waits.
func TestDoorEnds(t *testing.T) {
	t.Parallel()
	s, _, in := listen(t, 0)
	s.Listener.Close() // behind its back
	if _, err := in.Accept(); !errors.Is(err, net.ErrClosed) || !s.closed.Load() {
		t.Errorf("%v, closed %t", err, s.closed.Load())
	}
	d := newDoor(t)
	synctest.Test(t, func(t *testing.T) {
		s := &scarce{Listener: nowhere{}}
		s.left.Store(1 << 30)
		in := d.gate.Listen(s)
		time.Sleep(time.Minute + 100*time.Millisecond) // it waits, and not for a moment
		synctest.Wait()
		in.Close()
		if _, err := in.Accept(); !errors.Is(err, net.ErrClosed) || !s.closed.Load() {
			t.Errorf("%v, closed %t", err, s.closed.Load())
		}
		n := s.asked.Load()
		time.Sleep(time.Hour)
		if now := s.asked.Load(); n < 60 || now > n {
			t.Errorf("it asked %d times, and %d more after it was closed", n, now-n)
		}
	})
}

// nowhere is a listener that nobody reaches.
type nowhere struct{ net.Listener }

func (nowhere) Addr() net.Addr { return &net.TCPAddr{} }
func (nowhere) Close() error   { return nil }
