package ipallowlist_test

import (
	"testing"

	"github.com/flexgw/flexgw/render/policy/ipallowlist"
	"github.com/flexgw/flexgw/render/policy/policytest"
)

func TestPolicy(t *testing.T) { policytest.Run(t, ipallowlist.Type) }
