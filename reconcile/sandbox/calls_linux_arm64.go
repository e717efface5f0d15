package sandbox

import "golang.org/x/sys/unix"

const (
	auditArch    = unix.AUDIT_ARCH_AARCH64
	foreignCalls = 0
	oldOpen      = 0
)

var oldUnmarked, oldUnwritten []uint32
