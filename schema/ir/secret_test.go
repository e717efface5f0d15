package ir_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"reflect"
	"strings"
	"testing"

	"github.com/flexgw/flexgw/schema/ir"
)

const hidden = "p4ssw0rd"

func TestSecretIsHiddenFromEveryVerb(t *testing.T) {
	t.Parallel()
	s := ir.NewSecret(hidden)
	type open struct{ S ir.Secret }
	type embedded struct{ ir.Secret }
	type closed struct{ s ir.Secret }
	type deep struct {
		c  closed
		p  *closed
		l  []closed
		m  map[string]ir.Secret
		i  any
		ps *ir.Secret
	}
	for _, v := range []any{
		s, &s, []ir.Secret{s}, map[string]ir.Secret{"k": s}, open{s}, &open{s}, embedded{s}, closed{s}, &closed{s},
		[]closed{{s}}, [1]ir.Secret{s}, map[string]closed{"k": {s}}, map[string]any{"k": s},
		deep{closed{s}, &closed{s}, []closed{{s}}, map[string]ir.Secret{"k": s}, s, &s}, fmt.Errorf("x: %v", s), fmt.Sprint(s),
	} {
		for _, flag := range []string{"", "+", "#", " ", "-", "0", "20", ".1", "#+"} {
			for verb := rune('A'); verb <= 'z'; verb++ {
				if verb > 'Z' && verb < 'a' {
					continue
				}
				got := fmt.Sprintf("%"+flag+string(verb), v)
				for _, bad := range []string{hidden, fmt.Sprintf("%x", hidden), fmt.Sprintf("%X", hidden), fmt.Sprintf("% x", hidden), hidden[:4], "112 52", "0x70, 0x34"} {
					if strings.Contains(got, bad) {
						t.Errorf("%%%s%c of %T: got %s", flag, verb, v, got)
					}
				}
			}
		}
	}
	if got := fmt.Sprintf("%s %v %d %t %q %#v", s, s, s, s, s, s); got != strings.TrimSpace(strings.Repeat("[redacted] ", 6)) {
		t.Errorf("got %s", got)
	}
}

func TestSecretIsHiddenFromEncodersAndLogs(t *testing.T) {
	t.Parallel()
	v := map[string]any{"a": ir.NewSecret(hidden), "b": struct{ S ir.Secret }{ir.NewSecret(hidden)}}
	js, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	if want := `{"a":"[redacted]","b":{"S":"[redacted]"}}`; string(js) != want {
		t.Errorf("got %s, want %s", js, want)
	}
	var out bytes.Buffer
	slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "v", v, "s", ir.NewSecret(hidden))
	slog.New(slog.NewTextHandler(&out, nil)).Info("x", "v", v, "s", ir.NewSecret(hidden))
	if strings.Contains(out.String(), hidden) || !strings.Contains(out.String(), "[redacted]") {
		t.Errorf("got %s", out.String())
	}
}

func TestSecretsAreComparedByText(t *testing.T) {
	t.Parallel()
	var read ir.Secret
	if err := json.Unmarshal([]byte(`"`+hidden+`"`), &read); err != nil {
		t.Fatal(err)
	}
	var empty ir.Secret
	if err := empty.UnmarshalText(nil); err != nil {
		t.Fatal(err)
	}
	type config struct{ s ir.Secret }
	for _, c := range []struct {
		a, b ir.Secret
		want bool
	}{
		{ir.NewSecret(hidden), ir.NewSecret(hidden), true},
		{ir.NewSecret(hidden), read, true},
		{ir.NewSecret(hidden), ir.NewSecret("other"), false},
		{ir.NewSecret(""), ir.Secret{}, true},
		{empty, ir.Secret{}, true},
		{ir.NewSecret(hidden), ir.Secret{}, false},
	} {
		if got := c.a.Equal(c.b); got != c.want {
			t.Errorf("Equal: got %v, want %v", got, c.want)
		}
		if got := reflect.DeepEqual(&config{c.a}, &config{c.b}); got != c.want {
			t.Errorf("DeepEqual: got %v, want %v", got, c.want)
		}
	}
	if !empty.IsZero() || ir.NewSecret("x").IsZero() || read.Reveal() != hidden {
		t.Error("IsZero or Reveal is wrong")
	}
}
