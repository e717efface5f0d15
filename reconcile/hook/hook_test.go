package hook_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/flexgw/flexgw/reconcile/hook"
	"github.com/flexgw/flexgw/reconcile/notify"
)

const secret = "correct horse battery staple"

var now = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

func mac(parts ...string) []byte { return macWith(secret, parts...) }

func macWith(key string, parts ...string) []byte {
	h := hmac.New(sha256.New, []byte(key))
	for _, p := range parts {
		h.Write([]byte(p))
	}
	return h.Sum(nil)
}

// delivery is one request.
type delivery struct {
	body string
	head map[string]string
}

// The bodies are of the shapes that the forges document, cut down to what counts.
const (
	githubPush    = `{"ref":"refs/heads/main","after":"a1","repository":{"full_name":"acme/gateway","clone_url":"https://github.com/acme/gateway.git"}}`
	gitlabPush    = `{"object_kind":"push","event_name":"push","ref":"refs/heads/main","project":{"path_with_namespace":"acme/gateway","git_ssh_url":"git@gitlab.example.com:acme/gateway.git"}}`
	bitbucketPush = `{"push":{"changes":[{"old":{"type":"branch","name":"main"},"new":{"type":"branch","name":"main"}}]},"repository":{"full_name":"acme/gateway"}}`
	serverPush    = `{"eventKey":"repo:refs_changed","repository":{"slug":"gateway","project":{"key":"ACME"}},"changes":[{"ref":{"id":"refs/heads/main","displayId":"main","type":"BRANCH"}}]}`
)

func github(event, body string) delivery {
	return delivery{body, map[string]string{"Content-Type": "application/json", "X-GitHub-Event": event, "X-GitHub-Delivery": "d1", "X-Hub-Signature-256": "sha256=" + hex.EncodeToString(mac(body)),
		"X-Hub-Signature": "sha1=" + oldMAC(body)}}
}

func oldMAC(body string) string {
	h := hmac.New(sha1.New, []byte(secret))
	h.Write([]byte(body))
	return hex.EncodeToString(h.Sum(nil))
}

// gitea sends the headers of GitHub, too.
func gitea(event, body string) delivery {
	d := github(event, body)
	d.head["X-Gitea-Event"], d.head["X-Gitea-Delivery"], d.head["X-Gitea-Signature"] = event, "d1", hex.EncodeToString(mac(body))
	return d
}

func forgejo(event, body string) delivery {
	d := gitea(event, body)
	d.head["X-Forgejo-Event"], d.head["X-Forgejo-Delivery"], d.head["X-Forgejo-Signature"] = event, "d1", hex.EncodeToString(mac(body))
	return d
}

func bitbucket(event, body string) delivery {
	return delivery{body, map[string]string{"Content-Type": "application/json", "X-Event-Key": event, "X-Request-UUID": "d1", "X-Hub-Signature": "sha256=" + hex.EncodeToString(mac(body))}}
}

func gitlab(event, body string) delivery {
	return delivery{body, map[string]string{"Content-Type": "application/json", "X-Gitlab-Event": event, "X-Gitlab-Event-UUID": "d1", "X-Gitlab-Token": secret}}
}

func gitlabSigned(event, body string, at time.Time, key string) delivery {
	t := fmt.Sprint(at.Unix())
	return delivery{body, map[string]string{"Content-Type": "application/json", "X-Gitlab-Event": event, "Webhook-Id": "d1", "Webhook-Timestamp": t,
		"Webhook-Signature": "v1,AAAA v1," + base64.StdEncoding.EncodeToString(macWith(key, "d1."+t+".", body))}}
}

func generic(body string, at time.Time) delivery {
	return delivery{body, map[string]string{"Content-Type": "application/json", "Flexgw-Signature": notify.Sign([]byte(secret), at, []byte(body))}}
}

// receiver is a hook, and how often it said that somebody should look.
type receiver struct {
	*hook.Hook
	t     *testing.T
	pokes atomic.Int64
	log   *bytes.Buffer
}

