package preflight_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/flexgw/flexgw/reconcile/preflight"
	"github.com/flexgw/flexgw/schema/ir"
)

// today is the day of the tests.
var today = time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)

// good is a host with nothing to complain of, as files of a root folder; a test changes what it is about.
func good() map[string]string {
	return map[string]string{
		"/etc/os-release":                      "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nID=debian\nVERSION_ID=\"12\"\nVERSION_CODENAME=bookworm\n",
		"/lib/x86_64-linux-gnu/libc.so.6":      "\x7fELF\x00GNU C Library (Debian GLIBC 2.36-9) stable release version 2.36.\n\x00",
		"/proc/version":                        "Linux version 6.1.0 (debian)\n",
		"/proc/cpuinfo":                        strings.Repeat("processor\t: 0\nmodel name\t: x\n\n", 8),
		"/proc/meminfo":                        "MemTotal:       33554432 kB\nMemFree: 1 kB\n",
		"/proc/self/cgroup":                    "0::/user.slice\n",
		"/sys/fs/cgroup/user.slice/cpu.max":    "max 100000\n",
		"/sys/fs/cgroup/user.slice/memory.max": "max\n",
		"/proc/self/status":                    "Name:\tx\nUid:\t4242\t4242\t4242\t4242\nGid:\t4242\t4242\t4242\t4242\nGroups:\t4242 900\nCapEff:\t0000000000000000\nCpus_allowed_list:\t0-7\n",
		"/etc/passwd":                          "root:x:0:0::/root:/bin/sh\ngw:x:4242:4242::/:/bin/false\n",
		"/etc/group":                           "root:x:0:\nflex:x:900:gw\n",
		"/proc/net/tcp":                        "  sl  local_address rem_address   st\n",
		"/proc/1/comm":                         "systemd\n",
		"/proc/77/comm":                        "chronyd\n",
	}
}

