package dataweavebodytransformation_test

import (
	"testing"

	"github.com/flexgw/flexgw/render/policy/dataweavebodytransformation"
	"github.com/flexgw/flexgw/render/policy/policytest"
)

func TestPolicy(t *testing.T) { policytest.Run(t, dataweavebodytransformation.Type) }
