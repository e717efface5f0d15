package usage_test

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/flexgw/flexgw/reconcile/usage"
)

// cpu is what this process has used.
func cpu(b *testing.B) time.Duration {
	b.Helper()
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		b.Fatal(err)
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// BenchmarkLook is what a look costs after 200 ms at 5,000 requests a second, over 200 APIs: reading, and a transaction that is on the disk.
func BenchmarkLook(b *testing.B) {
	for _, lines := range []int{0, 1000} {
		b.Run(fmt.Sprint(lines), func(b *testing.B) {
			dir := b.TempDir()
			l, err := usage.Open(dir, usage.Options{})
			if err != nil {
				b.Fatal(err)
			}
			defer l.Close()
			g := newGateway(b, dir)
			g.open()
			x := usage.NewTail(dir, l, usage.TailOptions{Reopen: g.reopen})
			defer x.Close()
			var batch []byte
			for i := range lines {
				batch = append(batch, g.line(fmt.Sprintf("default/api-%d", i%200), time.Now())...)
			}
			var used time.Duration
			b.ResetTimer()
			for range b.N {
				b.StopTimer()
				g.write(batch)
				b.StartTimer()
				before := cpu(b)
				if err := x.Look(b.Context()); err != nil {
					b.Fatal(err)
				}
				used += cpu(b) - before
			}
			per := used / time.Duration(b.N)
			b.ReportMetric(float64(per.Nanoseconds()), "cpu-ns/op")
			b.ReportMetric(100*per.Seconds()/usage.Poll.Seconds(), "%core")
		})
	}
}
