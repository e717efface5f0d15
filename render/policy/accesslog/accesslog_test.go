package accesslog_test

import (
	"testing"

	"github.com/flexgw/flexgw/render/policy/accesslog"
	"github.com/flexgw/flexgw/render/policy/policytest"
)

func TestPolicy(t *testing.T) { policytest.Run(t, accesslog.Type) }
