// Package v1alpha1 mirrors the declared kinds, field for field, as they stand in a file.
//
// It holds no defaults and follows no reference; package schema does both.
package v1alpha1

import (
	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/syntax"
)

// The API groups that are read: the product's, in any of its versions, and ours.
const (
	Group   = "gateway.mulesoft.com"
	Version = "gateway.mulesoft.com/v1alpha1"
	Beta    = "gateway.mulesoft.com/v1beta1"
	Ours    = "flexgw/v1alpha1"
)

// The kinds. Probe and Echo are ours; Secret and Contract rest on field evidence only.
const (
	ApiInstance   = "ApiInstance"
	Service       = "Service"
	PolicyBinding = "PolicyBinding"
	Configuration = "Configuration"
	Extension     = "Extension"
	Secret        = "Secret"
	Contract      = "Contract"
	Probe         = "Probe"
	Echo          = "Echo"
)

// Object is one declared document of a kind.
type Object[S any] struct {
	ID     diag.Object
	Name   syntax.Text // metadata.name
	Labels []Label     // metadata.labels, in the order of the file
	Spec   S
	Unit   syntax.Unit // where it was declared, for places that were not kept
	Index  int         // of the document within the unit
	Range  diag.Range  // of the document
}

// Label is one entry of metadata.labels.
type Label struct {
	Name  string
	Value syntax.Text
}

// ApiInstanceSpec is the spec of an ApiInstance (flex-resources.md, 2).
type ApiInstanceSpec struct {
	Address  syntax.Text
	Services []InlineService // in the order of the file
	Policies []InlinePolicy
}

// InlineService is one entry of spec.services. Key is its name.
type InlineService struct {
	Key     syntax.Text
	Address syntax.Text
	Routes  []InlineRoute
}

// InlineRoute is one entry of spec.services.<name>.routes.
type InlineRoute struct {
	DestinationPath syntax.Text // config.destinationPath
	Rules           []Rule
	RulesAt         diag.Range // of the key; zero when absent
	Range           diag.Range
}

// InlinePolicy is one entry of spec.policies.
type InlinePolicy struct {
	PolicyRef PolicyRef
	Config    *syntax.Node // nil when absent
	Rules     []Rule
	RulesAt   diag.Range // of the key; zero when absent
	Range     diag.Range
}

// PolicyRef names a policy.
type PolicyRef struct {
	Range     diag.Range // of the key
	Name      syntax.Text
	Namespace syntax.Text
}

// Rule is one alternative of a condition or of a route's match (flex-resources.md, 4.4).
type Rule struct {
	Path    syntax.Text
	Host    syntax.Text
	Methods syntax.Text
	Headers []HeaderRule // in the order of the file
	Range   diag.Range
}

// HeaderRule is the pattern for one header.
type HeaderRule struct {
	Name  syntax.Text
	Value syntax.Text
}

// ServiceSpec is the spec of a Service (flex-resources.md, 3).
type ServiceSpec struct {
	Address syntax.Text
}

// PolicyBindingSpec is the spec of a PolicyBinding (flex-resources.md, 4.1).
type PolicyBindingSpec struct {
	TargetRef TargetRef
	PolicyRef PolicyRef
	Config    *syntax.Node // nil when absent
	Order     syntax.Text  // an integer as written; absent: 50
	Rules     []Rule
	RulesAt   diag.Range // of the key; zero when absent
}

// TargetRef names what a binding applies to, or how to find it.
type TargetRef struct {
	Kind      syntax.Text // ApiInstance, Service or Selector; absent: ApiInstance
	Name      syntax.Text
	Namespace syntax.Text
	Selector  *Selector  // nil when absent
	Range     diag.Range // of the key
}

// Selector finds ApiInstances by their labels; no labels: all of them.
type Selector struct {
	Kind   syntax.Text
	Labels map[string]syntax.Text
	Range  diag.Range // of the key
}

// ExtensionSpec is the spec of an Extension: a policy definition or an implementation.
type ExtensionSpec struct {
	Extends    []ExtendsRef            `flex:"extends"`
	Properties map[string]*syntax.Node `flex:"properties"`
	Required   []syntax.Text           `flex:"required"`
}

// ExtendsRef names a parent of an Extension.
type ExtendsRef struct {
	Name      syntax.Text `flex:"name"`
	Namespace syntax.Text `flex:"namespace"`
	Kind      syntax.Text `flex:"kind"`
}

