package preflight

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// user is who runs, or will run, the gateway.
type user struct {
	name   string
	id     int
	groups []int
}

// user is the one of the options, or the process's own.
func (r *run) user() user {
	u := user{id: -1}
	own := strings.Fields(r.status("Uid"))
	if len(own) == 4 {
		u.id, _ = strconv.Atoi(own[1]) // the effective one; the kernel wrote it
	}
	for _, g := range append(strings.Fields(r.status("Groups")), strings.Fields(r.status("Gid"))...) {
		n, _ := strconv.Atoi(g)
		u.groups = append(u.groups, n)
	}
	if r.User != "" {
		u = user{id: -1, name: r.User}
	}
	accounts, _ := r.read("/etc/passwd")
	for line := range strings.Lines(accounts) {
		f := strings.Split(strings.TrimSpace(line), ":")
		if len(f) < 4 || r.User != "" && f[0] != r.User && f[2] != r.User || r.User == "" && f[2] != strconv.Itoa(u.id) {
			continue
		}
		u.name = f[0]
		u.id, _ = strconv.Atoi(f[2])
		if r.User != "" {
			gid, _ := strconv.Atoi(f[3])
			u.groups = append(u.groups, gid)
		}
		break
	}
	if r.User != "" {
		text, _ := r.read("/etc/group")
		for line := range strings.Lines(text) {
			f := strings.Split(strings.TrimSpace(line), ":")
			if len(f) == 4 && slices.Contains(strings.Split(f[3], ","), u.name) {
				gid, _ := strconv.Atoi(f[2])
				u.groups = append(u.groups, gid)
			}
		}
	}
	if u.name == "" {
		u.name = strconv.Itoa(u.id)
	}
	return u
}

// may reports whether a user may do with a file what mode, of 4 (read) and 1 (search), says. Access control lists are not looked at.
func (u user) may(info os.FileInfo, mode os.FileMode) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	switch perm := info.Mode().Perm(); {
	case u.id == 0 || !ok:
		return true
	case int(st.Uid) == u.id:
		return perm>>6&mode == mode
	case slices.Contains(u.groups, int(st.Gid)):
		return perm>>3&mode == mode
	default:
		return perm&mode == mode
	}
}

// readable says why a user cannot read a file or folder; "" when nothing is in the way.
func (r *run) readable(u user, name string) (os.FileInfo, string) {
	for dir := path.Dir(name); dir != "/" && dir != "."; dir = path.Dir(dir) {
		if info, err := os.Stat(r.path(dir)); err == nil && !u.may(info, 1) {
			return nil, fmt.Sprintf("user %s may not enter %s (mode %04o)", u.name, dir, info.Mode().Perm())
		}
	}
	info, err := os.Stat(r.path(name))
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil, "not there"
	case err != nil:
		return nil, "cannot be looked at: " + errors.Unwrap(err).Error()
	}
	mode := os.FileMode(4)
	if info.IsDir() {
		mode = 5
	}
	if !u.may(info, mode) {
		return info, fmt.Sprintf("mode %04o: user %s may not read it", info.Mode().Perm(), u.name)
	}
	return info, ""
}

// installed reports whether the product is on this host.
func (r *run) installed() bool {
	return slices.ContainsFunc([]string{"/usr/local/share/mulesoft/flex-gateway", "/etc/mulesoft/flex-gateway", "/usr/bin/flexctl", "/usr/local/bin/flexctl"}, r.exists) || len(r.units()) > 0
}

const serviceName = "flex-gateway.service"

func (r *run) units() []string {
	return slices.DeleteFunc([]string{"/etc/systemd/system/" + serviceName, "/lib/systemd/system/" + serviceName, "/usr/lib/systemd/system/" + serviceName}, func(p string) bool { return !r.exists(p) })
}

// files judges folders, registration, group and service of the product, row by row.
func (r *run) files() {
	for _, x := range table("files") {
		source := x["mark"] + ", files and permissions"
		switch x["check"] {
		case "files.directory":
			dir, _, _ := strings.Cut(x["expected"], " ")
			r.directory(dir, x["expected"], source)
		case "files.registration":
			r.registrationFile(x["expected"], source)
		case "files.group":
			r.group(x["expected"], source)
		case "files.service":
			r.service(x["expected"], source)
		case "files.expiry":
			r.expiry(x["expected"], source)
		}
	}
}

