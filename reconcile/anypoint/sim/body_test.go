package sim_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/flexgw/flexgw/reconcile/anypoint"
	"github.com/flexgw/flexgw/reconcile/anypoint/sim"
	"github.com/flexgw/flexgw/reconcile/anypoint/sim/simtest"
)

// TestWhatIsWrongWithABody: each call that takes a body says which field is wrong and what is expected there, in the platform's form of an
// error ({"status", "message"}), and in no word of Go's.
func TestWhatIsWrongWithABody(t *testing.T) {
	t.Parallel()
	s := simtest.Start(t, sim.Options{})
	g := s.Register(sim.DefaultOrganization, "edge")
	token := []string{"Authorization", "Bearer " + sim.Token}
	renewal := fmt.Sprintf(anypoint.PathRenewals, g.AgentID)
	registration := `{"schema":"` + anypoint.RegistrationSchema + `","name":"x","mode":"local","csr":"","idempotencyKey":"` + simtest.UUID(7) + `"}`
	login := s.Login()
	for name, c := range map[string]struct {
		path, body string
		headers    []string
		want       string
	}{
		"login, empty":             {"/accounts/login", "", nil, "the body is empty, JSON is expected"},
		"login, broken":            {"/accounts/login", `{"username": "jo",}`, nil, "the body is no JSON: invalid character '}' looking for beginning of object key string, after byte 19"},
		"login, cut off":           {"/accounts/login", `{"username": "jo"`, nil, "the body is no JSON: "},
		"login, a form":            {"/accounts/login", "username=jo&password=x", []string{"Content-Type", "application/x-www-form-urlencoded"}, `Content-Type: application/json is expected, it is "application/x-www-form-urlencoded"`},
		"login, a number":          {"/accounts/login", `{"username": 7}`, nil, "username: a text is expected, and it is a number"},
		"login, nobody":            {"/accounts/login", `{"password": "x"}`, nil, "username: a text is expected, and there is none"},
		"login, no password":       {"/accounts/login", `{"username": "jo"}`, nil, "password: a text is expected, and there is none"},
		"app, broken":              {"/accounts/api/v2/oauth2/token", "{", nil, "invalid_request: the body is no JSON: "},
		"app, a list":              {"/accounts/api/v2/oauth2/token", "[]", nil, "invalid_request: the body: an object is expected, and it is a list"},
		"register, empty":          {anypoint.PathRegistrations, "", token, "the body is empty, JSON is expected"},
		"register, broken":         {anypoint.PathRegistrations, `{"name": x}`, token, "the body is no JSON: invalid character 'x' looking for beginning of value, after byte 10"},
		"register, a list":         {anypoint.PathRegistrations, `{"name": ["x"]}`, token, "name: a text is expected, and it is a list"},
		"register, unknown":        {anypoint.PathRegistrations, `{"nam": "x"}`, token, `the body: unknown field "nam"`},
		"register, a form":         {anypoint.PathRegistrations, `name=x`, append([]string{"Content-Type", "text/plain"}, token...), `Content-Type: application/json is expected, it is "text/plain"`},
		"register, nothing":        {anypoint.PathRegistrations, `{}`, token, "schema: "},
		"register, no name":        {anypoint.PathRegistrations, strings.Replace(registration, `"name":"x",`, "", 1), token, "name: "},
		"register, no mode":        {anypoint.PathRegistrations, strings.Replace(registration, `"mode":"local",`, "", 1), token, "mode: "},
		"register, no key":         {anypoint.PathRegistrations, strings.Replace(registration, simtest.UUID(7), "", 1), token, "idempotencyKey: "},
		"register, no request":     {anypoint.PathRegistrations, registration, token, "csr: "},
		"renew, words for a truth": {renewal, `{"updateUrls": "yes"}`, login, "updateUrls: true or false is expected, and it is a text"},
		"renew, two":               {renewal, `{} {}`, login, "something follows the JSON of the body"},
	} {
		a := s.Call("POST", c.path, c.body, c.headers...)
		var told anypoint.ErrorBody
		if err := json.Unmarshal(a.Body, &told); err != nil || told.Status != 400 || a.Status != 400 || !strings.Contains(told.Message, c.want) || strings.Contains(told.Message, "Go ") || strings.Contains(told.Message, "json:") {
			t.Errorf("%s: %d, %v: %s", name, a.Status, err, a.Body)
		}
	}
	// Of a report, the place in it.
	for body, want := range map[string]string{
		`{"seq": -1}`:                      "seq: a whole number, 0 or more, is expected, and it is the number -1",
		`{"points": [{"delta": "many"}]}`:  "points.delta: a whole number, 0 or more, is expected, and it is a text",
		`{"points": {}}`:                   "points: a list is expected, and it is an object",
		`{"lost": [], "seq": 1}`:           "lost: an object is expected, and it is a list",
		`{"createdAt": "yesterday"}`:       "the body: yesterday is no time, such as 2026-01-31T12:00:00Z",
		`{"points": [{"final": "yes"}]}`:   "points.final: true or false is expected, and it is a text",
		`{"schema":"x","points":[],"a":1}`: `the body: unknown field "a"`,
		`{"schema":"x"`:                    "the body is no JSON: it ends in the middle of a value",
	} {
		if a := g.Send(body); a.Status != 400 || !strings.Contains(a.Message(), want) || strings.Contains(a.Message(), "Go ") {
			t.Errorf("%s: %d %s", body, a.Status, a.Body)
		}
	}
}
