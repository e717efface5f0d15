package responsetimeout_test

import (
	"testing"

	"github.com/flexgw/flexgw/render/policy/policytest"
	"github.com/flexgw/flexgw/render/policy/responsetimeout"
)

func TestPolicy(t *testing.T) { policytest.Run(t, responsetimeout.Type) }
