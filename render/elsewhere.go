package render

import (
	"bytes"
	"path"
	"slices"
	"strings"
	"unicode/utf8"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/anypb"
)

// Elsewhere is a resource of the set for an Envoy on another host, which has none of the files that resources name: they are
// inline. The CA bundle is that host's own, at ca; "": at the same path as here. Its requests are not counted. A resource that names no file is
// returned as it is.
func (r *Resources) Elsewhere(x *Resource, ca string) (*anypb.Any, error) {
	if x.Key == (Key{SecretType, systemCA}) {
		return caAt(x.Any, ca)
	}
	of := x.Any
	if x.TypeURL == ListenerType {
		var err error
		if of, err = withoutUsageLog(of); err != nil {
			return nil, err
		}
	}
	files := r.Files()
	if len(files) == 0 || !bytes.Contains(of.GetValue(), []byte(path.Dir(files[0].Path)+"/")) {
		return of, nil
	}
	a := proto.Clone(of).(*anypb.Any)
	return a, inliner(files).any(a)
}

func caAt(a *anypb.Any, ca string) (*anypb.Any, error) {
	if ca == "" {
		return a, nil
	}
	return anyOf(systemCASecret(ca))
}

// inliner puts files, which are sorted by path, into what names them.
type inliner []File

func (fs inliner) any(a *anypb.Any) error {
	m, err := unpack(a)
	if err != nil {
		return err
	}
	if err := fs.in(m.ProtoReflect()); err != nil {
		return err
	}
	a.Value, err = marshal(m)
	return err
}

// in changes m and whatever it holds, through every Any.
func (fs inliner) in(m protoreflect.Message) error {
	var err error
	eachMessage(m, func(in protoreflect.Message) bool {
		switch t := in.Interface().(type) {
		case *anypb.Any:
			err = firstOf(err, fs.any(t))
			return false
		case *corev3.DataSource:
			if i, ok := slices.BinarySearchFunc(fs, t.GetFilename(), func(f File, name string) int { return strings.Compare(f.Path, name) }); ok {
				inline(t, fs[i].Data)
			}
		}
		return true
	})
	return err
}

// inline makes data the content of a source.
func inline(d *corev3.DataSource, data []byte) {
	if utf8.Valid(data) {
		d.Specifier = &corev3.DataSource_InlineString{InlineString: string(data)}
	} else {
		d.Specifier = &corev3.DataSource_InlineBytes{InlineBytes: data}
	}
}
