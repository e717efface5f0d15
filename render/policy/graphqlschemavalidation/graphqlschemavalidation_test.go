package graphqlschemavalidation_test

import (
	"testing"

	"github.com/flexgw/flexgw/render/policy/graphqlschemavalidation"
	"github.com/flexgw/flexgw/render/policy/policytest"
)

func TestPolicy(t *testing.T) { policytest.Run(t, graphqlschemavalidation.Type) }