// ConfigurationSpec is the spec of a Configuration (flex-resources.md, 6). Nil: not declared.
type ConfigurationSpec struct {
	Keys               []syntax.Text       `flex:"-"` // what is declared, in the order of the file, with the ranges of the keys
	Logging            *Logging            `flex:"logging"`
	SharedStorage      *SharedStorage      `flex:"sharedStorage"`
	ForwardProxy       *ForwardProxy       `flex:"forwardProxy"`
	ProxyProtocol      *ProxyProtocol      `flex:"proxyProtocol"`
	Probe              *ReadinessProbe     `flex:"probe"`
	Timeouts           *Timeouts           `flex:"timeouts"`
	Tracing            *Tracing            `flex:"tracing"`
	Sampling           *Sampling           `flex:"sampling"` // beside tracing, as one published sample has it
	Labels             []TracingLabel      `flex:"labels"`   // the same
	DefaultTLS         *DefaultTLS         `flex:"defaultTLS"`
	CircuitBreaker     *CircuitBreaker     `flex:"circuitBreaker"`
	ResourceLimits     *ResourceLimits     `flex:"resourceLimits"`
	InternalMetrics    *InternalMetrics    `flex:"internalMetrics"`
	PlatformConnection *PlatformConnection `flex:"-"` // recognised; its contents are never read
}

// PlatformConnection says that registration data is there; it holds private keys, so nothing of it is kept.
type PlatformConnection struct{ Range diag.Range }

// Logging says where logs go.
type Logging struct {
	Outputs     []LogOutput  `flex:"outputs"`
	RuntimeLogs *RuntimeLogs `flex:"runtimeLogs"`
	AccessLogs  *AccessLogs  `flex:"accessLogs"`
}

// LogOutput is one destination. Its parameters may hold passwords and stay a tree.
type LogOutput struct {
	Name       syntax.Text  `flex:"name"`
	Type       syntax.Text  `flex:"type"`
	Parameters *syntax.Node `flex:"parameters"`
}

// RuntimeLogs routes the gateway's own logs. Outputs is a list of names, or the map form of v1beta1.
type RuntimeLogs struct {
	LogLevel syntax.Text  `flex:"logLevel"`
	Outputs  *syntax.Node `flex:"outputs"`
}

// AccessLogs routes the logs of requests. Outputs is a list of names, or the map form of v1beta1.
type AccessLogs struct {
	Outputs *syntax.Node `flex:"outputs"`
}

// SharedStorage is what distributed policies keep their state in.
type SharedStorage struct {
	Redis *Redis        `flex:"redis"`
	Local *LocalStorage `flex:"local"`
}

// Redis is a Redis, found by its address or through sentinels. Passwords are not decoded while nothing uses them.
type Redis struct {
	Address  syntax.Text `flex:"address"`
	Username syntax.Text `flex:"username"`
	DB       syntax.Text `flex:"db"`
	Sentinel *Sentinel   `flex:"sentinel"`
	TLS      *TLS        `flex:"tls"`
}

// Sentinel knows the master.
type Sentinel struct {
	Addresses  []syntax.Text `flex:"addresses"`
	MasterName syntax.Text   `flex:"masterName"`
}

// LocalStorage is memory of this process.
type LocalStorage struct {
	Enabled bool `flex:"enabled"`
}

// TLS is a context for outgoing connections. Keys are not decoded while nothing uses them.
type TLS struct {
	SkipValidation bool          `flex:"skipValidation"`
	TrustedCA      syntax.Text   `flex:"trustedCA"`
	ALPN           []syntax.Text `flex:"alpn"`
	MinVersion     syntax.Text   `flex:"minversion"`
	MaxVersion     syntax.Text   `flex:"maxversion"`
	Ciphers        []syntax.Text `flex:"ciphers"`
}

// ForwardProxy is the proxy for outgoing HTTP.
type ForwardProxy struct {
	HTTPS   *ProxyEndpoint `flex:"https"`
	NoProxy []syntax.Text  `flex:"noProxy"`
}

// ProxyEndpoint is where the proxy is. Its credentials hold a password and stay a tree.
type ProxyEndpoint struct {
	Address   syntax.Text  `flex:"address"`
	BasicAuth *syntax.Node `flex:"basicAuth"`
}

// ProxyProtocol says whether listeners expect the HAProxy PROXY header.
type ProxyProtocol struct {
	Enabled bool `flex:"enabled"`
}

// ReadinessProbe is the HTTP readiness endpoint.
type ReadinessProbe struct {
	Enabled bool        `flex:"enabled"`
	Port    syntax.Text `flex:"port"`
}

// Timeouts are numbers of seconds; nil: not declared.
type Timeouts struct {
	StreamIdleSeconds             *float64 `flex:"streamIdleSeconds"`
	UpstreamConnectionIdleSeconds *float64 `flex:"upstreamConnectionIdleSeconds"`
	UpstreamResponseSeconds       *float64 `flex:"upstreamResponseSeconds"`
}

