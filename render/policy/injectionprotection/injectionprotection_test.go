package injectionprotection_test

import (
	"testing"

	"github.com/flexgw/flexgw/render/policy/injectionprotection"
	"github.com/flexgw/flexgw/render/policy/policytest"
)

func TestPolicy(t *testing.T) { policytest.Run(t, injectionprotection.Type) }
