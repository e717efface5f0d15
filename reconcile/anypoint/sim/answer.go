package sim

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"strings"
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
		return unread(err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("something follows the JSON of the body")
	}
	return nil
}

// loose reads JSON as the documented calls are taken: fields that nobody asked for do no harm.
func loose(b []byte, v any) error {
	if len(bytes.TrimSpace(b)) == 0 {
		return unread(io.EOF)
	}
	if err := json.Unmarshal(b, v); err != nil {
		return unread(err)
	}
	return nil
}

// unread says in words why a body could not be read: which field, and what is expected there.
func unread(err error) error {
	var broken *json.SyntaxError
	var kind *json.UnmarshalTypeError
	var moment *time.ParseError
	switch {
	case errors.Is(err, io.EOF):
		return errors.New("the body is empty, JSON is expected")
	case errors.Is(err, io.ErrUnexpectedEOF):
		return errors.New("the body is no JSON: it ends in the middle of a value")
	case errors.As(err, &broken):
		return fmt.Errorf("the body is no JSON: %w, after byte %d", err, broken.Offset)
	case errors.As(err, &kind):
		field := kind.Field
		if field == "" {
			field = "the body"
		}
		return fmt.Errorf("%s: %s is expected, and it is %s", field, wanted(kind.Type.Kind()), had(kind.Value))
	case errors.As(err, &moment):
		return fmt.Errorf("the body: %s is no time, such as 2026-01-31T12:00:00Z", clip(moment.Value))
	}
	return fmt.Errorf("the body: %s", strings.TrimPrefix(err.Error(), "json: "))
}

// wanted is a kind of Go's in words.
func wanted(k reflect.Kind) string {
	switch {
	case k == reflect.String:
		return "a text"
	case k == reflect.Bool:
		return "true or false"
	case k >= reflect.Uint && k <= reflect.Uint64:
		return "a whole number, 0 or more,"
	case k >= reflect.Int && k <= reflect.Int64:
		return "a whole number"
	case k == reflect.Slice || k == reflect.Array:
		return "a list"
	}
	return "an object"
}

// had is a kind of JSON, as encoding/json calls it, in words.
func had(value string) string {
	switch value {
	case "string":
		return "a text"
	case "bool":
		return "true or false"
	case "array":
		return "a list"
	case "object":
		return "an object"
	case "number":
		return "a number"
	}
	return "the " + value // number -1
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
