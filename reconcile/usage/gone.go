package usage

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// strangerPrefix is put before the names of files that somebody put in the place of ours.
const strangerPrefix = ".replaced-"

// present sees to it that what is written goes where the next daemon looks: that the folders, their locks and the file of the ledger are
// those that are open here. What somebody removed or replaced is made again, from memory: nothing that was counted is lost. An error says
// that it could not be; nothing is counted until it can, which is tried again each second.
func (l *Ledger) present() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.unopened != nil || l.closed {
		return nil
	}
	now := l.o.Now()
	if l.gone != nil && now.Sub(l.looked).Abs() < openAgain {
		return l.gone
	}
	what := l.missing()
	if what == "" && l.gone == nil {
		return nil
	}
	l.looked = now
	if l.gone == nil {
		l.lacking = what
	}
	if err := l.again(); err != nil {
		if l.gone == nil {
			l.since = now.UTC()
			l.o.Log.Error("nothing is counted: "+l.lacking+", and can not be made again", "error", err)
		}
		l.gone = fmt.Errorf("%s, and can not be made again: %w", l.lacking, err)
		return l.gone
	}
	l.gone = nil
	text := l.lacking + " while the daemon ran; it was made again, and what was counted is written anew: nothing of that is lost, but what was in an access log that went with it and had not been read is not counted"
	l.o.Log.Error(text, "folder", l.dir)
	l.tell("removed", Figures{}, func(Figures) string { return text })
	return nil
}

// missing says what is not there any more; "": all is.
func (l *Ledger) missing() string {
	switch {
	case l.logLock != nil && !names(filepath.Join(l.o.AccessLog, lockName), l.logLock):
		return "the folder of the access log, " + l.o.AccessLog + ", was removed or replaced"
	case !names(l.dir, nil):
		return "the folder of the usage ledger was removed"
	case !names(filepath.Join(l.dir, lockName), l.lock):
		return "the folder of the usage ledger, or the lock in it, was removed or replaced"
	}
	if f, ok := l.file.(osFile); ok && !names(l.path(), f.File) {
		return "the usage ledger was removed or replaced"
	}
	return ""
}

// names says whether a path leads to an open file; nil: to anything.
func names(path string, f *os.File) bool {
	is, err := os.Stat(path)
	if err != nil || f == nil {
		return !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ENOTDIR)
	}
	was, err := f.Stat()
	return err == nil && os.SameFile(is, was)
}

// again makes what is missing.
func (l *Ledger) again() error {
	if err := os.MkdirAll(l.dir, 0o700); err != nil {
		return err
	}
	if l.logLock != nil && !names(filepath.Join(l.o.AccessLog, lockName), l.logLock) {
		if err := l.logAgain(); err != nil {
			return err
		}
	}
	if lock := filepath.Join(l.dir, lockName); !names(lock, l.lock) {
		f, by, err := l.claim(l.dir)
		if errors.Is(err, ErrInUse) {
			return fmt.Errorf("%w (%s)", err, cmp.Or(by, "it does not say which"))
		}
		if err != nil {
			return err
		}
		_ = l.lock.Close()
		l.lock = f
		if l.logLock == nil {
			if err := l.foreignLog(l.dir); err != nil {
				return err
			}
		}
	}
	if f, ok := l.file.(osFile); !ok || !names(l.path(), f.File) {
		if err := strange(l.path()); err != nil {
			return err
		}
		l.rewrite = true
	}
	l.kept = 0
	if err := l.remember(origin{l.s.replica, l.s.epoch}); err != nil {
		return err
	}
	if err := l.compact(false); err != nil {
		return err
	}
	return l.keep()
}

// logAgain takes the folder of the access log when it is back. That of an Envoy of our own it makes.
func (l *Ledger) logAgain() error {
	if l.o.Private {
		if err := os.MkdirAll(l.o.AccessLog, 0o700); err != nil {
			return err
		}
	}
	f, by, err := l.claim(l.o.AccessLog)
	switch {
	case errors.Is(err, ErrInUse):
		return &LogInUseError{l.o.AccessLog, by}
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%w: make it again, so that Envoy can write to it", err)
	case err != nil:
		return err
	}
	_ = l.logLock.Close()
	l.logLock = f
	return l.foreignLog(l.o.AccessLog)
}

// foreignLog puts the log of a folder aside that took the place of the one that there was: Envoy writes to another one, and what is in it may
// have been counted.
func (l *Ledger) foreignLog(folder string) error {
	is, err := os.Stat(folder)
	if err != nil {
		return err
	}
	if l.logHome != nil && os.SameFile(l.logHome, is) {
		return nil
	}
	if err := strange(filepath.Join(folder, LogName)); err != nil {
		return err
	}
	l.logHome = is
	return nil
}

// strange gives a file that is not ours another name, if there is one.
func strange(path string) error {
	err := os.Rename(path, filepath.Join(filepath.Dir(path), strangerPrefix+filepath.Base(path)))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
