package messageloggingoutbound_test

import (
	"testing"

	"github.com/flexgw/flexgw/render/policy/messageloggingoutbound"
	"github.com/flexgw/flexgw/render/policy/policytest"
)

func TestPolicy(t *testing.T) { policytest.Run(t, messageloggingoutbound.Type) }
