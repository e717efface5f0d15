package ratelimiting_test

import (
	"testing"

	"github.com/flexgw/flexgw/render/policy/policytest"
	"github.com/flexgw/flexgw/render/policy/ratelimiting"
)

func TestPolicy(t *testing.T) { policytest.Run(t, ratelimiting.Type) }
