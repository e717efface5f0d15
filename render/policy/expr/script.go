package expr

import (
	"github.com/flexgw/flexgw/render/policy"
	"github.com/flexgw/flexgw/schema/dataweave"
	"github.com/flexgw/flexgw/schema/diag"
)

// JudgeScript reads a policy's field that holds a whole script. At is the place of the whole scalar.
//
// Source: https://docs.mulesoft.com/gateway/latest/policies-included-dataweave-body-transformation (what a script receives)
func JudgeScript(text string, at diag.Range) (dataweave.Script, diag.List) {
	s, l := dataweave.ReadScript(text, dataweave.At(text, at))
	for _, name := range []string{"attributes", "authentication", "vars"} {
		for _, u := range s.Uses(name) {
			what := name
			if u.Member != "" {
				what += "." + u.Member
			}
			if what == "attributes" || what == "attributes.headers" {
				continue
			}
			l = append(l, diag.Diagnostic{Severity: diag.Warning, Code: "expr/not-in-script", Subject: u.At,
				Summary: what + " is not among what a script gets, which is attributes.headers and payload", Hint: "leave it out, or send it in a header that an earlier policy sets"})
		}
	}
	return s, l
}

// JudgePayload says where a script and requiresPayload, the switch that gives it the body, do not fit. missing and unused are
// the policy's codes.
func JudgePayload(f *policy.Findings, s dataweave.Script, gets bool, missing, unused diag.Code) {
	uses := s.Uses("payload")
	if gets && len(uses) == 0 {
		f.Warn(unused, "requiresPayload is true, but the script does not use payload, so bodies are kept in memory for nothing", "set requiresPayload: false", "requiresPayload")
	}
	if gets || len(uses) == 0 {
		return
	}
	f.List = append(f.List, diag.Diagnostic{Severity: diag.Error, Code: missing, Subject: uses[0].At,
		Summary: "the script uses payload, which it gets with requiresPayload: true only", Hint: "set requiresPayload: true"})
}
