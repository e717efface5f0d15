package dataweaverequestfilter_test

import (
	"testing"

	"github.com/flexgw/flexgw/render/policy/dataweaverequestfilter"
	"github.com/flexgw/flexgw/render/policy/policytest"
)

func TestPolicy(t *testing.T) { policytest.Run(t, dataweaverequestfilter.Type) }
