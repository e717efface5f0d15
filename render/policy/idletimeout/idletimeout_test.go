package idletimeout_test

import (
	"testing"

	"github.com/flexgw/flexgw/render/policy/idletimeout"
	"github.com/flexgw/flexgw/render/policy/policytest"
)

func TestPolicy(t *testing.T) { policytest.Run(t, idletimeout.Type) }
