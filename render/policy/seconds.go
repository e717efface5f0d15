package policy

import (
	"fmt"
	"math"
	"time"

	"github.com/flexgw/flexgw/schema/diag"
)

// Seconds judges a time that the product counts in seconds, and that people write in milliseconds, as other gateways have it: what
// says "no limit", a value that is milliseconds by its looks, and a part of a second. The codes are those of the three.
func (f *Findings) Seconds(field string, value float64, off string, zero, milliseconds, fraction diag.Code) {
	const suspicious = 5000 // over an hour
	switch {
	case value == 0:
		f.Warn(zero, fmt.Sprintf("%s is 0, which %s", field, off), "write the number of seconds", field)
	case value >= suspicious && math.Mod(value, 1000) == 0:
		f.Warn(milliseconds, fmt.Sprintf("%s is %.0f seconds, which is %s", field, value, time.Duration(min(value, 1e9)*float64(time.Second))),
			fmt.Sprintf("it is counted in seconds: write %.0f for %.0f ms", value/1000, value), field)
	case value != math.Trunc(value):
		f.Warn(fraction, fmt.Sprintf("%s is %g, expected whole seconds", field, value), fmt.Sprintf("write %.0f: the product's documentation has whole numbers only", math.Ceil(value)), field)
	}
}

// Timeout is the configuration of the policies that set one time-out.
type Timeout struct {
	Seconds float64 `flex:"timeout"`
}

// Check judges the time-out, see Findings.Seconds.
func (t *Timeout) Check(at Locator, off string, zero, milliseconds, fraction diag.Code) diag.List {
	f := Findings{At: at}
	f.Seconds("timeout", t.Seconds, off, zero, milliseconds, fraction)
	return f.List
}
