package lsp

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"

	"github.com/sourcegraph/jsonrpc2"
)

// The largest message that is read, and the longest line of a header. A text of source.MaxFileSize may need six bytes for one in
// JSON, but no editor writes letters so.
const (
	maxMessage = 128 << 20
	maxHeader  = 4 << 10
)

// stream is a jsonrpc2.ObjectStream with the framing of the protocol. It is not the library's own codec, which ends with the first
// message that is no JSON, and believes every length: here such a message is answered with an error, and the next one is read. It
// never blocks who writes: an editor that reads only after it has written would stand still else.
type stream struct {
	in *bufio.Reader

	mu      sync.Mutex
	queue   [][]byte
	closed  bool
	more    *sync.Cond
	written chan struct{} // closed when nothing more is written
}

func newStream(in io.Reader, out io.Writer) *stream {
	s := &stream{in: bufio.NewReaderSize(in, maxHeader), written: make(chan struct{})}
	s.more = sync.NewCond(&s.mu)
	go s.write(out)
	return s
}

// write writes what is queued until the stream is closed and the queue is empty.
func (s *stream) write(out io.Writer) {
	defer close(s.written)
	for {
		s.mu.Lock()
		for len(s.queue) == 0 && !s.closed {
			s.more.Wait()
		}
		if len(s.queue) == 0 {
			s.mu.Unlock()
			return
		}
		b := s.queue[0]
		s.queue[0], s.queue = nil, s.queue[1:]
		s.mu.Unlock()
		if _, err := out.Write(b); err != nil {
			s.mu.Lock()
			s.closed, s.queue = true, nil // nobody listens
			s.mu.Unlock()
			return
		}
	}
}

// WriteObject implements jsonrpc2.ObjectStream.
func (s *stream) WriteObject(v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return s.send(b)
}

func (s *stream) send(b []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return io.ErrClosedPipe
	}
	s.queue = append(s.queue, fmt.Appendf(nil, "Content-Length: %d\r\n\r\n%s", len(b), b))
	s.more.Signal()
	return nil
}

// Close implements jsonrpc2.ObjectStream. What is queued is still written; flushed waits for that.
func (s *stream) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	s.more.Signal()
	return nil
}

func (s *stream) flushed() <-chan struct{} { return s.written }

// badMessage is a message that cannot be read, with the code of the answer.
type badMessage struct {
	code int64
	text string
}

func (e *badMessage) Error() string { return e.text }

// ReadObject implements jsonrpc2.ObjectStream: the next message that can be read. Others are answered.
func (s *stream) ReadObject(v any) error {
	for {
		b, err := s.next()
		if err == nil {
			err = decodeMessage(b, v)
		}
		bad := new(badMessage)
		if !errors.As(err, &bad) {
			return err
		}
		answer, _ := json.Marshal(map[string]any{"jsonrpc": "2.0", "id": idOf(b), "error": map[string]any{"code": bad.code, "message": bad.text}})
		if err := s.send(answer); err != nil {
			return err
		}
	}
}

// decodeMessage decodes one message into what the library wants it in.
func decodeMessage(b []byte, v any) error {
	if !json.Valid(b) {
		return &badMessage{jsonrpc2.CodeParseError, "this message is no JSON"}
	}
	if trimmed := bytes.TrimLeft(b, " \t\r\n"); len(trimmed) > 0 && trimmed[0] == '[' {
		return &badMessage{jsonrpc2.CodeInvalidRequest, "the protocol has no batches"}
	}
	var version struct {
		JSONRPC any `json:"jsonrpc"`
	}
	if err := json.Unmarshal(b, &version); err != nil || version.JSONRPC != "2.0" {
		return &badMessage{jsonrpc2.CodeInvalidRequest, `a message is an object with "jsonrpc": "2.0"`}
	}
	if err := json.Unmarshal(b, v); err != nil {
		return &badMessage{jsonrpc2.CodeInvalidRequest, "this is no request, notification or response: " + err.Error()}
	}
	return nil
}

// idOf is the id of a message that is answered although it cannot be read; null if it has none.
func idOf(b []byte) json.RawMessage {
	var m struct {
		ID json.RawMessage `json:"id"`
	}
	if json.Unmarshal(b, &m) == nil && len(m.ID) > 0 && m.ID[0] != '{' && m.ID[0] != '[' {
		return m.ID
	}
	return json.RawMessage("null")
}

// next reads the body of one message. What is no header is skipped up to the next empty line.
func (s *stream) next() ([]byte, error) {
	length, begun := -1, false
	for {
		line, err := s.in.ReadSlice('\n')
		for errors.Is(err, bufio.ErrBufferFull) { // no header is so long
			begun = true
			line, err = s.in.ReadSlice('\n')
			if err == nil {
				line, err = s.in.ReadSlice('\n')
			}
		}
		if err != nil {
			if errors.Is(err, io.EOF) && begun {
				return nil, io.ErrUnexpectedEOF
			}
			return nil, err
		}
		text := strings.TrimRight(string(line), "\r\n")
		if text == "" {
			if !begun {
				continue // between messages
			}
			break
		}
		begun = true
		name, value, _ := strings.Cut(text, ":")
		if strings.EqualFold(strings.TrimSpace(name), "Content-Length") {
			n, err := strconv.ParseInt(strings.TrimSpace(value), 10, 64)
			if err != nil || n < 0 {
				n = -1
			}
			length = int(n)
		}
	}
	switch {
	case length < 0:
		return nil, &badMessage{jsonrpc2.CodeParseError, "a message begins with Content-Length: and a number of bytes"}
	case length > maxMessage:
		if _, err := io.CopyN(io.Discard, s.in, int64(length)); err != nil {
			return nil, err
		}
		return nil, &badMessage{jsonrpc2.CodeInvalidRequest, fmt.Sprintf("this message has %d bytes, and the most is %d", length, maxMessage)}
	}
	// Not all at once: a length is only a promise.
	var body bytes.Buffer
	body.Grow(min(length, 1<<20))
	if _, err := io.CopyN(&body, s.in, int64(length)); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	return body.Bytes(), nil
}
