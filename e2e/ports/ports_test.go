package ports

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
)

// Processes that ask at the same time get different ports, each of which can be listened on.
func TestFreeOverProcesses(t *testing.T) {
	const child = "FLEXGW_TEST_PORTS"
	if os.Getenv(child) != "" {
		for range 300 {
			fmt.Println("port", Free(t))
		}
		fmt.Println("all")
		_, _ = os.Stdin.Read(make([]byte, 1)) // they are taken until the others have theirs
		return
	}
	if runtime.GOOS != "linux" {
		t.Skip("there chance has to do")
	}
	seen := map[string]bool{}
	for range 3 {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run", "^"+t.Name()+"$")
		cmd.Env = append(os.Environ(), child+"=1")
		in, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { in.Close(); _ = cmd.Wait() })
		for {
			var what, port string
			if n, err := fmt.Fscanln(out, &what, &port); n == 0 {
				t.Fatal(err)
			}
			if what == "all" {
				break
			}
			if seen[port] {
				t.Errorf("port %s was given twice", port)
			}
			seen[port] = true
		}
	}
	if len(seen) != 900 {
		t.Errorf("%d ports", len(seen))
	}
}

// Whoever asks the kernel for any port gets none that was given here.
func TestFreeIsNotAnyPort(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("other systems have other limits")
	}
	b, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range")
	if err != nil {
		t.Fatal(err)
	}
	var from, to int
	if _, err := fmt.Sscan(string(b), &from, &to); err != nil {
		t.Fatal(err)
	}
	if from <= last {
		t.Skipf("this host gives any port from %s", strings.TrimSpace(string(b)))
	}
	port := Free(t)
	if port >= from {
		t.Errorf("port %d is one of %d to %d", port, from, to)
	}
	l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
}
