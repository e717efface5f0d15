package trust

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// maxKeys bounds a file of keys, in bytes.
const maxKeys = 16 << 20

// cached is what was made of a file, as long as the file's bytes are the same. The bytes are read every time: a time stamp
// may stay when a key is taken out.
type cached[T any] struct {
	sum   [sha256.Size]byte
	value T
	ok    bool
}

func (c *cached[T]) read(name string, parse func([]byte) (T, error)) (T, error) {
	var none T
	b, err := readBounded(name)
	if err != nil {
		return none, err
	}
	sum := sha256.Sum256(b)
	if c.ok && c.sum == sum {
		return c.value, nil
	}
	c.ok = false
	v, err := parse(b)
	if err != nil {
		return none, err
	}
	c.sum, c.value, c.ok = sum, v, true
	return v, nil
}

func readBounded(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		var p *fs.PathError
		if errors.As(err, &p) {
			err = p.Err
		}
		return nil, &FileError{File: name, Message: err.Error(), Err: err}
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxKeys+1))
	if err != nil {
		return nil, &FileError{File: name, Message: err.Error(), Err: err}
	}
	if len(b) > maxKeys {
		return nil, &FileError{File: name, Message: fmt.Sprintf("it has more than %d bytes", maxKeys)}
	}
	return b, nil
}