func newReceiver(t *testing.T, change func(*hook.Options)) *receiver {
	t.Helper()
	r := &receiver{t: t, log: &bytes.Buffer{}}
	o := hook.Options{Secrets: func() ([][]byte, error) { return [][]byte{[]byte("an older one, of before"), []byte(secret)}, nil },
		Remotes: []string{"https://git.example.com/acme/gateway.git"}, Ref: "main", Poke: func() { r.pokes.Add(1) }, Now: func() time.Time { return now },
		Log: slog.New(slog.NewTextHandler(r.log, nil))}
	if change != nil {
		change(&o)
	}
	r.Hook = hook.New(o)
	return r
}

func (d delivery) with(name, value string) delivery {
	head := map[string]string{}
	for k, v := range d.head {
		head[k] = v
	}
	if head[name] = value; value == "" {
		delete(head, name)
	}
	return delivery{d.body, head}
}

func (r *receiver) post(d delivery) *httptest.ResponseRecorder {
	return r.do(http.MethodPost, d)
}

func (r *receiver) do(method string, d delivery) *httptest.ResponseRecorder {
	r.t.Helper()
	q := httptest.NewRequest(method, "/", strings.NewReader(d.body))
	for k, v := range d.head {
		q.Header.Set(k, v)
	}
	w := httptest.NewRecorder()
	r.ServeHTTP(w, q)
	return w
}

func (r *receiver) count(of hook.Result) (n uint64) {
	for _, c := range r.Counts() {
		if c.Result == of {
			n = c.N
		}
	}
	return n
}

