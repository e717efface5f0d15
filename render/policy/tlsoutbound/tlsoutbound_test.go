package tlsoutbound_test

import (
	"testing"

	"github.com/flexgw/flexgw/render/policy/policytest"
	"github.com/flexgw/flexgw/render/policy/tlsoutbound"
)

func TestPolicy(t *testing.T) { policytest.Run(t, tlsoutbound.Type) }
