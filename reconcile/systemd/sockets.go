package systemd

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Sockets are those on which the service manager listened before the process began, in its order.
type Sockets []*Socket

// Socket is one of them.
type Socket struct {
	Name     string // FileDescriptorName= of its unit; else the unit's own
	Listener net.Listener
	taken    bool
}

const firstDescriptor = 3 // SD_LISTEN_FDS_START

// passed takes the descriptors of sd_listen_fds(3). Each is closed in children.
func passed(getenv func(string) (string, bool)) (Sockets, error) {
	text, _ := getenv("LISTEN_FDS")
	if text == "" || !ours(getenv, "LISTEN_PID", false) {
		return nil, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 || n > 1024 {
		return nil, fmt.Errorf("LISTEN_FDS %s: a small number is expected", text)
	}
	all, _ := getenv("LISTEN_FDNAMES")
	names := strings.Split(all, ":")
	var s Sockets
	for i := range n {
		name := "unknown" // as sd_listen_fds_with_names(3) has it
		if i < len(names) && names[i] != "" {
			name = names[i]
		}
		l, err := listener(firstDescriptor+i, name)
		if err != nil {
			return nil, fmt.Errorf("socket %s from the service manager: %w", name, err)
		}
		s = append(s, &Socket{Name: name, Listener: l})
	}
	return s, nil
}

// listener makes a listener of a descriptor, which it owns then.
func listener(fd int, name string) (net.Listener, error) {
	unix.CloseOnExec(fd)
	f := os.NewFile(uintptr(fd), name)
	if f == nil {
		return nil, fmt.Errorf("descriptor %d is none", fd)
	}
	defer f.Close() // FileListener has its own
	if yes, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN); err != nil {
		return nil, err
	} else if yes == 0 {
		return nil, fmt.Errorf("descriptor %d does not listen: ListenStream= and Accept=no are expected", fd)
	}
	return net.FileListener(f) // closing it leaves the file of a Unix socket alone: it is the manager's
}

// At takes the socket that listens at the path of a Unix socket; nil: none does.
func (s Sockets) At(path string) net.Listener {
	return s.take(func(x *Socket) bool {
		a := x.Listener.Addr()
		return a.Network() == "unix" && a.String() == path
	})
}

// Named takes the sockets of a name.
func (s Sockets) Named(name string) (all []net.Listener) {
	for l := s.take(func(x *Socket) bool { return x.Name == name }); l != nil; l = s.take(func(x *Socket) bool { return x.Name == name }) {
		all = append(all, l)
	}
	return all
}

func (s Sockets) take(is func(*Socket) bool) net.Listener {
	for _, x := range s {
		if !x.taken && is(x) {
			x.taken = true
			return x.Listener
		}
	}
	return nil
}

// Rest closes the sockets that nobody took, and says which they are: who connects there would wait for ever.
func (s Sockets) Rest() (names []string) {
	for _, x := range s {
		if !x.taken {
			names = append(names, x.Name+" ("+x.Listener.Addr().String()+")")
			x.taken = true
			x.Listener.Close()
		}
	}
	return names
}
