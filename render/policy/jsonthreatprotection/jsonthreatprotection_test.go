package jsonthreatprotection_test

import (
	"testing"

	"github.com/flexgw/flexgw/render/policy/jsonthreatprotection"
	"github.com/flexgw/flexgw/render/policy/policytest"
)

func TestPolicy(t *testing.T) { policytest.Run(t, jsonthreatprotection.Type) }
