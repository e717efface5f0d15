package urlcheck_test

import (
	"net/url"
	"testing"

	"github.com/flexgw/flexgw/render/policy/urlcheck"
)

func TestParse(t *testing.T) {
	t.Parallel()
	web := urlcheck.Want{Schemes: []string{"https", "http"}}
	grpc := urlcheck.Want{Schemes: []string{"h2"}, Port: true, NoPath: true}
	for _, tc := range []struct {
		text string
		want urlcheck.Want
		what string
		hint string
	}{
		{"https://idp.example.com/introspect?x=1", web, "", ""},
		{"HTTP://127.0.0.1:8080", web, "", ""},
		{"https://[::1]:8443/x", web, "", ""},
		{"h2://authz:9000", grpc, "", ""},
		{"h2://authz:9000/", grpc, "", ""},
		{"authz:9000", grpc, "has no scheme", "write h2://authz:9000"},
		{"idp.example.com/x", web, "has no scheme", "write https://idp.example.com/x"},
		{"${idp.url}", web, "has no scheme", "write https://host"},
		{"", web, "has no scheme", "write https://host"},
		{"http://authz:9000", grpc, `has the scheme "http", expected h2`, "write h2://host:port"},
		{"ftp://x", web, `has the scheme "ftp", expected https or http`, "write https://host"},
		{"h2://authz", grpc, "has no port, and h2 has no default", "write h2://authz:port"},
		{"h2://authz:9000/check", grpc, "goes on after the host, which is not used", "write h2://authz:9000"},
		{"https://user:hunter2@idp", web, "holds a user name or a password, which would show in logs", "leave it out"},
		{"https://user:hunt er2@idp", web, "holds a user name or a password, which would show in logs", "leave it out"},
		{"https://user:123/hunter2@idp", grpc, `has the scheme "https", expected h2`, "write h2://host:port"},
		{"https://user:99999/hunter2@idp", web, "holds a user name or a password, which would show in logs", "leave it out"},
		{"h2://user/hunter2@idp:1", grpc, "holds a user name or a password, which would show in logs", "leave it out"},
		{"h2://user:12/hunter2@idp:1", grpc, "holds a user name or a password, which would show in logs", "leave it out"},
		{"user:hunter2://x@idp", web, "holds a user name or a password, which would show in logs", "leave it out"},
		{"user:hunter2/x@idp", web, "has no scheme", "write https://host"},
		{"https://idp/keys/@me?mail=a@b", web, "", ""},
		{"https://", web, "has no host", "write https://host"},
		{"https://:8080", web, "has no host", "write https://host"},
		{"<https://oauth-server/tokens>", web, "stands in angle brackets", "write it without < and >"},
		{"https://<host>/x", web, "has a placeholder where its host belongs", "write https://host"},
		{"https://idp:99999", web, "has the port 99999, expected 1 to 65535", "write https://host"},
		{"https://idp:0", web, "has the port 0, expected 1 to 65535", "write https://host"},
		{"https://a,https://b", web, "has a host with a blank or a comma in it", "write one address, without blanks"},
	} {
		u, problem := urlcheck.Parse(tc.text, tc.want)
		if problem.What != tc.what || problem.Hint != tc.hint || (u == nil) == (tc.what == "") {
			t.Errorf("%q: got %+v, want %q, %q", tc.text, problem, tc.what, tc.hint)
		}
	}
}

func TestExposed(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{
		"http://idp": true, "https://idp": false, "ldap://10.0.0.1": true, "ldaps://10.0.0.1": false, "http://127.0.0.1:1": false, "http://[::1]": false,
		"http://localhost": false, "http://a.localhost": false, "h2://authz:9000": true,
	} {
		u, err := url.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		if got := urlcheck.Exposed(u); got != want {
			t.Errorf("%s: got %v, want %v", text, got, want)
		}
	}
}

func TestShow(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"http://idp:80/x?y": "http://idp:80", "http://user:12/hunter2@idp": "http://…", "http://user:12?hunter2@idp": "http://…", "http://user:12#hunter2@idp": "http://…",
	} {
		u, err := url.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		if got := urlcheck.Show(u); got != want {
			t.Errorf("%s: got %s, want %s", text, got, want)
		}
	}
}
