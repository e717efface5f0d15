// Package ports finds ports of loopback for tests that must name one before anybody listens on it.
//
// It listens on none itself: a test that can hold a listener open needs no package for that.
package ports

import (
	"fmt"
	"math/rand/v2"
	"net"
	"runtime"
	"strconv"
	"testing"
	"time"
)

// Kernels give ports from 32768 on to whoever connects, or listens on any port: a port from there that is let go may be somebody else's a
// moment later.
const first, last = 10000, 32767

// Free is a port that nobody listens on. Nobody who asks for any port gets it, and until the test ends no other test, of whichever process,
// gets it from here.
func Free(t testing.TB) int {
	t.Helper()
	for range 10_000 {
		port := first + rand.IntN(last-first+1)
		if free(t, port) {
			return port
		}
	}
	t.Fatalf("no port from %d to %d is free", first, last)
	return 0
}

// Addr is 127.0.0.1:PORT of a Free port.
func Addr(t testing.TB) string {
	t.Helper()
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(Free(t)))
}

// free claims a port by a name that stands for it until the test ends. The name is seen by those who see the port (it belongs to the network),
// and is gone with the process, however that ends.
func free(t testing.TB, port int) bool {
	if runtime.GOOS == "linux" { // others have no such names: there chance has to do
		name, err := net.Listen("unix", fmt.Sprintf("@flexgw-test-port-%d", port))
		if err != nil {
			return false
		}
		t.Cleanup(func() { name.Close() })
	}
	l, err := net.Listen("tcp", ":"+strconv.Itoa(port)) // on every address: somebody may have it on one of them
	if err != nil {
		return false
	}
	l.Close()
	return true
}

// patience is what only a server takes that never comes.
const patience = 2 * time.Minute

// Wait waits until somebody listens at an address.
func Wait(t testing.TB, address string) {
	t.Helper()
	for late := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		c, err := net.Dial("tcp", address)
		if err == nil {
			c.Close()
			return
		}
		if time.Now().After(late) {
			t.Fatalf("nobody listens after %s: %v", patience, err)
		}
	}
}
