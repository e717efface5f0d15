package preflight

import (
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"strings"
)

var versionNumber = regexp.MustCompile(`v?(\d+)\.(\d+)(?:\.(\d+))?`)

// versionOf is the first version in a text; the zero version is none.
func versionOf(text string) (v [3]int) {
	if m := versionNumber.FindString(text); m != "" {
		_, _ = fmt.Sscanf(strings.TrimPrefix(m, "v")+".0", "%d.%d.%d", &v[0], &v[1], &v[2]) // by the pattern
	}
	return v
}

func older(a, b [3]int) bool {
	for i := range a {
		if a[i] != b[i] {
			return a[i] < b[i]
		}
	}
	return false
}

// cluster judges Kubernetes, OpenShift and Helm as far as their clients are here. Clients say their own version without a network; the
// version of a cluster they have to ask it, which is told apart (Options.Cluster), and which nobody does with Options.NoNetwork.
func (r *run) cluster() {
	for _, x := range table("clients") {
		r.client(x)
	}
	expected, source := "Ingress of networking.k8s.io/v1", "[D] DOCS, requirements"
	rights := "may create custom resource definitions"
	if !r.asksCluster() {
		r.unasked("cluster.ingress", "Kubernetes", expected, "", source, "kubectl api-versions lists networking.k8s.io/v1")
		r.unasked("cluster.rights", "Kubernetes", rights, "", source, "kubectl auth can-i create customresourcedefinitions.apiextensions.k8s.io says yes")
		return
	}
	out, err := r.call("kubectl", "api-versions")
	switch {
	case err != nil:
		r.add(Result{"cluster.ingress", Warn, "Kubernetes", expected, "the cluster does not answer: " + said(err), source, "see that kubectl get nodes works"})
	case !containsLine(string(out), "networking.k8s.io/v1"):
		r.add(Result{"cluster.ingress", r.product(), "Kubernetes", expected, "the cluster does not have it", source, "upgrade the cluster"})
	default:
		r.add(Result{"cluster.ingress", OK, "Kubernetes", expected, "there", source, ""})
	}
	out, err = r.call("kubectl", "auth", "can-i", "create", "customresourcedefinitions.apiextensions.k8s.io")
	if answer := strings.TrimSpace(string(out)); answer == "yes" {
		r.add(Result{"cluster.rights", OK, "Kubernetes", rights, "yes", source, ""})
	} else if answer != "" {
		r.add(Result{"cluster.rights", r.product(), "Kubernetes", rights, answer, source, "ask for rights like those of cluster-admin while the product is installed"})
	} else {
		r.add(Result{"cluster.rights", Warn, "Kubernetes", rights, "the cluster does not answer: " + said(err), source, "see that kubectl get nodes works"})
	}
}

// asksCluster reports whether a cluster may be called.
func (r *run) asksCluster() bool { return r.Cluster && !r.NoNetwork }

// unasked tells what a cluster would be asked, by hand then: how is the command, and what it should say.
func (r *run) unasked(id, subject, expected, here, source, how string) {
	res := Result{id, Skipped, subject, expected, here + "no cluster was asked (--cluster asks)", source, ""}
	if r.Cluster {
		res.Severity, res.Observed = Info, here+"the cluster was not asked: --no-network"
		res.Hint = "where it may be called: " + how
	}
	r.add(res)
}

func containsLine(text, want string) bool {
	for line := range strings.Lines(text) {
		if strings.TrimSpace(line) == want {
			return true
		}
	}
	return false
}

// said is an error of a program that was run, by its first line.
func said(err error) string {
	var e *exec.ExitError
	text := fmt.Sprint(err)
	if errors.As(err, &e) && len(e.Stderr) > 0 {
		text = string(e.Stderr)
	}
	first, _, _ := strings.Cut(strings.TrimSpace(text), "\n")
	return first
}

// client judges one row: what a client says of itself, and of the cluster.
func (r *run) client(x row) {
	name, subject := x["client"], x["subject"]
	id := "cluster." + strings.ToLower(subject)
	res := Result{id, OK, subject, x["minimum"] + " or newer", "", "[D] DOCS, requirements", ""}
	version, own, err := r.versions(name)
	least := versionOf(x["minimum"])
	switch {
	case errors.Is(err, exec.ErrNotFound):
		res.Severity, res.Observed = Skipped, "no "+name+" on the PATH"
	case err != nil:
		res.Severity, res.Observed, res.Hint = Warn, name+" failed: "+said(err), "see what it says when you run it"
	case version == "":
		r.unasked(id, subject, res.Expected, name+" "+own+" is here; ", res.Source, name+" version says a server of "+x["minimum"]+" or newer")
		return
	case versionOf(version) == [3]int{}:
		res.Severity, res.Observed, res.Hint = Warn, name+" says "+version, "compare by hand"
	case older(versionOf(version), least):
		res.Severity, res.Observed, res.Hint = r.product(), version, "upgrade to "+x["minimum"]+" or newer"
	default:
		res.Observed = version
	}
	r.add(res)
}

// versions asks a client. version is that of what the row is about, "" when it was not asked; own is the client's.
func (r *run) versions(name string) (version, own string, err error) {
	if name == "helm" {
		// Helm 2 asks the cluster unless --client says no. Since Helm 3 nobody is asked, and the flag is hidden, or gone.
		out, err := r.call("helm", "version", "--short", "--client")
		if err != nil && strings.Contains(said(err), "unknown flag") {
			out, err = r.call("helm", "version", "--short")
		}
		return strings.TrimSpace(string(out)), "", err
	}
	args := []string{"version", "--output", "json"}
	if !r.asksCluster() {
		args = append(args, "--client")
	}
	out, err := r.call(name, args...)
	var v struct {
		ClientVersion, ServerVersion struct{ GitVersion string }
		ReleaseClientVersion         string
		OpenshiftVersion             string
	}
	if jsonErr := json.Unmarshal(out, &v); jsonErr != nil {
		if err == nil {
			err = fmt.Errorf("%s says no JSON: %w", name, jsonErr)
		}
		return "", "", err
	}
	own = v.ClientVersion.GitVersion
	version = v.ServerVersion.GitVersion
	if name == "oc" {
		version = v.OpenshiftVersion
		if v.ReleaseClientVersion != "" {
			own = v.ReleaseClientVersion
		}
	}
	if version == "" && r.asksCluster() && err == nil {
		err = errors.New("the cluster does not say its version")
	}
	if version != "" {
		err = nil
	}
	return version, own, err
}
