package preflight

import (
	"fmt"
	"math"
	"path"
	"slices"
	"strconv"
	"strings"
)

// flexgw's own floor: with it the quickstart answers (the product's minimum up to 1.6, sizing and limits).
const (
	ownCPU = 0.2
	ownMB  = 200
)

// resources judges processors and memory, whichever is less of what the machine has and what its control groups allow.
func (r *run) resources() {
	if r.OS != "linux" {
		r.add(Result{"resources.cpu", Skipped, "flexgw", amount(ownCPU) + " vCPU or more", "not looked at on " + r.OS, "[D] sizing and limits", ""})
		return
	}
	cpu, cpuWhy := r.processors()
	mb, mbWhy := r.memory()
	r.enough("resources.cpu", "flexgw", cpu, ownCPU, 0, "vCPU", cpuWhy, Error, "ours: the quickstart answers with it")
	r.enough("resources.memory", "flexgw", mb, ownMB, 0, "MB", mbWhy, Error, "ours: the quickstart answers with it")
	smallest := true
	for _, x := range table("sizes") {
		if !r.within(x["from"], x["to"]) {
			continue
		}
		sev := Info
		switch {
		case x["size"] == r.Size:
			sev = Error
		case r.Size == "" && smallest:
			sev = r.product()
		}
		smallest = false
		source := "[D] releases " + x.releases() + ", sizing and limits: " + x["notes"]
		least, most := x.number("cpu_min"), x.number("cpu_max")
		if a, b, ok := power10(x["notes"]); ok && r.Arch == "ppc64le" {
			least, most = a, b
		}
		r.enough("resources.cpu", "size "+x["size"], cpu, least, most, "vCPU", cpuWhy, sev, source)
		r.enough("resources.memory", "size "+x["size"], mb, x.number("mem_min_mb"), x.number("mem_max_mb"), "MB", mbWhy, sev, source)
		r.load(x, sev)
	}
	r.add(Result{"resources.replicas", Manual, "replicas", "each replica of the gateway has the same size, and requests have about 1 KB", "no program on one host sees it", "[D] sizing and limits", "size each host alike; measure with requests of your own where they are larger"})
}

// power10 are the processors of another kind of machine, which the notes of a size have for it.
func power10(notes string) (least, most float64, ok bool) {
	_, text, ok := strings.Cut(notes, "Power10: ")
	if !ok {
		return 0, 0, false
	}
	n, err := fmt.Sscanf(text, "%g-%g cores", &least, &most)
	return least, most, n == 2 && err == nil
}

// enough compares what there is with the least, where 0 of have means that nobody knows.
func (r *run) enough(id, subject string, have, least, most float64, unit, why string, short Severity, source string) {
	expected := amount(least) + " " + unit + " or more"
	if most > 0 {
		expected = amount(least) + " to " + amount(most) + " " + unit
	}
	res := Result{id, OK, subject, expected, amount(have) + " " + unit + why, source, ""}
	switch {
	case have == 0:
		res.Severity, res.Observed = Skipped, "not known: /proc does not say"
	case have < least:
		res.Severity = short
		switch short {
		case Info:
			res.Hint = "this host is too small for it"
		case Warn:
			res.Hint = "the product recommends it; flexgw needs " + amount(ownCPU) + " vCPU and " + amount(ownMB) + " MB for itself and its Envoy"
		default:
			res.Hint = "give the host, or the container, more"
		}
	}
	r.add(res)
}

// load compares the number of APIs with the row that a size is for.
func (r *run) load(x row, sev Severity) {
	limit := x["apis"]
	if limit == "" || r.Counts == nil {
		return
	}
	res := Result{"resources.apis", OK, "size " + x["size"], limit + " APIs, " + x["rps"] + " requests/s", plural(r.Counts.APIs, "API") + " declared", "[D] releases " + x.releases() + ", sizing and limits: " + x["notes"], ""}
	n := float64(r.Counts.APIs)
	most := x.number("apis")
	if strings.HasPrefix(limit, ">") {
		most = math.Inf(1)
	}
	if n > most {
		res.Severity, res.Hint = Warn, "take a larger size, or spread the APIs over more gateways"
		if sev == Info {
			res.Severity = Info
		}
	}
	r.add(res)
}

func amount(n float64) string { return strconv.FormatFloat(math.Round(n*100)/100, 'f', -1, 64) }

