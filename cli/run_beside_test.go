package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/flexgw/flexgw/reconcile/anypoint"
	"github.com/flexgw/flexgw/reconcile/store"
	"github.com/flexgw/flexgw/reconcile/watch"
	"github.com/flexgw/flexgw/schema/source"
)

// besideRoom is a daemon's source in a folder, with a registration beside the declarations.
type besideRoom struct {
	t          *testing.T
	dir, state string
	src        watch.Source
	d          *daemon
}

func newBesideRoom(t *testing.T) *besideRoom {
	t.Helper()
	r := &besideRoom{t: t, dir: t.TempDir(), state: filepath.Join(t.TempDir(), "last-good")}
	r.restart()
	t.Cleanup(func() { r.src.Close() })
	return r
}

// restart is the next daemon on the same folders.
func (r *besideRoom) restart() {
	r.t.Helper()
	if r.src != nil {
		r.src.Close()
	}
	r.d = &daemon{source: r.dir, registrar: &registrar{path: filepath.Join(r.dir, anypoint.FileName)}, last: store.New(r.state), pipeline: newPipeline(Env{Getenv: func(string) (string, bool) { return "", false }})}
	var err error
	if r.src, err = r.d.follow(); err != nil {
		r.t.Fatal(err)
	}
}

func (r *besideRoom) write(name, text string) {
	r.t.Helper()
	path := filepath.Join(r.dir, name)
	if err := os.RemoveAll(path); err != nil {
		r.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		r.t.Fatal(err)
	}
}

// now are the APIs of the revision that is there; broken: it would be refused, or nothing was learned.
func (r *besideRoom) now() (set source.Set, apis string, broken error) {
	set, err := r.src.Fetch(r.t.Context())
	if err != nil {
		return set, "", err
	}
	g, list := r.d.pipeline.model(set)
	if list.HasErrors() {
		return set, "", list.Err()
	}
	var all []string
	for _, l := range g.Listeners {
		for _, a := range l.APIs {
			all = append(all, strings.TrimPrefix(a.BasePath, "/"))
		}
	}
	slices.Sort(all)
	return set, strings.Join(all, " "), nil
}

// until waits for what Fetch learns from the folder's events.
func (r *besideRoom) until(what string, ok func(apis string, broken error) bool) source.Set {
	r.t.Helper()
	for end := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		set, apis, err := r.now()
		if ok(apis, err) {
			return set
		}
		if time.Now().After(end) {
			r.t.Fatalf("%s: %q, %v", what, apis, err)
		}
	}
}

func (r *besideRoom) serves(what, want string) source.Set {
	r.t.Helper()
	return r.until(what, func(apis string, broken error) bool { return broken == nil && apis == want })
}

func (r *besideRoom) refuses(what, words string) {
	r.t.Helper()
	r.until(what, func(_ string, broken error) bool { return broken != nil && strings.Contains(broken.Error(), words) })
}

func apiNamed(name string) string {
	return "apiVersion: gateway.mulesoft.com/v1alpha1\nkind: ApiInstance\nmetadata:\n  name: " + name + "\nspec:\n  address: http://127.0.0.1:8081/" + name + "\n  services:\n    up:\n      address: http://127.0.0.1:1\n"
}

// TestRegistrationNeverDecides: whatever is wrong with a registration beside the declarations, they are served, and edits of them go live.
func TestRegistrationNeverDecides(t *testing.T) {
	t.Parallel()
	s := newSigner(t)
	whole := map[bool]map[string]string{}
	for _, split := range []bool{false, true} {
		dir := t.TempDir()
		if err := s.file(t, time.Now().Add(100*day)).Write(dir, anypoint.WriteOptions{Split: split}); err != nil {
			t.Fatal(err)
		}
		whole[split] = map[string]string{}
		for _, name := range []string{anypoint.FileName, anypoint.CertificateName} {
			if b, err := os.ReadFile(filepath.Join(dir, name)); err == nil {
				whole[split][name] = string(b)
			}
		}
	}
	link := func(to string) func(string) error { return func(path string) error { return os.Symlink(to, path) } }
	text := func(f func(string) string) func(string, string) func(string) error {
		return func(_, whole string) func(string) error {
			return func(path string) error { return os.WriteFile(path, []byte(f(whole)), 0o600) }
		}
	}
	always := func(f func(string) error) func(string, string) func(string) error {
		return func(string, string) func(string) error { return f }
	}
	for name, spoil := range map[string]func(name, whole string) func(path string) error{
		"cut":            text(func(s string) string { return s[:len(s)/2] }),
		"cut in a field": text(func(s string) string { return s[:strings.Index(s, "spec:")+9] }),
		"not UTF-8":      text(func(s string) string { return "\xff" + s }),
		"empty":          text(func(string) string { return "" }),
		"no key":         text(func(s string) string { return strings.ReplaceAll(s, "tls.key", "tls.kee") }),
		"no YAML":        text(func(string) string { return "a: [" }),
		"too large":      text(func(string) string { return strings.Repeat("#\n", 1<<19+1) }),
		"leads nowhere":  always(link("/nowhere/at/all")),
		"in a circle":    always(link(anypoint.FileName)),
		"a pipe":         always(func(path string) error { return syscall.Mkfifo(path, 0o600) }),
		"unreadable":     always(func(path string) error { return os.WriteFile(path, []byte("x"), 0) }),
		"a folder":       always(func(path string) error { return os.Mkdir(path, 0o700) }),
	} {
		for split, files := range whole {
			for file := range files {
				t.Run(fmt.Sprintf("%s/%s/%v", name, file, split), func(t *testing.T) {
					t.Parallel()
					r := newBesideRoom(t)
					r.write("gw.yaml", apiNamed("alpha"))
					for file, text := range files {
						r.write(file, text)
					}
					good := r.serves("whole", "alpha")
					for _, f := range good.Files {
						if b, err := f.Bytes(); err != nil || strings.Contains(string(b), "tls.key") && strings.Contains(string(b), "LS0t") {
							t.Errorf("%s: the key is in a revision: %v", f.Name, err)
						}
					}
					path := filepath.Join(r.dir, file)
					if err := os.Remove(path); err != nil {
						t.Fatal(err)
					}
					if err := spoil(file, files[file])(path); err != nil {
						t.Fatal(err)
					}
					r.write("gw.yaml", apiNamed("beta"))
					r.serves("an edit", "beta")
					r.restart()
					r.serves("a first start", "beta")
					r.write("gw.yaml", apiNamed("alpha"))
					r.serves("an edit after it", "alpha")
					if err := os.RemoveAll(path); err != nil {
						t.Fatal(err)
					}
					r.write(file, files[file])
					again := r.until("mended", func(string, error) bool { set, _, err := r.now(); return err == nil && set.Revision == good.Revision })
					if again.Revision != good.Revision {
						t.Errorf("got %s, want %s", again.Revision, good.Revision)
					}
				})
			}
		}
	}
}

