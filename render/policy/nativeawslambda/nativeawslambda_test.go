package nativeawslambda_test

import (
	"testing"

	"github.com/flexgw/flexgw/render/policy/nativeawslambda"
	"github.com/flexgw/flexgw/render/policy/policytest"
)

func TestPolicy(t *testing.T) { policytest.Run(t, nativeawslambda.Type) }
