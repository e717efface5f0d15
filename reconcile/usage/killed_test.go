package usage_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/flexgw/flexgw/reconcile/usage"
)

// counterDir names the folder in the environment of a process that counts until it is killed.
const counterDir = "FLEXGW_TEST_COUNT_IN"

// TestCountUntilKilled is what the process does that TestKilledCounters starts.
func TestCountUntilKilled(t *testing.T) {
	dir := os.Getenv(counterDir)
	if dir == "" {
		t.Skip("it is started by TestKilledCounters")
	}
	l, err := usage.Open(dir, usage.Options{})
	must(t, err)
	must(t, l.SetIdentity(us))
	x := usage.NewTail(dir, l, usage.TailOptions{TurnBytes: 32 << 10, Reopen: func(context.Context) error {
		c, err := net.Dial("unix", filepath.Join(dir, "reopen"))
		if err != nil {
			return err
		}
		defer c.Close()
		_, err = c.Read(make([]byte, 1))
		return err
	}})
	fmt.Println("counting")
	for i := 0; ; i++ {
		must(t, x.Look(t.Context()))
		if i%5 == 0 {
			must(t, l.Seal(time.Now()))
		}
		if b, ok := l.Next(); ok && i%3 == 0 {
			must(t, l.Ack(b.Seq))
		}
	}
}

// TestKilledCounters kills a process that counts 200 times while lines are written and files are turned, and wants each line counted once.
func TestKilledCounters(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("it starts 200 processes")
	}
	dir, err := os.MkdirTemp("/tmp", "count") // the path of a socket is short
	must(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	g := newGateway(t, dir)
	g.open()
	asks, stop := make(chan net.Conn), make(chan struct{})
	socket, err := net.Listen("unix", filepath.Join(dir, "reopen"))
	must(t, err)
	defer socket.Close()
	go func() {
		for {
			c, err := socket.Accept()
			if err != nil {
				return
			}
			asks <- c
		}
	}()
	written := make(chan struct{})
	go func() { // Envoy: it writes, and opens its log anew when it is told to
		defer close(written)
		r := rand.New(rand.NewPCG(1, 1))
		for {
			select {
			case <-stop:
				return
			case c := <-asks:
				g.open()
				_, _ = c.Write([]byte("x"))
				_ = c.Close()
			case <-time.After(time.Millisecond):
				var b []byte
				for range 1 + r.IntN(20) {
					b = append(b, g.line(fmt.Sprintf("ns/api-%d", r.IntN(5)), time.Now())...)
				}
				cut := r.IntN(len(b))
				g.write(b[:cut])
				g.write(b[cut:])
			}
		}
	}()
	r := rand.New(rand.NewPCG(2, 2))
	for range 200 {
		countUntil(t, dir, time.Duration(r.IntN(12_000))*time.Microsecond)
	}
	l, err := usage.Open(dir, usage.Options{})
	must(t, err)
	for more := 0; l.Position().Turn < 10 && more < 100; more++ { // on a busy host they got to little
		must(t, l.Close())
		countUntil(t, dir, 200*time.Millisecond)
		l, err = usage.Open(dir, usage.Options{})
		must(t, err)
	}
	close(stop)
	<-written
	defer func() { _ = l.Close() }()
	x := usage.NewTail(dir, l, usage.TailOptions{Reopen: g.reopen})
	for range 3 {
		look(t, x)
	}
	same(t, l, g)
	if s := l.State(); len(s.Alarms) > 0 || x.Read().Replaced > 0 {
		t.Errorf("got %+v", s)
	}
	t.Logf("%d lines in %d files, 200 kills, %d batches", g.n, l.Position().Turn, l.State().LastSeq)
	if l.Position().Turn < 10 {
		t.Error("few files were turned")
	}
}

// countUntil runs a process that counts, and kills it a while after it has begun.
func countUntil(t *testing.T, dir string, while time.Duration) {
	t.Helper()
	c := exec.Command(os.Args[0], "-test.run=^TestCountUntilKilled$")
	c.Env = append(os.Environ(), counterDir+"="+dir)
	out, err := c.StdoutPipe()
	must(t, err)
	must(t, c.Start())
	said := bufio.NewReader(out)
	line, err := said.ReadString('\n')
	if err != nil || line != "counting\n" {
		rest, _ := io.ReadAll(said)
		t.Fatalf("%v: %s%s", err, line, rest)
	}
	time.Sleep(while)
	_ = c.Process.Kill()
	rest, _ := io.ReadAll(said)
	if err := c.Wait(); err == nil || len(rest) > 0 {
		t.Fatalf("%v: %s", err, rest)
	}
}
