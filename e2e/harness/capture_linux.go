package harness

import (
	"cmp"
	"encoding/binary"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// Call is one thing that somebody on a host sent to somebody, however often.
type Call struct {
	Protocol string // tcp, udp, icmp, or the number of another one
	To       string // HOST:PORT of tcp and udp, HOST of others
}

// Capture counts what goes out over the interfaces of a network, as a packet capture would: whoever sends, and whatever answers. Of
// TCP it sees who is called (the first packet of a connection), of UDP every datagram.
type Capture struct {
	t   testing.TB
	fd  int
	end chan struct{}

	mu    sync.Mutex
	calls map[Call]int // packets
}

// NewCapture listens on one interface, or on all ("") but loopback, of the network of the calling thread until the test ends. It
// takes CAP_NET_RAW, which a process that is Alone has.
func NewCapture(t testing.TB, iface string) *Capture {
	t.Helper()
	index := 0
	if iface != "" {
		i, err := net.InterfaceByName(iface)
		if err != nil {
			t.Fatalf("capture: %v", err)
		}
		index = i.Index
	}
	everything := int(binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, unix.ETH_P_ALL)))
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, everything)
	if err != nil {
		t.Fatalf("capture: %v", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: uint16(everything), Ifindex: index}); err != nil {
		t.Fatalf("capture on %q: %v", iface, err)
	}
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 64<<20) // else the usual; what is lost is told
	c := &Capture{t: t, fd: fd, end: make(chan struct{}), calls: map[Call]int{}}
	loopback, _ := net.InterfaceByName("lo")
	skip := -1
	if iface == "" && loopback != nil {
		skip = loopback.Index
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		c.follow(skip)
	}()
	t.Cleanup(func() { close(c.end); <-ended; unix.Close(fd) })
	return c
}

func (c *Capture) follow(skip int) {
	for {
		select {
		case <-c.end:
			return
		default:
		}
		c.drain(skip)
		_, _ = unix.Poll([]unix.PollFd{{Fd: int32(c.fd), Events: unix.POLLIN}}, 50)
	}
}

// drain reads what has come.
func (c *Capture) drain(skip int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	b := make([]byte, 128)
	for {
		n, from, err := unix.Recvfrom(c.fd, b, unix.MSG_DONTWAIT|unix.MSG_TRUNC)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return
		}
		link, ok := from.(*unix.SockaddrLinklayer)
		if !ok || link.Pkttype != unix.PACKET_OUTGOING || link.Ifindex == skip {
			continue
		}
		if call, ok := read(b[:min(n, len(b))]); ok {
			c.calls[call]++
		}
	}
}

// Calls are those so far, sorted. The test fails when the kernel had to drop packets before they were counted.
func (c *Capture) Calls() []Call {
	c.t.Helper()
	c.drain(-1)
	if s, err := unix.GetsockoptTpacketStats(c.fd, unix.SOL_PACKET, unix.PACKET_STATISTICS); err != nil || s.Drops > 0 {
		c.t.Errorf("the capture is not whole: %+v %v", s, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	var calls []Call
	for call := range c.calls {
		calls = append(calls, call)
	}
	slices.SortFunc(calls, func(a, b Call) int { return cmp.Or(cmp.Compare(a.Protocol, b.Protocol), cmp.Compare(a.To, b.To)) })
	return calls
}

// Reset forgets them.
func (c *Capture) Reset() {
	c.drain(-1)
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.calls)
}

// read says what a packet of IP calls; false: it is part of a connection that was counted when it began, or the kernel's own talk
// with its neighbours, which every interface has.
func read(p []byte) (Call, bool) {
	var protocol byte
	var to netip.Addr
	var rest []byte
	switch {
	case len(p) >= 20 && p[0]>>4 == 4 && len(p) >= int(p[0]&15)*4:
		protocol, to, rest = p[9], netip.AddrFrom4([4]byte(p[16:20])), p[int(p[0]&15)*4:]
	case len(p) >= 40 && p[0]>>4 == 6:
		protocol, to, rest = p[6], netip.AddrFrom16([16]byte(p[24:40])), p[40:]
		if protocol == unix.IPPROTO_HOPOPTS && len(rest) >= 8 { // before a report of multicast listeners
			protocol, rest = rest[0], rest[min(len(rest), 8+int(rest[1])*8):]
		}
	default:
		return Call{}, false // ARP
	}
	port := func() string {
		return net.JoinHostPort(to.String(), strconv.Itoa(int(binary.BigEndian.Uint16(rest[2:]))))
	}
	switch {
	case protocol == unix.IPPROTO_TCP && len(rest) >= 14:
		const syn, ack = 2, 16
		return Call{"tcp", port()}, rest[13]&(syn|ack) == syn
	case protocol == unix.IPPROTO_UDP && len(rest) >= 4:
		return Call{"udp", port()}, true
	case protocol == unix.IPPROTO_ICMPV6 && len(rest) > 0:
		return Call{"icmp", to.String()}, rest[0] < 130 // from there on: neighbours, routers and listeners on the link
	case protocol == unix.IPPROTO_ICMP:
		return Call{"icmp", to.String()}, true
	}
	return Call{strconv.Itoa(int(protocol)), to.String()}, true
}
