package schema

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/ir"
	"github.com/flexgw/flexgw/schema/syntax"
	"github.com/flexgw/flexgw/schema/v1alpha1"
)

// echoDecl is one Echo document. Without a listen address it is known by its name alone.
type echoDecl struct {
	*v1alpha1.Object[v1alpha1.EchoSpec]
	listen netip.AddrPort
}

func (d *docDecoder) echo(spec *syntax.Node) {
	e := &echoDecl{Object: decodeSpec[v1alpha1.EchoSpec](d, spec)}
	d.out.echoes = append(d.out.echoes, e)
	text := e.Spec.Address
	if text.IsZero() {
		return // the shape says so
	}
	a, bad := splitAddress(text.Value)
	ip, err := netip.ParseAddr(a.host)
	if a.host == "localhost" {
		ip, err = netip.AddrFrom4([4]byte{127, 0, 0, 1}), nil
	}
	switch {
	case bad != nil:
		d.report(diag.Error, "link/bad-address", text.Range, fmt.Sprintf("the address %s %s", showAddress(text.Value), bad.what), bad.hint)
	case a.scheme != "http" || a.port == 0 || a.path != "" && a.path != "/":
		d.report(diag.Error, "link/bad-address", text.Range, fmt.Sprintf("the address %s is not http://host:port", showAddress(text.Value)), "an echo speaks plain HTTP and has a port of its own")
	case err != nil || !ip.IsLoopback():
		d.report(diag.Error, "decode/not-loopback", text.Range, fmt.Sprintf("an echo on %q would be reachable from outside", a.host), "use 127.0.0.1: an echo is for trying things out")
	default:
		e.listen = netip.AddrPortFrom(ip, a.port)
	}
}

// linkEchoes wants each address once.
func (s *state) linkEchoes() ([]*ir.Echo, diag.List) {
	var out []*ir.Echo
	var ds diag.List
	first := map[netip.AddrPort]*echoDecl{}
	decls := slices.Clone(s.echoes)
	slices.SortFunc(decls, func(a, b *echoDecl) int {
		return cmp.Or(a.listen.Compare(b.listen), later(s.isFresh(a.ID), s.isFresh(b.ID)), a.Range.Compare(b.Range))
	})
	for _, e := range decls {
		if !e.listen.IsValid() {
			continue
		}
		if other := first[e.listen]; other != nil {
			ds = append(ds, diag.Diagnostic{
				Severity: diag.Error, Code: "link/port-clash", Object: e.ID, Subject: e.Spec.Address.Range,
				Summary: fmt.Sprintf("the address %s is taken by the Echo %q", e.listen, other.ID.Name), Hint: "give one of them another port",
				Related: []diag.Related{{Subject: other.Spec.Address.Range, Summary: "taken here"}},
			})
			continue
		}
		first[e.listen] = e
		out = append(out, &ir.Echo{Origin: ir.Origin{Object: e.ID, Range: e.Name.Range}, Address: e.listen.String()})
	}
	slices.SortFunc(out, func(a, b *ir.Echo) int { return strings.Compare(a.Address, b.Address) })
	return out, ds
}