// Tracing is OpenTelemetry.
type Tracing struct {
	Provider *TracingProvider `flex:"provider"`
	Sampling *Sampling        `flex:"sampling"`
	Labels   []TracingLabel   `flex:"labels"`
}

// TracingProvider is where spans go.
type TracingProvider struct {
	Type       syntax.Text         `flex:"type"`
	Properties *ProviderProperties `flex:"properties"`
}

// ProviderProperties are those of an OpenTelemetry collector.
type ProviderProperties struct {
	Address            syntax.Text            `flex:"address"`
	ServiceType        syntax.Text            `flex:"serviceType"`
	ServiceName        syntax.Text            `flex:"serviceName"`
	Timeout            syntax.Text            `flex:"timeout"`
	ResourceAttributes map[string]syntax.Text `flex:"resourceAttributes"`
}

// Sampling is three percentages as written.
type Sampling struct {
	Client  syntax.Text `flex:"client"`
	Random  syntax.Text `flex:"random"`
	Overall syntax.Text `flex:"overall"`
}

// TracingLabel is one label of every span.
type TracingLabel struct {
	Name         syntax.Text `flex:"name"`
	Type         syntax.Text `flex:"type"`
	KeyName      syntax.Text `flex:"keyName"`
	DefaultValue syntax.Text `flex:"defaultValue"`
}

// DefaultTLS is the TLS of calls that policies make.
type DefaultTLS struct {
	OutboundPolicyCalls *TLS `flex:"outboundPolicyCalls"`
}

// CircuitBreaker holds thresholds (nil: not declared), directly or one level down (its nesting was never published).
type CircuitBreaker struct {
	MaxConnections     *uint32         `flex:"maxConnections"`
	MaxPendingRequests *uint32         `flex:"maxPendingRequests"`
	MaxRequests        *uint32         `flex:"maxRequests"`
	MaxRetries         *uint32         `flex:"maxRetries"`
	MaxConnectionPools *uint32         `flex:"maxConnectionPools"`
	Thresholds         *CircuitBreaker `flex:"thresholds"`
}

// ResourceLimits cap what is loaded.
type ResourceLimits struct {
	APIInstances syntax.Text `flex:"apiInstances"`
	Policies     syntax.Text `flex:"policies"`
}

// InternalMetrics says whether the gateway offers metrics of itself.
type InternalMetrics struct {
	Enabled bool `flex:"enabled"`
}

// SecretSpec is the spec of a Secret. Its contents are not decoded while nothing uses them.
type SecretSpec struct{}

// ContractSpec is the spec of a Contract. Its client is not decoded while nothing uses it.
type ContractSpec struct {
	APIID syntax.Text `flex:"apiId"`
}

// EchoSpec is the spec of an Echo.
type EchoSpec struct {
	Address syntax.Text `flex:"address"`
}

// ProbeSpec is the spec of a Probe.
type ProbeSpec struct {
	TargetRef        TargetRef  `flex:"-"`
	HTTP             *ProbeHTTP `flex:"http"` // nil: not asked
	GRPC             *ProbeGRPC `flex:"grpc"` // nil: not asked
	TLS              *ProbeTLS  `flex:"tls"`  // nil: not asked
	TimeoutSeconds   *float64   `flex:"timeoutSeconds"`
	PeriodSeconds    *float64   `flex:"periodSeconds"`
	FailureThreshold *int64     `flex:"failureThreshold"`
}

// ProbeHTTP is a request and what is to be answered. Headers and body may be secrets, and are not here.
type ProbeHTTP struct {
	Path   syntax.Text  `flex:"path"`
	Method syntax.Text  `flex:"method"`
	Expect *ProbeExpect `flex:"expect"`
}

// ProbeExpect is what an answer must be.
type ProbeExpect struct {
	Status []syntax.Text `flex:"status"` // 200, 200-299 or 2xx
	Body   syntax.Text   `flex:"body"`
}

// ProbeGRPC is a call of gRPC's health service. Headers may be secrets, and are not here.
type ProbeGRPC struct {
	Service syntax.Text      `flex:"service"`
	Expect  *ProbeGRPCExpect `flex:"expect"`
}

// ProbeGRPCExpect is what an answer must be.
type ProbeGRPCExpect struct {
	Status []syntax.Text `flex:"status"` // SERVING, NOT_SERVING or UNKNOWN
}

// ProbeTLS is a handshake.
type ProbeTLS struct {
	ServerName syntax.Text `flex:"serverName"`
}
