package all

import "maps"

// NotYet is the reason of a policy that Local Mode has and flexgw does not enforce.
const NotYet = "not enforced by flexgw yet"

// The other reasons, each a clause that follows the name of a policy.
const (
	contracts   = "not available in Local Mode: it checks contracts that API Manager synchronises"
	alerts      = "not available in Local Mode: its results feed alerts in API Manager"
	controlled  = "not available in Local Mode: it reports to the control plane"
	uiOnly      = "not available in Local Mode: it can be configured in the platform's user interface only"
	platform    = "not available in Local Mode: the platform's catalogue has it, but no declaration for it is documented"
	mcp         = "not available in Local Mode: MCP server instances are managed by the platform"
	a2a         = "not available in Local Mode: agent instances are managed by the platform"
	llm         = "not available in Local Mode: LLM proxy instances are managed by the platform"
	notLocal    = "not available in Local Mode, as its documentation says"
	superseded  = "a preview that the DataWeave policies replaced; use the dataweave-…-flex policy of that kind"
	muleOnly    = "a policy of the Mule runtime; the gateway does not have it"
	oidc        = "not available in Local Mode in current versions; use jwt-validation-flex or oauth2-token-introspection-flex"
	baseKind    = "a base Extension, named in spec.extends of a custom policy and never bound"
	builtIn     = "a filter that the gateway adds by itself and that is never bound"
	undescribed = "an undocumented built-in of early versions; not enforced by flexgw"
	extAuthz    = "a name from pre-release documentation; the policy is called native-ext-authz-flex"
	extProc     = "a name from pre-release documentation; the policy is called native-ext-proc-flex"
)

// elsewhere are the product's other policies, by the name that a binding or an asset has. A name without -flex stands for
// both forms.
//
// Source: https://docs.mulesoft.com/gateway/latest/policies-included-overview
var elsewhere = map[string]string{
	// Local Mode does not have them.
	"openidconnect-access-token-enforcement-flex": oidc,
	"client-id-enforcement-flex":                  contracts,
	"rate-limiting-sla-based-flex":                contracts,
	"health-check":                                alerts,
	"agent-connection-telemetry":                  controlled,
	"sse-logging":                                 uiOnly,
	"access-block":                                platform,
	"mcp-support":                                 mcp,
	"mcp-access-control":                          mcp,
	"mcp-schema-validation":                       mcp,
	"mcp-pii-detector":                            mcp,
	"mcp-tool-mapping":                            mcp,
	"mcp-global-access-policy":                    mcp,
	"mcp-transcoding-router":                      mcp,
	"a-two-a-agent-card":                          a2a,
	"a-two-a-pii-detector":                        a2a,
	"a-two-a-prompt-decorator":                    a2a,
	"a-two-a-schema-validation":                   a2a,
	"a-two-a-token-rate-limit":                    a2a,
	"intask-authorization-code-policy":            a2a,
	"intask-authentication-policy":                a2a,
	"semantic-prompt-guard-policy-openai":         llm,
	"model-based-routing":                         llm,
	"semantic-routing-policy-huggingface":         llm,
	"llm-proxy-core":                              llm,
	"llm-proxy-core-policy":                       llm,
	"llm-gw-core-policy":                          llm,
	"bedrock-llm-provider-policy":                 llm,
	"gemini-llm-provider-policy":                  llm,
	"openai-transcoding-policy":                   llm,
	"gemini-transcoding-policy":                   llm,
	"credential-injection-oauth2-obo":             notLocal,
	"body-transformation":                         superseded,
	"header-transformation":                       superseded,
	"script-evaluation-transformation":            superseded,
	"external-oauth2-access-token-enforcement":    muleOnly,
	"tokenization":                                muleOnly,
	"detokenization":                              muleOnly,

	// Not policies.
	"extension-definition":       baseKind,
	"extension-authentication":   baseKind,
	"envoy-filter":               baseKind,
	"proxy-wasm-filter":          baseKind,
	"api-context":                builtIn,
	"envoy.filters.http.router":  builtIn,
	"native-external-authz-flex": extAuthz,
	"native-external-proc-flex":  extProc,
}

// Elsewhere are the product's policies that are not in the list, with the reason of each. A policy that joins the list leaves
// it by that alone.
func Elsewhere() map[string]string {
	m := maps.Clone(elsewhere)
	for _, t := range list {
		delete(m, t.Name())
	}
	return m
}
