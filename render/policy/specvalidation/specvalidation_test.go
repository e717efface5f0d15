package specvalidation_test

import (
	"testing"

	"github.com/flexgw/flexgw/render/policy/policytest"
	"github.com/flexgw/flexgw/render/policy/specvalidation"
)

func TestPolicy(t *testing.T) { policytest.Run(t, specvalidation.Type) }
