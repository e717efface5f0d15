package ldapauthentication

import (
	"fmt"
	"strings"

	"github.com/flexgw/flexgw/render/policy"
	"github.com/flexgw/flexgw/render/policy/expr"
	"github.com/flexgw/flexgw/render/policy/urlcheck"
	"github.com/flexgw/flexgw/schema/dataweave"
	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/syntax"
)

type checker struct {
	*config
	policy.Findings
}

func check(c *config, at policy.Locator) diag.List {
	x := &checker{config: c, Findings: policy.Findings{At: at}}
	x.checkURL()
	x.checkUser()
	if p := readDN(c.Base.Value); p != nil {
		x.place(diag.Error, "ldapauthentication/bad-base", c.Base, p, "the search base "+p.what, "write a distinguished name, such as ou=people,dc=example,dc=org")
	}
	x.checkFilter()
	x.checkOrigin()
	return x.List
}

// place reports a problem at its own column within a text.
func (x *checker) place(s diag.Severity, code diag.Code, t syntax.Text, p *problem, summary, hint string) {
	x.List = append(x.List, diag.Diagnostic{Severity: s, Code: code, Summary: summary, Hint: hint, Subject: dataweave.At(t.Value, t.Range)(p.start, p.end)})
}

func (x *checker) checkURL() {
	u, wrong := urlcheck.Parse(x.URL, urlcheck.Want{Schemes: []string{"ldap", "ldaps"}})
	switch {
	case u == nil:
		x.Error("ldapauthentication/bad-url", "ldapServerURL "+wrong.What, wrong.Hint, "ldapServerURL")
		return
	case strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "":
		more := ""
		if !strings.Contains(x.URL, "@") { // after which a password may end
			more = fmt.Sprintf(" with %q", strings.TrimPrefix(u.RequestURI(), "/"))
		}
		x.Warn("ldapauthentication/url-path", "ldapServerURL goes on after the host"+more+": an address of the directory ends there",
			"write the search base in ldapSearchBase", "ldapServerURL")
	}
	if urlcheck.Exposed(u) {
		x.Warn("ldapauthentication/plain-text", fmt.Sprintf("ldapServerURL is %s: every password crosses the network as it is", urlcheck.Show(u)), "use ldaps://", "ldapServerURL")
	}
}

// checkUser: Active Directory also takes user@domain and DOMAIN\user.
func (x *checker) checkUser() {
	p := readDN(x.User.Value)
	if p == nil || strings.ContainsAny(x.User.Value, `@\`) {
		return
	}
	x.place(diag.Warning, "ldapauthentication/bad-user", x.User, p, "the user of the search "+p.what,
		"write a distinguished name, such as cn=admin,dc=example,dc=org; Active Directory also takes user@domain")
}

func (x *checker) checkFilter() {
	text := x.Filter.Value
	if p := readFilter(text); p != nil {
		x.place(diag.Error, "ldapauthentication/bad-filter", x.Filter, p, "the search filter "+p.what, "write one such as (uid={0}), or (&(objectClass=person)(uid={0}))")
		return
	}
	if !strings.Contains(text, "{0}") {
		x.Warn("ldapauthentication/no-placeholder", fmt.Sprintf("the search filter %q does not contain {0}, so it finds the same entries whoever logs in", text),
			"write {0} where the user name belongs: (uid={0})", "ldapSearchFilter")
	}
}

func (x *checker) checkOrigin() {
	if x.Origin != custom {
		if !x.Expression.Range.IsZero() {
			x.Warn("ldapauthentication/unused", "authorizationExpression is ignored while authorizationOrigin is not customExpression", "set authorizationOrigin: customExpression", "authorizationExpression")
		}
		return
	}
	if strings.TrimSpace(x.Expression.Value) == "" {
		x.Error("ldapauthentication/no-expression", "authorizationOrigin is customExpression, but authorizationExpression is empty", "write where the credentials are, for example "+defaults().Expression.Value,
			"authorizationExpression")
		return
	}
	tree, l := expr.Judge(x.Expression.Value, x.Expression.Range, expr.Use{})
	x.List = append(x.List, l...)
	if len(l) == 0 && dataweave.PhaseOf(tree) == dataweave.Anytime {
		x.Warn("ldapauthentication/constant-expression", "authorizationExpression gives the same credentials for every request, so everybody is let in or nobody",
			"write an expression that reads the request, for example "+defaults().Expression.Value, "authorizationExpression")
	}
}
