package nativeextproc_test

import (
	"testing"

	"github.com/flexgw/flexgw/render/policy/nativeextproc"
	"github.com/flexgw/flexgw/render/policy/policytest"
)

func TestPolicy(t *testing.T) { policytest.Run(t, nativeextproc.Type) }