func TestForges(t *testing.T) {
	t.Parallel()
	form := delivery{url.Values{"payload": {githubPush}}.Encode(), nil}
	form = github("push", form.body).with("Content-Type", "application/x-www-form-urlencoded")
	whsec := "whsec_" + base64.StdEncoding.EncodeToString([]byte("0123456789abcdef0123456789abcdef"))
	forHost := func(s string) string { return strings.ReplaceAll(s, "acme/gateway", "acme/website") }
	toBranch := func(s string) string { return strings.ReplaceAll(s, "main", "topic") }
	for name, c := range map[string]struct {
		d      delivery
		result hook.Result
		secret string
	}{
		"GitHub":                         {d: github("push", githubPush), result: hook.Taken},
		"GitHub, as a form":              {d: form, result: hook.Taken},
		"GitHub, ping":                   {d: github("ping", `{"zen":"…"}`), result: hook.Ping},
		"GitHub, star":                   {d: github("star", `{"action":"created"}`), result: hook.Ignored},
		"GitHub, no event":               {d: github("", githubPush).with("X-GitHub-Event", ""), result: hook.Ignored},
		"GitHub, another repository":     {d: github("push", forHost(githubPush)), result: hook.Ignored},
		"GitHub, another branch":         {d: github("push", toBranch(githubPush)), result: hook.Ignored},
		"GitHub, body changed":           {d: delivery{githubPush + " ", github("push", githubPush).head}, result: hook.Forbidden},
		"GitHub, SHA-1 alone":            {d: github("push", githubPush).with("X-Hub-Signature-256", ""), result: hook.Forbidden},
		"GitHub, SHA-1 as the new one":   {d: github("push", githubPush).with("X-Hub-Signature-256", "sha1="+oldMAC(githubPush)), result: hook.Forbidden},
		"GitHub, no prefix":              {d: github("push", githubPush).with("X-Hub-Signature-256", hex.EncodeToString(mac(githubPush))), result: hook.Forbidden},
		"GitHub, empty":                  {d: github("push", githubPush).with("X-Hub-Signature-256", "sha256="), result: hook.Forbidden},
		"Gitea":                          {d: gitea("push", githubPush), result: hook.Taken},
		"Gitea, wrong":                   {d: gitea("push", githubPush).with("X-Gitea-Signature", hex.EncodeToString(mac("x"))), result: hook.Forbidden},
		"Gitea, release":                 {d: gitea("release", githubPush), result: hook.Ignored},
		"Forgejo":                        {d: forgejo("push", githubPush), result: hook.Taken},
		"Forgejo, wrong":                 {d: forgejo("push", githubPush).with("X-Forgejo-Signature", "00"), result: hook.Forbidden},
		"Bitbucket":                      {d: bitbucket("repo:push", bitbucketPush), result: hook.Taken},
		"Bitbucket, fork":                {d: bitbucket("repo:fork", bitbucketPush), result: hook.Ignored},
		"Bitbucket, another branch":      {d: bitbucket("repo:push", toBranch(bitbucketPush)), result: hook.Ignored},
		"Bitbucket, tag of that name":    {d: bitbucket("repo:push", strings.ReplaceAll(bitbucketPush, "branch", "tag")), result: hook.Taken},
		"Bitbucket Data Center":          {d: bitbucket("repo:refs_changed", serverPush), result: hook.Taken},
		"Bitbucket Data Center, ping":    {d: bitbucket("diagnostics:ping", `{"test":true}`), result: hook.Ping},
		"Bitbucket Data Center, another": {d: bitbucket("repo:refs_changed", strings.Replace(serverPush, "ACME", "OTHER", 1)), result: hook.Ignored},
		"GitLab, token":                  {d: gitlab("Push Hook", gitlabPush), result: hook.Taken},
		"GitLab, tag of another name":    {d: gitlab("Tag Push Hook", strings.ReplaceAll(gitlabPush, "heads/main", "tags/v1")), result: hook.Ignored},
		"GitLab, system hook":            {d: gitlab("System Hook", gitlabPush), result: hook.Taken},
		"GitLab, another system hook":    {d: gitlab("System Hook", `{"event_name":"user_create"}`), result: hook.Ignored},
		"GitLab, issue":                  {d: gitlab("Issue Hook", gitlabPush), result: hook.Ignored},
		"GitLab, wrong token":            {d: gitlab("Push Hook", gitlabPush).with("X-Gitlab-Token", secret+"x"), result: hook.Forbidden},
		"GitLab, no token":               {d: gitlab("Push Hook", gitlabPush).with("X-Gitlab-Token", ""), result: hook.Forbidden},
		"GitLab, signed":                 {d: gitlabSigned("Push Hook", gitlabPush, now, secret), result: hook.Taken},
		"GitLab, signed, with whsec":     {d: gitlabSigned("Push Hook", gitlabPush, now, "0123456789abcdef0123456789abcdef"), secret: whsec, result: hook.Taken},
		"GitLab, signed, whsec as it is": {d: gitlabSigned("Push Hook", gitlabPush, now, whsec), secret: whsec, result: hook.Forbidden},
		"GitLab, signed with nothing":    {d: gitlabSigned("Push Hook", gitlabPush, now, ""), secret: "whsec_", result: hook.Forbidden},
		"GitLab, signed, and a token":    {d: gitlabSigned("Push Hook", gitlabPush, now, "x").with("X-Gitlab-Token", secret), result: hook.Forbidden},
		"GitLab, signed, another id":     {d: gitlabSigned("Push Hook", gitlabPush, now, secret).with("Webhook-Id", "d2"), result: hook.Forbidden},
		"GitLab, signed, another time":   {d: gitlabSigned("Push Hook", gitlabPush, now, secret).with("Webhook-Timestamp", fmt.Sprint(now.Unix()+1)), result: hook.Forbidden},
		"GitLab, signed long ago":        {d: gitlabSigned("Push Hook", gitlabPush, now.Add(-6*time.Minute), secret), result: hook.Stale},
		"generic":                        {d: generic(`{"repository":"acme/gateway","ref":"refs/heads/main"}`, now), result: hook.Taken},
		"generic, with nothing":          {d: generic("", now).with("Content-Type", ""), result: hook.Taken},
		"generic, another repository":    {d: generic(`{"repository":"acme/website"}`, now), result: hook.Ignored},
		"generic, an event of a daemon":  {d: generic(`{}`, now).with("Flexgw-Event-Type", "Programmed"), result: hook.Ignored},
		"generic, five minutes ago":      {d: generic(`{}`, now.Add(-5*time.Minute)), result: hook.Taken},
		"generic, six minutes ago":       {d: generic(`{}`, now.Add(-6*time.Minute)), result: hook.Stale},
		"generic, from the future":       {d: generic(`{}`, now.Add(6*time.Minute)), result: hook.Stale},
		"generic, time changed":          {d: generic(`{}`, now).with("Flexgw-Signature", strings.Replace(notify.Sign([]byte(secret), now, []byte("{}")), fmt.Sprint(now.Unix()), fmt.Sprint(now.Unix()+1), 1)), result: hook.Forbidden},
		"nothing":                        {d: delivery{githubPush, map[string]string{"Content-Type": "application/json", "X-GitHub-Event": "push"}}, result: hook.Forbidden},
		"no JSON":                        {d: github("push", "ref=main"), result: hook.Malformed},
		"no type that is known":          {d: github("push", githubPush).with("Content-Type", "text/plain"), result: hook.Malformed},
		"an empty form":                  {d: github("push", "x=1").with("Content-Type", "application/x-www-form-urlencoded"), result: hook.Malformed},
		"JSON of another shape":          {d: github("push", `[1,"a",{"ref":2}]`), result: hook.Taken},
		"names in names":                 {d: github("push", `{"repository":{"full_name":{"acme":1},"links":[1]},"ref":["x"],"push":{"changes":[{"new":1}]},"changes":{"a":1}}`), result: hook.Taken},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newReceiver(t, func(o *hook.Options) {
				if c.secret != "" {
					o.Secrets = func() ([][]byte, error) { return [][]byte{[]byte(c.secret)}, nil }
				}
			})
			w := r.post(c.d)
			status := map[hook.Result]int{hook.Taken: 202, hook.Ping: 200, hook.Ignored: 200, hook.Forbidden: 403, hook.Stale: 403, hook.Malformed: 400}[c.result]
			if w.Code != status || r.count(c.result) != 1 {
				t.Errorf("got %d %q, counts %v, want %s", w.Code, w.Body, r.Counts(), c.result)
			}
			if looked := r.pokes.Load() == 1; looked != (c.result == hook.Taken) {
				t.Errorf("looked: %v", looked)
			}
			if w.Code == 403 && w.Body.Len() != 0 {
				t.Errorf("a stranger is told %q", w.Body)
			}
			if s := r.log.String(); strings.Contains(s, secret) || strings.Contains(s, hex.EncodeToString(mac(githubPush))) {
				t.Errorf("a secret in the log: %s", s)
			}
		})
	}
}

