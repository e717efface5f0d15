package cli

import (
	"context"
	"log/slog"
	"net"
	"sync"
	"testing"

	"github.com/flexgw/flexgw/reconcile/anypoint"
	"github.com/flexgw/flexgw/reconcile/api"
)

// ServeUsage is a daemon that has the usage of a state folder and answers at a socket, until the test calls stop. It reports nothing.
func ServeUsage(t *testing.T, state, socket string, inForce *anypoint.File) (stop func()) {
	t.Helper()
	d := &daemon{pipeline: &pipeline{}, choice: "auto", at: places{state: state, run: t.TempDir()}, log: slog.New(slog.DiscardHandler), airGapped: true}
	if err := d.countUsage(); err != nil || d.usage == nil {
		t.Fatal("no usage: ", err)
	}
	d.deliverUsage()
	d.delivery.report = inForce
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- api.Serve(ctx, l, api.Handler(d)) }()
	return func() {
		t.Helper()
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if err := d.usage.Close(); err != nil {
			t.Error(err)
		}
	}
}

var oneCommand sync.Mutex

// Alone runs a command in this process, and no other beside it: urfave/cli keeps flags of its own in variables of the package.
func Alone(args []string, env Env) int {
	oneCommand.Lock()
	defer oneCommand.Unlock()
	return Main(args, env)
}
