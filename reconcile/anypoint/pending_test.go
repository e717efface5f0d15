package anypoint_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/flexgw/flexgw/reconcile/anypoint"
)

func pending(t testing.TB, dir string) *anypoint.Pending {
	t.Helper()
	p, err := anypoint.NewPending("orders-edge", anypoint.In{Organization: org}, "https://anypoint.example.com", now)
	if err == nil {
		err = p.Write(dir)
	}
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestPendingIsKept: what a registration takes outlives who began it, for its owner alone.
func TestPendingIsKept(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if p, err := anypoint.ReadPending(dir); p != nil || err != nil {
		t.Fatal(p, err)
	}
	p := pending(t, dir)
	if info, err := os.Stat(filepath.Join(dir, ".registration-pending")); err != nil || info.Mode().Perm() != 0o600 {
		t.Error(info.Mode(), err)
	}
	got, err := anypoint.ReadPending(dir)
	if err != nil {
		t.Fatal(err)
	}
	if got.Request() != p.Request() || !got.Key.Equal(p.Key) || !got.Since.Equal(now) || !got.Again || p.Again {
		t.Errorf("got %+v, want %+v", got, p)
	}
	const base = "https://anypoint.example.com"
	for _, c := range []struct {
		name, org, env, base string
		want                 bool
	}{
		{"orders-edge", org, "", base, true},
		{"orders-edge", org, environment, base, true}, // a token does not say its environment
		{"other", org, "", base, false},
		{"orders-edge", "other", "", base, false},
		{"orders-edge", org, "", "https://eu1.example.com", false},
	} {
		if got.Is(c.name, anypoint.In{Organization: c.org, Environment: c.env}, c.base) != c.want {
			t.Errorf("%+v", c)
		}
	}
	got.Environment = environment
	if got.Is("orders-edge", anypoint.In{Organization: org, Environment: "other"}, base) {
		t.Error("another environment is the same")
	}
	f := registration(t)
	write(t, f, dir, anypoint.WriteOptions{})
	if got.WrittenTo(dir) {
		t.Error("another registration is taken for it")
	}
	got.Key = f.Key
	if !got.WrittenTo(dir) {
		t.Error("it is written, and not found")
	}
	// What a run that was killed has left of the key goes with it; of others nothing does.
	other := pending(t, t.TempDir())
	for name, text := range map[string]string{".flexgw-1": readText(t, got.Path), ".flexgw-2": readText(t, filepath.Join(dir, "registration.yaml")), ".flexgw-3": "", ".flexgw-4": readText(t, other.Path)} {
		writeText(t, filepath.Join(dir, name), text)
	}
	got.Key = p.Key
	if err := got.Remove(); err != nil {
		t.Error(err)
	}
	got.Key = f.Key
	if err := got.Remove(); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff([]string{".flexgw-3", ".flexgw-4", "registration.yaml"}, names(t, dir)); diff != "" {
		t.Error("-want +got\n" + diff)
	}
	if p, err := anypoint.ReadPending(dir); p != nil || err != nil {
		t.Error(p, err)
	}
}

// TestBrokenPending is no reason to begin anew: a key may be in it.
func TestBrokenPending(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	pending(t, dir)
	path := filepath.Join(dir, anypoint.PendingName)
	whole := readText(t, path)
	other := t.TempDir()
	pending(t, other)
	key := func(text string) string { return text[strings.Index(text, `"key":`):] }
	for name, text := range map[string]string{
		"empty": "", "half": whole[:len(whole)/2], "of somebody else": "{}",
		"another key": strings.Replace(whole, key(whole), key(readText(t, filepath.Join(other, anypoint.PendingName))), 1),
	} {
		writeText(t, path, text)
		if p, err := anypoint.ReadPending(dir); p != nil || err == nil || !strings.Contains(err.Error(), path+": it is not what flexgw register keeps") || strings.Contains(err.Error(), "PRIVATE") {
			t.Errorf("%s: %v, %v", name, p, err)
		}
	}
}

// TestSettled: what was asked for is forgotten only where the platform is known to have made nothing of it.
func TestSettled(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		kind         anypoint.Kind
		status       int
		doubt        bool
		first, again bool // whether it is settled, of a new request, and of one that a run before has made
	}{
		{kind: anypoint.NameTaken, status: 400, first: true, again: true},
		{kind: anypoint.NameTaken, status: 400, doubt: true, first: true, again: true},
		{kind: anypoint.Deleted, status: 410, first: true, again: true},
		{kind: anypoint.Unexpected, status: 413, first: true, again: true},
		{kind: anypoint.TokenUnknown, status: 400, first: true},             // the token is too old to hear of the gateway that it made
		{kind: anypoint.TokenUnknown, status: 400, doubt: true},             // it was not, one try ago
		{kind: anypoint.Unauthorized, status: 401, first: true},             //
		{kind: anypoint.Forbidden, status: 403, first: true},                //
		{kind: anypoint.NotFound, status: 404, first: true},                 //
		{kind: anypoint.Busy, status: 429, first: true},                     //
		{kind: anypoint.Busy, status: 429, doubt: true},                     //
		{kind: anypoint.Unavailable, first: true},                           // nobody was reached
		{kind: anypoint.Unavailable, doubt: true},                           // cut
		{kind: anypoint.Unavailable, status: 502, doubt: true},              //
		{kind: anypoint.NoPlatform, status: 200, doubt: true},               // a page of a proxy
		{kind: anypoint.Unexpected, status: 408, doubt: true, first: false}, //
		{kind: anypoint.Unexpected, status: 199, doubt: true, again: false}, //
	} {
		e := &anypoint.Error{Kind: c.kind, Status: c.status, Doubt: c.doubt}
		if got := (&anypoint.Pending{}).Settled(e); got != c.first {
			t.Errorf("%+v: settled %v at first", c, got)
		}
		if got := (&anypoint.Pending{Again: true}).Settled(e); got != c.again {
			t.Errorf("%+v: settled %v again", c, got)
		}
	}
	if (&anypoint.Pending{}).Settled(os.ErrClosed) {
		t.Error("an error that nobody knows settles nothing")
	}
}
