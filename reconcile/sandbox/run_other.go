//go:build !linux

package sandbox

import (
	"context"
	"errors"
)

// Run refuses: the walls are Linux's.
func Run(context.Context, Command) (Result, error) {
	return Result{}, &UnavailableError{errors.New("it needs Linux")}
}
