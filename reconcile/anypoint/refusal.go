package anypoint

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/flexgw/flexgw/schema/diag"
)

// Kind is what a refusal of the platform means.
type Kind int

// The kinds, by what is to be done.
const (
	Unexpected       Kind = iota // an answer that nobody here knows
	WrongCredentials             // [D] 401 of a login or of a connected app
	Disabled                     // [D] 403 of a login: the user may not log in
	SecondFactor                 // [C] the user logs in with a second factor, or (302 [D]) with the browser
	Elsewhere                    // [D] 418: the user belongs to another platform
	Unauthorized                 // 401: the token is not known, has expired, or is of another organization [S]
	Forbidden                    // 403: a scope is missing
	NotFound                     // 404: no such organization, environment or gateway
	NameTaken                    // [D] 400, [S] 409: a gateway of that name is there
	TokenUnknown                 // [D] 400: the registration token has expired, or is none
	Deleted                      // [C] 400: it was deleted already; or 410
	Busy                         // 429, or 503 with Retry-After
	Unavailable                  // 5xx, or no answer at all
	Redirected                   // 3xx, which is not followed
	NoPlatform                   // the answer is not of the platform: a proxy, or another server
)

// Error is a refusal of the platform, or that it did not answer.
type Error struct {
	Op      string // what was asked for: "log in"
	Kind    Kind
	Status  int    // of HTTP; 0: no answer
	Message string // of the platform, made visible; "": none
	After   time.Duration
	Scopes  []string // of Forbidden: what the call needs, or, where that could be told, what is missing
	Missing bool     // Scopes are those that are missing
	App     bool     // of a log-in: it is that of a connected app
	Maybe   []string // of Missing: those that may be missing, too
	Err     error    // of Status 0
	Trust   string   // of Err: the client's, if nobody who is trusted has signed the server's certificate
	Doubt   bool     // this try or one before it may have done what was asked for: no answer of the platform says that it did not
}

func (e *Error) Error() string {
	text := e.Op + ": " + e.what()
	if e.Message != "" {
		text += fmt.Sprintf(" (the platform says %q)", e.Message)
	}
	return text
}

func (e *Error) Unwrap() error { return e.Err }

func (e *Error) what() string {
	status := strconv.Itoa(e.Status)
	switch e.Kind {
	case WrongCredentials:
		return "the platform does not know this user and password, or this client id and secret"
	case Disabled:
		return "the platform does not let this " + e.person() + " in"
	case SecondFactor:
		return "this user logs in with a second factor or through single sign-on, which nobody here can answer for"
	case Elsewhere:
		return "this user belongs to another control plane"
	case Unauthorized:
		return "the token is not known, has expired, or is of another organization (401)"
	case Forbidden:
		if len(e.Scopes) == 0 {
			return "the platform forbids it (403)"
		}
		if e.Missing {
			text := "the scopes " + listed(e.Scopes) + " are missing"
			if len(e.Scopes) == 1 {
				text = "the scope " + e.Scopes[0] + " is missing"
			}
			if len(e.Maybe) > 0 {
				text += ", and " + listed(e.Maybe) + " may be"
			}
			return text + " (403)"
		}
		return "the platform forbids it (403); it needs the scopes " + listed(e.Scopes)
	case NotFound:
		return "there is no such organization, environment or gateway (404)"
	case NameTaken:
		return "a gateway of this name is registered in this organization and environment already (" + status + ")"
	case TokenUnknown:
		return "the registration token has expired, or is none (" + status + ")"
	case Deleted:
		return "the gateway was deleted already (" + status + ")"
	case Busy:
		if e.After > 0 {
			return fmt.Sprintf("the platform wants fewer requests (%s), and to be left alone for %s", status, e.After)
		}
		return "the platform wants fewer requests (" + status + ")"
	case Redirected:
		return "the platform sends us elsewhere (" + status + "), and redirects are not followed"
	case NoPlatform:
		return "what answered is not the platform (" + status + ", and not in its JSON)"
	case Unavailable:
		if e.Err != nil {
			return reason(e.Err)
		}
		return "the platform does not work just now (" + status + ")"
	}
	return "the platform refuses it (" + status + ")"
}

func (e *Error) person() string {
	if e.App {
		return "connected app"
	}
	return "user"
}

func listed(words []string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:len(words)-1], ", ") + " and " + words[len(words)-1]
}

// reason is an error of HTTP without the method and the URL, which the caller knows.
func reason(err error) string {
	if u := (*url.Error)(nil); errors.As(err, &u) {
		err = u.Err
	}
	return err.Error()
}

