package render

import (
	"path"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/structpb"
)

// RemoteOptions are the parameters of Remote.
type RemoteOptions struct {
	BootstrapOptions        // its XDSSocket and EnforceSocket are not used
	Host             string // of the daemon: a DNS name or an IP address
	Port             uint16
	ServerName       string // that the daemon's certificate must have; "": Host
	Dir              string // absolute folder on that host, which holds the files of Remote, tls.crt, tls.key and ca.crt
	SystemCA         string // that host's CA bundle, for https upstreams; "": where Debian has it
}

// The files of Remote, and those that must be beside them.
const (
	RemoteBootstrapFile   = "envoy.json"
	RemoteCertificateFile = "xds-certificate.json"
	RemoteAuthorityFile   = "xds-authority.json"
	CertFile              = "tls.crt"
	KeyFile               = "tls.key"
	AuthorityFile         = "ca.crt"
)

// Remote is what an Envoy on another host than the daemon is started with, by file name. Its certificates are secrets of their
// own, so that Envoy reads them again when a file is renamed into the folder: those that a bootstrap names itself it reads once.
func Remote(o RemoteOptions) (map[string]proto.Message, error) {
	if o.SystemCA == "" {
		o.SystemCA = defaultSystemCA
	}
	w := newWire(newWalker())
	b := Bootstrap(o.BootstrapOptions)
	b.Node.Metadata = &structpb.Struct{Fields: map[string]*structpb.Value{metadataName: structpb.NewStructValue(
		&structpb.Struct{Fields: map[string]*structpb.Value{hostCA: structpb.NewStringValue(o.SystemCA)}})}}
	socket := upstreamSocket(w, o.tls())
	for _, c := range b.StaticResources.Clusters {
		o.overTCP(c)
		c.TransportSocket = socket
	}
	out := map[string]proto.Message{RemoteBootstrapFile: b}
	watched := &corev3.WatchedDirectory{Path: o.Dir}
	file := func(name string) *corev3.DataSource {
		return &corev3.DataSource{Specifier: &corev3.DataSource_Filename{Filename: path.Join(o.Dir, name)}}
	}
	for name, s := range map[string]*tlsv3.Secret{
		RemoteCertificateFile: {Name: "xds-certificate", Type: &tlsv3.Secret_TlsCertificate{TlsCertificate: &tlsv3.TlsCertificate{
			CertificateChain: file(CertFile), PrivateKey: file(KeyFile), WatchedDirectory: watched}}},
		RemoteAuthorityFile: {Name: "xds-authority", Type: &tlsv3.Secret_ValidationContext{ValidationContext: &tlsv3.CertificateValidationContext{
			TrustedCa: file(AuthorityFile), WatchedDirectory: watched}}},
	} {
		a, err := anyOf(s)
		if err != nil {
			return nil, err
		}
		out[name] = &discoveryv3.DiscoveryResponse{TypeUrl: SecretType, Resources: []*anypb.Any{a}}
	}
	return out, nil
}

// overTCP turns a cluster of the daemon's sockets into one of its port.
func (o RemoteOptions) overTCP(c *clusterv3.Cluster) {
	c.ConnectTimeout = seconds(5)
	c.LoadAssignment = loadAssignment(c.Name, &endpointv3.Endpoint{Address: socketAddress(o.Host, o.Port)})
	if !isIP(o.Host) {
		c.ClusterDiscoveryType = &clusterv3.Cluster_Type{Type: clusterv3.Cluster_STRICT_DNS}
	}
}

// tls shows this host's certificate and takes the daemon's alone.
func (o RemoteOptions) tls() *tlsv3.UpstreamTlsContext {
	name, t := o.ServerName, &tlsv3.UpstreamTlsContext{}
	if name == "" {
		name = o.Host
	}
	if !isIP(name) {
		t.Sni = name
	}
	source := func(file string) *corev3.ConfigSource {
		return &corev3.ConfigSource{ResourceApiVersion: corev3.ApiVersion_V3, ConfigSourceSpecifier: &corev3.ConfigSource_PathConfigSource{
			PathConfigSource: &corev3.PathConfigSource{Path: path.Join(o.Dir, file), WatchedDirectory: &corev3.WatchedDirectory{Path: o.Dir}}}}
	}
	t.CommonTlsContext = &tlsv3.CommonTlsContext{
		TlsParams:     &tlsv3.TlsParameters{TlsMinimumProtocolVersion: tlsv3.TlsParameters_TLSv1_3, TlsMaximumProtocolVersion: tlsv3.TlsParameters_TLSv1_3},
		AlpnProtocols: []string{"h2"},
		TlsCertificateSdsSecretConfigs: []*tlsv3.SdsSecretConfig{
			{Name: "xds-certificate", SdsConfig: source(RemoteCertificateFile)}},
	}
	v := combine(t.CommonTlsContext, &tlsv3.SdsSecretConfig{Name: "xds-authority", SdsConfig: source(RemoteAuthorityFile)})
	v.MatchTypedSubjectAltNames = []*tlsv3.SubjectAltNameMatcher{sanOf(name)}
	return t
}

// The place in a node's metadata of its host's CA bundle.
const (
	metadataName = "flexgw"
	hostCA       = "system_ca"
)

// HostCA is where the CA bundle is on the host of an Envoy that Remote's bootstrap started; "": it does not say.
func HostCA(n *corev3.Node) string {
	return n.GetMetadata().GetFields()[metadataName].GetStructValue().GetFields()[hostCA].GetStringValue()
}
