//go:build !linux

package preflight

// AskKernel knows of no clock here.
func AskKernel() (Kernel, bool) { return Kernel{}, false }
