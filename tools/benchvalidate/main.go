// Command benchvalidate measures `flexgw validate` against kubeconform on the same generated files and prints the ratio.
//
// Both run as whole processes, alternated A B A B on one machine, so that what else runs there meets both. kubeconform
// gets our JSON Schemas and its own default parallelism; it checks shape alone, while flexgw also links and renders. Times
// are only worth something as ratios of one run, so nothing fails on a slow one; what fails is a validator that does not
// validate.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/flexgw/flexgw/e2e/workload"
	"github.com/flexgw/flexgw/schema"
)

const peer = "github.com/yannh/kubeconform/cmd/kubeconform@v0.8.0"

func main() {
	var b bench
	sizes := flag.String("n", "1,100,10000", "numbers of files")
	flag.IntVar(&b.pairs, "pairs", 7, "how often each pair runs")
	flag.StringVar(&b.flexgw, "flexgw", "", "flexgw binary (default: built from the working directory)")
	flag.StringVar(&b.kubeconform, "kubeconform", "", "kubeconform binary (default: "+peer+")")
	flag.BoolVar(&b.cached, "cached", false, "measure validate --cache against itself, and not against kubeconform")
	flag.Parse()
	if err := b.run(strings.Split(*sizes, ",")); err != nil {
		fmt.Fprintln(os.Stderr, "benchvalidate:", err)
		os.Exit(1)
	}
}

type bench struct {
	pairs               int
	cached              bool
	flexgw, kubeconform string
	dir                 string // everything that is written
}

func (b *bench) run(sizes []string) error {
	var err error
	if b.dir, err = os.MkdirTemp("", "benchvalidate"); err != nil {
		return err
	}
	defer os.RemoveAll(b.dir)
	size := b.size
	if b.cached {
		size = b.sizeCached
	}
	if err := b.prepare(); err != nil {
		return err
	}
	if b.cached {
		fmt.Printf("%d CPUs, %s; %d rounds; medians, least and most in brackets\n\n", runtime.NumCPU(), runtime.Version(), b.pairs)
		fmt.Printf("%7s  %-28s %-28s %-7s %-28s %s\n", "files", "validate", "--cache, nothing changed", "ratio", "--cache, one file changed", "ratio")
	} else {
		fmt.Printf("%d CPUs, %s, %s; %d pairs; medians, least and most in brackets\n\n", runtime.NumCPU(), runtime.Version(), peer[strings.LastIndexByte(peer, '/')+1:], b.pairs)
		fmt.Printf("%7s  %-28s %-28s %s\n", "files", "flexgw validate", "kubeconform", "ratio")
	}
	for _, s := range sizes {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 {
			return fmt.Errorf("no number of files: %q", s)
		}
		if err := size(n); err != nil {
			return fmt.Errorf("%d files: %w", n, err)
		}
	}
	return nil
}

// prepare gets both validators and makes sure that each takes what is right and refuses what is not.
func (b *bench) prepare() error {
	if b.flexgw == "" {
		b.flexgw = filepath.Join(b.dir, "flexgw")
		if err := command("go", "build", "-o", b.flexgw, "github.com/flexgw/flexgw").Run(); err != nil {
			return fmt.Errorf("build flexgw: %w", err)
		}
	}
	if b.cached {
		return nil
	}
	if b.kubeconform == "" {
		c := command("go", "install", peer)
		c.Env = append(c.Environ(), "GOBIN="+b.dir, "GOFLAGS=")
		if err := c.Run(); err != nil {
			return fmt.Errorf("install kubeconform: %w", err)
		}
		b.kubeconform = filepath.Join(b.dir, "kubeconform")
	}
	schemas := filepath.Join(b.dir, "schemas")
	if err := os.Mkdir(schemas, 0o755); err != nil {
		return err
	}
	for _, k := range schema.Kinds() {
		text, _ := schema.KindSchema(k)
		if err := os.WriteFile(filepath.Join(schemas, strings.ToLower(k)+".json"), text, 0o644); err != nil {
			return err
		}
	}
	right := workload.API(0, "1", workload.Options{})
	for name, text := range map[string]string{"right": right, "wrong": strings.Replace(right, "  address:", "  adress:", 1)} {
		dir := filepath.Join(b.dir, name)
		if err := write(dir, map[string]string{"api.yaml": text}); err != nil {
			return err
		}
		for _, run := range b.both(dir) {
			if _, err := run(); (err == nil) != (name == "right") {
				return fmt.Errorf("a validator is mistaken about the file that is %s: %v", name, err)
			}
		}
	}
	return nil
}

