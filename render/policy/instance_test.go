package policy_test

import (
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/flexgw/flexgw/render/policy"
	"github.com/flexgw/flexgw/schema/ir"
)

type credentials struct {
	User     string
	Password policy.Secret
	Older    []ir.Secret
}

func with(user, password string, older ...string) credentials {
	c := credentials{User: user, Password: policy.Secret{Secret: ir.NewSecret(password)}}
	for _, o := range older {
		c.Older = append(c.Older, ir.NewSecret(o))
	}
	return c
}

func TestInstanceHashSeesEveryChange(t *testing.T) {
	t.Parallel()
	type nested struct {
		A, B string
		L    []string
		M    map[string]int
		P    *int
		I    any
		N    [2]bool
	}
	type stamped struct {
		time.Time
		Name string
	}
	one, two := 1, 2
	at := time.Unix(1, 0).UTC()
	values := []any{
		nil, "", "a", 0, 1, -1, uint8(1), 1.5, true, false,
		with("u", "p"), with("u", "q"), with("v", "p"), with("u", "p", "o"), with("u", "p", "n"), with("u", ""),
		nested{A: "ab"}, nested{A: "a", B: "b"}, nested{B: "ab"}, nested{L: []string{"ab"}}, nested{L: []string{"a", "b"}},
		nested{L: []string{"b", "a"}}, nested{M: map[string]int{"a": 1}}, nested{M: map[string]int{"a": 2}}, nested{M: map[string]int{"b": 1}},
		nested{P: &one}, nested{P: &two}, nested{P: new(int)}, nested{}, nested{I: 1}, nested{I: "1"}, nested{I: int8(1)},
		nested{I: with("u", "p")}, nested{I: with("u", "q")}, nested{N: [2]bool{true}}, nested{N: [2]bool{false, true}},
		stamped{at, "a"}, stamped{at, "b"}, &stamped{at, "a"}, at, at.Add(1), netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("10.0.0.0/9"), &url.URL{Path: "/a"}, &url.URL{Path: "/b"},
		durationpb.New(time.Second), durationpb.New(2 * time.Second), map[ir.Target]string{ir.TargetAPI: "a"},
	}
	seen := map[string]int{}
	for i, v := range values {
		h, err := policy.InstanceHash(v)
		if err != nil {
			t.Errorf("%#v: %v", v, err)
			continue
		}
		if was, ok := seen[h]; ok {
			t.Errorf("%#v and %#v have the same hash", values[was], v)
		}
		seen[h] = i
	}
}

func TestInstanceHashIsEqualForEqualValues(t *testing.T) {
	t.Parallel()
	type config struct {
		M map[string][]string
		L []string
		P *credentials
	}
	make := func(l []string) config {
		c := with("u", "p", "o")
		m := map[string][]string{}
		for _, k := range strings.Split("a b c d e f g h", " ") {
			m[k] = []string{k}
		}
		return config{m, l, &c}
	}
	want, err := policy.InstanceHash(make(nil))
	if err != nil {
		t.Fatal(err)
	}
	for range 20 {
		if got, err := policy.InstanceHash(make([]string{})); err != nil || got != want {
			t.Fatalf("got %s, %v, want %s", got, err, want)
		}
	}
}

func TestInstanceHashFailsOnWhatItCannotSee(t *testing.T) {
	t.Parallel()
	type loop struct{ Next *loop }
	ring := &loop{}
	ring.Next = ring
	for _, c := range []struct {
		v    any
		want string
	}{
		{struct{ secret ir.Secret }{ir.NewSecret("p4ssw0rd")}, "secret: unexported"},
		{struct{ L []any }{[]any{1, struct{ hidden int }{}}}, "L: [1]: hidden: unexported"},
		{map[string]any{"k": func() {}}, "[k]: a func() cannot be compared"},
		{struct{ C chan int }{}, "C: a chan int cannot be compared"},
		{ring, "too deep"},
	} {
		_, err := policy.InstanceHash(c.v)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%T: got %v, want %s", c.v, err, c.want)
		}
		if err != nil && strings.Contains(err.Error(), "p4ssw0rd") {
			t.Errorf("%v shows the secret", err)
		}
	}
}
