package xmlthreatprotection_test

import (
	"testing"

	"github.com/flexgw/flexgw/render/policy/policytest"
	"github.com/flexgw/flexgw/render/policy/xmlthreatprotection"
)

func TestPolicy(t *testing.T) { policytest.Run(t, xmlthreatprotection.Type) }
