package soapvalidation_test

import (
	"testing"

	"github.com/flexgw/flexgw/render/policy/policytest"
	"github.com/flexgw/flexgw/render/policy/soapvalidation"
)

func TestPolicy(t *testing.T) { policytest.Run(t, soapvalidation.Type) }
