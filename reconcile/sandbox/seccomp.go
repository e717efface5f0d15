//go:build linux && (amd64 || arm64)

package sandbox

import (
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// unheard are the system calls by which a program could be heard outside, or leave its walls. A socket that can neither connect
// nor be bound nor send is as good as none; io_uring does all of that past a filter.
var unheard = []uint32{
	unix.SYS_CONNECT, unix.SYS_BIND, unix.SYS_LISTEN, unix.SYS_ACCEPT, unix.SYS_ACCEPT4, unix.SYS_SENDTO, unix.SYS_SENDMSG, unix.SYS_SENDMMSG,
	unix.SYS_IO_URING_SETUP, unix.SYS_IO_URING_ENTER, unix.SYS_IO_URING_REGISTER,
	unix.SYS_SETNS, unix.SYS_UNSHARE, unix.SYS_MOUNT, unix.SYS_UMOUNT2, unix.SYS_PIVOT_ROOT, unix.SYS_CHROOT,
	unix.SYS_FSOPEN, unix.SYS_FSCONFIG, unix.SYS_FSMOUNT, unix.SYS_FSPICK, unix.SYS_MOVE_MOUNT, unix.SYS_OPEN_TREE, unix.SYS_MOUNT_SETATTR,
	unix.SYS_PTRACE, unix.SYS_PROCESS_VM_READV, unix.SYS_PROCESS_VM_WRITEV, unix.SYS_PIDFD_GETFD, unix.SYS_OPEN_BY_HANDLE_AT,
	unix.SYS_SECCOMP, unix.SYS_BPF, unix.SYS_PERF_EVENT_OPEN, unix.SYS_USERFAULTFD, unix.SYS_ADD_KEY, unix.SYS_REQUEST_KEY, unix.SYS_KEYCTL,
	unix.SYS_INIT_MODULE, unix.SYS_FINIT_MODULE, unix.SYS_DELETE_MODULE, unix.SYS_KEXEC_LOAD, unix.SYS_KEXEC_FILE_LOAD,
	unix.SYS_REBOOT, unix.SYS_SWAPON, unix.SYS_SWAPOFF, unix.SYS_ACCT, unix.SYS_QUOTACTL, unix.SYS_SETHOSTNAME, unix.SYS_SETDOMAINNAME,
	unix.SYS_SETTIMEOFDAY, unix.SYS_CLOCK_SETTIME, unix.SYS_CLOCK_ADJTIME, unix.SYS_ADJTIMEX,
}

// unmarked are the calls that change what is said of a file, which Landlock does not know.
var unmarked = []uint32{
	unix.SYS_FCHMOD, unix.SYS_FCHMODAT, unix.SYS_FCHMODAT2, unix.SYS_FCHOWN, unix.SYS_FCHOWNAT, unix.SYS_UTIMENSAT,
	unix.SYS_SETXATTR, unix.SYS_LSETXATTR, unix.SYS_FSETXATTR, unix.SYS_REMOVEXATTR, unix.SYS_LREMOVEXATTR, unix.SYS_FREMOVEXATTR,
}

// unwritten are the calls that change a file or a folder, for kernels whose Landlock cannot say where. openat is looked at
// more closely, and openat2, whose flags a filter cannot see, is told to be unknown: callers then use openat.
var unwritten = []uint32{
	unix.SYS_MKDIRAT, unix.SYS_UNLINKAT, unix.SYS_RENAMEAT, unix.SYS_RENAMEAT2, unix.SYS_LINKAT, unix.SYS_SYMLINKAT, unix.SYS_MKNODAT, unix.SYS_TRUNCATE,
}

// The fields of struct seccomp_data, seccomp(2). Arguments are 64 bits wide; both architectures are little-endian.
const (
	callNumber = 0
	callArch   = 4
	firstArg   = 16
	argWidth   = 8
)

// program writes a filter, rule by rule. Rules are short jumps over their own verdict, so that none can be too far.
type program []unix.SockFilter

func (p *program) add(code uint16, k uint32, jt, jf uint8) {
	*p = append(*p, unix.SockFilter{Code: code, K: k, Jt: jt, Jf: jf})
}

func (p *program) load(offset uint32) { p.add(unix.BPF_LD|unix.BPF_W|unix.BPF_ABS, offset, 0, 0) }
func (p *program) end(verdict uint32) { p.add(unix.BPF_RET|unix.BPF_K, verdict, 0, 0) }
func deny(errno unix.Errno) uint32    { return unix.SECCOMP_RET_ERRNO | uint32(errno) }

// refuse answers calls with an error.
func (p *program) refuse(errno unix.Errno, calls ...uint32) {
	for _, n := range calls {
		p.add(unix.BPF_JMP|unix.BPF_JEQ|unix.BPF_K, n, 0, 1)
		p.end(deny(errno))
	}
}

// when writes a rule for one call, which ends with a verdict or falls through to its last instruction, a permission.
func (p *program) when(call uint32, rule func(*program)) {
	var body program
	rule(&body)
	body.end(unix.SECCOMP_RET_ALLOW)
	p.add(unix.BPF_JMP|unix.BPF_JEQ|unix.BPF_K, call, 0, uint8(len(body)))
	*p = append(*p, body...)
}

// readOnly refuses to open a file with any flag that could change it. arg is where the flags are.
func readOnly(arg uint32) func(*program) {
	return func(p *program) {
		p.load(firstArg + arg*argWidth)
		p.add(unix.BPF_JMP|unix.BPF_JSET|unix.BPF_K, unix.O_WRONLY|unix.O_RDWR|unix.O_CREAT|unix.O_TRUNC, 0, 1)
		p.end(deny(unix.EROFS))
	}
}

// streamOnly permits a TCP socket, by which Envoy finds out whether the host has IPv4 and IPv6, and no other.
func streamOnly(p *program) {
	const typeMask = 0xf // the rest are SOCK_NONBLOCK and SOCK_CLOEXEC
	p.load(firstArg)
	p.add(unix.BPF_JMP|unix.BPF_JEQ|unix.BPF_K, unix.AF_INET, 2, 0)
	p.add(unix.BPF_JMP|unix.BPF_JEQ|unix.BPF_K, unix.AF_INET6, 1, 0)
	p.end(deny(unix.EAFNOSUPPORT))
	p.load(firstArg + argWidth)
	p.add(unix.BPF_ALU|unix.BPF_AND|unix.BPF_K, typeMask, 0, 0)
	p.add(unix.BPF_JMP|unix.BPF_JEQ|unix.BPF_K, unix.SOCK_STREAM, 1, 0)
	p.end(deny(unix.EAFNOSUPPORT))
}

// calls is the filter. It names what is refused: which calls a program of this size needs differs from one C library to the next.
func calls(noWrites bool) program {
	var p program
	p.load(callArch)
	p.add(unix.BPF_JMP|unix.BPF_JEQ|unix.BPF_K, auditArch, 1, 0)
	p.end(unix.SECCOMP_RET_KILL_PROCESS) // calls of another architecture have other numbers
	p.load(callNumber)
	if foreignCalls != 0 {
		p.add(unix.BPF_JMP|unix.BPF_JGE|unix.BPF_K, foreignCalls, 0, 1)
		p.end(deny(unix.ENOSYS))
	}
	p.refuse(unix.EPERM, unheard...)
	p.refuse(unix.EPERM, unmarked...)
	p.refuse(unix.EPERM, oldUnmarked...)
	p.when(unix.SYS_SOCKET, streamOnly)
	if noWrites {
		p.refuse(unix.EROFS, unwritten...)
		p.refuse(unix.EROFS, oldUnwritten...)
		p.refuse(unix.ENOSYS, unix.SYS_OPENAT2)
		p.when(unix.SYS_OPENAT, readOnly(2))
		if oldOpen != 0 {
			p.when(oldOpen, readOnly(1))
		}
	}
	p.end(unix.SECCOMP_RET_ALLOW)
	return p
}

// filterCalls takes system calls from this thread and its children.
func filterCalls(noWrites bool) error {
	p := calls(noWrites)
	prog := unix.SockFprog{Len: uint16(len(p)), Filter: &p[0]}
	_, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0, uintptr(unsafe.Pointer(&prog)))
	runtime.KeepAlive(p)
	if errno != 0 {
		return errno
	}
	return nil
}
