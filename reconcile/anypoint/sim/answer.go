package sim

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/flexgw/flexgw/reconcile/anypoint"
)

// reply is an answer in JSON.
func reply(status int, v any) answer {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // our own values
	}
	return answer{status: status, header: http.Header{"Content-Type": {"application/json"}}, body: append(b, '\n')}
}

// failure is an error as the platform tells it.
func failure(status int, message string) answer {
	return reply(status, anypoint.ErrorBody{Status: status, Message: message})
}

// strict reads JSON that has the fields of v and no other, and nothing behind it.
func strict(b []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		if errors.Is(err, io.EOF) {
			return errors.New("the body is empty, JSON is expected")
		}
		return fmt.Errorf("the body: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("something follows the JSON of the body")
	}
	return nil
}

// clock is the simulator's.
type clock struct {
	host func() time.Time

	mu sync.Mutex
	to clockAt
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.to.Frozen != nil {
		return c.to.Frozen.UTC()
	}
	return c.host().Add(c.to.Offset).UTC().Round(0)
}

func (c *clock) set(to clockAt) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.to = to
}

func (c *clock) at() clockAt {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.to
}
