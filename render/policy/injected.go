package policy

import (
	"fmt"
	"slices"
	"strings"

	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/ir"
)

// InjectedHeader refuses a header that a credential cannot be written to: what is no header's name, and what says how a message is
// framed or routed.
func (f *Findings) InjectedHeader(code diag.Code, name, field string) {
	switch lower := strings.ToLower(name); {
	case !ir.IsHeaderName(name):
		f.Error(code, fmt.Sprintf("%s is %q, which is not the name of a header", field, name), "use letters, digits and !#$%&'*+-.^_`|~", field)
	case slices.Contains([]string{"connection", "content-length", "host", "te", "trailer", "transfer-encoding", "upgrade"}, lower):
		f.Error(code, fmt.Sprintf("%s is %q, which is the gateway's own and cannot carry a credential", field, name), "choose another name", field)
	}
}
