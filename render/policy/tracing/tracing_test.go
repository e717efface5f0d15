package tracing_test

import (
	"testing"

	"github.com/flexgw/flexgw/render/policy/policytest"
	"github.com/flexgw/flexgw/render/policy/tracing"
)

func TestPolicy(t *testing.T) { policytest.Run(t, tracing.Type) }
