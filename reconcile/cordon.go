package reconcile

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/flexgw/flexgw/reconcile/deliver"
	"github.com/flexgw/flexgw/reconcile/status"
)

// ErrNoNode is for a node that is not known, or not cordoned.
var ErrNoNode = errors.New("no such node")

// Cordon sets one Envoy aside: it gets what the others get, and what it says of it does not count, neither for a revision nor
// against one. It lasts until Uncordon, also across restarts, and whether the Envoy is connected or not.
func (l *Loop) Cordon(ctx context.Context, node, reason, who string) error {
	return l.do(ctx, func(context.Context) error {
		progress, before := l.Target.Progress(), l.snapshot().control.Cordoned
		if _, again := before[node]; !again && !slices.ContainsFunc(progress, func(p deliver.Progress) bool { return p.Node == node }) {
			return fmt.Errorf("%w: %q never connected to this daemon; %s", ErrNoNode, node, known(progress))
		}
		l.cordons(func(all map[string]status.Cordon) {
			all[node] = status.Cordon{Since: time.Now().UTC(), Reason: reason, By: who}
		})
		l.Log.Warn("what this Envoy says does not count any more", "node", node, "reason", reason, "by", who)
		l.tell(Event{Type: Cordoned, By: who, Reason: "Cordoned", Message: "Envoy " + node + ": " + reason})
		return nil
	})
}

// Uncordon has an Envoy count again.
func (l *Loop) Uncordon(ctx context.Context, node, who string) error {
	return l.do(ctx, func(context.Context) error {
		if _, ok := l.snapshot().control.Cordoned[node]; !ok {
			return fmt.Errorf("%w: %q is not cordoned", ErrNoNode, node)
		}
		l.cordons(func(all map[string]status.Cordon) { delete(all, node) })
		l.Log.Info("what this Envoy says counts again", "node", node, "by", who)
		l.tell(Event{Type: Uncordoned, By: who, Message: "Envoy " + node + " counts again"})
		return nil
	})
}

// cordons changes which nodes are cordoned. The map that others may hold stays as it is.
func (l *Loop) cordons(f func(map[string]status.Cordon)) {
	l.control(func(c *Control) {
		all := maps.Clone(c.Cordoned)
		if all == nil {
			all = map[string]status.Cordon{}
		}
		f(all)
		c.Cordoned = all
	})
}

// known names the Envoys that there are.
func known(progress []deliver.Progress) string {
	if len(progress) == 0 {
		return "none did"
	}
	var names []string
	for _, p := range progress {
		names = append(names, p.Node)
	}
	return "known are " + strings.Join(names, ", ")
}

// counted are the Envoys whose word counts.
func (c Control) counted(progress []deliver.Progress) []deliver.Progress {
	return countedOf(c, progress, func(p deliver.Progress) string { return p.Node })
}

// countedReport is what those Envoys did with each resource.
func (c Control) countedReport(all []deliver.Delivery) []deliver.Delivery {
	return countedOf(c, all, func(d deliver.Delivery) string { return d.Node })
}

// countedOf leaves out what is of a cordoned node; the list itself stays as it is.
func countedOf[T any](c Control, all []T, node func(T) string) []T {
	if len(c.Cordoned) == 0 {
		return all
	}
	return slices.DeleteFunc(slices.Clone(all), func(x T) bool {
		_, aside := c.Cordoned[node(x)]
		return aside
	})
}

// mark adds who is cordoned to a list of Envoys; also those that have not been seen since this process began.
func (c Control) mark(envoys []status.Envoy) []status.Envoy {
	for _, node := range slices.Sorted(maps.Keys(c.Cordoned)) {
		x := c.Cordoned[node]
		i := slices.IndexFunc(envoys, func(e status.Envoy) bool { return e.Node == node })
		if i < 0 {
			i, _ = slices.BinarySearchFunc(envoys, node, func(e status.Envoy, node string) int { return strings.Compare(e.Node, node) })
			envoys = slices.Insert(envoys, i, status.Envoy{Node: node, Since: x.Since})
		}
		envoys[i].Cordoned = &x
	}
	return envoys
}