// Strangers cannot tell by the answer what is wrong.
func TestStrangersAreToldNothing(t *testing.T) {
	t.Parallel()
	r := newReceiver(t, nil)
	want := r.post(delivery{body: "x"})
	for name, d := range map[string]delivery{
		"a wrong signature": github("push", githubPush).with("X-Hub-Signature-256", "sha256=00"), "old": generic("{}", now.Add(-time.Hour)),
		"a wrong token": gitlab("Push Hook", gitlabPush).with("X-Gitlab-Token", "x"), "a wrong signature of no JSON": github("push", "x").with("X-Hub-Signature-256", "x"),
	} {
		w := r.post(d)
		if w.Code != want.Code || w.Body.String() != want.Body.String() || fmt.Sprint(w.Header()) != fmt.Sprint(want.Header()) {
			t.Errorf("%s: got %d %v, want %d %v", name, w.Code, w.Header(), want.Code, want.Header())
		}
	}
}

// capitals writes the digits of a signature of our own so.
func capitals(signature string) string {
	t, sig, _ := strings.Cut(signature, ",v1=")
	return t + ",v1=" + strings.ToUpper(sig)
}

func TestReplay(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ d, again delivery }{
		"GitHub":                   {github("push", githubPush), github("push", githubPush)},
		"GitHub, with another id":  {github("push", githubPush), github("push", githubPush).with("X-GitHub-Delivery", "d2")},
		"Gitea, with another id":   {gitea("push", githubPush), gitea("push", githubPush).with("X-Gitea-Delivery", "d2")},
		"Bitbucket, without an id": {bitbucket("repo:push", bitbucketPush), bitbucket("repo:push", bitbucketPush).with("X-Request-UUID", "")},
		"GitLab, token":            {gitlab("Push Hook", gitlabPush), gitlab("Push Hook", gitlabPush)},
		"GitLab, signed":           {gitlabSigned("Push Hook", gitlabPush, now, secret), gitlabSigned("Push Hook", gitlabPush, now, secret)},
		"GitLab, signed once more": {gitlabSigned("Push Hook", gitlabPush, now, secret), gitlabSigned("Push Hook", gitlabPush, now.Add(time.Second), secret)},
		"generic":                  {generic("{}", now), generic("{}", now)},
		// One signature can be written in several ways, and one over a body alone is that of four forges.
		"GitHub, in capitals":     {github("push", githubPush), github("push", githubPush).with("X-GitHub-Delivery", "d2").with("X-Hub-Signature-256", "sha256="+strings.ToUpper(hex.EncodeToString(mac(githubPush))))},
		"generic, in capitals":    {generic("{}", now), generic("{}", now).with("Flexgw-Signature", capitals(generic("{}", now).head["Flexgw-Signature"]))},
		"GitHub's as Gitea's":     {github("push", githubPush), gitea("push", githubPush).with("X-Gitea-Delivery", "d2")},
		"GitHub's as Forgejo's":   {github("push", githubPush), forgejo("push", githubPush).with("X-Forgejo-Delivery", "")},
		"GitHub's as Bitbucket's": {github("push", githubPush), bitbucket("repo:push", githubPush).with("X-Request-UUID", "d2")},
		"GitLab, signed, with another beside": {gitlabSigned("Push Hook", gitlabPush, now, secret).with("Webhook-Id", "d1"), func() delivery {
			d := gitlabSigned("Push Hook", gitlabPush, now, secret)
			return d.with("Webhook-Signature", d.head["Webhook-Signature"]+" v1,BBBB")
		}()},
	} {
		r := newReceiver(t, nil)
		r.post(c.d)
		w := r.post(c.again)
		if w.Code != 200 || r.count(hook.Replayed) != 1 || r.pokes.Load() != 1 {
			t.Errorf("%s: got %d %q, %v, %d looks", name, w.Code, w.Body, r.Counts(), r.pokes.Load())
		}
	}
	r := newReceiver(t, nil)
	for _, at := range []time.Time{now, now.Add(time.Second)} { // no replay: it was signed again
		if w := r.post(generic("{}", at)); w.Code != 202 {
			t.Errorf("signed at another second: %d %q", w.Code, w.Body)
		}
	}
	// What is forgotten is bounded, and what was not taken may come again.
	r = newReceiver(t, nil)
	at := now
	r.Hook = hook.New(hook.Options{Secrets: func() ([][]byte, error) { return [][]byte{[]byte(secret)}, nil }, Poke: func() { r.pokes.Add(1) }, Now: func() time.Time { return at }, Log: slog.New(slog.DiscardHandler)})
	for i := range 100 {
		r.post(generic(fmt.Sprintf(`{"n":%d}`, i), now))
	}
	if taken, many := r.count(hook.Taken), r.count(hook.TooMany); taken != 30 || many != 70 {
		t.Errorf("of 100 at once %d were taken, %d were too many", taken, many)
	}
	at = now.Add(time.Minute)
	if w := r.post(generic(`{"n":99}`, now)); w.Code != 202 {
		t.Errorf("what was too much is not taken later: %d %q", w.Code, w.Body)
	}
	if w := r.post(generic(`{"n":0}`, now)); w.Code != 200 || r.count(hook.Replayed) != 1 {
		t.Errorf("what was taken is taken again: %d %q", w.Code, w.Body)
	}
}