// processors are those that this process may use, and by which limit.
func (r *run) processors() (n float64, why string) {
	text, _ := r.read("/proc/cpuinfo")
	n = float64(strings.Count("\n"+text, "\nprocessor"))
	if allowed := r.status("Cpus_allowed_list"); allowed != "" {
		count := 0
		for part := range strings.SplitSeq(allowed, ",") {
			var a, b int
			if k, _ := fmt.Sscanf(part, "%d-%d", &a, &b); k == 1 {
				b = a
			}
			count += b - a + 1
		}
		if c := float64(count); n == 0 || c < n {
			n, why = c, " (this process may use no other)"
		}
	}
	for _, dir := range r.groups("cpu") {
		var quota, period float64
		if k, _ := fmt.Sscanf(r.line(dir+"/cpu.max"), "%g %g", &quota, &period); k != 2 {
			quota, _ = strconv.ParseFloat(r.line(dir+"/cpu.cfs_quota_us"), 64)
			period, _ = strconv.ParseFloat(r.line(dir+"/cpu.cfs_period_us"), 64)
		}
		if quota > 0 && period > 0 && (n == 0 || quota/period < n) {
			n, why = quota/period, " (limit of the control group "+dir+")"
		}
	}
	return n, why
}

// unlimited is about what a control group of version 1 says when it has no limit.
const unlimited = 1 << 60

// memory is in MB (2²⁰ bytes).
func (r *run) memory() (mb float64, why string) {
	text, _ := r.read("/proc/meminfo")
	for line := range strings.Lines(text) {
		var kb float64
		if k, _ := fmt.Sscanf(line, "MemTotal: %g kB", &kb); k == 1 {
			mb = math.Floor(kb / 1024)
		}
	}
	for _, dir := range r.groups("memory") {
		for _, name := range []string{"/memory.max", "/memory.limit_in_bytes"} {
			limit, err := strconv.ParseFloat(r.line(dir+name), 64)
			if err == nil && limit > 0 && limit < unlimited && (mb == 0 || limit/(1<<20) < mb) {
				mb, why = math.Floor(limit/(1<<20)), " (limit of the control group "+dir+")"
			}
		}
	}
	return mb, why
}

// groups are the folders of the process's control groups that may limit a resource, up to the root: those of version 2, then those of
// version 1. In a container the root is what the folder of the process is outside.
func (r *run) groups(controller string) []string {
	text, _ := r.read("/proc/self/cgroup")
	var dirs []string
	up := func(base, name string) {
		for name = path.Clean("/" + name); ; name = path.Dir(name) {
			dirs = append(dirs, strings.TrimSuffix(base+name, "/"))
			if name == "/" {
				return
			}
		}
	}
	for line := range strings.Lines(text) {
		part := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(part) != 3 {
			continue
		}
		switch {
		case part[1] == "":
			up("/sys/fs/cgroup", part[2])
			up("/sys/fs/cgroup/unified", part[2])
		case slices.Contains(strings.Split(part[1], ","), controller):
			up("/sys/fs/cgroup/"+part[1], part[2])
			up("/sys/fs/cgroup/"+controller, part[2])
		}
	}
	return dirs
}

// status is a line of /proc/self/status.
func (r *run) status(name string) string {
	text, _ := r.read("/proc/self/status")
	for line := range strings.Lines(text) {
		if value, ok := strings.CutPrefix(line, name+":"); ok {
			return strings.Join(strings.Fields(value), " ")
		}
	}
	return ""
}

// limits holds declarations against the documented limits of the release.
func (r *run) limits() {
	for _, x := range table("limits") {
		if !r.within(x["from"], x["to"]) {
			continue
		}
		limit := x.number("value")
		res := Result{CheckID: "limits." + x["limit"], Severity: OK, Subject: strings.ReplaceAll(x["limit"], "_", " "), Source: "[D] releases " + x.releases() + ", sizing and limits"}
		res.Expected = x["value"] + " at most (" + x["effect"] + ")"
		have, who := -1, ""
		if c := r.Counts; c != nil {
			switch x["limit"] {
			case "apis_per_gateway":
				have = c.APIs
			case "upstreams_per_api":
				have, who = c.UpstreamsPerAPI, c.MostUpstreams
			case "routes_per_api":
				have, who = c.RoutesPerAPI, c.MostRoutes
			case "upstreams_per_route":
				have, who = c.UpstreamsPerRoute, c.MostSplits
			}
		}
		switch {
		case strings.HasPrefix(x["limit"], "contracts"):
			res.Severity, res.Observed, res.Hint = Manual, "contracts are kept by the platform", "count them in API Manager"
		case x["effect"] == "431" || x["effect"] == "413":
			res.Severity, res.Observed, res.Hint = Manual, "depends on the requests", "a larger one is answered with "+x["effect"]
		case r.Counts == nil:
			res.Severity, res.Observed, res.Hint = Skipped, "no declarations given", "name them: flexgw preflight PATH…"
		case float64(have) > limit:
			res.Severity, res.Hint = Warn, "the product does not support more; spread them over more gateways"
			fallthrough
		default:
			res.Observed = strconv.Itoa(have)
			if who != "" {
				res.Observed += " (" + who + ")"
			}
		}
		r.add(res)
	}
}
