package diff

import "slices"

// Kind names what kind of thing is different, for ever.
type Kind string

// The kinds.
const (
	AuthenticationLost   Kind = "authentication-lost"
	AuthenticationGained Kind = "authentication-gained"
	PortOpened           Kind = "port-opened"
	PortClosed           Kind = "port-closed"
	PortBind             Kind = "port-bind"
	TLSRemoved           Kind = "tls-removed"
	TLSAdded             Kind = "tls-added"
	TLSChanged           Kind = "tls-changed"
	APIAdded             Kind = "api-added"
	APIRemoved           Kind = "api-removed"
	APIRenamed           Kind = "api-renamed"
	APIMoved             Kind = "api-moved"
	PolicyRemoved        Kind = "policy-removed"
	PolicyAdded          Kind = "policy-added"
	PolicyChanged        Kind = "policy-changed"
	PolicyOrder          Kind = "policy-order"
	RouteRemoved         Kind = "route-removed"
	RouteAdded           Kind = "route-added"
	RouteChanged         Kind = "route-changed"
	RouteOrder           Kind = "route-order"
	ServiceChanged       Kind = "service-changed"
	ServiceAdded         Kind = "service-added"
	ServiceRemoved       Kind = "service-removed"
	SettingsChanged      Kind = "settings-changed"
	EchoChanged          Kind = "echo-changed"
	ResourceChanged      Kind = "resource-changed"
	DocumentChanged      Kind = "document-changed"
	FileChanged          Kind = "file-changed"
)

// Kinds are all kinds, in the order in which changes of one class are told.
func Kinds() []Kind {
	return []Kind{AuthenticationLost, TLSRemoved, PortOpened, PortBind, PolicyRemoved, PolicyChanged, PolicyOrder, TLSChanged, APIAdded, ServiceChanged, SettingsChanged,
		AuthenticationGained, TLSAdded, PolicyAdded, APIRemoved, APIMoved, APIRenamed, PortClosed, RouteRemoved, RouteChanged, RouteAdded, RouteOrder,
		ServiceRemoved, ServiceAdded, EchoChanged, ResourceChanged, DocumentChanged, FileChanged}
}

func kindRank(k Kind) int { return slices.Index(Kinds(), k) }
