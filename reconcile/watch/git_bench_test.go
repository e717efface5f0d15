package watch_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/flexgw/flexgw/reconcile/watch"
)

// sizeOf is how many bytes and packs are below a folder, from which files may go meanwhile.
func sizeOf(t testing.TB, dir string) (bytes int64, packs int) {
	t.Helper()
	err := filepath.WalkDir(dir, func(p string, d os.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) || err == nil && !d.Type().IsRegular() {
			return nil
		}
		if err != nil {
			return err
		}
		if strings.HasSuffix(p, ".pack") {
			packs++
		}
		if info, err := d.Info(); err == nil {
			bytes += info.Size()
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return bytes, packs
}

// TestAThousandCommits follows a repository through a thousand random commits, some of them several at a time: every head is
// exactly what git has, memory and store stay bounded, and what was taken before can be read.
func TestAThousandCommits(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: a thousand commits")
	}
	for _, verify := range []bool{false, true} {
		t.Run(map[bool]string{false: "shallow", true: "verified"}[verify], func(t *testing.T) {
			r := newRemote(t)
			random := rand.New(rand.NewPCG(8, 8))
			want := map[string]string{}
			noise := func(n int) string { // does not deflate
				var b strings.Builder
				for b.Len() < n {
					fmt.Fprintf(&b, "%016x", random.Uint64())
				}
				return b.String()
			}
			const rounds, each = 125, 8
			seen, last := 0, ""
			o := watch.GitOptions{Dir: filepath.Join(t.TempDir(), "git"), Limits: watch.GitLimits{Packs: 8, Grown: 256 << 10}}
			if verify {
				o.Verify = func(_ context.Context, h watch.History) error {
					for c, err := range h.Commits() {
						if err != nil {
							return err
						}
						if len(c.Parents) > 0 && c.Parents[0] != last {
							return fmt.Errorf("%s does not follow %s", c.ID, last)
						}
						last = c.ID
						seen++
					}
					return nil
				}
			}
			s := follow(t, o, "file://"+r.bare)
			var packs, stores int
			var least, most uint64
			var largest int64
			commit := 0
			for round := range rounds {
				var script strings.Builder
				for range each {
					commit++
					fmt.Fprintf(&script, "commit refs/heads/main\nmark :%d\ncommitter a <a@example.org> %d +0000\ndata 1\n%d\n", commit, 1700000000+commit, commit%10)
					if round > 0 && script.Len() < 200 {
						fmt.Fprint(&script, "from refs/heads/main^0\n")
					}
					for range 1 + random.IntN(3) {
						name := fmt.Sprintf("%d/%d.yaml", random.IntN(5), random.IntN(20))
						if random.IntN(5) == 0 && want[name] != "" {
							delete(want, name)
							fmt.Fprintf(&script, "D %s\n", name)
							continue
						}
						want[name] = noise(16 + random.IntN(2000))
						fmt.Fprintf(&script, "M 100644 inline %s\ndata %d\n%s\n", name, len(want[name]), want[name])
					}
					fmt.Fprintln(&script)
				}
				r.write("import", script.String())
				r.in(r.bare, "-c", "alias.x=!git fast-import --quiet < "+filepath.Join(r.dir, "import"), "x")
				set, err := looked(t, s)
				if err != nil {
					t.Fatal(err)
				}
				got := contents(t, set)
				if len(got) != len(want) {
					t.Fatalf("round %d: %d files, want %d", round, len(got), len(want))
				}
				for name, text := range want {
					if got[name] != text {
						t.Fatalf("round %d: %s is not what was committed", round, name)
					}
				}
				bytes, n := sizeOf(t, o.Dir)
				largest, packs = max(largest, bytes), max(packs, n)
				list, err := os.ReadDir(o.Dir)
				if err != nil {
					t.Fatal(err)
				}
				stores = max(stores, len(list))
				if round%25 == 24 {
					runtime.GC()
					var m runtime.MemStats
					runtime.ReadMemStats(&m)
					if least == 0 {
						least = m.HeapAlloc
					}
					most = max(most, m.HeapAlloc)
				}
			}
			if verify && seen != rounds*each {
				t.Errorf("%d commits were verified of %d", seen, rounds*each)
			}
			if head := r.in(r.bare, "rev-parse", "main"); verify && last != head {
				t.Errorf("the last that was verified is %s, not the head %s", last, head)
			}
			t.Logf("store %d KiB at most, in %d packs and %d entries; heap %d to %d KiB", largest>>10, packs, stores, least>>10, most>>10)
			if packs > 3*(8+2) || stores > 4 { // the store, the one before, and one that is being filled
				t.Errorf("the store has %d packs and %d entries", packs, stores)
			}
			if whole := int64(commit) * 2 * 1100; !verify && largest > whole*2/3 || verify && largest > 4*whole {
				t.Errorf("the store has %d KiB, and all that was ever committed about %d", largest>>10, whole>>10)
			}
			if most > least+(32<<20) {
				t.Errorf("memory grew from %d to %d KiB", least>>10, most>>10)
			}
		})
	}
}

// TestClonedAnew: a store that has grown is replaced, and what was taken from it can be read on; the head that was taken is
// remembered.
func TestClonedAnew(t *testing.T) {
	t.Parallel()
	r := newRemote(t)
	first := r.push("a.yaml", "1")
	o := watch.GitOptions{Dir: filepath.Join(t.TempDir(), "git"), Limits: watch.GitLimits{Grown: 1}}
	s := follow(t, o, smart(t, r, nil).URL+"/gateway.git")
	set, err := looked(t, s)
	if err != nil || set.Revision != first {
		t.Fatal(set.Revision, err)
	}
	for i := range 20 {
		r.push("a.yaml", fmt.Sprint(i))
		before := set
		if set, err = looked(t, s); err != nil {
			t.Fatal(err)
		}
		if set, err = looked(t, s); err != nil { // nothing new: time to tidy
			t.Fatal(err)
		}
		contents(t, before)
		if got := contents(t, set)["a.yaml"]; got != fmt.Sprint(i) {
			t.Errorf("got %q, want %d", got, i)
		}
	}
	if _, err := os.Stat(filepath.Join(o.Dir, "1")); err == nil {
		t.Error("the first store is still there: it was never replaced, or never removed")
	}
	before, _ := sizeOf(t, o.Dir)
	s.Close()
	s = follow(t, o, "file://"+r.bare)
	if set, err = looked(t, s); err != nil || contents(t, set)["a.yaml"] != "19" {
		t.Error(err)
	}
	if after, _ := sizeOf(t, o.Dir); after >= before {
		t.Errorf("%d bytes before, %d after", before, after)
	}
}

// BenchmarkOneOfTenThousand is from a look to the changed bytes, in a repository of 10,000 files of which one changed.
func BenchmarkOneOfTenThousand(b *testing.B) {
	for _, way := range []string{"file", "http"} {
		b.Run(way, func(b *testing.B) {
			r := newRemote(b)
			r.write("import", importOf(10_000, "main"))
			r.in(r.bare, "-c", "alias.x=!git fast-import --quiet < "+filepath.Join(r.dir, "import"), "x")
			url := "file://" + r.bare
			if way == "http" {
				url = smart(b, r, nil).URL + "/gateway.git"
			}
			s := follow(b, watch.GitOptions{}, url)
			if set, err := looked(b, s); err != nil || len(set.Files) != 10_000 {
				b.Fatal(len(set.Files), err)
			}
			var took []time.Duration
			for i := 0; b.Loop(); i++ {
				b.StopTimer()
				text := fmt.Sprintf("b: %d\n", i)
				r.write("import", fmt.Sprintf("commit refs/heads/main\ncommitter a <a@example.org> %d +0000\ndata 1\nx\nfrom refs/heads/main^0\nM 100644 inline 042/4242.yaml\ndata %d\n%s\n", 1700000001+i, len(text), text))
				r.in(r.bare, "-c", "alias.x=!git fast-import --quiet < "+filepath.Join(r.dir, "import"), "x")
				b.StartTimer()
				start := time.Now()
				set, err := looked(b, s)
				if err != nil {
					b.Fatal(err)
				}
				got, err := set.Bytes("042/4242.yaml")
				if err != nil || string(got) != text {
					b.Fatalf("%q %v", got, err)
				}
				took = append(took, time.Since(start))
			}
			reportMedian(b, took)
		})
	}
}

func reportMedian(b *testing.B, took []time.Duration) {
	b.Helper()
	if len(took) == 0 {
		return
	}
	sorted := append([]time.Duration(nil), took...)
	for i := range sorted {
		for j := i; j > 0 && sorted[j] < sorted[j-1]; j-- {
			sorted[j], sorted[j-1] = sorted[j-1], sorted[j]
		}
	}
	b.ReportMetric(float64(sorted[len(sorted)/2].Microseconds())/1000, "median-ms")
	b.ReportMetric(float64(sorted[len(sorted)-1].Microseconds())/1000, "max-ms")
}