func TestFollows(t *testing.T) {
	t.Parallel()
	push := func(repository, ref string) delivery {
		return generic(fmt.Sprintf(`{"repository":%q,"ref":%q}`, repository, ref), now)
	}
	for name, c := range map[string]struct {
		remotes []string
		ref     string
		d       delivery
		want    bool
	}{
		"https":           {[]string{"https://git.example.com/Acme/Gateway.git"}, "", push("https://other.name/acme/gateway", "refs/heads/x"), true},
		"ssh":             {[]string{"ssh://git@git.example.com:2222/acme/gateway.git/"}, "", push("git@git.example.com:acme/gateway.git", ""), true},
		"scp":             {[]string{"git@git.example.com:acme/gateway"}, "", push("acme/gateway", ""), true},
		"another owner":   {[]string{"git@git.example.com:acme/gateway"}, "", push("mallory/gateway", ""), false},
		"a group in one":  {[]string{"https://git.example.com/top/acme/gateway"}, "", push("top/acme/gateway", ""), true},
		"the second":      {[]string{"https://a/x/y", "https://b/acme/gateway"}, "", push("acme/gateway", ""), true},
		"a path":          {[]string{"/srv/git/gateway.git"}, "", push("acme/gateway", ""), true},
		"a file":          {[]string{"file:///srv/git/gateway.git"}, "", push("acme/gateway", ""), true},
		"branch":          {nil, "main", push("", "refs/heads/main"), true},
		"branch, short":   {nil, "main", push("", "main"), true},
		"branch in one":   {nil, "main", push("", "refs/heads/main/2"), false},
		"full":            {nil, "refs/heads/prod", push("", "refs/heads/prod"), true},
		"full, a tag":     {nil, "refs/heads/prod", push("", "refs/tags/prod"), false},
		"tag":             {nil, "tag:v1", push("", "refs/tags/v1"), true},
		"tag, a branch":   {nil, "tag:v1", push("", "refs/heads/v1"), false},
		"range":           {nil, "semver:^1", push("", "refs/tags/v1.2.3"), true},
		"range, a branch": {nil, "semver:^1", push("", "refs/heads/main"), false},
		"no ref":          {nil, "main", push("", ""), true},
	} {
		r := newReceiver(t, func(o *hook.Options) { o.Remotes, o.Ref = c.remotes, c.ref })
		r.post(c.d)
		if got := r.pokes.Load() == 1; got != c.want {
			t.Errorf("%s: looked: %v", name, got)
		}
	}
}

