package policytest

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/flexgw/flexgw/render"
	"github.com/flexgw/flexgw/render/policy"
	"github.com/flexgw/flexgw/schema/ir"
)

// shown is what the bindings of a gateway ask for.
type shown struct {
	text     []byte   // YAML for people, secrets redacted
	raw      []byte   // all bytes, in order
	problems []string // what Envoy's own rules refuse
}

// effects asks every binding of the type for its effect, in the order of the model.
func effects(g *ir.Gateway, typ policy.Type, got map[string][]byte) (shown, error) {
	var s shown
	ask := func(b *ir.Binding, api *ir.API, up *ir.Upstream, settings *ir.Settings) error {
		if b == nil || b.Policy != typ.Name() || b.Made == nil {
			return nil
		}
		d := dump{typ: typ}
		if err := d.binding(b, api, up, settings, got); err != nil {
			return fmt.Errorf("binding %s: %w", b.Origin.Object, err)
		}
		if len(s.text) > 0 {
			s.text = append(s.text, "---\n"...)
		}
		text, err := d.yaml()
		if err != nil {
			return err
		}
		s.text = append(s.text, text...)
		s.raw = append(s.raw, d.raw...)
		s.problems = append(s.problems, d.problems...)
		return nil
	}
	for _, l := range g.Listeners {
		if l.TLS != nil && len(l.APIs) > 0 {
			if err := ask(l.TLS, l.APIs[0], nil, l.APIs[0].Settings); err != nil {
				return s, err
			}
		}
		for _, api := range l.APIs {
			for _, b := range api.Bindings {
				if err := ask(b, api, nil, api.Settings); err != nil {
					return s, err
				}
			}
		}
	}
	for _, up := range g.Upstreams {
		for _, b := range up.Bindings {
			if err := ask(b, nil, up, up.Settings); err != nil {
				return s, err
			}
		}
	}
	return s, nil
}

// field is one entry of an ordered mapping.
type field struct {
	name  string
	value any
}

type mapping []field

// MarshalJSON keeps the order.
func (m mapping) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	b.WriteByte('{')
	for i, f := range m {
		if i > 0 {
			b.WriteByte(',')
		}
		name, err := json.Marshal(f.name)
		if err != nil {
			return nil, err
		}
		value, err := json.Marshal(f.value)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.name, err)
		}
		b.Write(name)
		b.WriteByte(':')
		b.Write(value)
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

type dump struct {
	typ      policy.Type
	fields   mapping
	raw      []byte
	problems []string
}

func (d *dump) yaml() ([]byte, error) {
	b, err := json.Marshal(d.fields)
	if err != nil {
		return nil, err
	}
	return render.Text(b).YAML()
}

func (d *dump) add(name string, value any) { d.fields = append(d.fields, field{name, value}) }

func (d *dump) binding(b *ir.Binding, api *ir.API, up *ir.Upstream, settings *ir.Settings, got map[string][]byte) error {
	id := b.Origin.Object.Namespace + "." + b.Origin.Object.Name
	in := policy.Input{Binding: b, API: api, Upstream: up, Settings: settings, ID: id,
		Got: func(n policy.Need) ([]byte, bool) { v, ok := got[n.Purpose]; return v, ok },
		Path: func(data []byte, ext string) string {
			sum := sha256.Sum256(data)
			return "/files/" + hex.EncodeToString(sum[:6]) + ext
		},
		Earlier: policy.Published{Principal: policy.Ref{Namespace: "default.earlier", Keys: []string{"username"}}}}
	e, err := d.typ.Effect(b.Config(), in)
	if err != nil {
		return err
	}
	if e.Enforce != nil { // as the renderer does: asked again, with the instance
		if _, err := policy.InstanceHash(e.Enforce); err != nil {
			return err
		}
		in.Instance = id + "@hash"
		if e, err = d.typ.Effect(b.Config(), in); err != nil {
			return err
		}
	}
	d.add("binding", id)
	if needs := d.typ.Needs(b.Config()); len(needs) > 0 {
		var list []any
		for _, n := range needs {
			list = append(list, mapping{{"purpose", n.Purpose}, {"url", n.URL}, {"ttl", n.TTL.String()}, {"timeout", n.Timeout.String()}})
		}
		d.add("needs", list)
	}
	return d.effect(e, in)
}

