package circuitbreaker_test

import (
	"testing"

	"github.com/flexgw/flexgw/render/policy/circuitbreaker"
	"github.com/flexgw/flexgw/render/policy/policytest"
)

func TestPolicy(t *testing.T) { policytest.Run(t, circuitbreaker.Type) }
