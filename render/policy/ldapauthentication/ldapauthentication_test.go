package ldapauthentication_test

import (
	"testing"

	"github.com/flexgw/flexgw/render/policy/ldapauthentication"
	"github.com/flexgw/flexgw/render/policy/policytest"
)

func TestPolicy(t *testing.T) { policytest.Run(t, ldapauthentication.Type) }
