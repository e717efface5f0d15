package store

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/flexgw/flexgw/reconcile/disk"

	"github.com/flexgw/flexgw/schema/source"
)

// Record is one line of the history.
type Record struct {
	At       time.Time      `json:"at"`
	Event    string         `json:"event"` // a reconcile.EventType
	Revision string         `json:"revision"`
	Previous string         `json:"previous"` // that is served again, when Event is RolledBack
	By       string         `json:"by"`
	Reason   string         `json:"reason"`
	Message  string         `json:"message"`
	Commit   *source.Commit `json:"commit,omitempty"` // that Revision names; nil: it is no commit, or is not known
}

// maxHistory is how many bytes the history may have before its older half is cut off.
const maxHistory = 1 << 20

func (s *Store) history() string { return filepath.Join(s.dir, "history.jsonl") }

// Append adds a record to the history. A line that a power cut tore is left out when it is read.
func (s *Store) Append(r Record) error {
	b, err := json.Marshal(r)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return fmt.Errorf("write the history: %w", err)
	}
	f, err := os.OpenFile(s.history(), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("write the history: %w", err)
	}
	// The line break before the record ends one that was torn.
	_, err = f.Write(append(append([]byte("\n"), b...), '\n'))
	info, e := f.Stat()
	if err = errors.Join(err, e, f.Close()); err != nil {
		return fmt.Errorf("write the history: %w", err)
	}
	if info.Size() <= maxHistory {
		return nil
	}
	all, err := os.ReadFile(s.history())
	if err != nil {
		return fmt.Errorf("write the history: %w", err)
	}
	half := all[len(all)/2:]
	_, half, _ = bytes.Cut(half, []byte("\n")) // it begins within a record
	return disk.Write(s.history(), half, 0o600)
}

// History lists the newest records, the newest first, max at most; 0: all.
func (s *Store) History(max int) ([]Record, error) {
	f, err := os.Open(s.history())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the history: %w", err)
	}
	defer f.Close()
	var all []Record
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 2*maxHistory)
	for lines.Scan() {
		var r Record
		if len(lines.Bytes()) > 0 && json.Unmarshal(lines.Bytes(), &r) == nil && r.Event != "" {
			all = append(all, r)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read the history: %w", err)
	}
	out := make([]Record, 0, len(all))
	for i := len(all) - 1; i >= 0 && (max == 0 || len(out) < max); i-- {
		out = append(out, all[i])
	}
	return out, nil
}

// Remember keeps a small value under a name, as JSON.
func (s *Store) Remember(name string, v any) error {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return fmt.Errorf("remember %s: %w", name, err)
	}
	if err := disk.Write(filepath.Join(s.dir, name+".json"), append(b, '\n'), 0o600); err != nil {
		return fmt.Errorf("remember %s: %w", name, err)
	}
	return nil
}

// Recall fills v with what was remembered under a name; nothing was: v stays as it is.
func (s *Store) Recall(name string, v any) error {
	b, err := os.ReadFile(filepath.Join(s.dir, name+".json"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = json.Unmarshal(b, v)
	}
	if err != nil {
		return fmt.Errorf("recall %s: %w", name, err)
	}
	return nil
}