// ofProduct is the severity of what is amiss in the product's own installation: nothing to worry about where it is not installed and
// not going to be.
func (r *run) ofProduct() Severity {
	switch {
	case r.Product:
		return Error
	case r.installed():
		return Warn
	}
	return Info
}

func (r *run) directory(dir, expected, source string) {
	res := Result{"files.directory", OK, dir, expected, "there, and readable", source, ""}
	info, problem := r.readable(r.user(), dir)
	if problem == "" && !info.IsDir() {
		problem = "is no folder"
	}
	if problem != "" {
		res.Severity, res.Observed, res.Hint = r.ofProduct(), problem, "mend the installation of the product"
		if res.Severity == Info {
			res.Hint = "only the product needs it; flexgw reads the folder that it is given"
		}
	}
	r.add(res)
}

// ProductRegistration is where the product keeps its registration.
const ProductRegistration = "/usr/local/share/mulesoft/flex-gateway/conf.d/registration.yaml"

func (r *run) registrationFile(expected, source string) {
	name := r.Registration.Path
	if name == "" {
		name = ProductRegistration
	}
	res := Result{"files.registration", OK, name, expected, "", source, ""}
	info, problem := r.readable(r.user(), name)
	exposed := r.Registration.Exposed
	switch {
	case r.Registration.Old != "":
		res.Severity, res.Observed = Error, "three files of release 1.0 ("+r.Registration.Old+"), where one registration.yaml is expected"
		res.Hint = "make one file of them with the product's own tool: flexctl migrate " + r.Registration.Old
		if name == ProductRegistration && !r.Product {
			res.Severity = Warn
		}
	case problem == "not there":
		res.Severity, res.Observed, res.Hint = Info, problem, "without one the gateway serves and reports no usage: flexgw register, or name the file with --registration"
		if r.Registration.Named {
			res.Severity, res.Hint = Error, "name the file that register wrote, or register this gateway: flexgw register"
		} else if r.Product {
			res.Severity = Warn
		}
	case problem != "":
		res.Severity, res.Observed, res.Hint = Error, problem, "give it to the user of the gateway, mode 0600"
	case info.Size() == 0:
		res.Severity, res.Observed, res.Hint = Error, "empty: a registration that failed left it", "remove it, or it blocks the next attempt; then register again"
	case len(exposed) > 0:
		res.Severity = Warn // the group of the file alone
		var texts, paths []string
		for _, e := range exposed {
			if texts, paths = append(texts, e.Text), append(paths, e.Path); e.Everybody {
				res.Severity = Error
			}
		}
		res.Observed, res.Hint = strings.Join(texts, "; "), "chmod 600 "+strings.Join(paths, " ")
	case r.Registration.Problem != "":
		res.Severity, res.Observed, res.Hint = Error, r.Registration.Problem, "register again, or put back the file that register wrote"
	default:
		res.Observed = fmt.Sprintf("%d bytes, mode %04o", info.Size(), info.Mode().Perm())
	}
	r.add(res)
}

func (r *run) group(expected, source string) {
	u := r.user()
	res := Result{"files.group", OK, "user " + u.name, expected, "", source, ""}
	text, _ := r.read("/etc/group")
	gid, found := -1, false
	for line := range strings.Lines(text) {
		if f := strings.Split(strings.TrimSpace(line), ":"); len(f) == 4 && f[0] == "flex" {
			gid, _ = strconv.Atoi(f[2])
			found = true
		}
	}
	switch {
	case u.id == 0:
		res.Observed = "root"
	case found && slices.Contains(u.groups, gid):
		res.Observed = "a member of flex"
	case found:
		res.Severity, res.Observed, res.Hint = r.ofProduct(), "not a member of flex", "usermod -aG flex "+u.name+", then log in again; flexgw itself does not need it"
	default:
		res.Severity, res.Observed, res.Hint = r.ofProduct(), "no group flex on this host", "the product's package makes it; flexgw itself does not need it"
	}
	if res.Severity == Error {
		res.Severity = Warn // it keeps a person from asking, and no gateway from serving
	}
	r.add(res)
}

