package watch_test

import (
	"context"
	"strings"
	"testing"

	"github.com/flexgw/flexgw/reconcile/watch"
)

// A commit before the newest can be had as long as it is in its history, and, when commits are verified, was verified.
func TestFetchAt(t *testing.T) {
	t.Parallel()
	r := newRemote(t)
	first := r.push("a.yaml", "a: 1")
	second := r.push("a.yaml", "a: 2")
	text := func(s *watch.GitSource, rev string) string {
		t.Helper()
		set, err := s.FetchAt(t.Context(), rev)
		if err != nil {
			return err.Error()
		}
		b, err := set.Bytes("a.yaml")
		if err != nil || set.Commit == nil || set.Commit.ID != set.Revision || !strings.HasPrefix(set.Revision, rev) {
			t.Errorf("%s: %+v, %v", rev, set, err)
		}
		return string(b)
	}
	look := func(s *watch.GitSource) {
		t.Helper()
		if err := s.Look(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	verified := follow(t, watch.GitOptions{Verify: func(context.Context, watch.History) error { return nil }}, "file://"+r.bare)
	free := follow(t, watch.GitOptions{}, "file://"+r.bare)
	look(verified)
	look(free)
	r.git("checkout", "-q", "-b", "side", first)
	r.write("b.yaml", "b: 1")
	side := r.commit("side")
	r.git("push", "-q", "origin", "side")
	r.git("checkout", "-q", "main")
	third := r.push("a.yaml", "a: 3")
	fourth := r.push("a.yaml", "a: 4")
	for _, s := range []*watch.GitSource{verified, free} {
		look(s)
		for rev, want := range map[string]string{fourth: "a: 4", third: "a: 3", third[:8]: "a: 3", second: "a: 2"} {
			if got := text(s, rev); got != want {
				t.Errorf("%s: %q, want %q", rev, got, want)
			}
		}
		for rev, want := range map[string]string{side: side + " is not in the history of " + fourth, side[:8]: side[:8] + " is not in the history of " + fourth, strings.Repeat("0", 40): "(--ref HEAD)", "main": "is no commit", "HEAD~1": "is no commit"} {
			if got := text(s, rev); !strings.Contains(got, want) || strings.HasPrefix(got, "a: ") {
				t.Errorf("%s: %q", rev, got)
			}
		}
	}
	if got := text(verified, first); !strings.Contains(got, "nobody verified it") {
		t.Errorf("a commit from before verification began: %q", got)
	}
}
