// Package all lists every policy type, and says of the product's other policies why they are not in the list.
//
// It decides nothing about a policy: its folder does.
package all

import (
	"strings"

	"github.com/flexgw/flexgw/render/policy"
	"github.com/flexgw/flexgw/render/policy/accesslog"
	"github.com/flexgw/flexgw/render/policy/circuitbreaker"
	"github.com/flexgw/flexgw/render/policy/cors"
	"github.com/flexgw/flexgw/render/policy/credentialinjectionapikey"
	"github.com/flexgw/flexgw/render/policy/credentialinjectionbasicauth"
	"github.com/flexgw/flexgw/render/policy/credentialinjectionoauth2"
	"github.com/flexgw/flexgw/render/policy/dataweavebodytransformation"
	"github.com/flexgw/flexgw/render/policy/dataweaveheaderstransformation"
	"github.com/flexgw/flexgw/render/policy/dataweaverequestfilter"
	"github.com/flexgw/flexgw/render/policy/graphqlintrospectioncontrol"
	"github.com/flexgw/flexgw/render/policy/graphqloperationlimits"
	"github.com/flexgw/flexgw/render/policy/graphqlschemavalidation"
	"github.com/flexgw/flexgw/render/policy/graphqlstaticquerycomplexity"
	"github.com/flexgw/flexgw/render/policy/headerinjection"
	"github.com/flexgw/flexgw/render/policy/headerremoval"
	"github.com/flexgw/flexgw/render/policy/httpbasicauthentication"
	"github.com/flexgw/flexgw/render/policy/httpcaching"
	"github.com/flexgw/flexgw/render/policy/idletimeout"
	"github.com/flexgw/flexgw/render/policy/injectionprotection"
	"github.com/flexgw/flexgw/render/policy/ipallowlist"
	"github.com/flexgw/flexgw/render/policy/ipblocklist"
	"github.com/flexgw/flexgw/render/policy/jsonthreatprotection"
	"github.com/flexgw/flexgw/render/policy/jwtgeneration"
	"github.com/flexgw/flexgw/render/policy/jwtvalidation"
	"github.com/flexgw/flexgw/render/policy/ldapauthentication"
	"github.com/flexgw/flexgw/render/policy/messagelogging"
	"github.com/flexgw/flexgw/render/policy/messageloggingoutbound"
	"github.com/flexgw/flexgw/render/policy/nativeawslambda"
	"github.com/flexgw/flexgw/render/policy/nativeawssignature"
	"github.com/flexgw/flexgw/render/policy/nativeextauthz"
	"github.com/flexgw/flexgw/render/policy/nativeextproc"
	"github.com/flexgw/flexgw/render/policy/oauth2tokenintrospection"
	"github.com/flexgw/flexgw/render/policy/ratelimiting"
	"github.com/flexgw/flexgw/render/policy/responsetimeout"
	"github.com/flexgw/flexgw/render/policy/soapvalidation"
	"github.com/flexgw/flexgw/render/policy/specvalidation"
	"github.com/flexgw/flexgw/render/policy/spikecontrol"
	"github.com/flexgw/flexgw/render/policy/streamidletimeout"
	"github.com/flexgw/flexgw/render/policy/tls"
	"github.com/flexgw/flexgw/render/policy/tlsoutbound"
	"github.com/flexgw/flexgw/render/policy/tracing"
	"github.com/flexgw/flexgw/render/policy/websocketconnectionlimit"
	"github.com/flexgw/flexgw/render/policy/xmlthreatprotection"
	"github.com/flexgw/flexgw/schema"
)

// list is every policy that flexgw judges, sorted by name. It enforces those that have an effect.
var list = []policy.Type{
	accesslog.Type,
	circuitbreaker.Type,
	cors.Type,
	credentialinjectionapikey.Type,
	credentialinjectionbasicauth.Type,
	credentialinjectionoauth2.Type,
	dataweavebodytransformation.Type,
	dataweaveheaderstransformation.Type,
	dataweaverequestfilter.Type,
	graphqlintrospectioncontrol.Type,
	graphqloperationlimits.Type,
	graphqlschemavalidation.Type,
	graphqlstaticquerycomplexity.Type,
	headerinjection.Type,
	headerremoval.Type,
	httpbasicauthentication.Type,
	httpcaching.Type,
	idletimeout.Type,
	injectionprotection.Type,
	ipallowlist.Type,
	ipblocklist.Type,
	jsonthreatprotection.Type,
	jwtgeneration.Type,
	jwtvalidation.Type,
	ldapauthentication.Type,
	messagelogging.Type,
	messageloggingoutbound.Type,
	nativeawslambda.Type,
	nativeawssignature.Type,
	nativeextauthz.Type,
	nativeextproc.Type,
	oauth2tokenintrospection.Type,
	ratelimiting.Type,
	responsetimeout.Type,
	soapvalidation.Type,
	specvalidation.Type,
	spikecontrol.Type,
	streamidletimeout.Type,
	tls.Type,
	tlsoutbound.Type,
	tracing.Type,
	websocketconnectionlimit.Type,
	xmlthreatprotection.Type,
}

// byName is the list for those who ask by any name, which happens several times for each of very many bindings.
var byName = func() map[string]policy.Type {
	m := make(map[string]policy.Type, len(list))
	for _, t := range list {
		for _, name := range t.Names() {
			m[name] = t
		}
	}
	return m
}()

// Catalog is the list as packages schema and render want it. The zero Catalog is ready.
type Catalog struct{}

var _ schema.Catalog = Catalog{}

// Type finds a listed type by any of its names.
func (Catalog) Type(name string) (policy.Type, bool) {
	t, ok := byName[name]
	return t, ok
}

// All are the listed types, sorted by name. The caller may keep the slice.
func (Catalog) All() []policy.Type { return append([]policy.Type(nil), list...) }

// Lookup finds a listed type by name.
func (Catalog) Lookup(name string) (schema.PolicyType, bool) {
	t, ok := byName[name]
	if !ok {
		return nil, false
	}
	return t, true
}

// Names are the names of the listed types, sorted.
func (Catalog) Names() []string {
	names := make([]string, len(list))
	for i, t := range list {
		names[i] = t.Name()
	}
	return names
}

// Known says why a name that the product knows is not in the list. The bare name of a definition ("cors") is not known: it is
// a slip, and package schema says what was meant.
func (Catalog) Known(name string) (reason string, ok bool) {
	if _, listed := byName[name]; listed {
		return "", false
	}
	if r, ok := elsewhere[name]; ok {
		return r, true
	}
	if r, ok := elsewhere[strings.TrimSuffix(name, "-flex")]; ok && strings.HasSuffix(name, "-flex") {
		return r, true
	}
	return "", false
}
