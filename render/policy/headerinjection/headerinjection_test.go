package headerinjection_test

import (
	"testing"

	"github.com/flexgw/flexgw/render/policy/headerinjection"
	"github.com/flexgw/flexgw/render/policy/policytest"
)

func TestPolicy(t *testing.T) { policytest.Run(t, headerinjection.Type) }
