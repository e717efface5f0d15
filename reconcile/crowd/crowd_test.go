package crowd_test

import (
	"net"
	"slices"
	"testing"

	"github.com/flexgw/flexgw/reconcile/crowd"
)

// conn is a connection from an address.
type conn struct {
	net.Conn
	from   string
	closed bool
}

func (c *conn) RemoteAddr() net.Addr { return address(c.from) }
func (c *conn) Close() error         { c.closed = true; return nil }

type address string

func (address) Network() string  { return "tcp" }
func (a address) String() string { return string(a) }

func TestWhoGivesWay(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		what string
		come []string
		want []int // who was closed
	}{
		{"nobody, while there is room", []string{"192.0.2.1:1", "192.0.2.1:2", "192.0.2.1:3"}, nil},
		{"the oldest of who has the most", []string{"192.0.2.2:1", "192.0.2.1:1", "192.0.2.1:2", "192.0.2.3:1"}, []int{1}},
		{"who came last, never another who has fewer", []string{"192.0.2.2:1", "192.0.2.1:1", "192.0.2.1:2", "192.0.2.1:3", "192.0.2.1:4"}, []int{1, 2}},
		{"one of a /64", []string{"192.0.2.2:1", "[2001:db8::1]:1", "[2001:db8::2]:1", "192.0.2.3:1"}, []int{1}},
		{"one of a /64 of a link", []string{"192.0.2.2:1", "[fe80::1%eth0]:1", "[fe80::2%eth0]:1", "192.0.2.3:1"}, []int{1}},
		{"two of IPv4 are not one", []string{"[::ffff:192.0.2.1]:1", "[::ffff:192.0.2.2]:1", "[2001:db8::1]:1", "[2001:db8::1]:2"}, []int{2}},
		{"one of a socket", []string{"@", "@", "@", "192.0.2.3:1"}, []int{0}},
	} {
		crowd := crowd.New(3)
		var all []*conn
		for _, from := range c.come {
			all = append(all, &conn{from: from})
			crowd.Enter(all[len(all)-1])
		}
		var got []int
		for i, x := range all {
			if x.closed {
				got = append(got, i)
			}
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %v were closed, want %v", c.what, got, c.want)
		}
	}
}

func TestWhoLeavesMakesRoom(t *testing.T) {
	t.Parallel()
	room := crowd.New(1)
	one, two := &conn{from: "192.0.2.1:1"}, &conn{from: "192.0.2.1:2"}
	_, leave := room.Enter(one)
	leave()
	leave()
	if out, _ := room.Enter(two); out != nil || one.closed {
		t.Errorf("%v gave way", out)
	}
	if out, _ := room.Enter(one); out != net.Conn(two) || !two.closed {
		t.Errorf("%v gave way, and not who came first", out)
	}
}
