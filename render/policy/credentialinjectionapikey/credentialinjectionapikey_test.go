package credentialinjectionapikey_test

import (
	"testing"

	"github.com/flexgw/flexgw/render/policy/credentialinjectionapikey"
	"github.com/flexgw/flexgw/render/policy/policytest"
)

func TestPolicy(t *testing.T) { policytest.Run(t, credentialinjectionapikey.Type) }
