package credentialinjectionoauth2_test

import (
	"testing"

	"github.com/flexgw/flexgw/render/policy/credentialinjectionoauth2"
	"github.com/flexgw/flexgw/render/policy/policytest"
)

func TestPolicy(t *testing.T) { policytest.Run(t, credentialinjectionoauth2.Type) }