func (d *dump) effect(e policy.Effect, in policy.Input) error {
	filters, err := d.filters(e.Filters)
	if err != nil {
		return err
	}
	d.list("filters", filters)
	if e.Route != nil {
		d.message("route", e.Route)
	}
	if e.Downstream != nil {
		d.message("downstream", e.Downstream)
	}
	if err := d.upstream(e.Upstream); err != nil {
		return err
	}
	d.list("clusters", messages(d, e.Clusters))
	d.list("secrets", messages(d, e.Secrets))
	var files []any
	for _, f := range e.Files {
		d.raw = append(d.raw, f.Data...)
		entry := mapping{{"path", in.Path(f.Data, f.Ext)}}
		if f.Secret {
			entry = append(entry, field{"data", "[redacted]"})
		} else if len(f.Data) <= 2048 {
			entry = append(entry, field{"data", string(f.Data)})
		}
		files = append(files, entry)
	}
	d.list("files", files)
	if e.Body != (policy.BodyNeeds{}) {
		d.add("body", mapping{{"request", int(e.Body.Request)}})
	}
	if e.Enforce != nil {
		b, err := json.Marshal(e.Enforce)
		if err != nil {
			return fmt.Errorf("enforce: %w", err)
		}
		d.raw = append(d.raw, b...)
		d.add("enforce", json.RawMessage(b))
	}
	var published mapping
	for _, x := range []struct {
		name string
		ref  policy.Ref
	}{{"principal", e.Publishes.Principal}, {"claims", e.Publishes.Claims}, {"clientId", e.Publishes.ClientID}} {
		if !x.ref.IsZero() {
			published = append(published, field{x.name, strings.Join(append([]string{x.ref.Namespace}, x.ref.Keys...), " / ")})
		}
	}
	if len(published) > 0 {
		d.add("publishes", published)
	}
	return nil
}

func (d *dump) list(name string, list []any) {
	if len(list) > 0 {
		d.add(name, list)
	}
}

func (d *dump) filters(list []policy.Filter) ([]any, error) {
	var out []any
	seen := map[string]bool{}
	for _, f := range list {
		if seen[f.Name] {
			d.problems = append(d.problems, fmt.Sprintf("two filters have the suffix %q", f.Name))
		}
		seen[f.Name] = true
		entry := mapping{}
		if f.Name != "" {
			entry = append(entry, field{"suffix", f.Name})
		}
		entry = append(entry, field{"config", d.any(f.Config)})
		if f.Route != nil {
			entry = append(entry, field{"route", d.any(f.Route)})
		}
		out = append(out, entry)
	}
	return out, nil
}

func (d *dump) upstream(u *policy.Upstream) error {
	if u == nil {
		return nil
	}
	var fields mapping
	if u.TLS != nil {
		fields = append(fields, field{"tls", d.any(u.TLS)})
	}
	if u.Unverified {
		fields = append(fields, field{"unverified", true})
	}
	filters, err := d.filters(u.Filters)
	if err != nil {
		return err
	}
	if len(filters) > 0 {
		fields = append(fields, field{"filters", filters})
	}
	if u.Thresholds != nil {
		fields = append(fields, field{"thresholds", d.any(u.Thresholds)})
	}
	if u.Idle != 0 {
		fields = append(fields, field{"idle", u.Idle.String()})
	}
	d.add("upstream", fields)
	return nil
}

func (d *dump) message(name string, m proto.Message) { d.add(name, d.any(m)) }

func messages[M proto.Message](d *dump, list []M) []any {
	var out []any
	for _, m := range list {
		out = append(out, d.any(m))
	}
	return out
}

// any is m as people read it, sensitive fields redacted, its type beside it.
func (d *dump) any(m proto.Message) any {
	raw, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		d.problems = append(d.problems, err.Error())
		return nil
	}
	d.raw = append(d.raw, raw...)
	if v, ok := m.(interface{ ValidateAll() error }); ok {
		if err := v.ValidateAll(); err != nil {
			d.problems = append(d.problems, err.Error())
		}
	}
	wrapped := &anypb.Any{}
	if err := anypb.MarshalFrom(wrapped, render.Redact(m), proto.MarshalOptions{Deterministic: true}); err != nil {
		d.problems = append(d.problems, err.Error())
		return nil
	}
	b, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(wrapped)
	if err != nil {
		d.problems = append(d.problems, err.Error())
		return nil
	}
	return json.RawMessage(b)
}
