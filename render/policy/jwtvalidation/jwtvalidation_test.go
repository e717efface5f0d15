package jwtvalidation_test

import (
	"testing"

	"github.com/flexgw/flexgw/render/policy/jwtvalidation"
	"github.com/flexgw/flexgw/render/policy/policytest"
)

func TestPolicy(t *testing.T) { policytest.Run(t, jwtvalidation.Type) }
