package preflight_test

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/flexgw/flexgw/reconcile/preflight"
)

// shell runs a script in the network namespace of the thread.
func shell(t *testing.T, script string) string {
	t.Helper()
	out, err := exec.Command("/bin/sh", "-ec", "PATH=$PATH:/usr/sbin:/sbin\n"+script).CombinedOutput()
	if err != nil {
		t.Fatalf("%s\n%v\n%s", script, err, out)
	}
	return string(out)
}

// outside is somebody else's host: a thread in a network namespace of its own, that does what it is told.
type outside chan func()

func newOutside(t *testing.T) (outside, int) {
	t.Helper()
	o, tid := make(outside), make(chan int)
	go func() {
		runtime.LockOSThread() // for good: the thread ends with the goroutine
		if err := syscall.Unshare(syscall.CLONE_NEWNET); err != nil {
			t.Errorf("a network namespace: %v", err)
		}
		tid <- syscall.Gettid()
		for f := range o {
			f()
		}
	}()
	t.Cleanup(func() { close(o) })
	return o, <-tid
}

func (o outside) do(f func()) {
	done := make(chan struct{})
	o <- func() { defer close(done); f() }
	<-done
}

// serve takes connections at an address of the thread's namespace until the test ends, and answers each with a byte.
func serve(t *testing.T, network, addr string) {
	t.Helper()
	if network == "udp" {
		c, err := net.ListenPacket(network, addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		go func() {
			for b := make([]byte, 1); ; {
				_, from, err := c.ReadFrom(b)
				if err != nil {
					return
				}
				_, _ = c.WriteTo(b, from)
			}
		}()
		return
	}
	l, err := net.Listen(network, addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go accept(l, func(c net.Conn) { _, _ = c.Write([]byte{1}) })
}

// answered reports whether somebody answers within a time.
func answered(network, addr string, within time.Duration) bool {
	for end := time.Now().Add(within); time.Now().Before(end); {
		c, err := net.DialTimeout(network, addr, time.Until(end))
		if err != nil {
			continue
		}
		_ = c.SetDeadline(time.Now().Add(min(within, time.Second))) // a datagram may be lost
		_, _ = c.Write([]byte{1})
		n, _ := c.Read(make([]byte, 1))
		if c.Close(); n == 1 {
			return true
		}
	}
	return false
}

// TestRulesLetThrough: on a host that drops by default, nothing goes through until the rules are led to as their head says, and then
// what a gateway needs does, and nothing else: with the kernel's own filter and real packets, in a network namespace.
func TestRulesLetThrough(t *testing.T) {
	const variable = "FLEXGW_TEST_NETNS"
	if os.Getenv(variable) == "" {
		t.Parallel()
		cmd := exec.Command(tool(t, "unshare"), "--user", "--map-root-user", "--net", os.Args[0], "-test.run", "^TestRulesLetThrough$", "-test.v")
		cmd.Env = append(os.Environ(), variable+"=1")
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.Contains(string(out), "--- PASS: TestRulesLetThrough/ip6tables") {
			t.Fatalf("%v\n%s", err, out)
		}
		return
	}
	for _, name := range []string{"nft", "iptables-restore", "ip6tables-restore", "ip"} {
		if !isFile(filepath.Join("/usr/sbin", name)) {
			t.Fatalf("%s is missing: .ci/run names its package", name)
		}
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	peer, tid := newOutside(t)
	shell(t, fmt.Sprintf(`ip link set lo up
ip link add here type veth peer name there
ip link set there netns %d
ip link set here up
ip addr add 192.0.2.7/24 dev here
ip addr add 2001:db8::7/64 dev here nodad`, tid))
	peer.do(func() {
		shell(t, `ip link set there up
for n in 1 2 53 99; do ip addr add 192.0.2.$n/24 dev there; done
ip addr add 2001:db8::1/64 dev there nodad`)
		for _, addr := range []string{"192.0.2.1:443", "192.0.2.2:443", "192.0.2.99:443", "192.0.2.53:53", "[2001:db8::1]:443"} {
			serve(t, "tcp", addr)
		}
		serve(t, "udp", "192.0.2.53:53")
	})
	for _, addr := range []string{"0.0.0.0:8081", "0.0.0.0:9999", "127.0.0.1:9000", "[2001:db8::7]:8444"} {
		serve(t, "tcp", addr)
	}

	o := preflight.Options{Registration: preflight.Registration{Platform: "platform.example:443", Usage: "usage.example:443"},
		Declared: []preflight.Declared{declared("0.0.0.0:8081"), declared("[2001:db8::7]:8444")}}
	found := map[string][]netip.Addr{"platform.example:443": addrs("192.0.2.1"), "usage.example:443": addrs("192.0.2.2", "2001:db8::1")}
	rules := func(t *testing.T, format string) (file string, lead string) {
		t.Helper()
		text := preflight.Firewall(format, o, found, addrs("192.0.2.53"))
		for line := range strings.Lines(text) {
			if command, ok := strings.CutPrefix(line, "#   "+format+" "); ok {
				lead += format + " " + command
			}
		}
		file = filepath.Join(t.TempDir(), "rules")
		write(t, file, text)
		return file, lead
	}
	four := []string{"out tcp 192.0.2.1:443", "out tcp 192.0.2.2:443", "out udp 192.0.2.53:53", "out tcp 192.0.2.53:53", "out tcp 127.0.0.1:9000", "in tcp 192.0.2.7:8081"}
	six := []string{"out tcp [2001:db8::1]:443", "in tcp [2001:db8::7]:8444"}
	judge := func(t *testing.T, when string, through bool, list ...string) {
		t.Helper()
		within := 200 * time.Millisecond
		if through {
			within = time.Minute
		}
		for _, x := range list {
			f := strings.Fields(x)
			var got bool
			if f[0] == "in" {
				peer.do(func() { got = answered(f[1], f[2], within) })
			} else {
				got = answered(f[1], f[2], within)
			}
			if got != through {
				t.Errorf("%s: %s goes through: %v", when, x, got)
			}
		}
	}
	others := []string{"out tcp 192.0.2.99:443", "in tcp 192.0.2.7:9999"}
	all := append(append([]string{}, four...), six...)
	judge(t, "without a firewall", true, append(others, all...)...)

	const host = `table inet filter {
chain input { type filter hook input priority 0; policy drop; %s}
chain output { type filter hook output priority 0; policy drop; %s}
}
`
	t.Run("nft", func(t *testing.T) {
		defer shell(t, "nft flush ruleset")
		file, lead := rules(t, "nft")
		shell(t, "nft -f - <<'END'\n"+fmt.Sprintf(host, "", "")+"END\nip -6 neigh flush all")
		judge(t, "the host drops", false, all...)
		shell(t, "nft -c -f "+file+"\nnft -f "+file)
		judge(t, "loaded, and not led to", false, all...)
		shell(t, lead)
		judge(t, "led to", true, all...)
		judge(t, "led to", false, others...)
		once := shell(t, "nft list ruleset")
		if again := shell(t, "nft -f "+file+"\nnft list ruleset"); again != once {
			t.Errorf("loaded again:\n%s\nbefore:\n%s", again, once)
		}
	})
	t.Run("nft, from the file of the host", func(t *testing.T) {
		defer shell(t, "nft flush ruleset")
		file, _ := rules(t, "nft")
		conf := filepath.Join(t.TempDir(), "nftables.conf")
		write(t, conf, "flush ruleset\ninclude \""+file+"\"\n"+fmt.Sprintf(host, "jump flexgw_in; ", "jump flexgw_out; "))
		shell(t, "nft -f "+conf+"\nnft -f "+conf)
		judge(t, "led to", true, all...)
		judge(t, "led to", false, others...)
	})
	t.Run("iptables", func(t *testing.T) {
		file, lead := rules(t, "iptables")
		shell(t, "iptables -P INPUT DROP\niptables -P OUTPUT DROP")
		judge(t, "the host drops", false, four...)
		shell(t, "iptables-restore --test "+file+"\niptables-restore --noflush "+file)
		judge(t, "loaded, and not led to", false, four...)
		shell(t, lead)
		judge(t, "led to", true, four...)
		judge(t, "led to", false, others...)
		once := shell(t, "iptables -S")
		if again := shell(t, "iptables-restore --noflush "+file+"\niptables -S"); again != once {
			t.Errorf("loaded again:\n%s\nbefore:\n%s", again, once)
		}
	})
	t.Run("ip6tables", func(t *testing.T) {
		file, lead := rules(t, "ip6tables")
		shell(t, "ip6tables -P INPUT DROP\nip6tables -P OUTPUT DROP\nip -6 neigh flush all")
		judge(t, "the host drops", false, six...)
		shell(t, "ip6tables-restore --test "+file+"\nip6tables-restore --noflush "+file)
		judge(t, "loaded, and not led to", false, six...)
		shell(t, lead)
		judge(t, "led to", true, six...)
		judge(t, "led to", false, "in tcp [2001:db8::7]:9999")
	})
}