const serviceStarted = "all dependencies initialized. starting workers"

func (r *run) service(expected, source string) {
	res := Result{"files.service", OK, serviceName, expected, "", source, ""}
	if len(r.units()) == 0 {
		res.Severity, res.Observed, res.Hint = Info, "not installed", "only the product has it; flexgw has a unit of its own (docs/systemd.md)"
		if r.Product {
			res.Severity, res.Hint = Error, "install the product's package, or leave --flex-version out if flexgw alone is to run here"
		}
		r.add(res)
		return
	}
	procs, _ := r.read("/sys/fs/cgroup/system.slice/" + serviceName + "/cgroup.procs")
	if procs == "" {
		procs, _ = r.read("/sys/fs/cgroup/systemd/system.slice/" + serviceName + "/cgroup.procs")
	}
	if strings.TrimSpace(procs) == "" {
		res.Severity, res.Observed, res.Hint = r.ofProduct(), "installed, and not running", "systemctl start flex-gateway; if flexgw takes its place, that is as it should be"
		r.add(res)
		return
	}
	log, err := r.call("journalctl", "--unit", serviceName, "--boot", "--quiet", "--no-pager", "--output", "cat")
	switch {
	case err != nil:
		res.Observed, res.Hint = "active; its log cannot be read here", "journalctl -u flex-gateway"
	case strings.Contains(string(log), serviceStarted):
		res.Observed = "active; its log says that the workers started"
	default:
		res.Severity, res.Observed, res.Hint = Warn, "active; its log does not say that the workers started", "journalctl -u flex-gateway"
	}
	r.add(res)
}

const day = 24 * time.Hour

// expiry judges the certificate of the registration (thresholds: section 5.10).
func (r *run) expiry(expected, source string) {
	res := Result{"files.expiry", OK, "client certificate of the registration", expected, "", source, ""}
	if r.Registration.NotAfter.IsZero() {
		res.Severity, res.Observed = Skipped, "no registration that can be read"
		r.add(res)
		return
	}
	left := r.Registration.NotAfter.Sub(r.Now())
	until := r.Registration.NotAfter.UTC().Format(time.RFC3339)
	res.Observed = fmt.Sprintf("%s left (until %s)", plural(int(left/day), "day"), until)
	renew := "flexgw renew; the new certificate may end on the same day, for its issuer's end is a bound"
	switch {
	case left <= 0:
		res.Severity, res.Observed, res.Hint = Error, "expired on "+until, "usage upload will fail; traffic keeps flowing: "+renew
	case left < 7*day:
		res.Severity, res.Hint = Error, "usage upload will fail then; traffic keeps flowing: "+renew
	case left < 30*day:
		res.Severity, res.Hint = Warn, renew
	case left < 60*day:
		res.Severity, res.Hint = Info, "plan to renew: flexgw renew"
	}
	r.add(res)
}

// callLimit is how long a client may think.
const callLimit = 10 * time.Second

// call runs a program of the host, if programs may be run.
func (r *run) call(name string, args ...string) ([]byte, error) {
	if r.World.Run == nil {
		return nil, exec.ErrNotFound
	}
	ctx, cancel := context.WithTimeout(r.ctx, callLimit)
	defer cancel()
	return r.World.Run(ctx, name, args...)
}

