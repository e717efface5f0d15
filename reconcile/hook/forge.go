package hook

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// kind is what a delivery tells of.
type kind int

const (
	other kind = iota
	push
	ping
)

// form is how one kind of forge authenticates what it sends, and names it.
type form struct {
	forge    string
	header   string // of the signature; a request that has it is of this form
	id       string // header of the delivery's id
	check    func(head http.Header, value string, body, secret []byte, now time.Time) proof
	event    string   // header that names what happened; "": nothing does, and it is a push
	pushes   []string // values of event
	pings    []string
	nameless bool // without the header event it is a push
}

// proof is what a check found.
type proof struct {
	ok     bool
	fresh  bool   // it says that it was made about now, or nothing of when it was
	signed []byte // what the secret signed; nil: only a token is shown, which signs nothing
}

// forms are those that are known, the strongest first: a request that has the headers of several is judged by the first,
// and a wrong signature is not made good by a right one.
var forms = [...]form{
	{forge: "flexgw", header: "Flexgw-Signature", id: "Flexgw-Event-Id", check: ours, event: "Flexgw-Event-Type", pushes: []string{"push"}, pings: []string{"ping"}, nameless: true},
	// Standard Webhooks (https://www.standardwebhooks.com), by which GitLab signs where a signing token is set:
	// https://docs.gitlab.com/user/project/integrations/webhooks/
	{forge: "gitlab", header: "Webhook-Signature", id: "Webhook-Id", check: standard, event: "X-Gitlab-Event", pushes: gitlabPushes[:], nameless: true},
	// https://docs.gitea.com/usage/webhooks, https://forgejo.org/docs/latest/user/webhooks/
	{forge: "forgejo", header: "X-Forgejo-Signature", id: "X-Forgejo-Delivery", check: bare, event: "X-Forgejo-Event", pushes: []string{"push"}},
	{forge: "gitea", header: "X-Gitea-Signature", id: "X-Gitea-Delivery", check: bare, event: "X-Gitea-Event", pushes: []string{"push"}},
	// https://docs.github.com/webhooks/using-webhooks/validating-webhook-deliveries
	{forge: "github", header: "X-Hub-Signature-256", id: "X-GitHub-Delivery", check: prefixed, event: "X-GitHub-Event", pushes: []string{"push"}, pings: []string{"ping"}},
	// https://support.atlassian.com/bitbucket-cloud/docs/manage-webhooks/ and, with refs_changed, Bitbucket Data Center
	{forge: "bitbucket", header: "X-Hub-Signature", id: "X-Request-UUID", check: prefixed, event: "X-Event-Key", pushes: []string{"repo:push", "repo:refs_changed"}, pings: []string{"diagnostics:ping"}},
	{forge: "gitlab", header: "X-Gitlab-Token", id: "X-Gitlab-Event-UUID", check: token, event: "X-Gitlab-Event", pushes: gitlabPushes[:]},
}

var gitlabPushes = [...]string{"Push Hook", "Tag Push Hook", "System Hook"}

// authentication is how a request proved that it knows the secret.
type authentication struct {
	*form
	signed []byte // as in proof
}

// authenticate finds the form of a request and checks it. Whatever is wrong, strangers get one answer.
func authenticate(head http.Header, body []byte, secrets [][]byte, now time.Time) (authentication, outcome) {
	for i := range forms {
		f := &forms[i]
		values := head.Values(f.header)
		if len(values) == 0 {
			continue
		}
		if len(values) > 1 {
			return authentication{}, stranger(Forbidden, "two headers "+f.header)
		}
		var good proof
		for _, s := range secrets { // all of them: which one it is takes no other time
			if p := f.check(head, values[0], body, s, now); p.ok {
				good = p
			}
		}
		switch {
		case !good.ok:
			return authentication{}, stranger(Forbidden, "a wrong "+f.header)
		case !good.fresh:
			return authentication{}, stranger(Stale, f.header+" is of another time")
		}
		return authentication{f, good.signed}, outcome{}
	}
	return authentication{}, stranger(Forbidden, "no signature that is known")
}

