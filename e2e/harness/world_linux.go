package harness

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
	"golang.org/x/sys/unix"
)

// World is what is beyond the only interface of a network that is Alone (Outside): hosts with names, and the name server that knows
// them. Everything that leaves the network arrives there, and stays there.
type World struct {
	t    testing.TB
	jobs chan func()

	mu        sync.Mutex
	addresses map[string]net.IP // by name
	questions map[string]int    // names that were asked for
}

// Outside is the interface to the World.
const Outside = "outside"

// NewWorld makes loopback work in a process that is Alone, and puts a world beside it. It needs ip(8).
func NewWorld(t testing.TB) *World {
	t.Helper()
	w := &World{t: t, jobs: make(chan func()), addresses: map[string]net.IP{}, questions: map[string]int{}}
	ready := make(chan error)
	thread := 0
	go func() {
		runtime.LockOSThread() // for ever: the thread has another network than the process, and ends with it
		thread = unix.Gettid()
		ready <- unix.Unshare(unix.CLONE_NEWNET)
		for job := range w.jobs {
			job()
		}
	}()
	t.Cleanup(func() { close(w.jobs) })
	if err := <-ready; err != nil {
		t.Fatalf("a network for the world: %v", err)
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(ip("link set lo up"))
	must(ip(fmt.Sprintf("link add %s type veth peer name home netns %d", Outside, thread)))
	must(ip("addr add 192.0.2.1/24 dev " + Outside))
	must(w.do(func() error {
		return errors.Join(ip("link set lo up"), ip("addr add 192.0.2.2/24 dev home"), ip("link set home up"))
	}))
	must(ip("link set " + Outside + " up"))
	must(ip("route add default via 192.0.2.2"))
	must(resolver(t.TempDir(), "192.0.2.2"))
	var server net.PacketConn
	must(w.do(func() (err error) {
		server, err = net.ListenPacket("udp", "192.0.2.2:53")
		return err
	}))
	t.Cleanup(func() { server.Close() })
	go w.answer(server)
	return w
}

func ip(args string) error {
	out, err := exec.Command("ip", strings.Fields(args)...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("ip %s: %w %s", args, err, out)
	}
	return nil
}

// do runs f where the world's network is.
func (w *World) do(f func() error) (err error) {
	done := make(chan struct{})
	w.jobs <- func() { err = f(); close(done) }
	<-done
	return err
}

// Host gives a name an address of its own.
func (w *World) Host(name string) (address string) {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	if have, ok := w.addresses[name]; ok {
		return have.String()
	}
	a := net.IPv4(198, 51, 100, byte(len(w.addresses)+1))
	if err := w.do(func() error { return ip("addr add " + a.String() + "/32 dev lo") }); err != nil {
		w.t.Fatal(err)
	}
	w.addresses[name] = a
	return a.String()
}

// Listen is a port of a host. It is closed when the test ends.
func (w *World) Listen(name, port string) (l net.Listener) {
	w.t.Helper()
	at := net.JoinHostPort(w.Host(name), port)
	if err := w.do(func() (err error) { l, err = net.Listen("tcp", at); return err }); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { l.Close() })
	return l
}

// Dial connects from the world, as a proxy in it does.
func (w *World) Dial(address string) (c net.Conn, err error) {
	err = w.do(func() error { c, err = net.Dial("tcp", address); return err })
	return c, err
}

// Questions are the names that the name server was asked for, sorted, without repetition.
func (w *World) Questions() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var names []string
	for n := range w.questions {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}

// Reset forgets them.
func (w *World) Reset() {
	w.mu.Lock()
	defer w.mu.Unlock()
	clear(w.questions)
}

// answer is a name server: it knows the names of Host.
func (w *World) answer(server net.PacketConn) {
	b := make([]byte, 1500)
	for {
		n, from, err := server.ReadFrom(b)
		if err != nil {
			return
		}
		var m dnsmessage.Message
		if m.Unpack(b[:n]) != nil || len(m.Questions) != 1 {
			continue
		}
		q := m.Questions[0]
		name := strings.TrimSuffix(strings.ToLower(q.Name.String()), ".")
		w.mu.Lock()
		w.questions[name]++
		address, known := w.addresses[name]
		w.mu.Unlock()
		m = dnsmessage.Message{Header: dnsmessage.Header{ID: m.ID, Response: true, RecursionDesired: m.RecursionDesired, RecursionAvailable: true}, Questions: m.Questions}
		switch {
		case !known:
			m.RCode = dnsmessage.RCodeNameError
		case q.Type == dnsmessage.TypeA:
			m.Answers = []dnsmessage.Resource{{Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class, TTL: 1}, Body: &dnsmessage.AResource{A: [4]byte(address.To4())}}}
		}
		if reply, err := m.Pack(); err == nil {
			_, _ = server.WriteTo(reply, from)
		}
	}
}

// resolver makes the name server at an address the only one of a process that is Alone. It writes into dir.
func resolver(dir, address string) error {
	conf := filepath.Join(dir, "resolv.conf")
	if err := os.WriteFile(conf, []byte("nameserver "+address+"\n"), 0o644); err != nil {
		return err
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return err
	}
	real, err := filepath.EvalSymlinks("/etc/resolv.conf")
	if err != nil {
		return err
	}
	return unix.Mount(conf, real, "", unix.MS_BIND, "")
}
