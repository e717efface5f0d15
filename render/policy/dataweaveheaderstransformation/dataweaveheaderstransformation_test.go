package dataweaveheaderstransformation_test

import (
	"testing"

	"github.com/flexgw/flexgw/render/policy/dataweaveheaderstransformation"
	"github.com/flexgw/flexgw/render/policy/policytest"
)

func TestPolicy(t *testing.T) { policytest.Run(t, dataweaveheaderstransformation.Type) }
