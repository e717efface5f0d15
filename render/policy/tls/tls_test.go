package tls_test

import (
	"testing"

	"github.com/flexgw/flexgw/render/policy/policytest"
	"github.com/flexgw/flexgw/render/policy/tls"
)

func TestPolicy(t *testing.T) { policytest.Run(t, tls.Type) }