// instances judges that one gateway is on this host: [D], files and permissions.
func (r *run) instances() {
	expected, source := "one gateway on this host", "[D], files and permissions"
	for _, x := range table("files") {
		if x["check"] == "instance.single" {
			expected = x["expected"]
		}
	}
	res := Result{"instance.single", OK, "the product", expected, "not installed", source, ""}
	var roots []string
	for _, dir := range append(r.glob("/opt/*/flex-gateway"), "/usr/local/share/mulesoft/flex-gateway", "/srv/mulesoft/flex-gateway") {
		if r.exists(dir) {
			roots = append(roots, dir)
		}
	}
	var running []string
	for _, p := range r.procs {
		if p.name == "flex-gateway" || p.name == "flex-agent" {
			running = append(running, p.String())
		}
	}
	slices.Sort(roots)
	gateways := len(slices.DeleteFunc(slices.Clone(running), func(p string) bool { return !strings.HasPrefix(p, "flex-gateway ") }))
	switch {
	case len(roots) > 1:
		res.Severity, res.Observed, res.Hint = Error, "installed twice: "+strings.Join(roots, ", "), "keep one: the product supports one gateway on a host"
	case gateways > 1:
		res.Severity, res.Observed, res.Hint = Error, "runs twice: "+strings.Join(running, ", "), "stop one: the product supports one gateway on a host"
	case len(running) > 0:
		res.Severity, res.Observed, res.Hint = Warn, "runs: "+strings.Join(running, ", "), "stop it before flexgw takes its ports: systemctl stop flex-gateway"
		if r.Product {
			res.Severity, res.Hint = OK, ""
		}
	case len(roots) == 1:
		res.Observed = "installed once, and not running"
	}
	r.add(res)

	var held []string
	for _, dir := range r.StateDirs {
		lock := filepath.Join(dir, "daemon.lock")
		if r.Held == nil || !r.exists(lock) {
			continue
		}
		if is, err := r.Held(r.path(lock)); err == nil && is {
			name := dir
			if source := r.line(filepath.Join(dir, "source")); source != "" {
				name += " (serves " + source + ")"
			}
			held = append(held, name)
		}
	}
	res = Result{"instance.flexgw", OK, "flexgw", expected, "no daemon works in " + plural(len(r.StateDirs), "state folder") + " looked at", "ours: the lock of the state folder", ""}
	if len(held) > 0 {
		res.Severity, res.Observed = Info, "a daemon works in "+strings.Join(held, ", ")
		if len(held) > 1 {
			res.Severity = Warn
		}
		res.Hint = "a second gateway needs a source, a state folder and ports of its own; flexgw status shows this one"
	}
	r.add(res)
}

// agents lists what may come between the gateway and others. It is the operator's to judge.
func (r *run) agents() {
	expected := ""
	for _, x := range table("files") {
		if x["check"] == "agents.third_party" {
			expected = x["expected"]
		}
	}
	known := map[string]row{}
	for _, x := range table("agents") {
		known[x["process"]] = x
	}
	told := map[string]bool{}
	for _, p := range r.procs {
		x, ok := known[p.name]
		if !ok || told[x["product"]] {
			continue
		}
		told[x["product"]] = true
		hint := "leave the gateway's programs, state folder and sockets out of its scans; let it open no TLS to the platform"
		if x["kind"] == "inspection" {
			hint = "let it open no TLS to the hosts of the platform that want a client certificate"
		}
		r.add(Result{"agents.third_party", Info, x["product"], expected, x["kind"] + ": " + p.String(), "[D], files and permissions; the list of programs is ours", hint})
	}
	if len(told) == 0 {
		r.add(Result{"agents.third_party", OK, "antivirus, inspection and application security", expected, "none of the " + strconv.Itoa(len(known)) + " programs that flexgw knows runs", "[D], files and permissions; the list of programs is ours", ""})
	}
	for _, f := range r.anchors() {
		r.add(Result{"agents.private_ca", Info, f, "authorities that everybody knows", "an authority of this site is trusted", "ours", "if a proxy opens TLS with it, leave out the hosts of the platform that want a client certificate"})
	}
}

// anchors are the files of authorities that a site added to its hosts.
func (r *run) anchors() []string {
	var all []string
	for _, dir := range []string{"/usr/local/share/ca-certificates", "/etc/pki/ca-trust/source/anchors", "/etc/pki/trust/anchors"} {
		all = append(append(append(all, r.glob(dir+"/*.crt")...), r.glob(dir+"/*.pem")...), r.glob(dir+"/*/*.crt")...)
	}
	return all
}

// permissions lists who must be allowed what on the platform and in a cluster: a program cannot see it without asking there.
func (r *run) permissions() {
	for _, x := range table("permissions") {
		source := x["mark"] + ", permissions"
		if strings.Contains(x["action"], "Kubernetes") {
			source = x["mark"] + ", requirements"
		}
		r.add(Result{"permissions.needed", Manual, x["action"], x["needs"], "not asked: only the platform knows", source, ""})
	}
}
