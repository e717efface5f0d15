package usage

import (
	"bytes"
	"strings"
	"testing"
)

func TestLines(t *testing.T) {
	t.Parallel()
	const id = "70031019-7944-41d6-9ad1-3acb3c4309ac"
	for line, want := range map[string]struct {
		ms  int64
		api string
	}{
		"1795707147738 200 default/orders " + id: {1795707147738, "default/orders"},
		"1795707147738 0 a/b c " + id:            {1795707147738, "a/b c"}, // no name has a space, but none can be taken for another
		"1795707147738 404  " + id:               {1795707147738, ""},
		"1795707147738 400  ":                    {1795707147738, ""}, // it was never a request
	} {
		ms, api, ok := parse([]byte(line))
		if !ok || ms != want.ms || string(api) != want.api {
			t.Errorf("%q: %d %q %v", line, ms, api, ok)
		}
	}
	whole := "1795707147738 200 default/orders " + id
	for i := range len(whole) {
		if _, api, ok := parse([]byte(whole[:i])); ok {
			t.Errorf("torn %q: %q", whole[:i], api)
		}
	}
	for _, line := range []string{
		"", " ", "x", strings.Repeat(" ", 60), "1795707147738 20 a/b " + id, "1795707147738 2000 a/b " + id, "x795707147738 200 a/b " + id,
		"1795707147738 200 ab " + id, "1795707147738 200 /b " + id, "1795707147738 200 a/b " + strings.ToUpper(id), "1795707147738 200 a/b  ",
		"17957071477381795 200 a/b " + id, "1795707147738  200 a/b " + id, "200 a/b " + id, "1795707147738 200 " + id,
	} {
		if ms, api, ok := parse([]byte(line)); ok {
			t.Errorf("%q: %d %q", line, ms, api)
		}
	}
}

func FuzzLine(f *testing.F) {
	f.Add([]byte("1795707147738 200 default/orders 70031019-7944-41d6-9ad1-3acb3c4309ac"))
	f.Add([]byte("1795707147738 404  70031019-7944-41d6-9ad1-3acb3c4309ac"))
	f.Add([]byte("1795707147738 400  "))
	f.Fuzz(func(t *testing.T, line []byte) {
		ms, api, ok := parse(line)
		if !ok {
			return
		}
		if ms < 0 || bytes.Count(line, []byte(" ")) < 3 || len(api) > 0 && !bytes.Contains(api, []byte("/")) || !bytes.Contains(line, append(append([]byte(" "), api...), ' ')) {
			t.Errorf("%q: %d %q", line, ms, api)
		}
	})
}

// FuzzScan: whatever a file has, it is read without a panic, and what was written before stands.
func FuzzScan(f *testing.F) {
	w := &writer{}
	w.step(stepBegin)
	w.word("replica")
	w.uint(7)
	w.int(1)
	f.Add(frame(w.b), []byte{})
	f.Add(frame(w.b), frame(w.b)[:7])
	writeIdentity(w, 1, Identity{Agent: "a"})
	writeAPI(w, 1, "a/b")
	writeUse(w, 1)
	w.step(stepSeal)
	(&batch{seq: 1, identity: 1, points: []point{{api: 1, hour: 2, delta: 3, cumulative: 3}}}).write(w)
	f.Add(frame(w.b), frame(w.b))
	f.Fuzz(func(t *testing.T, b, payload []byte) {
		s := newState()
		end, _, err := scan(append(bytes.Clone(b), frame(payload)...), s.apply)
		if err != nil || end < 0 {
			t.Errorf("%d %v", end, err)
		}
		_ = newState().apply(payload)
	})
}

// TestParseAllocatesNothing, nor does counting a line of an API that was seen before.
func TestParseAllocatesNothing(t *testing.T) {
	line := []byte("1795707147738 200 default/orders 70031019-7944-41d6-9ad1-3acb3c4309ac")
	c := counts{byAPI: map[string]*hours{}}
	_, api, _ := parse(line)
	c.add(api, 1)
	if n := testing.AllocsPerRun(100, func() {
		ms, api, _ := parse(line)
		c.add(api, uint32(hourOf(ms)))
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
}
