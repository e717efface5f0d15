package xds

import (
	"fmt"
	"testing"
	"time"

	"github.com/flexgw/flexgw/render"
)

// many is a world of n APIs on one port, with one cluster for ten of them.
func many(n int) set {
	world := makeSet(listener("p8081", 8081, 1))
	for i := range n {
		c := cluster(fmt.Sprintf("c%05d", i/10), 1)
		world[c.Key] = c
		r := scope(fmt.Sprintf("8081/s%05d", i), 1, c)
		world[r.Key] = r
	}
	return world
}

// drink acknowledges everything until the server has nothing more to say.
func (c *client) drink(s *Server) {
	for {
		select {
		case r := <-c.responses:
			c.ack(r)
		case <-time.After(time.Millisecond):
			if p, _ := s.Programmed(); p == Programmed {
				return
			}
		}
	}
}

func (c *client) askAll() {
	c.ask(clusters)
	c.ask(scopes)
	c.ask(listeners)
}

// BenchmarkStart is the time from connecting to the last acknowledgement of a client that answers at once.
func BenchmarkStart(b *testing.B) {
	for _, n := range []int{1000, 10000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			s, socket := start(b, Config{}, many(n))
			for b.Loop() {
				c := dial(b, socket, "n")
				c.askAll()
				c.drink(s)
				c.hangUp()
				for range c.responses {
				}
				wait(b, s, NoEnvoy)
			}
		})
	}
}

// one is a snapshot that differs in one resource from the one before, and knows it, so that the server is measured and not
// the walk of a map.
type one struct {
	set
	edited *render.Resource
}

func (o one) Get(k render.Key) (*render.Resource, bool) {
	if k == o.edited.Key {
		return o.edited, true
	}
	return o.set.Get(k)
}

func (o one) changed(snapshot) []render.Key { return []render.Key{o.edited.Key} }

// BenchmarkChange is the time from publishing one change in n to the response at the client.
func BenchmarkChange(b *testing.B) {
	for _, n := range []int{1000, 10000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			world := many(n)
			s, socket := start(b, Config{}, world)
			c := dial(b, socket, "n")
			c.askAll()
			c.drink(s)
			edition := 1
			for b.Loop() {
				edition++
				r := scope("8081/s00500", edition, cluster("c00050", 1))
				s.publish(fmt.Sprint(edition), one{world, r})
				got := <-c.responses
				c.ack(got)
			}
		})
	}
}
