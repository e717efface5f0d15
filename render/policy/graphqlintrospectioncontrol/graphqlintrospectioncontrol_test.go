package graphqlintrospectioncontrol_test

import (
	"testing"

	"github.com/flexgw/flexgw/render/policy/graphqlintrospectioncontrol"
	"github.com/flexgw/flexgw/render/policy/policytest"
)

func TestPolicy(t *testing.T) { policytest.Run(t, graphqlintrospectioncontrol.Type) }
