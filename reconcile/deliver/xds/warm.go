package xds

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/flexgw/flexgw/render"
)

// warmPrefix starts the names of warming scopes. The renderer never uses it: port 1 is not a gateway's.
const warmPrefix = "1/flexgw-warm/"

func isWarm(name string) bool { return strings.HasPrefix(name, warmPrefix) }

// warmScope is a copy of a scope under a key that no request can have, so that Envoy asks for the secrets in it before
// the scope itself is served (envoy-findings/scopes.md, row 4: a secret that arrives after its scope costs requests).
// Its name and key are functions of the scope's name and bytes, so that one is never re-keyed.
func warmScope(r *render.Resource) (*render.Resource, error) {
	m := &routev3.ScopedRouteConfiguration{}
	if err := r.Any.UnmarshalTo(m); err != nil {
		return nil, fmt.Errorf("warm scope %s: %w", r.Name, err)
	}
	id := sha256.Sum256([]byte(r.Name + "\x00" + version(r)))
	tail := hex.EncodeToString(id[:12])
	name := warmPrefix + tail
	m.Name = name
	if m.RouteConfiguration != nil {
		m.RouteConfiguration.Name = name
	}
	if err := unreachable(m.GetKey(), tail); err != nil {
		return nil, fmt.Errorf("warm scope %s: %w", r.Name, err)
	}
	a := &anypb.Any{}
	if err := anypb.MarshalFrom(a, m, proto.MarshalOptions{Deterministic: true}); err != nil {
		return nil, fmt.Errorf("warm scope %s: %w", r.Name, err)
	}
	return &render.Resource{
		Key:     render.Key{TypeURL: r.TypeURL, Name: name},
		Hash:    sha256.Sum256(a.GetValue()),
		Any:     a,
		Origins: r.Origins,
		Refs:    r.Refs,
	}, nil
}

// unreachable overwrites the fragments of a key. The number of fragments must stay that of the key builder; a fragment
// with a slash in it can not be the value of a fragment that was split at slashes.
func unreachable(k *routev3.ScopedRouteConfiguration_Key, tail string) error {
	f := k.GetFragments()
	if len(f) == 0 {
		return fmt.Errorf("its key has no fragments")
	}
	values := []string{"1", "/flexgw-warm", "/" + tail}
	if len(f) < len(values) {
		values = []string{"/" + tail}
	}
	for i := range f {
		v := ""
		if i < len(values) {
			v = values[i]
		}
		f[i].Type = &routev3.ScopedRouteConfiguration_Key_Fragment_StringKey{StringKey: v}
	}
	return nil
}
