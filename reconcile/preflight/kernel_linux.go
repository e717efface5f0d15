package preflight

import (
	"time"

	"golang.org/x/sys/unix"
)

// AskKernel asks this host's kernel about its clock. It changes nothing.
func AskKernel() (Kernel, bool) {
	var t unix.Timex
	state, err := unix.Adjtimex(&t)
	if err != nil {
		return Kernel{}, false
	}
	return Kernel{
		Synchronised: state != unix.TIME_ERROR && t.Status&unix.STA_UNSYNC == 0,
		MaxError:     time.Duration(t.Maxerror) * time.Microsecond,
	}, true
}
