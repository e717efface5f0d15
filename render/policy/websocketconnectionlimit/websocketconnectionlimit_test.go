package websocketconnectionlimit_test

import (
	"testing"

	"github.com/flexgw/flexgw/render/policy/policytest"
	"github.com/flexgw/flexgw/render/policy/websocketconnectionlimit"
)

func TestPolicy(t *testing.T) { policytest.Run(t, websocketconnectionlimit.Type) }
