package headerremoval_test

import (
	"testing"

	"github.com/flexgw/flexgw/render/policy/headerremoval"
	"github.com/flexgw/flexgw/render/policy/policytest"
)

func TestPolicy(t *testing.T) { policytest.Run(t, headerremoval.Type) }
