package render

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"path"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/anypb"
)

// The names of the files of a Discovery within its folder.
const (
	BootstrapFile = "envoy.json"
	ClustersFile  = "clusters.json"
	ScopesFile    = "scopes.json"
	ListenersFile = "listeners.json"
	secretsFolder = "secrets"
)

// Discovery is a set of resources as files that an Envoy watches, for a host without a daemon (core.v3.PathConfigSource).
type Discovery struct {
	Bootstrap []byte              // Envoy is started with it; nothing in it depends on declarations
	Lists     map[string]Versions // by ClustersFile, ScopesFile, ListenersFile
	Secrets   []File              // each in a file of its own, which the others name
	Files     []File              // content-addressed, as the resources name them
}

// Versions are the resources of one type, in the order of their names, and the version of the whole.
type Versions struct {
	Version string
	Names   []string
	Any     []json.RawMessage // with "@type"
}

// JSON is a DiscoveryResponse.
func (v Versions) JSON() ([]byte, error) {
	b, err := json.Marshal(struct {
		VersionInfo string            `json:"version_info"`
		Resources   []json.RawMessage `json:"resources"`
	}{v.Version, v.Any})
	if err != nil {
		return nil, err
	}
	return append(b, '\n'), nil
}

// Discover makes the files of r for a folder. Policies that the daemon decides have no place in it: r must have no Instances.
func Discover(r *Resources, o BootstrapOptions, dir string) (*Discovery, error) {
	d := &discoverer{dir: dir}
	b, err := d.bootstrap(o)
	if err != nil {
		return nil, fmt.Errorf("bootstrap of %s: %w", dir, err)
	}
	out := &Discovery{Bootstrap: b, Lists: map[string]Versions{}, Files: r.Files()}
	for _, t := range resourceTypes {
		list := Versions{Version: r.Revision()}
		for _, res := range r.list(t) {
			raw, err := d.resource(res)
			if err != nil {
				return nil, fmt.Errorf("file form of %s %s: %w", shortType(t), res.Name, err)
			}
			if t == SecretType {
				one, err := Versions{Version: version(res), Any: []json.RawMessage{raw}}.JSON()
				if err != nil {
					return nil, err
				}
				out.Secrets = append(out.Secrets, File{Path: d.secret(res.Name), Data: one, Secret: true})
				continue
			}
			list.Names, list.Any = append(list.Names, res.Name), append(list.Any, raw)
		}
		if name := listFiles()[t]; name != "" {
			out.Lists[name] = list
		}
	}
	return out, nil
}

func listFiles() map[string]string {
	return map[string]string{ClusterType: ClustersFile, ScopeType: ScopesFile, ListenerType: ListenersFile}
}

func version(r *Resource) string { return hex.EncodeToString(r.Hash[:8]) }

// discoverer turns resources that were made for a stream into such that name files.
type discoverer struct{ dir string }

// watched is a source that Envoy reads again when something is renamed in its folder.
func (d *discoverer) watched(file string) *corev3.ConfigSource {
	return &corev3.ConfigSource{ResourceApiVersion: corev3.ApiVersion_V3, ConfigSourceSpecifier: &corev3.ConfigSource_PathConfigSource{
		PathConfigSource: &corev3.PathConfigSource{Path: file, WatchedDirectory: &corev3.WatchedDirectory{Path: path.Dir(file)}}}}
}

// secret is the file of a secret: names of secrets are not always names of files.
func (d *discoverer) secret(name string) string {
	return path.Join(d.dir, secretsFolder, hex.EncodeToString([]byte(name))+".json")
}

func (d *discoverer) bootstrap(o BootstrapOptions) ([]byte, error) {
	w := newWire(newWalker())
	b := base(w, o)
	b.StaticResources.Clusters = nil // no daemon decides anything
	b.StaticResources.Listeners = []*listenerv3.Listener{anchor(w)}
	b.DynamicResources = &bootstrapv3.Bootstrap_DynamicResources{
		LdsConfig: d.watched(path.Join(d.dir, ListenersFile)), CdsConfig: d.watched(path.Join(d.dir, ClustersFile))}
	if err := d.rewrite(b.ProtoReflect()); err != nil {
		return nil, err
	}
	return JSON(b)
}

func (d *discoverer) resource(res *Resource) (json.RawMessage, error) {
	m, err := res.Message()
	if err != nil {
		return nil, err
	}
	if err := d.rewrite(m.ProtoReflect()); err != nil {
		return nil, err
	}
	a, err := anyOf(m)
	if err != nil {
		return nil, err
	}
	return compactJSON(a)
}

func anyOf(m proto.Message) (*anypb.Any, error) {
	b, err := marshal(m)
	if err != nil {
		return nil, err
	}
	return &anypb.Any{TypeUrl: "type.googleapis.com/" + string(m.ProtoReflect().Descriptor().FullName()), Value: b}, nil
}

// rewrite changes m and whatever it holds, through every Any.
func (d *discoverer) rewrite(m protoreflect.Message) error {
	var err error
	eachMessage(m, func(in protoreflect.Message) bool {
		switch t := in.Interface().(type) {
		case *anypb.Any:
			err = firstOf(err, d.rewriteAny(t))
			return false
		case *tlsv3.SdsSecretConfig:
			t.SdsConfig = d.watched(d.secret(t.GetName()))
			return false
		case *hcmv3.ScopedRoutes:
			scopes := d.watched(path.Join(d.dir, ScopesFile))
			t.RdsConfigSource = scopes
			t.GetScopedRds().ScopedRdsConfigSource = scopes
			return false
		}
		return true
	})
	return err
}

func (d *discoverer) rewriteAny(a *anypb.Any) error {
	m, err := unpack(a)
	if err != nil {
		return err
	}
	if err := d.rewrite(m.ProtoReflect()); err != nil {
		return err
	}
	a.Value, err = marshal(m)
	return err
}
