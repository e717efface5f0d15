//go:build linux && !amd64 && !arm64

package sandbox

import (
	"errors"
	"runtime"
)

// filterCalls refuses: a filter names system calls by numbers that differ from one architecture to the next.
func filterCalls(bool) error {
	return errors.New("the numbers of system calls are not known for " + runtime.GOARCH)
}
