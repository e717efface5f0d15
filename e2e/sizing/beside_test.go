package sizing

import (
	"os"
	"slices"
	"testing"
	"time"

	"github.com/flexgw/flexgw/e2e/harness"
)

// BenchmarkBeside asks this checkout's flexgw and another one by turns, four seconds each, and says which share of a core daemon and Envoy took, and
// what came of each share of the other's (the medians of all turns). On a host with other work only the second is worth anything: the first
// moves by a half within the hour. BESIDE is the path of the other command; without it this checkout's is measured beside itself, which shows what is
// noise:
//
//	BESIDE=/tmp/flexgw-before go test -run '^$' -bench Beside -benchtime 20x ./e2e/sizing
func BenchmarkBeside(b *testing.B) {
	for _, c := range []struct{ name, second string }{{"Envoy", ofEnvoy}, {"daemon", ofDaemon}} {
		b.Run(c.name, func(b *testing.B) {
			ours, theirs := newSide(b, "", c.second), newSide(b, os.Getenv("BESIDE"), c.second)
			var daemons, envoys, shares [3][]float64 // ours, theirs, ours of theirs
			turns := 0
			for b.Loop() {
				first, second := ours, theirs
				if turns++; turns%2 == 0 {
					first, second = theirs, ours
				}
				first.turn(b)
				second.turn(b)
				for into, of := range map[*[3][]float64]func(*side) float64{
					&daemons: func(s *side) float64 { return s.daemon },
					&envoys:  func(s *side) float64 { return s.envoy },
					&shares:  func(s *side) float64 { return s.daemon + s.envoy },
				} {
					into[0], into[1], into[2] = append(into[0], of(ours)), append(into[1], of(theirs)), append(into[2], of(ours)/of(theirs))
				}
			}
			for _, x := range []struct {
				name   string
				values [3][]float64
			}{{"daemon", daemons}, {"envoy", envoys}, {"both", shares}} {
				b.ReportMetric(median(x.values[0]), x.name+"-cores")
				b.ReportMetric(median(x.values[2]), x.name+"-of-other")
			}
			b.ReportMetric(0, "ns/op") // it is asked at an even rate
		})
	}
}

// side is one gateway, and what its last turn took of a core.
type side struct {
	d             *harness.Daemon
	port          int
	daemon, envoy float64
}

func newSide(b *testing.B, binary, second string) *side {
	d := harness.NewDaemon(b)
	d.Binary = binary
	s := &side{d: d, port: declare(b, d, second)}
	d.Run()
	d.WaitReady()
	steady(b, s.port, 2*time.Second) // every API once: what the first request makes is made
	return s
}

func (s *side) turn(b *testing.B) {
	pids := []int{s.d.Process.Pid, s.d.EnvoyPID()}
	begun, daemon, envoy := time.Now(), harness.CPU(b, pids[0]), harness.CPU(b, pids[1])
	steady(b, s.port, 4*time.Second)
	seconds := time.Since(begun).Seconds()
	s.daemon, s.envoy = (harness.CPU(b, pids[0])-daemon).Seconds()/seconds, (harness.CPU(b, pids[1])-envoy).Seconds()/seconds
}

func median(of []float64) float64 {
	l := slices.Sorted(slices.Values(of))
	return (l[(len(l)-1)/2] + l[len(l)/2]) / 2
}