// world builds the root folder. A value that starts with "-> " is a symbolic link; files are readable for everybody.
func world(t *testing.T, files map[string]string) preflight.World {
	t.Helper()
	root := t.TempDir()
	if err := os.Chmod(root, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range slices.Sorted(keys(files)) {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		var err error
		if target, link := strings.CutPrefix(files[name], "-> "); link {
			err = os.Symlink(target, path)
		} else if strings.HasSuffix(name, "/") {
			err = os.MkdirAll(path, 0o755)
		} else {
			err = os.WriteFile(path, []byte(files[name]), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return preflight.World{
		Root: root, OS: "linux", Arch: "amd64", Now: func() time.Time { return today },
		Getenv: func(string) (string, bool) { return "", false },
		Kernel: func() (preflight.Kernel, bool) {
			return preflight.Kernel{Synchronised: true, MaxError: time.Millisecond}, true
		},
		Held: func(string) (bool, error) { return false, nil },
		Need: preflight.Need{Arch: "amd64", Glibc: [2]int{2, 31}, Requirement: "envoy==1", WheelPlatform: "manylinux_2_31_x86_64"},
	}
}

func keys(m map[string]string) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

func with(changes map[string]string) map[string]string {
	files := good()
	for k, v := range changes {
		if v == "" {
			delete(files, k)
		} else {
			files[k] = v
		}
	}
	return files
}

func offline() preflight.Options { return preflight.Options{NoNetwork: true} }

func release(t *testing.T, s string) ir.Release {
	t.Helper()
	v, err := ir.ParseRelease(s)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// find is the result of a check about a subject.
func find(t *testing.T, found []preflight.Result, id, subject string) preflight.Result {
	t.Helper()
	for _, r := range found {
		if r.CheckID == id && r.Subject == subject {
			return r
		}
	}
	var of []string
	for _, r := range found {
		if r.CheckID == id {
			of = append(of, r.Subject)
		}
	}
	t.Fatalf("no result of %s about %q; it has %q", id, subject, of)
	return preflight.Result{}
}

// want holds severity and parts of what is said, and that nothing is left unsaid.
func want(t *testing.T, r preflight.Result, sev preflight.Severity, observed string) {
	t.Helper()
	if r.Severity != sev || !strings.Contains(r.Observed, observed) {
		t.Errorf("%s %s: got %s %q, want %s with %q", r.CheckID, r.Subject, r.Severity, r.Observed, sev, observed)
	}
	whole(t, r)
}

func whole(t *testing.T, r preflight.Result) {
	t.Helper()
	if r.CheckID == "" || r.Subject == "" || r.Expected == "" || r.Observed == "" || r.Source == "" {
		t.Errorf("a part is missing: %+v", r)
	}
	if (r.Severity == preflight.Error || r.Severity == preflight.Warn) && r.Hint == "" {
		t.Errorf("%s %s is %s and says nothing to do", r.CheckID, r.Subject, r.Severity)
	}
}

func run(t *testing.T, w preflight.World, o preflight.Options) []preflight.Result {
	t.Helper()
	found := preflight.Run(context.Background(), w, o)
	seen := map[string]bool{}
	for _, r := range found {
		whole(t, r)
		if key := r.CheckID + " " + r.Subject; seen[key] {
			t.Errorf("two results for %s", key)
		} else {
			seen[key] = true
		}
	}
	return found
}

func TestAGoodHostHasNothingToMend(t *testing.T) {
	t.Parallel()
	for _, r := range run(t, world(t, good()), offline()) {
		if r.Severity == preflight.Error || r.Severity == preflight.Warn {
			t.Errorf("%+v", r)
		}
	}
}

// osRelease is what a host of a row says of itself, in the words of the distributions.
func osRelease(t *testing.T, system, version string) string {
	t.Helper()
	name, _, _ := strings.Cut(version, "(")
	ids := map[string]string{"Amazon Linux": "amzn", "CentOS": "centos", "Debian": "debian", "RHEL": "rhel", "SLES": "sles", "Ubuntu": "ubuntu"}
	numbers := map[string]string{"Stretch": "9", "Buster": "10", "Bullseye": "11", "Bookworm": "12", "Xenial": "16.04", "Bionic": "18.04", "Focal": "20.04", "Jammy": "22.04", "15 SP3": "15.3"}
	number := name
	if n := numbers[name]; n != "" {
		number = n
	}
	if system == "RHEL" {
		number += ".4" // a row names the major release
	}
	if ids[system] == "" || number == "" {
		t.Fatalf("row %s %s: the test knows no such system", system, version)
	}
	return fmt.Sprintf("ID=%q\nVERSION_ID=%q\nPRETTY_NAME=\"%s %s\"\n", ids[system], number, system, number)
}

func TestEveryRowOfSystems(t *testing.T) {
	t.Parallel()
	rows := preflight.Table("systems")
	if len(rows) != 39 {
		t.Errorf("the table has %d rows, the reference has 39", len(rows))
	}
	w := world(t, good())
	says := func(text, arch string) {
		w.Arch = arch
		if err := os.WriteFile(filepath.Join(w.Root, "etc/os-release"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	judge := func(version string) preflight.Result {
		o := offline()
		o.Release, o.Product = release(t, version), true
		for _, r := range preflight.Run(context.Background(), w, o) {
			if r.CheckID == "host.system" {
				whole(t, r)
				return r
			}
		}
		t.Fatal("no result")
		return preflight.Result{}
	}
	for _, x := range rows {
		for _, at := range []string{x["from"], x["to"]} {
			for v := range strings.SplitSeq(x["versions"], ";") {
				_, since, bracket := strings.Cut(v, "(")
				if bracket {
					at = strings.TrimSuffix(since, "+)")
				}
				for arch := range strings.SplitSeq(x["arch"], ";") {
					says(osRelease(t, x["system"], v), arch)
					r := judge(at)
					if r.Severity != preflight.OK || !strings.Contains(r.Source, "[D] "+x["source"]) {
						t.Errorf("%s %s on %s with %s: %+v", x["system"], v, arch, at, r)
					}
					if !strings.Contains(r.Expected, x["system"]) {
						t.Errorf("expected %q does not name %s", r.Expected, x["system"])
					}
				}
				says(osRelease(t, x["system"], v), "s390x")
				if r := judge(at); r.Severity != preflight.Error {
					t.Errorf("%s %s on another processor: %+v", x["system"], v, r)
				}
			}
			says(strings.Replace(osRelease(t, x["system"], "77"), "77.4", "77", 1), "amd64")
			if r := judge(at); r.Severity != preflight.Error {
				t.Errorf("%s of a version that nobody lists: %+v", x["system"], r)
			}
		}
	}

	says(osRelease(t, "Debian", "Bookworm"), "amd64")
	if r := judge("1.6.1"); r.Severity != preflight.Error || !strings.Contains(r.Hint, "from 1.6.2 on") {
		t.Errorf("Bookworm with 1.6.1: %+v", r)
	}
	says(osRelease(t, "Debian", "Buster"), "amd64")
	if r := judge("1.14"); r.Severity != preflight.Error || !strings.Contains(r.Hint, "lists it for 1.3 to 1.4, 1.5, 1.6, 1.7, not for 1.14") {
		t.Errorf("Buster with 1.14: %+v", r)
	}
	r := find(t, run(t, w, offline()), "host.system", "Debian 10")
	want(t, r, preflight.Warn, "Debian 10 on amd64") // flexgw alone needs no list
}

// A system is known by its number, and by its codename where it says no number.
func TestEveryCodename(t *testing.T) {
	t.Parallel()
	rows := preflight.Table("releases")
	if len(rows) != 8 {
		t.Errorf("the table has %d rows, the reference has 8", len(rows))
	}
	listed := map[string]string{"Stretch": "1.3", "Buster": "1.5", "Bullseye": "1.8", "Bookworm": "1.14", "Xenial": "1.3", "Bionic": "1.5", "Focal": "1.8", "Jammy": "1.14"}
	for _, x := range rows {
		o := offline()
		o.Release, o.Product = release(t, listed[x["name"]]), true
		for text, sev := range map[string]preflight.Severity{
			"ID=" + x["id"] + "\nVERSION_ID=\"" + x["version"] + "\"\nPRETTY_NAME=x\n":                       preflight.OK,
			"ID=" + x["id"] + "\nVERSION_CODENAME=" + strings.ToLower(x["name"]) + "\nPRETTY_NAME=x\n":       preflight.OK,
			"ID=" + x["id"] + "\nVERSION_ID=99\nVERSION_CODENAME=nobody\nPRETTY_NAME=x\n":                    preflight.Error,
			"ID=someother\nVERSION_CODENAME=" + strings.ToLower(x["name"]) + "\nPRETTY_NAME=x\nVERSION_ID=1": preflight.Error,
		} {
			want(t, find(t, run(t, world(t, with(map[string]string{"/etc/os-release": text})), o), "host.system", "x"), sev, "x on amd64")
		}
	}
	// "RHEL is not supported" [D], 1.0 to 1.2.
	for _, at := range []string{"1.0", "1.2"} {
		o := offline()
		o.Release, o.Product = release(t, at), true
		w := world(t, with(map[string]string{"/etc/os-release": osRelease(t, "RHEL", "8")}))
		want(t, find(t, run(t, w, o), "host.system", "RHEL 8.4"), preflight.Error, "RHEL 8.4")
	}
}

// The six systems of which the two generations of the documentation speak differently, or not.
func TestSeedsDisagree(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		system, version, pre, ovw string
		sev                       preflight.Severity
	}{
		{"Amazon Linux", "2023", "1.6: 2;", "1.9: 2023", preflight.Info},
		{"Debian", "Bookworm", "1.6: Buster, Bullseye, Bookworm(1.6.2+);", "1.9: Bullseye, Bookworm", preflight.Info},
		{"RHEL", "9", "1.6: 8, 9;", "1.9: 9 (also on ppc64le)", preflight.Info},
		{"SLES", "15 SP3", "1.6: none;", "1.9: 15 SP3 (also on ppc64le)", preflight.Info},
		{"Ubuntu", "Jammy", "1.6: Bionic, Focal, Jammy;", "1.9: Focal, Jammy", preflight.Info},
		{"CentOS", "8", "1.6: 8;", "1.9: 8", preflight.OK},
	} {
		w := world(t, with(map[string]string{"/etc/os-release": osRelease(t, c.system, c.version)}))
		r := find(t, run(t, w, offline()), "host.seeds", c.system)
		want(t, r, c.sev, c.pre)
		want(t, r, c.sev, c.ovw)
	}
}

func TestSystemsThatCannotRun(t *testing.T) {
	t.Parallel()
	w := world(t, good())
	w.OS = "windows"
	want(t, find(t, run(t, w, offline()), "host.system", "windows"), preflight.Error, "windows")
	w.OS = "darwin"
	want(t, find(t, run(t, w, offline()), "host.system", "darwin"), preflight.Warn, "darwin")

	w = world(t, with(map[string]string{"/proc/version": "Linux version 5.15.0-microsoft-standard-WSL2\n"}))
	want(t, find(t, run(t, w, offline()), "host.windows", "WSL"), preflight.Warn, "WSL")

	w = world(t, with(map[string]string{"/etc/os-release": ""}))
	want(t, find(t, run(t, w, offline()), "host.system", "/etc/os-release"), preflight.Warn, "no /etc/os-release")
}

func TestLibraryAndProcessor(t *testing.T) {
	t.Parallel()
	const libc = "/lib/x86_64-linux-gnu/libc.so.6"
	for name, c := range map[string]struct {
		files    map[string]string
		sev      preflight.Severity
		observed string
	}{
		"just new enough": {map[string]string{libc: "", "/lib64/libc.so.6": "GNU C Library (GNU libc) stable release version 2.31 (git)."}, preflight.OK, "glibc 2.31 (/lib64/libc.so.6)"},
		"CentOS 8":        {map[string]string{libc: "", "/lib64/libc.so.6": "GNU C Library (GNU libc) stable release version 2.28."}, preflight.Error, "glibc 2.28"},
		"Alpine":          {map[string]string{libc: "", "/lib/ld-musl-x86_64.so.1": "x"}, preflight.Error, "musl"},
		"nowhere":         {map[string]string{libc: ""}, preflight.Warn, "no libc.so.6"},
	} {
		w := world(t, with(c.files))
		r := find(t, run(t, w, offline()), "host.library", "C library")
		if want(t, r, c.sev, c.observed); r.Expected != "glibc 2.31 or newer" {
			t.Errorf("%s: expected %q", name, r.Expected)
		}
		o := offline()
		o.Envoy = "$FLEXGW_ENVOY"
		if r := find(t, run(t, w, o), "host.library", "C library"); r.Severity == preflight.Error {
			t.Errorf("%s, with an Envoy of one's own: %+v", name, r)
		}
	}
	w := world(t, good())
	w.Arch = "arm64"
	want(t, find(t, run(t, w, offline()), "host.architecture", "processor"), preflight.Error, "arm64")
}

func TestEveryContainerRuntime(t *testing.T) {
	t.Parallel()
	env := map[string]map[string]string{
		"Amazon ECS":               {"ECS_CONTAINER_METADATA_URI_V4": "x"},
		"AWS Fargate":              {"AWS_EXECUTION_ENV": "AWS_ECS_FARGATE", "ECS_CONTAINER_METADATA_URI_V4": "x"},
		"Google Cloud Run":         {"K_SERVICE": "gw", "K_REVISION": "1"},
		"Azure container services": {"CONTAINER_APP_NAME": "gw"},
	}
	files := map[string]map[string]string{"Docker": {"/.dockerenv": "x"}, "Podman": {"/run/.containerenv": "x"}}
	for _, x := range preflight.Table("containers") {
		w := world(t, with(files[x["runtime"]]))
		w.Getenv = func(name string) (string, bool) { v, ok := env[x["runtime"]][name]; return v, ok }
		want(t, find(t, run(t, w, offline()), "host.container", x["runtime"]), preflight.OK, x["runtime"])
		if x["from"] == "" {
			continue
		}
		o := offline()
		o.Release, o.Product = release(t, "1.6"), true
		want(t, find(t, run(t, w, o), "host.container", x["runtime"]), preflight.Error, x["runtime"])
	}
	want(t, find(t, run(t, world(t, good()), offline()), "host.container", "container"), preflight.OK, "no container")
}

func TestEverySize(t *testing.T) {
	t.Parallel()
	rows := preflight.Table("sizes")
	if len(rows) != 5 {
		t.Errorf("the table has %d rows, the reference has 5", len(rows))
	}
	for _, x := range rows {
		at := x["to"]
		if at == "" {
			at = x["from"]
		}
		cpu, mb := x.Number("cpu_min"), x.Number("mem_min_mb")
		limited := func(cpu, mb float64) preflight.World {
			return world(t, with(map[string]string{
				"/sys/fs/cgroup/user.slice/cpu.max":    fmt.Sprintf("%.0f 100000\n", cpu*100000),
				"/sys/fs/cgroup/user.slice/memory.max": fmt.Sprintf("%.0f\n", mb*1024*1024),
			}))
		}
		o := offline()
		o.Release, o.Size = release(t, at), x["size"]
		found := run(t, limited(cpu, mb), o)
		want(t, find(t, found, "resources.cpu", "size "+x["size"]), preflight.OK, "vCPU")
		want(t, find(t, found, "resources.memory", "size "+x["size"]), preflight.OK, "control group")
		found = run(t, limited(cpu*0.9, mb-1), o)
		want(t, find(t, found, "resources.cpu", "size "+x["size"]), preflight.Error, "control group")
		want(t, find(t, found, "resources.memory", "size "+x["size"]), preflight.Error, "control group")
		power := limited(5, mb)
		power.Arch = "ppc64le"
		if r := find(t, run(t, power, o), "resources.cpu", "size "+x["size"]); x["size"] == "large" && (r.Severity != preflight.OK || r.Expected != "5 to 16 vCPU") {
			t.Errorf("Power10: %+v", r)
		}
		if r := find(t, run(t, limited(5, mb), o), "resources.cpu", "size "+x["size"]); x["size"] == "large" && (r.Severity != preflight.Error || r.Expected != "8 to 16 vCPU") {
			t.Errorf("not Power10: %+v", r)
		}
		want(t, find(t, found, "resources.replicas", "replicas"), preflight.Manual, "no program on one host")
		o.Size = ""
		if r := find(t, run(t, limited(cpu*0.9, mb-1), o), "resources.cpu", "size "+x["size"]); r.Severity == preflight.Error {
			t.Errorf("nobody asked for the size: %+v", r)
		}
		if x["apis"] == "" {
			continue
		}
		o.Size = x["size"]
		o.Counts = &preflight.Counts{APIs: int(x.Number("apis"))}
		want(t, find(t, run(t, limited(cpu, mb), o), "resources.apis", "size "+x["size"]), preflight.OK, "declared")
		o.Counts.APIs++
		sev := preflight.Warn
		if strings.HasPrefix(x["apis"], ">") {
			sev = preflight.OK
		}
		want(t, find(t, run(t, limited(cpu, mb), o), "resources.apis", "size "+x["size"]), sev, "declared")
	}
}

// What a process may use is the least of the machine, its affinity and every control group above it.
func TestLimitsOfControlGroupsCount(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		files   map[string]string
		cpu, mb string
	}{
		"none":        {nil, "8 vCPU", "32768 MB"},
		"affinity":    {map[string]string{"/proc/self/status": "Cpus_allowed_list:\t0,2-3\n"}, "3 vCPU", "32768 MB"},
		"a parent's":  {map[string]string{"/proc/self/cgroup": "0::/a/b\n", "/sys/fs/cgroup/a/cpu.max": "50000 100000\n", "/sys/fs/cgroup/a/b/memory.max": "max\n", "/sys/fs/cgroup/a/memory.max": "1073741824\n"}, "0.5 vCPU", "1024 MB"},
		"version 1":   {map[string]string{"/proc/self/cgroup": "4:cpu,cpuacct:/d\n5:memory:/d\n", "/sys/fs/cgroup/cpu,cpuacct/d/cpu.cfs_quota_us": "20000\n", "/sys/fs/cgroup/cpu,cpuacct/d/cpu.cfs_period_us": "100000\n", "/sys/fs/cgroup/memory/d/memory.limit_in_bytes": "209715200\n"}, "0.2 vCPU", "200 MB"},
		"1, no limit": {map[string]string{"/proc/self/cgroup": "4:cpu:/\n5:memory:/\n", "/sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n", "/sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n"}, "8 vCPU", "32768 MB"},
		"a container": {map[string]string{"/proc/self/cgroup": "0::/docker/abc\n", "/sys/fs/cgroup/cpu.max": "100000 100000\n", "/sys/fs/cgroup/memory.max": "104857600\n"}, "1 vCPU", "100 MB"},
	} {
		found := run(t, world(t, with(c.files)), offline())
		for id, observed := range map[string]string{"resources.cpu": c.cpu, "resources.memory": c.mb} {
			r := find(t, found, id, "flexgw")
			if !strings.HasPrefix(r.Observed, observed) {
				t.Errorf("%s: %s is %q, want %q", name, id, r.Observed, observed)
			}
			if short := observed == "100 MB"; short != (r.Severity == preflight.Error) {
				t.Errorf("%s: %+v", name, r)
			}
		}
	}
	w := world(t, with(map[string]string{"/proc/cpuinfo": "", "/proc/meminfo": "", "/proc/self/status": ""}))
	want(t, find(t, run(t, w, offline()), "resources.memory", "flexgw"), preflight.Skipped, "not known")
}

func TestEveryLimit(t *testing.T) {
	t.Parallel()
	rows := preflight.Table("limits")
	if len(rows) != 9 {
		t.Errorf("the table has %d rows, the reference has 9", len(rows))
	}
	for _, x := range rows {
		at := map[string]string{"later": "1.14"}[x["from"]]
		if at == "" {
			at = x["from"]
		}
		o := offline()
		o.Release = release(t, at)
		id, subject := "limits."+x["limit"], strings.ReplaceAll(x["limit"], "_", " ")
		n := int(x.Number("value"))
		counts := func(n int) *preflight.Counts {
			return &preflight.Counts{APIs: n, UpstreamsPerAPI: n, RoutesPerAPI: n, UpstreamsPerRoute: n, MostUpstreams: "ns/a", MostRoutes: "ns/a", MostSplits: "ns/a"}
		}
		counted := slices.Contains([]string{"apis_per_gateway", "upstreams_per_api", "routes_per_api", "upstreams_per_route"}, x["limit"])
		o.Counts = counts(n)
		r := find(t, run(t, world(t, good()), o), id, subject)
		if !strings.HasPrefix(r.Expected, x["value"]+" at most") {
			t.Errorf("%s: expected %q", x["limit"], r.Expected)
		}
		if !counted {
			want(t, r, preflight.Manual, "")
			continue
		}
		want(t, r, preflight.OK, fmt.Sprint(n))
		o.Counts = counts(n + 1)
		want(t, find(t, run(t, world(t, good()), o), id, subject), preflight.Warn, fmt.Sprint(n+1))
		o.Counts = nil
		want(t, find(t, run(t, world(t, good()), o), id, subject), preflight.Skipped, "no declarations")
	}
}

// listens is a line of /proc/net/tcp.
func listens(addr string, port, inode int) string {
	return fmt.Sprintf("   0: %s:%04X 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 %d 1 0 100 0 0 10 0\n", addr, port, inode)
}

const (
	everywhere = "00000000"
	loopback   = "0100007F"
)

func declared(addr string) preflight.Declared {
	return preflight.Declared{Addr: netip.MustParseAddrPort(addr), By: "default/orders (gateway.yaml:4)"}
}

func TestEveryReservedPort(t *testing.T) {
	t.Parallel()
	rows := []struct { // of the reference
		first, last int
		ports       []uint16
	}{{0, 6, []uint16{4000, 9999, 15000, 15100}}, {7, 10, []uint16{9998}}, {11, 14, []uint16{9998, 9999}}}
	union := []uint16{2000, 4000, 9998, 9999, 15000, 15100}
	w := world(t, good())
	for _, x := range rows {
		for minor := x.first; minor <= x.last; minor++ {
			at := fmt.Sprintf("1.%d", minor)
			o := offline()
			o.Release = release(t, at)
			for _, r := range run(t, w, o) {
				if r.CheckID == "ports.reserved" && (r.Severity != preflight.OK || r.Observed != "free") {
					t.Errorf("%s: %+v", at, r)
				}
			}
			for _, port := range union {
				o.Declared = append(o.Declared, declared(fmt.Sprintf("0.0.0.0:%d", port)))
			}
			found := run(t, w, o)
			for _, port := range union {
				sev, hint, words := preflight.Warn, "choose another port if", "not in "+at
				switch {
				case port == 2000:
					words = "is used for the product's metrics"
				case slices.Contains(x.ports, port):
					sev, hint, words = preflight.Error, "choose another port", "is reserved by the product in releases "
				}
				r := find(t, found, "ports.reserved", fmt.Sprintf("%d/tcp", port))
				if want(t, r, sev, "declared by default/orders (gateway.yaml:4), and "); !strings.Contains(r.Observed, words) || !strings.HasPrefix(r.Hint, hint) {
					t.Errorf("%s: %+v", at, r)
				}
			}
		}
	}
	r := find(t, run(t, w, offline()), "ports.reserved", "9999/tcp")
	if r.Expected != "not declared: it is reserved by the product in releases 1.0 to 1.6 and 1.11 on" || !strings.HasPrefix(r.Source, "[D]") {
		t.Errorf("%+v", r)
	}
	o := offline()
	o.Declared = []preflight.Declared{declared("0.0.0.0:2000")}
	want(t, find(t, run(t, world(t, good()), o), "ports.reserved", "2000/tcp"), preflight.Warn, "default/orders")

	// Taken by somebody: the product could not start beside it.
	taken := with(map[string]string{"/proc/net/tcp": "head\n" + listens(loopback, 9998, 55), "/proc/8/comm": "node\n", "/proc/8/fd/3": "-> socket:[55]"})
	want(t, find(t, run(t, world(t, taken), offline()), "ports.reserved", "9998/tcp"), preflight.Info, "node (process 8)")
	o = offline()
	o.Product = true
	want(t, find(t, run(t, world(t, taken), o), "ports.reserved", "9998/tcp"), preflight.Error, "node (process 8)")
	taken["/proc/8/comm"] = "flex-gateway\n"
	want(t, find(t, run(t, world(t, taken), o), "ports.reserved", "9998/tcp"), preflight.OK, "the product itself")
}

func TestPortsInUse(t *testing.T) {
	t.Parallel()
	files := map[string]string{
		"/proc/net/tcp":  "head\n" + listens(everywhere, 8081, 1) + listens(loopback, 8082, 2) + listens(everywhere, 8083, 3) + listens(everywhere, 8085, 5) + strings.Replace(listens(everywhere, 8086, 6), " 0A ", " 01 ", 1),
		"/proc/net/tcp6": "head\n" + listens("00000000000000000000000000000000", 8084, 4),
		"/proc/8/comm":   "nginx\n", "/proc/8/fd/3": "-> socket:[1]", "/proc/8/fd/4": "-> socket:[2]",
		"/proc/9/comm": "envoy\n", "/proc/9/fd/3": "-> socket:[3]", "/proc/9/fd/4": "-> socket:[4]", "/proc/9/fd/5": "-> /dev/null",
	}
	w := world(t, with(files))
	o := offline()
	for _, a := range []string{"0.0.0.0:8081", "192.0.2.1:8082", "127.0.0.1:8082", "0.0.0.0:8083", "0.0.0.0:8084", "0.0.0.0:8085", "0.0.0.0:8086"} {
		o.Declared = append(o.Declared, declared(a))
	}
	found := run(t, w, o)
	want(t, find(t, found, "ports.in_use", "0.0.0.0:8081/tcp"), preflight.Error, "nginx (process 8) on 0.0.0.0:8081")
	want(t, find(t, found, "ports.in_use", "192.0.2.1:8082/tcp"), preflight.OK, "free")
	want(t, find(t, found, "ports.in_use", "127.0.0.1:8082/tcp"), preflight.Error, "nginx (process 8)")
	want(t, find(t, found, "ports.in_use", "0.0.0.0:8083/tcp"), preflight.Warn, "envoy (process 9)")
	want(t, find(t, found, "ports.in_use", "0.0.0.0:8084/tcp"), preflight.Warn, "envoy (process 9) on [::]:8084")
	want(t, find(t, found, "ports.in_use", "0.0.0.0:8085/tcp"), preflight.Error, "a process that this user cannot see")
	want(t, find(t, found, "ports.in_use", "0.0.0.0:8086/tcp"), preflight.OK, "free") // a connection, no listener
	want(t, find(t, run(t, w, offline()), "ports.in_use", "listeners"), preflight.Skipped, "no declarations")

	// The readiness endpoint that a Configuration asks for is the product's: it is in nobody's way where that does not run.
	o = offline()
	probe := declared("0.0.0.0:8081")
	probe.Product = true
	o.Declared = []preflight.Declared{probe}
	want(t, find(t, run(t, w, o), "ports.in_use", "0.0.0.0:8081/tcp"), preflight.Warn, "nginx (process 8) on 0.0.0.0:8081")
	o.Product = true
	want(t, find(t, run(t, w, o), "ports.in_use", "0.0.0.0:8081/tcp"), preflight.Error, "nginx (process 8) on 0.0.0.0:8081")
	files["/proc/8/comm"] = "flex-gateway\n"
	want(t, find(t, run(t, world(t, with(files)), o), "ports.in_use", "0.0.0.0:8081/tcp"), preflight.OK, "the product itself")
	o.Declared[0].Addr = netip.MustParseAddrPort("0.0.0.0:9998")
	want(t, find(t, run(t, w, o), "ports.reserved", "9998/tcp"), preflight.Error, "declared by")
}

func TestPortsBelow1024(t *testing.T) {
	t.Parallel()
	o := offline()
	o.Declared = []preflight.Declared{declared("0.0.0.0:443")}
	judge := func(changes map[string]string) preflight.Result {
		return find(t, run(t, world(t, with(changes)), o), "ports.privileged", "0.0.0.0:443/tcp")
	}
	want(t, judge(nil), preflight.Error, "user gw")
	want(t, judge(map[string]string{"/proc/self/status": "Uid:\t4242\t4242\t4242\t4242\nCapEff:\t0000000000000400\n"}), preflight.OK, "user gw")
	want(t, judge(map[string]string{"/proc/self/status": "Uid:\t0\t0\t0\t0\nCapEff:\t0\n"}), preflight.OK, "user root")
	for _, r := range run(t, world(t, with(map[string]string{"/proc/sys/net/ipv4/ip_unprivileged_port_start": "443\n"})), o) {
		if r.CheckID == "ports.privileged" {
			t.Errorf("everybody may: %+v", r)
		}
	}
	o.User = "gw" // asked by root for somebody else
	want(t, judge(map[string]string{"/proc/self/status": "Uid:\t0\t0\t0\t0\nCapEff:\tffffffffffffffff\n"}), preflight.Warn, "user gw")
}

func TestEveryFile(t *testing.T) {
	t.Parallel()
	rows := preflight.Table("files")
	if len(rows) != 9 {
		t.Errorf("the table has %d rows, the reference has 8, of which one names two folders", len(rows))
	}
	const conf, registration = "/usr/local/share/mulesoft/flex-gateway/conf.d", "/usr/local/share/mulesoft/flex-gateway/conf.d/registration.yaml"
	const unit, procs = "/lib/systemd/system/flex-gateway.service", "/sys/fs/cgroup/system.slice/flex-gateway.service/cgroup.procs"
	product := map[string]string{
		conf + "/": "dir", "/etc/mulesoft/flex-gateway/conf.d/": "dir", registration: "x", unit: "x", procs: "12\n", "/proc/12/comm": "flex-gateway\n",
	}
	build := func(changes map[string]string) preflight.World {
		files := with(product)
		for k, v := range changes {
			if files[k] = v; v == "" {
				delete(files, k)
			}
		}
		w := world(t, files)
		w.Run = func(_ context.Context, name string, args ...string) ([]byte, error) {
			if name != "journalctl" || !slices.Contains(args, "flex-gateway.service") {
				return nil, exec.ErrNotFound
			}
			return []byte("all dependencies initialized. starting workers\n"), nil
		}
		if err := os.Chmod(filepath.Join(w.Root, registration), 0o640); err != nil && changes[registration] != "" {
			t.Fatal(err)
		}
		return w
	}
	o := offline()
	o.Product = true
	o.Registration = preflight.Registration{Path: registration, NotAfter: today.Add(90 * 24 * time.Hour)}
	asRoot := map[string]string{"/proc/self/status": "Uid:\t0\t0\t0\t0\n"}

	found := run(t, build(asRoot), o)
	for id, c := range map[string]struct{ subject, observed string }{
		"files.registration": {registration, "1 bytes, mode 0640"},
		"files.group":        {"user root", "root"},
		"files.service":      {"flex-gateway.service", "workers started"},
		"instance.single":    {"the product", "flex-gateway (process 12)"},
		"files.expiry":       {"client certificate of the registration", "90 days left"},
		"clock.synchronised": {"time service", "synchronised"},
		"agents.third_party": {"antivirus, inspection and application security", "none of the"},
	} {
		want(t, find(t, found, id, c.subject), preflight.OK, c.observed)
	}
	for _, dir := range []string{conf, "/etc/mulesoft/flex-gateway/conf.d"} {
		want(t, find(t, found, "files.directory", dir), preflight.OK, "there, and readable")
	}
	for _, x := range rows {
		if !slices.ContainsFunc(found, func(r preflight.Result) bool {
			return r.CheckID == x["check"] && r.Expected == x["expected"] && strings.Contains(r.Source, strings.Split(x["mark"], " ")[0])
		}) {
			t.Errorf("no result for the row %v", x)
		}
	}

	// Not satisfied, each with its severity.
	w := build(nil) // by user gw, who owns nothing here
	if err := os.Chmod(filepath.Join(w.Root, conf), 0o700); err != nil {
		t.Fatal(err)
	}
	if os.Getuid() != 4242 {
		found = run(t, w, o)
		want(t, find(t, found, "files.directory", conf), preflight.Error, "user gw may not read it")
		want(t, find(t, found, "files.registration", registration), preflight.Error, "user gw may not enter "+conf)
	}
	found = run(t, build(map[string]string{"/etc/mulesoft/flex-gateway/conf.d/": ""}), o)
	want(t, find(t, found, "files.directory", "/etc/mulesoft/flex-gateway/conf.d"), preflight.Error, "not there")
	want(t, find(t, found, "files.group", "user gw"), preflight.OK, "a member of flex")
	found = run(t, build(map[string]string{"/proc/self/status": "Uid:\t4242\t4242\t4242\t4242\nGroups:\t\n"}), o)
	want(t, find(t, found, "files.group", "user gw"), preflight.Warn, "not a member of flex")
	found = run(t, build(map[string]string{procs: "", "/proc/self/status": asRoot["/proc/self/status"]}), o)
	want(t, find(t, found, "files.service", "flex-gateway.service"), preflight.Error, "not running")
	w = build(asRoot)
	w.Run = func(context.Context, string, ...string) ([]byte, error) { return []byte("starting\n"), nil }
	want(t, find(t, run(t, w, o), "files.service", "flex-gateway.service"), preflight.Warn, "does not say that the workers started")
	w.Run = nil
	want(t, find(t, run(t, w, o), "files.service", "flex-gateway.service"), preflight.OK, "its log cannot be read")
	found = run(t, build(map[string]string{"/proc/13/comm": "flex-gateway\n"}), o)
	want(t, find(t, found, "instance.single", "the product"), preflight.Error, "runs twice")
	found = run(t, build(map[string]string{"/opt/mulesoft/flex-gateway/": "dir"}), o)
	want(t, find(t, found, "instance.single", "the product"), preflight.Error, "installed twice")
	found = run(t, build(nil), offline())
	want(t, find(t, found, "instance.single", "the product"), preflight.Warn, "flex-gateway (process 12)")

	// A host that has flexgw alone is told of the product's files, and not warned.
	found = run(t, world(t, good()), offline())
	want(t, find(t, found, "files.directory", conf), preflight.Info, "not there")
	want(t, find(t, found, "files.service", "flex-gateway.service"), preflight.Info, "not installed")
}

func TestRegistrationFile(t *testing.T) {
	t.Parallel()
	const name = "/etc/flexgw/registration.yaml"
	judge := func(t *testing.T, content string, mode os.FileMode, r preflight.Registration) preflight.Result {
		t.Helper()
		w := world(t, with(map[string]string{name: content, "/proc/self/status": "Uid:\t0\t0\t0\t0\n"}))
		if content != "" {
			if err := os.Chmod(filepath.Join(w.Root, name), mode); err != nil {
				t.Fatal(err)
			}
		}
		o := offline()
		r.Path = name
		o.Registration = r
		return find(t, run(t, w, o), "files.registration", name)
	}
	want(t, judge(t, "x", 0o600, preflight.Registration{}), preflight.OK, "mode 0600")
	everybody := preflight.Exposed{Text: name + " (mode 0644): others", Path: name, Everybody: true}
	group := preflight.Exposed{Text: "/etc/flexgw/certificate.yaml (mode 0640): others", Path: "/etc/flexgw/certificate.yaml"}
	r := judge(t, "x", 0o644, preflight.Registration{Problem: "no certificate in it", Exposed: []preflight.Exposed{everybody, group}})
	want(t, r, preflight.Error, everybody.Text+"; "+group.Text)
	if r.Hint != "chmod 600 "+name+" /etc/flexgw/certificate.yaml" {
		t.Errorf("hint %q", r.Hint)
	}
	want(t, judge(t, "x", 0o600, preflight.Registration{Exposed: []preflight.Exposed{group}}), preflight.Warn, group.Text)
	want(t, judge(t, "", 0, preflight.Registration{Named: true}), preflight.Error, "not there")
	want(t, judge(t, "", 0, preflight.Registration{}), preflight.Info, "not there")
	want(t, judge(t, "x", 0o600, preflight.Registration{Problem: "no certificate in it"}), preflight.Error, "no certificate in it")

	w := world(t, with(map[string]string{name: "x", "/proc/self/status": "Uid:\t0\t0\t0\t0\n"}))
	if err := os.Truncate(filepath.Join(w.Root, name), 0); err != nil {
		t.Fatal(err)
	}
	o := offline()
	o.Registration.Path = name
	r = find(t, run(t, w, o), "files.registration", name)
	if want(t, r, preflight.Error, "empty"); !strings.Contains(r.Hint, "blocks the next attempt") {
		t.Errorf("hint %q", r.Hint)
	}

	// Release 1.0 had three files: where they are, nothing of them is removed, and nobody registers anew.
	const product = "/usr/local/share/mulesoft/flex-gateway/conf.d/"
	for _, c := range []struct {
		path, content string
		product       bool
		want          preflight.Severity
	}{{product + "registration.yaml", "", false, preflight.Warn}, {product + "registration.yaml", "", true, preflight.Error}, {name, "", false, preflight.Error}, {"/old/env.conf", "x", false, preflight.Error}} {
		old := filepath.Join(filepath.Dir(c.path), "env.conf")
		w := world(t, with(map[string]string{c.path: c.content}))
		if c.content != "" {
			if err := os.Truncate(filepath.Join(w.Root, c.path), 0); err != nil {
				t.Fatal(err)
			}
		}
		o := offline()
		o.Product, o.Registration = c.product, preflight.Registration{Path: c.path, Old: old, Problem: "old"}
		r := find(t, run(t, w, o), "files.registration", c.path)
		if want(t, r, c.want, "three files of release 1.0 ("+old+")"); !strings.Contains(r.Hint, "flexctl migrate "+old) {
			t.Errorf("hint %q", r.Hint)
		}
	}
}

func TestExpiryThresholds(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		left     time.Duration
		sev      preflight.Severity
		observed string
	}{
		{60 * 24 * time.Hour, preflight.OK, "60 days left"},
		{60*24*time.Hour - time.Second, preflight.Info, "59 days left"},
		{30 * 24 * time.Hour, preflight.Info, "30 days left"},
		{30*24*time.Hour - time.Second, preflight.Warn, "29 days left"},
		{7 * 24 * time.Hour, preflight.Warn, "7 days left"},
		{7*24*time.Hour - time.Second, preflight.Error, "6 days left"},
		{-time.Second, preflight.Error, "expired on 2026-11-26T11:59:59Z"},
	} {
		o := offline()
		o.Registration.NotAfter = today.Add(c.left)
		r := find(t, run(t, world(t, good()), o), "files.expiry", "client certificate of the registration")
		want(t, r, c.sev, c.observed)
		if c.left < 7*24*time.Hour && !strings.Contains(r.Hint, "usage upload will fail") {
			t.Errorf("hint %q", r.Hint)
		}
	}
}

func TestDaemonsOfThisHost(t *testing.T) {
	t.Parallel()
	w := world(t, with(map[string]string{"/var/lib/flexgw/daemon.lock": "x", "/var/lib/flexgw/source": "/etc/gateway\n", "/var/lib/flexgw-2/daemon.lock": "x"}))
	o := offline()
	o.StateDirs = []string{"/var/lib/flexgw", "/var/lib/flexgw-2", "/var/lib/none"}
	want(t, find(t, run(t, w, o), "instance.flexgw", "flexgw"), preflight.OK, "3 state folders")
	held := map[string]bool{filepath.Join(w.Root, "/var/lib/flexgw/daemon.lock"): true}
	w.Held = func(path string) (bool, error) { return held[path], nil }
	want(t, find(t, run(t, w, o), "instance.flexgw", "flexgw"), preflight.Info, "/var/lib/flexgw (serves /etc/gateway)")
	held[filepath.Join(w.Root, "/var/lib/flexgw-2/daemon.lock")] = true
	want(t, find(t, run(t, w, o), "instance.flexgw", "flexgw"), preflight.Warn, "/var/lib/flexgw-2")
}

func TestEveryAgent(t *testing.T) {
	t.Parallel()
	for _, x := range preflight.Table("agents") {
		if len(x["process"]) > 15 {
			t.Errorf("the kernel keeps 15 bytes of a name, and %q has more", x["process"])
		}
		w := world(t, with(map[string]string{"/proc/50/comm": x["process"] + "\n"}))
		want(t, find(t, run(t, w, offline()), "agents.third_party", x["product"]), preflight.Info, x["kind"]+": "+x["process"]+" (process 50)")
	}
	w := world(t, with(map[string]string{"/usr/local/share/ca-certificates/corp/root.crt": "x"}))
	want(t, find(t, run(t, w, offline()), "agents.private_ca", "/usr/local/share/ca-certificates/corp/root.crt"), preflight.Info, "authority of this site")
}

func TestClock(t *testing.T) {
	t.Parallel()
	judge := func(k preflight.Kernel, known bool, changes map[string]string) preflight.Result {
		w := world(t, with(changes))
		w.Kernel = func() (preflight.Kernel, bool) { return k, known }
		return find(t, run(t, w, offline()), "clock.synchronised", "time service")
	}
	want(t, judge(preflight.Kernel{Synchronised: true, MaxError: 5 * time.Minute}, true, nil), preflight.OK, "synchronised")
	want(t, judge(preflight.Kernel{Synchronised: true, MaxError: 6 * time.Minute}, true, nil), preflight.Warn, "perhaps 6m0s off")
	want(t, judge(preflight.Kernel{}, true, nil), preflight.Warn, "chronyd (process 77) runs")
	want(t, judge(preflight.Kernel{}, true, map[string]string{"/proc/77/comm": ""}), preflight.Warn, "no time service")
	want(t, judge(preflight.Kernel{}, false, map[string]string{"/proc/77/comm": "", "/run/systemd/timesync/synchronized": "x"}), preflight.OK, "systemd-timesyncd")

	w := world(t, with(map[string]string{"/sys/class/rtc/rtc0/since_epoch": fmt.Sprint(today.Add(time.Minute).Unix())}))
	want(t, find(t, run(t, w, offline()), "clock.hardware", "hardware clock"), preflight.OK, "1m0s apart")
	w = world(t, with(map[string]string{"/sys/class/rtc/rtc0/since_epoch": fmt.Sprint(today.Add(-time.Hour).Unix())}))
	want(t, find(t, run(t, w, offline()), "clock.hardware", "hardware clock"), preflight.Info, "1h0m0s apart")
	w.Now = func() time.Time { return time.Unix(0, 0) }
	want(t, find(t, run(t, w, offline()), "clock.plausible", "clock"), preflight.Error, "1970")
}

func TestEveryClient(t *testing.T) {
	t.Parallel()
	rows := preflight.Table("clients")
	answers := func(version map[string]string) func(context.Context, string, ...string) ([]byte, error) {
		return func(_ context.Context, name string, args ...string) ([]byte, error) {
			v, ok := version[name]
			switch {
			case !ok:
				return nil, exec.ErrNotFound
			case name == "helm":
				return []byte(v + "+gabc\n"), nil
			case args[0] == "api-versions":
				return []byte("apps/v1\n" + v + "\n"), nil
			case args[0] == "auth":
				return []byte("no\n"), nil
			case slices.Contains(args, "--client"):
				return []byte(`{"clientVersion":{"gitVersion":"v9.9.9"},"releaseClientVersion":"9.9.9"}`), nil
			case name == "oc":
				return []byte(`{"openshiftVersion":"` + v + `","serverVersion":{"gitVersion":"v1.1.1"}}`), nil
			}
			return []byte(`{"clientVersion":{"gitVersion":"v9.9.9"},"serverVersion":{"gitVersion":"v` + v + `"}}`), nil
		}
	}
	judge := func(w preflight.World, o preflight.Options) []preflight.Result { // the network, apart from clusters, has no names here
		w.Resolve = func(context.Context, string) ([]netip.Addr, error) { return nil, nil }
		return run(t, w, o)
	}
	tooOld := map[string]string{"kubectl": "1.20.9", "oc": "4.7.12", "helm": "v2.17.0"}
	just := map[string]string{"kubectl": "1.21.0", "oc": "4.8", "helm": "v3.0.0"}
	o := preflight.Options{Cluster: true}
	for _, x := range rows {
		id := "cluster." + strings.ToLower(x["subject"])
		w := world(t, good())
		want(t, find(t, judge(w, o), id, x["subject"]), preflight.Skipped, "no "+x["client"]+" on the PATH")
		w.Run = answers(just)
		want(t, find(t, judge(w, o), id, x["subject"]), preflight.OK, strings.TrimPrefix(just[x["client"]], "v"))
		w.Run = answers(tooOld)
		want(t, find(t, judge(w, o), id, x["subject"]), preflight.Warn, strings.TrimPrefix(tooOld[x["client"]], "v"))
		o := o
		o.Product = true
		want(t, find(t, judge(w, o), id, x["subject"]), preflight.Error, strings.TrimPrefix(tooOld[x["client"]], "v"))
		if x["client"] != "helm" { // without leave nobody asks a cluster
			w.Run = answers(tooOld)
			want(t, find(t, judge(w, preflight.Options{}), id, x["subject"]), preflight.Skipped, "9.9.9 is here")
		}
	}
	w := world(t, good())
	w.Run = answers(map[string]string{"kubectl": "networking.k8s.io/v1"})
	found := judge(w, o)
	want(t, find(t, found, "cluster.ingress", "Kubernetes"), preflight.OK, "there")
	want(t, find(t, found, "cluster.rights", "Kubernetes"), preflight.Warn, "no")
	w.Run = answers(map[string]string{"kubectl": "extensions/v1beta1"})
	want(t, find(t, judge(w, o), "cluster.ingress", "Kubernetes"), preflight.Warn, "does not have it")
	w.Run = func(context.Context, string, ...string) ([]byte, error) {
		return nil, fmt.Errorf("connection refused")
	}
	want(t, find(t, judge(w, o), "cluster.kubernetes", "Kubernetes"), preflight.Warn, "connection refused")
	want(t, find(t, judge(w, o), "cluster.rights", "Kubernetes"), preflight.Warn, "does not answer")
}

// Offline, a cluster is not called, --cluster or not: what would have to be asked is listed, and clients are asked for their own version
// in words with which none of them calls anybody.
func TestNoClusterIsAskedOffline(t *testing.T) {
	t.Parallel()
	var asked []string
	w := world(t, good())
	w.Run = func(_ context.Context, name string, args ...string) ([]byte, error) {
		line := strings.Join(append([]string{name}, args...), " ")
		asked = append(asked, line)
		if name == "helm" && slices.Contains(args, "--client") {
			return nil, errors.New("Error: unknown flag: --client") // as one would say that has it no more
		}
		return map[string][]byte{
			"kubectl version --output json --client": []byte(`{"clientVersion":{"gitVersion":"v1.33.1"}}`),
			"oc version --output json --client":      []byte(`{"releaseClientVersion":"4.18.2"}`),
			"helm version --short":                   []byte("v4.0.0+gabc\n"),
		}[line], nil
	}
	o := offline()
	o.Cluster = true
	found := run(t, w, o)
	if want := []string{"kubectl version --output json --client", "oc version --output json --client", "helm version --short --client", "helm version --short"}; !slices.Equal(asked, want) {
		t.Errorf("asked %q, want %q", asked, want)
	}
	for id, c := range map[string]struct{ subject, observed, hint string }{
		"cluster.kubernetes": {"Kubernetes", "kubectl v1.33.1 is here; the cluster was not asked: --no-network", "kubectl version says a server of 1.21 or newer"},
		"cluster.openshift":  {"OpenShift", "oc 4.18.2 is here; the cluster was not asked: --no-network", "oc version says a server of 4.8 or newer"},
		"cluster.ingress":    {"Kubernetes", "the cluster was not asked: --no-network", "kubectl api-versions"},
		"cluster.rights":     {"Kubernetes", "the cluster was not asked: --no-network", "kubectl auth can-i create"},
	} {
		r := find(t, found, id, c.subject)
		if want(t, r, preflight.Info, c.observed); !strings.Contains(r.Hint, c.hint) {
			t.Errorf("%s: hint %q", id, r.Hint)
		}
	}
	want(t, find(t, found, "cluster.helm", "Helm"), preflight.OK, "v4.0.0")
	want(t, find(t, run(t, w, offline()), "cluster.ingress", "Kubernetes"), preflight.Skipped, "--cluster asks")
}

func TestEveryPermissionIsListed(t *testing.T) {
	t.Parallel()
	found := run(t, world(t, good()), offline())
	for _, x := range preflight.Table("permissions") {
		r := find(t, found, "permissions.needed", x["action"])
		if want(t, r, preflight.Manual, "not asked"); r.Expected != x["needs"] || !strings.HasPrefix(r.Source, x["mark"]) {
			t.Errorf("%+v", r)
		}
	}
}
