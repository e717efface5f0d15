package cli

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/flexgw/flexgw/e2e/workload"
	"github.com/flexgw/flexgw/render"
	"github.com/flexgw/flexgw/render/policy/all"
	"github.com/flexgw/flexgw/schema"
	"github.com/flexgw/flexgw/schema/source"
	"github.com/flexgw/flexgw/schema/syntax"
)

var sizes = []int{100, 1_000, 10_000}

func benchEnv() Env {
	return Env{Getenv: func(string) (string, bool) { return "", false }}
}

// BenchmarkStages reports what each stage costs for N inline APIs with three policies each, in one file, from cold.
func BenchmarkStages(b *testing.B) {
	for _, n := range sizes {
		set := source.NewSet([]source.File{source.NewFile("apis.yaml", workload.File(n, workload.Options{Seed: 1}))})
		b.Run(fmt.Sprintf("parse/%d", n), func(b *testing.B) {
			perAPI(b, n, func() {
				if _, l := syntax.Parse(set); l.HasErrors() {
					b.Fatal(l.Err())
				}
			})
		})
		b.Run(fmt.Sprintf("load/%d", n), func(b *testing.B) {
			perAPI(b, n, func() {
				o := newPipeline(benchEnv()).load
				if g, l := schema.Load(set, o); g == nil {
					b.Fatal(l.Err())
				}
			})
		})
		b.Run(fmt.Sprintf("render/%d", n), func(b *testing.B) {
			p := newPipeline(benchEnv())
			g, l := p.model(set)
			if g == nil {
				b.Fatal(l.Err())
			}
			bytes := 0
			perAPI(b, n, func() {
				r, l := render.Render(g, all.Catalog{}, p.render, nil)
				if r == nil {
					b.Fatal(l.Err())
				}
				bytes = 0
				for _, t := range []string{render.ListenerType, render.ClusterType, render.ScopeType, render.SecretType} {
					r.Each(t, func(res *render.Resource) { bytes += len(res.Any.GetValue()) })
				}
			})
			b.ReportMetric(float64(bytes)/float64(n), "wire-B/api")
		})
		b.Run(fmt.Sprintf("validate/%d", n), func(b *testing.B) {
			perAPI(b, n, func() {
				if _, r, l := newPipeline(benchEnv()).build(set); r == nil {
					b.Fatal(l.Err())
				}
			})
		})
	}
}

// perAPI runs f and reports time per API and the largest heap in use, looked at from aside.
func perAPI(b *testing.B, n int, f func()) {
	b.ReportAllocs()
	runtime.GC()
	stop, peak := make(chan struct{}), make(chan uint64)
	go func() {
		var m runtime.MemStats
		most := uint64(0)
		for {
			select {
			case <-stop:
				peak <- most
				return
			case <-time.After(5 * time.Millisecond):
				runtime.ReadMemStats(&m)
				most = max(most, m.HeapInuse)
			}
		}
	}()
	start := time.Now()
	runs := 0
	for b.Loop() {
		f()
		runs++
	}
	took := time.Since(start)
	close(stop)
	b.ReportMetric(float64(took.Microseconds())/float64(runs*n), "us/api")
	b.ReportMetric(float64(<-peak)/(1<<20), "peak-MiB")
}

// BenchmarkOneChange reports what one changed API of N costs from its new bytes to the changed resources.
func BenchmarkOneChange(b *testing.B) {
	for _, n := range sizes {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			files := make([]source.File, n)
			for i := range n {
				files[i] = source.NewFile(workload.Name(i)+".yaml", []byte(workload.API(i, "1", workload.Options{Seed: 1})))
			}
			p := newPipeline(benchEnv())
			_, before, l := p.build(source.NewSet(files))
			if before == nil {
				b.Fatal(l.Err())
			}
			b.ReportAllocs()
			changed, edit := 0, 0
			for b.Loop() {
				edit++
				i := edit * 7919 % n
				files[i] = source.NewFile(files[i].Name, []byte(workload.API(i, fmt.Sprint("v", edit), workload.Options{Seed: 1})))
				_, after, l := p.build(source.NewSet(files))
				if after == nil {
					b.Fatal(l.Err())
				}
				changed = max(changed, len(after.Changed(before)))
				before = after
			}
			b.ReportMetric(float64(changed), "resources")
		})
	}
}