func command(name string, args ...string) *exec.Cmd {
	c := exec.Command(name, args...)
	c.Stdout, c.Stderr = os.Stderr, os.Stderr
	return c
}

func write(dir string, files map[string]string) error {
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// sample is one run of a process.
type sample struct {
	wall time.Duration
	rss  int64 // the most that was resident, in KiB
}

// both are flexgw and kubeconform on a folder.
func (b *bench) both(dir string) []func() (sample, error) {
	return []func() (sample, error){
		func() (sample, error) { return measure(b.flexgw, "validate", dir) },
		func() (sample, error) {
			return measure(b.kubeconform, "-schema-location", filepath.Join(b.dir, "schemas", "{{.ResourceKind}}.json"), dir)
		},
	}
}

func measure(name string, args ...string) (sample, error) {
	c := exec.Command(name, args...)
	start := time.Now()
	out, err := c.CombinedOutput()
	s := sample{wall: time.Since(start)}
	if err != nil {
		return s, fmt.Errorf("%s: %w\n%s", filepath.Base(name), err, out[:min(len(out), 2000)])
	}
	u, ok := c.ProcessState.SysUsage().(*syscall.Rusage)
	if !ok {
		return s, errors.New("this system does not say how much memory a process took")
	}
	s.rss = u.Maxrss
	return s, nil
}

// files writes so many declarations, one a file.
func (b *bench) files(n int) (dir string, err error) {
	dir = filepath.Join(b.dir, strconv.Itoa(n))
	files := map[string]string{}
	for i := range n {
		files[workload.Name(i)+".yaml"] = workload.API(i, "1", workload.Options{Seed: 1})
	}
	return dir, write(dir, files)
}

// sizeCached compares a run without a cache with one that finds all of it there, and one after one file has changed.
func (b *bench) sizeCached(n int) error {
	dir, err := b.files(n)
	if err != nil {
		return err
	}
	cache := filepath.Join(b.dir, "cache"+strconv.Itoa(n))
	if _, err := measure(b.flexgw, "validate", dir, "--cache", cache); err != nil {
		return err
	}
	var samples [3][]sample
	var ratios [3][]float64
	for i := range b.pairs {
		for k := range samples {
			args := []string{"validate", dir}
			if k > 0 {
				args = append(args, "--cache", cache)
			}
			if k == 2 {
				changed := n / (i + 2)
				if err := os.WriteFile(filepath.Join(dir, workload.Name(changed)+".yaml"), []byte(workload.API(changed, strconv.Itoa(i+2), workload.Options{Seed: 1})), 0o644); err != nil {
					return err
				}
			}
			s, err := measure(b.flexgw, args...)
			if err != nil {
				return err
			}
			samples[k] = append(samples[k], s)
			ratios[k] = append(ratios[k], float64(s.wall)/float64(samples[0][i].wall))
		}
	}
	line := fmt.Sprintf("%7d  %-28s", n, summary(samples[0]))
	for k := 1; k < 3; k++ {
		slices.Sort(ratios[k])
		line += fmt.Sprintf(" %-28s %-7.2f", summary(samples[k]), ratios[k][len(ratios[k])/2])
	}
	fmt.Println(line)
	return nil
}

func (b *bench) size(n int) error {
	dir, err := b.files(n)
	if err != nil {
		return err
	}
	var ours, theirs []sample
	var ratios []float64
	for range b.pairs {
		var pair [2]sample
		for i, run := range b.both(dir) {
			var err error
			if pair[i], err = run(); err != nil {
				return err
			}
		}
		ours, theirs = append(ours, pair[0]), append(theirs, pair[1])
		ratios = append(ratios, float64(pair[0].wall)/float64(pair[1].wall))
	}
	slices.Sort(ratios)
	fmt.Printf("%7d  %-28s %-28s %.2f (%.2f-%.2f)\n", n, summary(ours), summary(theirs), ratios[len(ratios)/2], ratios[0], ratios[len(ratios)-1])
	return nil
}

// summary is the median wall time with its spread, and the largest memory.
func summary(l []sample) string {
	l = slices.SortedFunc(slices.Values(l), func(a, b sample) int { return int(a.wall - b.wall) })
	most := slices.MaxFunc(l, func(a, b sample) int { return int(a.rss - b.rss) })
	ms := func(s sample) string { return strconv.FormatInt(s.wall.Milliseconds(), 10) }
	return fmt.Sprintf("%s ms (%s-%s) %d MiB", ms(l[len(l)/2]), ms(l[0]), ms(l[len(l)-1]), most.rss>>10)
}
