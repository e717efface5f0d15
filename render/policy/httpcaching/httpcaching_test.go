package httpcaching_test

import (
	"testing"

	"github.com/flexgw/flexgw/render/policy/httpcaching"
	"github.com/flexgw/flexgw/render/policy/policytest"
)

func TestPolicy(t *testing.T) { policytest.Run(t, httpcaching.Type) }
