package streamidletimeout_test

import (
	"testing"

	"github.com/flexgw/flexgw/render/policy/policytest"
	"github.com/flexgw/flexgw/render/policy/streamidletimeout"
)

func TestPolicy(t *testing.T) { policytest.Run(t, streamidletimeout.Type) }
