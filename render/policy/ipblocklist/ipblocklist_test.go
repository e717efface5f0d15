package ipblocklist_test

import (
	"testing"

	"github.com/flexgw/flexgw/render/policy/ipblocklist"
	"github.com/flexgw/flexgw/render/policy/policytest"
)

func TestPolicy(t *testing.T) { policytest.Run(t, ipblocklist.Type) }
