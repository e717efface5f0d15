package graphqlstaticquerycomplexity_test

import (
	"testing"

	"github.com/flexgw/flexgw/render/policy/graphqlstaticquerycomplexity"
	"github.com/flexgw/flexgw/render/policy/policytest"
)

func TestPolicy(t *testing.T) { policytest.Run(t, graphqlstaticquerycomplexity.Type) }