// Advice is what to do about the refusal; "": there is nothing to say.
func (e *Error) Advice() string {
	switch e.Kind {
	case WrongCredentials:
		return "check them; of a connected app, the client id and secret"
	case Disabled:
		return "an administrator of the organization can enable the " + e.person()
	case SecondFactor:
		return "use a registration token (Runtime Manager, Flex Gateway, Add Gateway), or a connected app with the scopes Read Servers, Manage Servers and View Organization"
	case Elsewhere:
		return "name its control plane with --anypoint-url; that of Europe is " + EU
	case Unauthorized:
		return "get a new one: a registration token lives for four hours; one of Europe needs --anypoint-url " + EU
	case Forbidden:
		return "give the user the permission, or the connected app the scope, for this environment: Access Management in Anypoint Platform"
	case NotFound:
		return "check the ids: they are ids, and not names; those of Europe are at " + EU + ", which --anypoint-url says, or the registration"
	case NameTaken:
		return "take another name, or delete the old gateway: flexgw gateways delete NAME"
	case TokenUnknown:
		return "get a new one: Runtime Manager, Flex Gateway, Add Gateway; it lives for four hours"
	case Busy:
		return "try again later"
	case Redirected, NoPlatform:
		return "check --anypoint-url; a proxy may answer in the platform's place: --https-proxy names yours"
	case Unavailable:
		if e.Err != nil && e.Trust != "" {
			return e.Trust + "\nflexgw preflight says what of the way to the platform works"
		}
		if e.Err != nil {
			return "flexgw preflight says what of the way to the platform works"
		}
		return "try again later"
	}
	return ""
}

// NoWireError says that a server is not known to understand what is invented here: it is not told any of it.
type NoWireError struct{ Base string }

func (e *NoWireError) Error() string {
	return e.Base + " does not say that it understands flexgw's registration requests"
}

// refusal makes an error of an answer.
func (c *Client) refusal(x call, a *answer) *Error {
	e := &Error{Op: x.op, Status: a.status, App: x.path == PathToken, Message: a.message(append([]string{x.bearer.Reveal()}, x.hide...)), After: c.retryAfter(a.header)}
	said := func(words string) bool { return strings.Contains(strings.ToLower(e.Message), words) }
	switch s := a.status; {
	case s/100 == 2:
		e.Kind = NoPlatform
	case x.login && (s == http.StatusFound || s == http.StatusSeeOther):
		e.Kind = SecondFactor
	case s/100 == 3:
		e.Kind = Redirected
	case s == http.StatusUnauthorized && x.login:
		e.Kind = WrongCredentials
	case s == http.StatusForbidden && x.login:
		e.Kind = Disabled
	case s == http.StatusTeapot && x.login:
		e.Kind = Elsewhere
	case s == http.StatusBadRequest && said("no valid registration token"):
		e.Kind = TokenUnknown
	case s == http.StatusBadRequest && said("same name already exists"), s == http.StatusConflict && x.registers:
		e.Kind = NameTaken
	case s == http.StatusBadRequest && said("already deleted"), s == http.StatusGone:
		e.Kind = Deleted
	case s == http.StatusUnauthorized:
		e.Kind = Unauthorized
	case s == http.StatusForbidden:
		e.Kind, e.Scopes, e.Missing = Forbidden, slices.Clone(x.scopes), len(x.scopes) == 1
	case s == http.StatusNotFound && !json.Valid(a.body):
		e.Kind = NoPlatform // a 404 of whoever stands in between says nothing of gateways
	case s == http.StatusNotFound:
		e.Kind = NotFound
	case s == http.StatusTooManyRequests, s == http.StatusServiceUnavailable && e.After > 0:
		e.Kind = Busy
	case s/100 == 5:
		e.Kind = Unavailable
	}
	return e
}

// maxMessage is how much of what the platform says is shown, in bytes.
const maxMessage = 200

func (a *answer) message(hide []string) string { return Message(a.body, hide) }

// shortestHidden is how long what is told in secret is at least, that is taken out of a message. A shorter one stands in any sentence: taking it
// out there would tell it.
const shortestHidden = 4

// Message is what the platform says to people in an answer's JSON, on one line, 200 bytes at most, without what it was told in secret; "": nothing.
func Message(answer []byte, hide []string) string {
	var body struct {
		Message string `json:"message"`
		Error   any    `json:"error"` // OAuth's word; of others an object
	}
	if json.Unmarshal(answer, &body) != nil {
		return ""
	}
	text := body.Message
	if s, ok := body.Error.(string); ok && text == "" {
		text = s
	}
	hide = slices.DeleteFunc(hide, func(s string) bool { return len(s) < shortestHidden })
	for _, s := range hide {
		text = strings.ReplaceAll(text, s, diag.Redacted)
	}
	text = diag.Visible(diag.OneLine(text))
	if len(text) > maxMessage {
		text = strings.ToValidUTF8(text[:maxMessage], "") + "…"
	}
	return text
}
