package ir_test

import (
	"testing"

	"github.com/flexgw/flexgw/schema/ir"
)

func TestIsHeaderName(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]bool{
		"x-a": true, "X-A": true, "!#$%&'*+-.^_`|~09": true, "": false, ":path": false, "x a": false, "x:a": false, "ä": false, "a\n": false, "(a)": false,
	} {
		if got := ir.IsHeaderName(name); got != want {
			t.Errorf("%q: got %v, want %v", name, got, want)
		}
	}
}
