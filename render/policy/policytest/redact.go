package policytest

import (
	udpa "github.com/cncf/xds/go/udpa/annotations"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/flexgw/flexgw/schema/ir"
)

// redacted is a copy of m in which every field that Envoy's own annotations call sensitive reads "[redacted]"
// (udpa.annotations.sensitive, the annotation by which Envoy's /config_dump redacts). It does not look into an Any.
func redacted(m proto.Message) proto.Message {
	c := proto.Clone(m)
	redact(c.ProtoReflect(), false)
	return c
}

func redact(m protoreflect.Message, all bool) {
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		hide := all || proto.HasExtension(f.Options(), udpa.E_Sensitive) && proto.GetExtension(f.Options(), udpa.E_Sensitive).(bool)
		switch {
		case f.IsMap():
			v.Map().Range(func(k protoreflect.MapKey, e protoreflect.Value) bool {
				if f.MapValue().Message() != nil {
					redact(e.Message(), hide)
				} else if hide {
					if h, ok := hidden(f.MapValue()); ok {
						v.Map().Set(k, h)
					}
				}
				return true
			})
		case f.IsList():
			for i := range v.List().Len() {
				if f.Message() != nil {
					redact(v.List().Get(i).Message(), hide)
				} else if hide {
					if h, ok := hidden(f); ok {
						v.List().Set(i, h)
					}
				}
			}
		case f.Message() != nil:
			redact(v.Message(), hide)
		case hide:
			if h, ok := hidden(f); ok {
				m.Set(f, h)
			}
		}
		return true
	})
}

// hidden is what stands for a hidden value of f's kind; false: numbers and enums stay.
func hidden(f protoreflect.FieldDescriptor) (protoreflect.Value, bool) {
	text := ir.Secret{}.String()
	switch f.Kind() {
	case protoreflect.StringKind:
		return protoreflect.ValueOfString(text), true
	case protoreflect.BytesKind:
		return protoreflect.ValueOfBytes([]byte(text)), true
	}
	return protoreflect.Value{}, false
}