func TestBounds(t *testing.T) {
	t.Parallel()
	r := newReceiver(t, nil)
	for _, m := range []string{"GET", "HEAD", "PUT", "DELETE", "OPTIONS"} {
		if w := r.do(m, github("push", githubPush)); w.Code != 405 || w.Header().Get("Allow") != "POST" || w.Body.Len() != 0 {
			t.Errorf("%s: %d %q", m, w.Code, w.Body)
		}
	}
	large := `{"x":"` + strings.Repeat("a", 2<<20) + `"}`
	if w := r.post(github("push", large)); w.Code != 413 || r.count(hook.TooLarge) != 1 {
		t.Errorf("a large body: %d", w.Code)
	}
	q := httptest.NewRequest("POST", "/", io.MultiReader(strings.NewReader(large))) // of no length that is said
	w := httptest.NewRecorder()
	r.ServeHTTP(w, q)
	if w.Code != 413 {
		t.Errorf("a large body of no length: %d", w.Code)
	}
	q = httptest.NewRequest("POST", "/", strings.NewReader(githubPush))
	q.Header["X-Hub-Signature-256"] = []string{"sha256=" + hex.EncodeToString(mac(githubPush)), "sha256=00"}
	w = httptest.NewRecorder()
	if r.ServeHTTP(w, q); w.Code != 403 {
		t.Errorf("two signatures: %d", w.Code)
	}
	for range 50 {
		r.post(delivery{body: "x"})
	}
	if n := strings.Count(r.log.String(), "a request was refused"); n != 10 {
		t.Errorf("%d refusals are logged", n)
	}
	if r.pokes.Load() != 0 {
		t.Error("somebody looked")
	}
	for _, secrets := range []func() ([][]byte, error){func() ([][]byte, error) { return nil, nil }, func() ([][]byte, error) { return nil, errors.New("no such file") }} {
		r := newReceiver(t, func(o *hook.Options) { o.Secrets = secrets })
		if w := r.post(github("push", githubPush)); w.Code != 503 || w.Body.Len() != 0 || r.count(hook.Broken) != 1 {
			t.Errorf("without a secret: %d %q", w.Code, w.Body)
		}
		for range 20 {
			r.post(delivery{body: "x"})
		}
		if n := strings.Count(r.log.String(), "level=ERROR"); n != 1 || !strings.Contains(r.log.String(), "the secret cannot be read") {
			t.Errorf("%d lines say within a minute that the secret cannot be read: %s", n, r.log)
		}
	}
	// Strangers, of whom there may be many, do not hide that it cannot be read.
	var broken atomic.Bool
	r = newReceiver(t, func(o *hook.Options) {
		o.Secrets = func() ([][]byte, error) {
			if broken.Load() {
				return nil, errors.New("no such file")
			}
			return [][]byte{[]byte(secret)}, nil
		}
	})
	for range 20 {
		r.post(delivery{body: "x"})
	}
	broken.Store(true)
	r.post(github("push", githubPush))
	if !strings.Contains(r.log.String(), "no such file") {
		t.Errorf("nobody says that the secret cannot be read: %s", r.log)
	}
	broken.Store(false)
	for name, d := range map[string]delivery{ // as curl -d '' and Python send it
		"form": generic("", now).with("Content-Type", "application/x-www-form-urlencoded"),
		"none": generic("", now).with("Content-Type", "").with("Flexgw-Signature", notify.Sign([]byte(secret), now.Add(time.Second), nil)),
	} {
		if w := r.post(d); w.Code != 202 {
			t.Errorf("no body, content type %s: %d %q", name, w.Code, w.Body)
		}
	}
}

