package policy_test

import (
	"strings"
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	basicauthv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/basic_auth/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"google.golang.org/protobuf/proto"

	"github.com/flexgw/flexgw/render/policy"
)

func TestRedactedHidesWhatEnvoyCallsSensitive(t *testing.T) {
	t.Parallel()
	text := func(s string) *corev3.DataSource {
		return &corev3.DataSource{Specifier: &corev3.DataSource_InlineString{InlineString: s}}
	}
	for _, m := range []proto.Message{
		&basicauthv3.BasicAuth{Users: text("alice:hunter2"), Realm: "mule-realm"},
		&tlsv3.Secret{Name: "s", Type: &tlsv3.Secret_TlsCertificate{TlsCertificate: &tlsv3.TlsCertificate{PrivateKey: text("hunter2")}}},
		&tlsv3.Secret{Name: "s", Type: &tlsv3.Secret_GenericSecret{GenericSecret: &tlsv3.GenericSecret{Secret: text("hunter2")}}},
	} {
		before := proto.Clone(m)
		if got := policy.Redacted(m).(interface{ String() string }).String(); strings.Contains(got, "hunter2") || !strings.Contains(got, "[redacted]") {
			t.Errorf("got %s", got)
		}
		if !proto.Equal(before, m) {
			t.Errorf("%T was changed", m)
		}
	}
	kept := policy.Redacted(&basicauthv3.BasicAuth{Users: text("x"), Realm: "mule-realm"}).(*basicauthv3.BasicAuth)
	if kept.GetRealm() != "mule-realm" {
		t.Errorf("realm: got %q", kept.GetRealm())
	}
}
