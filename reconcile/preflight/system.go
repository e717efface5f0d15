package preflight

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/flexgw/flexgw/schema/ir"
)

// system judges operating system, release, architecture and C library.
func (r *run) system() {
	if r.OS != "linux" {
		sev, hint := r.product(), "run the gateway on Linux; validate, render and diff work here"
		if r.OS == "windows" {
			sev, hint = Error, "Windows, and Docker on Windows, are not supported: take a Linux host"
		}
		r.add(Result{"host.system", sev, r.OS, "Linux", r.OS, "[D] DOCS, operating systems", hint})
		return
	}
	release := r.osRelease()
	if strings.Contains(strings.ToLower(r.line("/proc/version")), "microsoft") {
		r.add(Result{"host.windows", r.product(), "WSL", "no Windows below", "a Linux kernel of Windows (WSL)", "[D] DOCS, requirements", "good for trying; run the gateway on a Linux host"})
	}
	r.supported(release)
	r.architecture()
	r.library()
	r.container()
}

// osRelease is os-release(5).
type osRelease struct{ id, like, version, codename, pretty string }

func (r *run) osRelease() osRelease {
	text, err := r.read("/etc/os-release")
	if err != nil {
		text, _ = r.read("/usr/lib/os-release")
	}
	v := map[string]string{}
	for line := range strings.Lines(text) {
		name, value, ok := strings.Cut(strings.TrimSpace(line), "=")
		if ok {
			v[name] = strings.Trim(value, `"'`)
		}
	}
	return osRelease{strings.ToLower(v["ID"]), v["ID_LIKE"], v["VERSION_ID"], v["VERSION_CODENAME"], v["PRETTY_NAME"]}
}

// systemID is the ID of os-release for a name of the table.
func systemID(system string) string {
	switch system {
	case "Amazon Linux":
		return "amzn"
	case "SLES":
		return "sles"
	}
	return strings.ToLower(system)
}

// matches reports whether a version of the table, such as "Bookworm(1.6.2+)", "8" or "15 SP3", is what os-release says; since is the
// release in brackets.
func (o osRelease) matches(system, version string) (ok bool, since string) {
	if o.id != systemID(system) {
		return false, ""
	}
	name, rest, bracket := strings.Cut(version, "(")
	if bracket {
		since = strings.TrimSuffix(rest, "+)")
	}
	if system == "SLES" {
		return o.version == strings.ReplaceAll(name, " SP", "."), since
	}
	for _, x := range table("releases") {
		if x["id"] == o.id && x["version"] == o.version && x["name"] == name {
			return true, since
		}
	}
	major, _, _ := strings.Cut(o.version, ".")
	return o.codename != "" && strings.EqualFold(o.codename, name) || major == name, since
}

// supported judges the system against the rows of the release, and tells where two generations of the documentation disagree.
func (r *run) supported(o osRelease) {
	subject := strings.TrimSpace(o.pretty)
	if subject == "" {
		subject = strings.TrimSpace(o.id + " " + o.version)
	}
	if subject == "" {
		r.add(Result{"host.system", Warn, "/etc/os-release", "the name of a Linux distribution", "no /etc/os-release that can be read", "[D] DOCS, operating systems", "say by hand which distribution this is: the product's list is in `flexgw preflight --output json`"})
		return
	}
	var expected, elsewhere []string
	source, late := "", ""
	for _, x := range table("systems") {
		hit, since := false, ""
		for _, v := range x.list("versions") {
			if ok, s := o.matches(x["system"], v); ok && slices.Contains(x.list("arch"), r.Arch) {
				hit, since = true, s
			}
		}
		if !r.within(x["from"], x["to"]) {
			if hit {
				elsewhere = append(elsewhere, x.releases())
			}
			continue
		}
		expected = append(expected, x["system"]+" "+strings.ReplaceAll(x["versions"], ";", ", ")+" ("+strings.ReplaceAll(x["arch"], ";", ", ")+")")
		if hit && since != "" && r.Release.Before(precise(since)) {
			late = since
			continue
		}
		if hit {
			source = "[D] " + x["source"] + " " + x.releases() + ", operating systems"
		}
	}
	res := Result{CheckID: "host.system", Severity: OK, Subject: subject, Expected: "one of " + strings.Join(expected, "; "), Observed: subject + " on " + r.Arch, Source: source}
	if source == "" {
		res.Severity, res.Source = r.product(), "[D] DOCS, operating systems"
		switch {
		case late != "":
			res.Hint = "the product lists it from " + late + " on"
		case len(elsewhere) > 0:
			res.Hint = "the product lists it for " + strings.Join(elsewhere, ", ") + ", not for " + r.release()
		default:
			res.Hint = "the product " + r.release() + " does not list it"
		}
		if !r.Product {
			res.Hint += "; flexgw needs what its Envoy needs (host.library), no list"
		}
	}
	r.add(res)
	r.seeds(o)
}

// precise is a release with its patch.
func precise(s string) (v ir.Release) {
	_, _ = fmt.Sscanf(s, "%d.%d.%d", &v.Major, &v.Minor, &v.Patch) // of the tables
	return v
}