// event is what a delivery tells of.
func (a authentication) event(head http.Header, p document) kind {
	name := head.Get(a.form.event)
	switch {
	case name == "" && a.nameless, slices.Contains(a.pushes, name) && name != "System Hook":
		return push
	case name == "System Hook" && slices.Contains([]string{"push", "tag_push", "repository_update"}, p.text("event_name")):
		return push
	case slices.Contains(a.pings, name):
		return ping
	}
	return other
}

func mac(secret, message []byte) []byte {
	h := hmac.New(sha256.New, secret)
	h.Write(message)
	return h.Sum(nil)
}

// sameHex compares a signature in hexadecimal in constant time.
func sameHex(value string, want []byte) bool {
	got, err := hex.DecodeString(value)
	return err == nil && hmac.Equal(got, want)
}

func bare(_ http.Header, value string, body, secret []byte, _ time.Time) proof {
	return proof{sameHex(value, mac(secret, body)), true, body}
}

func prefixed(_ http.Header, value string, body, secret []byte, _ time.Time) proof {
	v, found := strings.CutPrefix(value, "sha256=")
	return proof{found && sameHex(v, mac(secret, body)), true, body}
}

// token compares hashes, which are of one length.
func token(_ http.Header, value string, _, secret []byte, _ time.Time) proof {
	a, b := sha256.Sum256([]byte(value)), sha256.Sum256(secret)
	return proof{subtle.ConstantTimeCompare(a[:], b[:]) == 1, true, nil}
}

// ours is what reconcile/notify signs: t=SECONDS,v1=HEX over the seconds, a dot and the body.
func ours(_ http.Header, value string, body, secret []byte, now time.Time) proof {
	t, sig, found := strings.Cut(value, ",v1=")
	t, isTime := strings.CutPrefix(t, "t=")
	signed := append([]byte(t+"."), body...)
	return proof{found && isTime && sameHex(sig, mac(secret, signed)), within(t, now), signed}
}

// standard is a signature of Standard Webhooks: v1,BASE64 over the id, the time and the body, perhaps one of several. A secret
// that begins with whsec_ is base64 of the key.
func standard(head http.Header, value string, body, secret []byte, now time.Time) proof {
	if text, found := bytes.CutPrefix(secret, []byte("whsec_")); found {
		key, err := base64.StdEncoding.DecodeString(string(text))
		if err != nil || len(key) == 0 {
			return proof{}
		}
		secret = key
	}
	t := head.Get("Webhook-Timestamp")
	signed := append([]byte(head.Get("Webhook-Id")+"."+t+"."), body...)
	want := mac(secret, signed)
	ok := false
	for sig := range strings.FieldsSeq(value) {
		text, found := strings.CutPrefix(sig, "v1,")
		got, err := base64.StdEncoding.DecodeString(text)
		if found && err == nil && hmac.Equal(got, want) {
			ok = true
		}
	}
	return proof{ok, within(t, now), signed}
}

// within says whether seconds are about now.
func within(t string, now time.Time) bool {
	s, err := strconv.ParseInt(t, 10, 64)
	if err != nil {
		return false
	}
	return now.Sub(time.Unix(s, 0)).Abs() <= maxAge
}

// document is what a forge sent.
type document struct{ value any }

func parse(b []byte) (document, error) {
	var d document
	err := json.Unmarshal(b, &d.value)
	return d, err
}

// at goes into objects.
func (d document) at(path ...string) document {
	for _, name := range path {
		m, _ := d.value.(map[string]any)
		d.value = m[name]
	}
	return d
}

// all are the elements of a list.
func (d document) all() (list []document) {
	l, _ := d.value.([]any)
	for _, v := range l {
		list = append(list, document{v})
	}
	return list
}

