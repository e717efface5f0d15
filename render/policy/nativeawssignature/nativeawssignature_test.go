package nativeawssignature_test

import (
	"testing"

	"github.com/flexgw/flexgw/render/policy/nativeawssignature"
	"github.com/flexgw/flexgw/render/policy/policytest"
)

func TestPolicy(t *testing.T) { policytest.Run(t, nativeawssignature.Type) }