// TestRegistrationAmongDeclarations: a file that declares other things too is one of the declarations: while nobody can tell what is in it,
// what was served stays.
func TestRegistrationAmongDeclarations(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := newSigner(t).file(t, time.Now().Add(100*day)).Write(dir, anypoint.WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(dir, anypoint.FileName))
	if err != nil {
		t.Fatal(err)
	}
	whole := string(b)
	r := newBesideRoom(t)
	r.write("gw.yaml", apiNamed("alpha"))
	r.write(anypoint.FileName, whole+"---\n"+apiNamed("beta"))
	set := r.serves("both", "alpha beta")
	if err := r.d.last.Save(set, nil); err != nil {
		t.Fatal(err)
	}
	r.write(anypoint.FileName, strings.ReplaceAll(whole, "tls.key", "tls.kee")+"---\n"+apiNamed("beta"))
	r.write("gw.yaml", apiNamed("gamma"))
	r.serves("the registration alone is broken", "beta gamma")
	r.write(anypoint.FileName, whole+"---\n"+strings.Replace(apiNamed("beta"), "address: http", "adress: http", 1))
	r.refuses("the API is broken", "adress")
	for range 2 {
		r.write(anypoint.FileName, whole+"---\n"+apiNamed("beta")+"\t- [")
		r.refuses("nobody can tell", anypoint.FileName)
		r.write(anypoint.FileName, whole[:len(whole)/2]+"\n\ta: [")
		r.refuses("nobody can tell, and it had an API", anypoint.FileName)
		path := filepath.Join(r.dir, anypoint.FileName)
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink("/nowhere/at/all", path); err != nil {
			t.Fatal(err)
		}
		r.refuses("it cannot be read, and it had an API", "leads nowhere")
		r.restart() // which knows it from what was served
	}
	if err := os.Remove(filepath.Join(r.dir, anypoint.FileName)); err != nil {
		t.Fatal(err)
	}
	r.serves("it is removed", "gamma")
	// Without its own key pair it may be split; certificate.yaml may be something else all the same.
	r.write(anypoint.FileName, whole[:strings.LastIndex(whole, "---\n")])
	r.write(anypoint.CertificateName, apiNamed("delta"))
	r.serves("a certificate.yaml of somebody", "delta gamma")
	r.write(anypoint.CertificateName, strings.Replace(apiNamed("delta"), "address: http", "adress: http", 1))
	r.refuses("a certificate.yaml of somebody that is broken", "adress")
}

// TestRegistrationOfAnotherName: what --registration names is the registration wherever it stands in the folder.
func TestRegistrationOfAnotherName(t *testing.T) {
	t.Parallel()
	r := newBesideRoom(t)
	r.write("gw.yaml", apiNamed("alpha"))
	if err := os.Mkdir(filepath.Join(r.dir, "conf"), 0o700); err != nil {
		t.Fatal(err)
	}
	r.write("conf/v2.yaml", "kind: [")
	r.refuses("nobody named it", "conf/v2.yaml")
	r.d.registrar.path = filepath.Join(r.dir, "conf", "v2.yaml")
	r.serves("it is named", "alpha")
}

// TestRegistrationInARepository: a registration in a commit is left aside, and the revision stays the commit.
func TestRegistrationInARepository(t *testing.T) {
	t.Parallel()
	d := &daemon{registrar: &registrar{}, last: store.New(filepath.Join(t.TempDir(), "last-good")), pipeline: newPipeline(Env{Getenv: func(string) (string, bool) { return "", false }})}
	b := d.withoutRegistration("")
	set := source.Set{Revision: "0123abcd", Files: []source.File{
		source.NewFile("gw.yaml", []byte(apiNamed("alpha"))),
		source.NewFile(anypoint.FileName, []byte("apiVersion: gateway.mulesoft.com/v1alpha1\nkind: Configuration\nspec:\n  platformConnection: [")),
	}}
	now := b.without(set)
	if g, list := d.pipeline.model(now); list.HasErrors() || len(g.Listeners) != 1 || now.Revision != set.Revision || len(now.Files) != 2 {
		t.Errorf("got %+v, %v", now, list)
	}
	if src, err := set.Bytes(anypoint.FileName); err != nil || !strings.HasSuffix(string(src), "[") {
		t.Errorf("the set that was given has changed: %q %v", src, err)
	}
}
