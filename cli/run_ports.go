package cli

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/flexgw/flexgw/reconcile/envoy"
	"github.com/flexgw/flexgw/reconcile/preflight"
	"github.com/flexgw/flexgw/reconcile/status"
	"github.com/flexgw/flexgw/schema/ir"
)

// Who else listens where the daemon's Envoy does. Envoy binds with SO_REUSEPORT, so a second gateway on a port is no error to anybody: the
// kernel deals connections out between the two.

// shares keeps who else listens on the addresses of a daemon.
type shares struct {
	mu     sync.Mutex
	addrs  []netip.AddrPort // that were looked at
	others []string         // "ADDRESS: PROCESS", found by the last look
}

// listensNow looks who else listens on the addresses of a gateway that were not looked at before, and tells it.
func (d *daemon) listensNow(g *ir.Gateway) {
	if d.choice == "none" {
		return // an Envoy that somebody else runs, and may not be seen from here
	}
	d.shares.mu.Lock()
	var fresh, addrs []netip.AddrPort
	for _, l := range g.Listeners {
		if addrs = append(addrs, l.Addr); !slices.Contains(d.shares.addrs, l.Addr) {
			fresh = append(fresh, l.Addr)
		}
	}
	d.shares.addrs = addrs
	d.shares.mu.Unlock()
	if len(fresh) == 0 {
		return
	}
	go func() { // beside the path of an edit
		for _, other := range d.lookForOthers() {
			d.log.Error("another process listens on a port of this gateway too: each of the two answers some of the calls; stop one, or give one another port", "address", other.Addr, "process", other.Holder())
		}
	}()
}

// lookForOthers looks at every address, and returns who was not found before.
func (d *daemon) lookForOthers() (fresh []preflight.Listener) {
	d.shares.mu.Lock()
	addrs := d.shares.addrs
	d.shares.mu.Unlock()
	own := d.ownProcesses()
	var found []preflight.Listener
	for _, addr := range addrs {
		found = append(found, preflight.Listening(addr)...)
	}
	own = append(own, d.ownProcesses()...) // one may have begun meanwhile
	d.shares.mu.Lock()
	defer d.shares.mu.Unlock()
	before := d.shares.others
	d.shares.others = nil
	for _, l := range found {
		if d.isOwn(l.PID, own) {
			continue
		}
		words := fmt.Sprintf("%s: %s", l.Addr, l.Holder())
		if slices.Contains(d.shares.others, words) {
			continue
		}
		d.shares.others = append(d.shares.others, words)
		if !slices.Contains(before, words) {
			fresh = append(fresh, l)
		}
	}
	return fresh
}

// ownProcesses are the daemon and the Envoys that are its own, one that it adopted too.
func (d *daemon) ownProcesses() []int {
	own := []int{os.Getpid()}
	for _, p := range d.loop.Target.Progress() {
		if p.PID != 0 {
			own = append(own, p.PID)
		}
	}
	if socket, err := envoy.SocketPath(d.at.run, "envoy-admin.sock"); err == nil {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if pid, err := envoy.NewAdmin(socket).PID(ctx); err == nil {
			own = append(own, pid)
		}
	}
	return own
}

// isOwn reports whether a process is the daemon's own, or may be: one that cannot be seen, where those that are the daemon's cannot either.
func (d *daemon) isOwn(pid int, own []int) bool {
	if pid == 0 {
		return slices.ContainsFunc(own, func(pid int) bool {
			_, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
			return err != nil
		})
	}
	if slices.Contains(own, pid) {
		return true
	}
	// An Envoy that begins, or ends, speaks to nobody: its command line has the bootstrap of this daemon.
	bootstrap := filepath.Join(d.at.state, "bootstrap.json")
	if abs, err := filepath.Abs(bootstrap); err == nil && abs == bootstrap {
		line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid)) // of one that has ended there is none
		return slices.Contains(strings.Split(string(line), "\x00"), bootstrap)
	}
	return false
}

// shared tells in Programmed who else listens on the gateway's ports, as long as they do.
func (d *daemon) shared(conditions []status.Condition) []status.Condition {
	d.shares.mu.Lock()
	known := len(d.shares.others) > 0
	d.shares.mu.Unlock()
	if !known {
		return conditions
	}
	d.lookForOthers()
	d.shares.mu.Lock()
	defer d.shares.mu.Unlock()
	if len(d.shares.others) == 0 {
		return conditions
	}
	words := "others listen on the same ports, and answer some of the calls: " + strings.Join(d.shares.others, ", ")
	conditions = slices.Clone(conditions)
	for i := range conditions {
		if c := &conditions[i]; c.Type == status.Programmed {
			c.Message = strings.TrimPrefix(c.Message+"; "+words, "; ")
		}
	}
	return conditions
}
