package jwtgeneration_test

import (
	"testing"

	"github.com/flexgw/flexgw/render/policy/jwtgeneration"
	"github.com/flexgw/flexgw/render/policy/policytest"
)

func TestPolicy(t *testing.T) { policytest.Run(t, jwtgeneration.Type) }
