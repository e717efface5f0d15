package rollout_test

import (
	"strings"
	"testing"
	"time"

	"github.com/flexgw/flexgw/reconcile/rollout"
)

func at(t *testing.T, s string) time.Time {
	t.Helper()
	x, err := time.Parse(time.RFC3339, s)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

func TestWindows(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ window, now, want string }{ // want "": now
		{"Mon-Fri 22:00-04:00 Europe/Berlin", "2026-11-26T20:59:59Z", "2026-11-26T21:00:00Z"}, // Thursday, winter: UTC+1
		{"Mon-Fri 22:00-04:00 Europe/Berlin", "2026-11-26T21:00:00Z", ""},
		{"Mon-Fri 22:00-04:00 Europe/Berlin", "2026-11-28T02:59:59Z", ""},                     // the end of Friday's, on Saturday
		{"Mon-Fri 22:00-04:00 Europe/Berlin", "2026-11-28T03:00:00Z", "2026-11-30T21:00:00Z"}, // over the weekend
		{"Mon-Fri 22:00-04:00 Europe/Berlin", "2026-07-01T19:59:00Z", "2026-07-01T20:00:00Z"}, // summer: UTC+2
		{"fri-mon 10:00-11:00", "2026-11-26T10:30:00Z", "2026-11-27T10:00:00Z"},               // a range over the end of the week
		{"Sat,Sun 00:00-24:00", "2026-11-28T23:59:59Z", ""},
		{"Sat,Sun 00:00-24:00", "2026-11-30T00:00:00Z", "2026-12-05T00:00:00Z"},
		{"daily 23:30-00:30", "2026-11-26T00:29:59Z", ""},
		{"daily 23:30-00:30", "2026-11-26T00:30:00Z", "2026-11-26T23:30:00Z"},
		{"Thu 10:00-09:00", "2026-11-26T09:30:00Z", "2026-11-26T10:00:00Z"},
		{"Thu 10:00-09:00", "2026-11-27T08:59:00Z", ""},
		{"Sun 02:00-03:00 Europe/Berlin", "2026-03-29T00:30:00Z", "2026-03-29T01:00:00Z"}, // the hour that the clock skips
		{"daily 01:30-02:30 Europe/Berlin", "2026-10-25T00:00:00Z", ""},                   // the night in which an hour comes twice
		{"Mon 00:00-06:00 America/New_York", "2026-11-30T04:59:59Z", "2026-11-30T05:00:00Z"},
	} {
		w, err := rollout.ParseWindow(c.window)
		if err != nil {
			t.Errorf("%s: %v", c.window, err)
			continue
		}
		want := at(t, c.now)
		if c.want != "" {
			want = at(t, c.want)
		}
		if got := w.Next(at(t, c.now)); !got.Equal(want) {
			t.Errorf("%s at %s: got %s, want %s", c.window, c.now, got.UTC().Format(time.RFC3339), want.Format(time.RFC3339))
		}
	}
}

func TestNoWindows(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]string{
		"":                            "DAYS HH:MM-HH:MM",
		"Mon":                         "DAYS HH:MM-HH:MM",
		"Mon 10:00":                   "DAYS HH:MM-HH:MM",
		"Mo 10:00-11:00":              `"Mo" is no day`,
		"Mon- 10:00-11:00":            `"" is no day`,
		"Mon 25:00-26:00":             `"25:00" is no time`,
		"Mon 24:00-10:00":             `"24:00" is no time`,
		"Mon 10:00-24:30":             `"24:30" is no time`,
		"Mon 10:5-11:00":              `"10:5" is no time`,
		"Mon 10:00-10:00":             "ends when it starts",
		"Mon 10:00-11:00 Mars/Crater": `no time zone "Mars/Crater"`,
		"Mon 10:00-11:00 Local":       `no time zone "Local"`,
		"Mon 10:00-11:00 UTC x":       "DAYS HH:MM-HH:MM",
	} {
		if _, err := rollout.ParseWindow(s); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q", s, err, want)
		}
	}
}

// A window that is open is open at the moment that Next says it opens, and not a second before.
func FuzzWindow(f *testing.F) {
	f.Add("Mon-Fri 22:00-04:00 Europe/Berlin", int64(1795000000))
	f.Add("Sun 02:00-03:00 America/New_York", int64(1710000000))
	f.Fuzz(func(t *testing.T, s string, unix int64) {
		w, err := rollout.ParseWindow(s)
		if err != nil || unix < 0 || unix > 1<<33 {
			return
		}
		now := time.Unix(unix, 0).UTC()
		next := w.Next(now)
		switch {
		case next.IsZero():
			t.Fatalf("%q never opens after %s", s, now)
		case next.Before(now):
			t.Fatalf("%q at %s opened before, at %s", s, now, next)
		case !w.Next(next).Equal(next):
			t.Fatalf("%q is not open when it opens, at %s", s, next)
		case next.After(now) && w.Next(next.Add(-time.Second)).Equal(next.Add(-time.Second)):
			t.Fatalf("%q was open a second before %s", s, next)
		}
	})
}

func TestPlan(t *testing.T) {
	t.Parallel()
	w, err := rollout.ParseWindow("Thu 12:00-13:00")
	if err != nil {
		t.Fatal(err)
	}
	seen := at(t, "2026-11-26T11:50:00Z") // a Thursday
	for _, c := range []struct {
		name      string
		plan      rollout.Plan
		now, want string // want "": never
	}{
		{"nothing waits", rollout.Plan{}, "2026-11-26T11:51:00Z", "2026-11-26T11:51:00Z"},
		{"some time", rollout.Plan{After: 30 * time.Minute}, "2026-11-26T11:51:00Z", "2026-11-26T12:20:00Z"},
		{"some time that is over", rollout.Plan{After: 30 * time.Minute}, "2026-11-26T12:30:00Z", "2026-11-26T12:30:00Z"},
		{"a window", rollout.Plan{Windows: []rollout.Window{w}}, "2026-11-26T11:51:00Z", "2026-11-26T12:00:00Z"},
		{"both", rollout.Plan{After: 30 * time.Minute, Windows: []rollout.Window{w}}, "2026-11-26T11:51:00Z", "2026-11-26T12:20:00Z"},
		{"both, and the window is over by then", rollout.Plan{After: 2 * time.Hour, Windows: []rollout.Window{w}}, "2026-11-26T11:51:00Z", "2026-12-03T12:00:00Z"},
		{"by hand", rollout.Plan{ByHand: true, Windows: []rollout.Window{w}}, "2026-11-26T12:30:00Z", ""},
	} {
		got := c.plan.When(seen, at(t, c.now))
		if c.want == "" != got.IsZero() || c.want != "" && !got.Equal(at(t, c.want)) {
			t.Errorf("%s: got %s, want %q", c.name, got, c.want)
		}
	}
	var p rollout.Plan
	for s, want := range map[string]bool{"never": true, "0s": true, "1h30m": true, "-1s": false, "soon": false, "": false} {
		if err := p.ParseAfter(s); err == nil != want {
			t.Errorf("--approve-after %q: %v", s, err)
		}
	}
}
