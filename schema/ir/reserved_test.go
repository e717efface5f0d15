package ir_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/flexgw/flexgw/schema/ir"
)

// The rows of the reference, release by release: who reserves what.
func TestReservedPortsAreThoseOfTheReference(t *testing.T) {
	t.Parallel()
	var rows = []struct {
		first, last int
		ports       []uint16
	}{{0, 6, []uint16{4000, 9999, 15000, 15100}}, {7, 10, []uint16{9998}}, {11, 14, []uint16{9998, 9999}}}
	for _, x := range rows {
		for minor := x.first; minor <= x.last; minor++ {
			for _, patch := range []string{"", ".7"} {
				r, err := ir.ParseRelease(fmt.Sprintf("1.%d%s", minor, patch))
				if err != nil {
					t.Fatal(err)
				}
				for _, p := range ir.ReservedPorts() {
					if got, want := p.Listed(r), slices.Contains(x.ports, p.Port); got != want {
						t.Errorf("port %d, release %v: listed %v, want %v", p.Port, r, got, want)
					}
					if got, want := p.Refused(r), slices.Contains(x.ports, p.Port) && (p.Port != 9999 || minor < 7); got != want {
						t.Errorf("port %d, release %v: refused %v, want %v", p.Port, r, got, want)
					}
				}
			}
		}
		for _, port := range x.ports {
			if _, ok := ir.ReservedPortAt(port); !ok {
				t.Errorf("port %d is not known", port)
			}
		}
	}
	if _, ok := ir.ReservedPortAt(8081); ok {
		t.Error("8081 is nobody's")
	}
	newest := ir.Release{}
	for port, want := range map[uint16]string{
		2000: "is used for the product's metrics (FLEX_METRIC_ADDR)", 4000: "is reserved by the product in releases 1.0 to 1.6, not in 1.14",
		9998: "is reserved by the product in releases 1.7 on", 9999: "is reserved by the product in releases 1.0 to 1.6 and 1.11 on",
	} {
		p, _ := ir.ReservedPortAt(port)
		if got := p.Words(newest); got != want {
			t.Errorf("%d %s, want %s", port, got, want)
		}
	}
}
