package notify

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	"github.com/flexgw/flexgw/reconcile"
	"github.com/flexgw/flexgw/schema/diag"
)

// Kind is a forge, by the shape in which it takes the status of a commit.
type Kind string

// The kinds of forges: POST /statuses/SHA below the API's URL of a repository (GitHub, Gitea and Forgejo:
// https://HOST/…/repos/OWNER/NAME) or project (GitLab: https://HOST/api/v4/projects/ID).
const (
	GitHub Kind = "github" // docs.github.com/en/rest/commits/statuses
	GitLab Kind = "gitlab" // docs.gitlab.com/api/commits#set-the-pipeline-status-of-a-commit
	Gitea  Kind = "gitea"  // docs.gitea.com/api: repoCreateStatus
)

// ForgeOptions of a Forge.
type ForgeOptions struct {
	Kind  Kind
	URL   string                 // the API's, of the repository; http or https
	Token func() (string, error) // read anew at each try; its value is told to nobody else
	Name  string                 // of the status: one for each host, or they write over each other
	Sending
}

// Forge posts how far the commits of a repository got. Event may be called by anybody, Run once.
type Forge struct {
	o ForgeOptions
	*sender
	last string // what was added last; used by Event alone, which the loop calls
}

// The bounds of a description; longer ones are refused by some.
var descriptionLength = map[Kind]int{GitHub: 140, GitLab: 255, Gitea: 255}

// NewForge makes a Forge, and an error when the kind is not known or the URL is none.
func NewForge(o ForgeOptions) (*Forge, error) {
	if descriptionLength[o.Kind] == 0 {
		return nil, fmt.Errorf("%q is no forge: known are %s, %s and %s", o.Kind, GitHub, GitLab, Gitea)
	}
	o.URL = strings.TrimSuffix(o.URL, "/")
	to, err := newSender("commit status", o.URL, o.Sending)
	if err != nil {
		return nil, err
	}
	return &Forge{o: o, sender: to}, nil
}

// The states of a commit, as GitHub and Gitea call them.
const (
	pending = "pending"
	success = "success"
	failure = "failure"
)

// stateOf is what an event says of its commit; "": nothing.
func stateOf(e reconcile.Event) (state, text string) {
	switch e.Type {
	case reconcile.Fetched:
		return pending, "seen"
	case reconcile.Waiting:
		return pending, e.Message
	case reconcile.Accepted:
		if e.Reason == "Observed" {
			return success, "right; this daemon observes, and serves nothing"
		}
		return pending, "applied, and not live yet"
	case reconcile.Programmed:
		return success, "live"
	case reconcile.HeldBack:
		return failure, "live but for what is wrong: "
	case reconcile.Refused:
		return failure, "refused (" + e.Reason + "): "
	case reconcile.Invalid:
		return failure, "nothing changed: "
	case reconcile.Rejected:
		return failure, "refused by Envoy: "
	case reconcile.ProofFailed:
		return failure, "its probes or its error rate speak against it: "
	}
	return "", ""
}

// Event takes an event in, when it is about a commit. It does not block.
func (f *Forge) Event(e reconcile.Event) {
	state, text := stateOf(e)
	commit := cmp.Or(e.Commit, e.Set.Commit)
	if state == "" || commit == nil {
		return
	}
	if state == failure {
		text += firstErrors(e, descriptionLength[f.o.Kind]-len(text))
	}
	text = clip(text, descriptionLength[f.o.Kind])
	sha := commit.ID
	what := sha + " " + state + " " + text
	if what == f.last {
		return
	}
	f.last = what
	f.add(item{id: newID(), event: string(e.Type), revision: sha, request: func() (*http.Request, error) { return f.request(sha, state, text) }})
}

// firstErrors are as many errors as fit into so many characters, the first ones, and how many are left.
func firstErrors(e reconcile.Event, length int) string {
	var lines []string
	for _, d := range e.Diagnostics {
		if d.Severity != diag.Error {
			continue
		}
		line := fmt.Sprintf("%s [%s]", d.Summary, d.Code)
		if !d.Subject.IsZero() {
			line = d.Subject.String() + ": " + line
		}
		lines = append(lines, line)
	}
	if len(lines) == 0 {
		return e.Message
	}
	for n := len(lines); ; n-- {
		text, more := strings.Join(lines[:n], "; "), ""
		if left := len(lines) - n; left > 0 {
			more = fmt.Sprintf(" (and %d more)", left)
		}
		if n == 1 || len([]rune(text+more)) <= length {
			return clip(text, length-len(more)) + more
		}
	}
}

// clip cuts a text to so many characters.
func clip(s string, length int) string {
	s = diag.Visible(s)
	if r := []rune(s); len(r) > length {
		return string(r[:length-1]) + "…"
	}
	return s
}

func (f *Forge) request(sha, state, text string) (*http.Request, error) {
	token, err := f.o.Token()
	if err != nil {
		return nil, err
	}
	body := map[string]string{"state": state, "description": text, "context": f.o.Name}
	if f.o.Kind == GitLab {
		body["name"] = f.o.Name
		delete(body, "context")
		if state == failure {
			body["state"] = "failed"
		}
	}
	b, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	r, err := http.NewRequest(http.MethodPost, f.o.URL+"/statuses/"+sha, bytes.NewReader(b))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", "application/json")
	switch f.o.Kind {
	case GitHub:
		r.Header.Set("Accept", "application/vnd.github+json")
		r.Header.Set("X-GitHub-Api-Version", "2022-11-28")
		r.Header.Set("Authorization", "Bearer "+token)
	case GitLab:
		r.Header.Set("Private-Token", token)
	case Gitea:
		r.Header.Set("Authorization", "token "+token)
	}
	return r, nil
}
