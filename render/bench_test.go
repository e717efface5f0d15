package render

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/flexgw/flexgw/schema/ir"
)

// BenchmarkCold renders N APIs with three policies each.
func BenchmarkCold(b *testing.B) {
	for _, n := range []int{100, 1_000, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			g := many(n)
			b.ReportAllocs()
			start := cpu(b)
			for b.Loop() {
				if _, l := Render(g, fakes(), Options{Files: "/files"}, nil); len(l) > 0 {
					b.Fatal(l)
				}
			}
			b.ReportMetric(float64((cpu(b)-start).Microseconds())/float64(b.N*n), "cpu-µs/API")
		})
	}
}

// BenchmarkJudge is BenchmarkCold for those who want no resources, but what is wrong.
func BenchmarkJudge(b *testing.B) {
	g := many(1_000)
	b.ReportAllocs()
	start := cpu(b)
	for b.Loop() {
		if _, l := Render(g, fakes(), Options{Files: "/files", Judge: true}, nil); len(l) > 0 {
			b.Fatal(l)
		}
	}
	b.ReportMetric(float64((cpu(b)-start).Microseconds())/float64(b.N*1_000), "cpu-µs/API")
}

// BenchmarkEdit renders N APIs of which one has changed since the last time.
func BenchmarkEdit(b *testing.B) {
	for _, n := range []int{100, 1_000, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			g, m := many(n), &Memo{}
			old, _ := Render(g, fakes(), Options{Files: "/files"}, m)
			i := 0
			b.ReportAllocs()
			start := cpu(b)
			for b.Loop() {
				i++
				edit(g, n/2, fmt.Sprint("edit ", i))
				res, _ := Render(g, fakes(), Options{Files: "/files"}, m)
				if ks := res.Changed(old); len(ks) != 1 {
					b.Fatal(ks)
				}
				old = res
			}
			b.ReportMetric(float64((cpu(b)-start).Microseconds())/float64(b.N), "cpu-µs/edit")
		})
	}
}

// cpu is the time that this process has computed: the machine may be shared, and rendering uses all cores.
func cpu(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// edit replaces API i of a gateway by one with another header.
func edit(g *ir.Gateway, i int, value string) {
	l := *g.Listeners[0]
	l.APIs = append([]*ir.API(nil), l.APIs...)
	a := *l.APIs[i]
	a.Bindings = append([]*ir.Binding{bind("inject", a.Bindings[0].Origin.Object.Name, pair{"x-team", value})}, a.Bindings[1:]...)
	l.APIs[i] = &a
	g.Listeners = []*ir.Listener{&l}
}