// text is a text or a truth at a path; "": there is none.
func (d document) text(path ...string) string {
	switch v := d.at(path...).value.(type) {
	case string:
		return v
	case bool:
		return strconv.FormatBool(v)
	}
	return ""
}

// repositories are all ways in which a delivery names its repository.
func (d document) repositories() (list []string) {
	for _, of := range []string{"repository", "project"} {
		r := d.at(of)
		for _, name := range []string{"clone_url", "ssh_url", "git_url", "git_http_url", "git_ssh_url", "html_url", "web_url", "homepage", "full_name", "path_with_namespace"} {
			if t := r.text(name); t != "" {
				list = append(list, t)
			}
		}
		if t := r.text("links", "html", "href"); t != "" {
			list = append(list, t)
		}
		for _, l := range r.at("links", "clone").all() {
			if t := l.text("href"); t != "" {
				list = append(list, t)
			}
		}
		if key, slug := r.text("project", "key"), r.text("slug"); key != "" && slug != "" {
			list = append(list, key+"/"+slug)
		}
	}
	if t, ok := d.value.(map[string]any); ok && len(list) == 0 {
		if s, ok := t["repository"].(string); ok && s != "" { // the generic form
			list = append(list, s)
		}
	}
	return list
}

// refs are the refs that were pushed, by their full names.
func (d document) refs() (list []string) {
	if r := d.text("ref"); r != "" {
		list = append(list, r)
	}
	for _, c := range d.at("push", "changes").all() { // Bitbucket Cloud
		for _, side := range []string{"new", "old"} {
			if name := c.text(side, "name"); name != "" {
				list = append(list, map[string]string{"tag": "refs/tags/", "annotated_tag": "refs/tags/"}[c.text(side, "type")]+name)
			}
		}
	}
	for _, c := range d.at("changes").all() { // Bitbucket Data Center
		if id := c.text("ref", "id"); id != "" {
			list = append(list, id)
		}
	}
	for i, r := range list {
		if !strings.HasPrefix(r, "refs/") {
			list[i] = "refs/heads/" + r
		}
	}
	return list
}

// repository is how a URL names a repository: its last two parts, in lower case. Hosts are left out: forges are known under
// several names. "": a path on this host.
func repository(remote string) string {
	p := ""
	if u, err := url.Parse(remote); err == nil && u.Host != "" && u.Scheme != "file" {
		p = u.Path
	} else if host, path, ok := strings.Cut(remote, ":"); ok && !strings.ContainsAny(host, "/") && !strings.HasPrefix(path, "//") { // git@host:owner/name
		p = path
	} else if !strings.Contains(remote, ":") && !strings.HasPrefix(remote, "/") && !strings.HasPrefix(remote, ".") && strings.Contains(remote, "/") { // owner/name
		p = remote
	}
	parts := strings.Split(strings.Trim(strings.TrimSuffix(strings.TrimRight(strings.ToLower(p), "/"), ".git"), "/"), "/")
	return strings.Join(parts[max(0, len(parts)-2):], "/")
}

// sameRepository says whether a push is to what is followed. One that does not say where it is to is.
func (h *Hook) sameRepository(named []string) bool {
	return len(h.paths) == 0 || len(named) == 0 || slices.ContainsFunc(named, func(n string) bool { return slices.Contains(h.paths, repository(n)) })
}

// sameRef likewise, for refs.
func (h *Hook) sameRef(pushed []string) bool {
	ref := h.o.Ref
	if ref == "" || len(pushed) == 0 || strings.HasPrefix(ref, "commit:") {
		return true
	}
	return slices.ContainsFunc(pushed, func(p string) bool {
		if name, ok := strings.CutPrefix(ref, "tag:"); ok {
			return p == "refs/tags/"+name
		}
		if strings.HasPrefix(ref, "semver:") {
			return strings.HasPrefix(p, "refs/tags/")
		}
		if strings.HasPrefix(ref, "refs/") {
			return p == ref
		}
		return p == "refs/heads/"+ref || p == "refs/tags/"+ref
	})
}
