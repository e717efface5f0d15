package render

import (
	"strconv"
	"strings"

	"github.com/flexgw/flexgw/schema/ir"
)

// Names of the slots that every listener has (design.md, decision 6).
const (
	chainSlot  = "flex.chain."
	condSlot   = "flex.cond."
	guardName  = "flex.guard"
	markName   = "flex.mark"
	limitName  = "flex.body-limit"
	routerName = "envoy.filters.http.router"
	ownPrefix  = "flex." // no inner name of a binding starts so
)

// systemCA is the one secret of the host's CA bundle: a cluster with a bundle of its own costs 0.24 MB.
const systemCA = "ca/system"

func chainName(n int) string { return chainSlot + strconv.Itoa(n) }
func condName(n int) string  { return condSlot + strconv.Itoa(n) }

const listenerPrefix = "port-"

func listenerName(port uint16) string { return listenerPrefix + strconv.Itoa(int(port)) }

// clusterName is the cluster of a Service: its own when outbound policies are bound to it, else one that all Services
// with the same scheme, host and port share (a cluster costs 50 KB idle, 95 KB used).
func clusterName(u *ir.Upstream) string {
	if len(u.Bindings) > 0 {
		return u.Name
	}
	return u.Scheme + ":" + hostPort(u.Host, u.Port)
}

func hostPort(host string, port uint16) string {
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	return host + ":" + strconv.Itoa(int(port))
}

// apiName is what routes, metering and logs call an API: "namespace/name".
func apiName(a *ir.API) string { return a.Origin.Object.Namespace + "/" + a.Origin.Object.Name }

// bindingName is the stable inner name of a binding; names of ours are out of its reach.
func bindingName(b *ir.Binding) string {
	name := b.Origin.Object.Namespace + "." + b.Origin.Object.Name
	if strings.HasPrefix(name, ownPrefix) {
		return "_" + name
	}
	return name
}

// filterName is the inner name of one filter of a binding.
func filterName(id, suffix string) string {
	if suffix == "" {
		return id
	}
	return id + "." + suffix
}
