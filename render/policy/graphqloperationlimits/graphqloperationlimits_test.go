package graphqloperationlimits_test

import (
	"testing"

	"github.com/flexgw/flexgw/render/policy/graphqloperationlimits"
	"github.com/flexgw/flexgw/render/policy/policytest"
)

func TestPolicy(t *testing.T) { policytest.Run(t, graphqloperationlimits.Type) }
