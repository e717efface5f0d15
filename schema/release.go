package schema

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/ir"
)

// since reports what the target release does not have yet: a kind of thing, and its name unless that is "". release is a text
// such as "1.12.0"; "" is from the start.
func (d *docDecoder) since(at diag.Range, what, name, release string) {
	if release == "" {
		return
	}
	r, err := ir.ParseRelease(release)
	if err != nil || !d.o.Target.Before(r) {
		return
	}
	if name != "" {
		what = strings.TrimPrefix(what+" "+strconv.Quote(name), " ")
	}
	d.report(diag.Error, "link/too-new", at, fmt.Sprintf("%s is there from release %v on; the target is %v", what, r, d.o.Target), "leave it out, or raise the target release")
}

// settingsSince are the keys of a Configuration's spec that came later than the kind (flex-resources.md, 6 and 12).
var settingsSince = map[string]string{"sharedStorage": "1.1", "forwardProxy": "1.4", "proxyProtocol": "1.4", "probe": "1.8", "timeouts": "1.9", "tracing": "1.10",
	"defaultTLS": "1.9", "circuitBreaker": "1.13"}