// Who sends slowly has a few places, and everybody else the others.
func TestSlowSenders(t *testing.T) {
	t.Parallel()
	r := newReceiver(t, nil)
	var open []*io.PipeWriter
	var wg sync.WaitGroup
	var mu sync.Mutex
	codes := map[int]int{}
	for range 8 {
		in, out := io.Pipe()
		open = append(open, out)
		wg.Go(func() {
			q := httptest.NewRequest("POST", "/", in)
			q.RemoteAddr = "192.0.2.7:1234"
			w := httptest.NewRecorder()
			r.ServeHTTP(w, q)
			mu.Lock()
			defer mu.Unlock()
			codes[w.Code]++
		})
	}
	for start := time.Now(); r.count(hook.TooMany) < 4; time.Sleep(time.Millisecond) {
		if time.Since(start) > time.Minute {
			t.Fatalf("counts %v", r.Counts())
		}
	}
	if w := r.post(github("push", githubPush)); w.Code != 202 {
		t.Errorf("somebody else: %d", w.Code)
	}
	for _, o := range open {
		o.Close()
	}
	wg.Wait()
	if codes[503] != 4 || codes[403] != 4 {
		t.Errorf("answers: %v", codes)
	}
}

// Whoever holds many connections and says nothing shuts out nobody else.
func TestIdleConnectionsShutOutNobody(t *testing.T) {
	t.Parallel()
	r := newReceiver(t, nil)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go r.Serve(t.Context(), l)
	from := func(ip string) net.Dialer {
		return net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(ip)}, Timeout: time.Minute}
	}
	flood := from("127.0.0.66")
	for range 2000 {
		c, err := flood.DialContext(t.Context(), "tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	for _, ip := range []string{"127.0.0.1", "127.0.0.66"} { // even they are heard
		dialer := from(ip)
		client := &http.Client{Transport: &http.Transport{DialContext: dialer.DialContext, DisableKeepAlives: true}, Timeout: time.Minute}
		a, err := client.Post("http://"+l.Addr().String(), "application/json", strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		a.Body.Close()
		if a.StatusCode != http.StatusForbidden {
			t.Errorf("%s was answered with %d", ip, a.StatusCode)
		}
	}
}

// The real server, over TLS and over a socket.
func TestServe(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
	first := writeCert(t, cert, key, "one.example.com")
	r := newReceiver(t, nil)
	conf, err := hook.TLS(cert, key, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	ctx := t.Context()
	go func() { done <- r.Serve(ctx, tls.NewListener(l, conf)) }()
	send := func(pool *x509.CertPool, name string) error {
		client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, ServerName: name}, DisableKeepAlives: true}}
		d := github("push", githubPush)
		q, err := http.NewRequestWithContext(ctx, "POST", "https://"+l.Addr().String(), strings.NewReader(d.body))
		if err != nil {
			return err
		}
		for k, v := range d.head {
			q.Header.Set(k, v)
		}
		a, err := client.Do(q)
		if err != nil {
			return err
		}
		defer a.Body.Close()
		b, err := io.ReadAll(a.Body)
		if a.StatusCode/100 != 2 {
			return fmt.Errorf("%d %s", a.StatusCode, b)
		}
		return err
	}
	if err := send(first, "one.example.com"); err != nil {
		t.Fatal(err)
	}
	second := writeCert(t, cert, key, "two.example.com")
	if err := send(second, "two.example.com"); err != nil {
		t.Errorf("a new certificate: %v", err)
	}
	if err := os.WriteFile(key, []byte("broken"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := send(second, "two.example.com"); err != nil {
		t.Errorf("a broken one: %v", err)
	}
	if err := send(first, "one.example.com"); err == nil {
		t.Error("the old certificate is shown")
	}
	if _, err := hook.TLS(cert, key, slog.Default()); err == nil {
		t.Error("a broken key is taken at the start")
	}
	c, err := net.Dial("tcp", l.Addr().String()) // nobody who speaks no TLS
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(c, "POST / HTTP/1.1\r\nHost: x\r\n\r\n")
	b, _ := io.ReadAll(io.LimitReader(c, 200))
	c.Close()
	if strings.Contains(string(b), "202") || r.pokes.Load() != 1 {
		t.Errorf("%q, %d looks", b, r.pokes.Load())
	}
}

func writeCert(t *testing.T, cert, key, name string) *x509.CertPool {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &k.PublicKey, k)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	pub := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	if err := errors.Join(os.WriteFile(cert, pub, 0o600), os.WriteFile(key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), 0o600)); err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pub)
	return pool
}

func FuzzHook(f *testing.F) {
	f.Add(githubPush, "push", "application/json")
	f.Add(bitbucketPush, "repo:push", "application/json")
	f.Add("payload=%7B%7D", "push", "application/x-www-form-urlencoded")
	f.Add(serverPush, "ping", "")
	f.Fuzz(func(t *testing.T, body, event, kind string) {
		r := newReceiver(t, nil)
		for _, d := range []delivery{github(event, body), bitbucket(event, body), gitlab(event, body), generic(body, now)} {
			if w := r.post(d.with("Content-Type", kind)); w.Code >= 500 {
				t.Errorf("%d", w.Code)
			}
			bad := d.with("Content-Type", kind)
			for _, h := range []string{"X-Hub-Signature-256", "X-Hub-Signature", "X-Gitlab-Token", "Flexgw-Signature"} {
				if bad.head[h] != "" {
					bad.head[h] += "0"
				}
			}
			if w := r.post(bad); w.Code != 403 {
				t.Errorf("a wrong signature: %d", w.Code)
			}
		}
	})
}