// seeds tells where the prerequisites of 1.6 (S-PRE) and of 1.8 and 1.9 (S-OVW) name other versions of this system. They are not
// wrong: support changed in between.
func (r *run) seeds(o osRelease) {
	for _, name := range []string{"Amazon Linux", "CentOS", "Debian", "RHEL", "SLES", "Ubuntu"} {
		if o.id != systemID(name) {
			continue
		}
		pre, ovw := r.seed("S-PRE", name), r.seed("S-OVW", name)
		text := "1.6: " + pre + "; 1.8 and 1.9: " + ovw
		if pre == ovw {
			r.add(Result{"host.seeds", OK, name, "one list of versions in both generations of the documentation", text, "[D] S-PRE, S-OVW", ""})
			continue
		}
		r.add(Result{"host.seeds", Info, name, "which versions are supported changed between 1.6 and 1.8", text, "[D] S-PRE, S-OVW", "say which release runs with --flex-version"})
	}
}

func (r *run) seed(source, system string) string {
	for _, x := range table("systems") {
		if x["source"] != source || x["system"] != system {
			continue
		}
		text := strings.ReplaceAll(x["versions"], ";", ", ")
		if strings.Contains(x["arch"], "ppc64le") {
			text += " (also on ppc64le)"
		}
		return text
	}
	return "none"
}

// architecture judges the processor for the pinned Envoy.
func (r *run) architecture() {
	res := Result{"host.architecture", OK, "processor", r.Need.Arch, r.Arch, "[D] operating systems; ours: the wheel " + r.Need.Requirement, ""}
	switch {
	case r.Arch == r.Need.Arch:
	case r.Envoy != "":
		res.Severity, res.Hint = Info, "Envoy is yours ("+r.Envoy+"): see that it is built for "+r.Arch
	default:
		res.Severity, res.Hint = Error, "the wheel "+r.Need.Requirement+" is for "+r.Need.WheelPlatform+" alone: put an Envoy for "+r.Arch+" on the PATH, or name it in $FLEXGW_ENVOY or with run --envoy"
	}
	r.add(res)
}

var libraryVersion = regexp.MustCompile(`GNU C Library [^\n\x00]*version (\d+)\.(\d+)`)

// library judges the C library for the pinned Envoy, whose wheel says what it needs.
func (r *run) library() {
	want := fmt.Sprintf("glibc %d.%d or newer", r.Need.Glibc[0], r.Need.Glibc[1])
	res := Result{CheckID: "host.library", Subject: "C library", Expected: want, Source: "ours: the wheel " + r.Need.Requirement + " is tagged " + r.Need.WheelPlatform}
	own := "put an Envoy that runs here on the PATH, or name it in $FLEXGW_ENVOY or with run --envoy"
	found := [2]int{}
	where := ""
	for _, pattern := range []string{"/lib/*-linux-gnu*/libc.so.6", "/lib64/libc.so.6", "/usr/lib/*-linux-gnu*/libc.so.6", "/usr/lib64/libc.so.6", "/lib/libc.so.6"} {
		for _, path := range r.glob(pattern) {
			text, _ := r.read(path)
			if m := libraryVersion.FindStringSubmatch(text); m != nil && where == "" {
				found[0], _ = strconv.Atoi(m[1]) // digits, by the pattern
				found[1], _ = strconv.Atoi(m[2])
				where = path
			}
		}
	}
	musl := r.glob("/lib/ld-musl-*.so.1")
	switch {
	case where != "" && slices.Compare(found[:], r.Need.Glibc[:]) >= 0:
		res.Severity, res.Observed = OK, fmt.Sprintf("glibc %d.%d (%s)", found[0], found[1], where)
	case where != "":
		res.Severity, res.Observed, res.Hint = Error, fmt.Sprintf("glibc %d.%d (%s)", found[0], found[1], where), "take a newer system; or "+own
	case len(musl) > 0:
		res.Severity, res.Observed, res.Hint = Error, "musl ("+musl[0]+")", own
	default:
		res.Severity, res.Observed, res.Hint = Warn, "no libc.so.6 where it usually is", "see `ldd --version`"
	}
	if res.Severity == Error && r.Envoy != "" {
		res.Severity, res.Hint = Info, "Envoy is yours ("+r.Envoy+"): see that it runs with this C library"
	}
	r.add(res)
}

// container says which of the documented container runtimes this is, if it is one.
func (r *run) container() {
	found := ""
	switch cgroup, _ := r.read("/proc/1/cgroup"); {
	case strings.Contains(r.env("AWS_EXECUTION_ENV"), "FARGATE"):
		found = "AWS Fargate"
	case r.env("ECS_CONTAINER_METADATA_URI_V4") != "" || r.env("ECS_CONTAINER_METADATA_URI") != "":
		found = "Amazon ECS"
	case r.env("K_SERVICE") != "" && r.env("K_REVISION") != "":
		found = "Google Cloud Run"
	case r.env("CONTAINER_APP_NAME") != "" || r.env("ACI_RESOURCE_GROUP") != "" || r.env("Fabric_NodeIPOrFQDN") != "":
		found = "Azure container services"
	case r.exists("/run/.containerenv"):
		found = "Podman"
	case r.exists("/.dockerenv") || strings.Contains(cgroup, "docker"):
		found = "Docker"
	case r.env("KUBERNETES_SERVICE_HOST") != "":
		r.add(Result{"host.container", OK, "Kubernetes", "a documented container platform", "a pod", "[D] DOCS, requirements", ""})
		return
	default:
		r.add(Result{"host.container", OK, "container", "a documented container runtime, or none", "no container", "[D] DOCS, requirements", ""})
		return
	}
	for _, x := range table("containers") {
		if x["runtime"] != found {
			continue
		}
		res := Result{"host.container", OK, found, "a documented container runtime, or none", found, "[D] DOCS, requirements", ""}
		if !r.within(x["from"], "") {
			res.Severity, res.Hint = r.product(), "the product lists "+found+" from "+x["from"]+" on, not for "+r.release()
		}
		r.add(res)
	}
}
