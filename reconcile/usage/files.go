package usage

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"syscall"

	"github.com/flexgw/flexgw/reconcile/disk"
)

// files is the disk as the ledger uses it. Tests have one that fails.
type files interface {
	open(path string) (file, error)   // fs.ErrNotExist when there is none
	create(path string) (file, error) // empty, whatever was there
	rename(from, to string) error
	link(from, to string) error // in the place of what is at to
	remove(path string) error   // fs.ErrNotExist when there is none
	syncDir(dir string) error
}

type file interface {
	io.ReaderAt
	io.WriterAt
	Truncate(size int64) error
	Sync() error
	Close() error
	size() (int64, error)
}

type osFiles struct{}

type osFile struct{ *os.File }

func (osFiles) open(path string) (file, error) { return opened(os.OpenFile(path, os.O_RDWR, 0)) }

func (osFiles) create(path string) (file, error) {
	return opened(os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600))
}

func opened(f *os.File, err error) (file, error) {
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

func (osFiles) rename(from, to string) error { return os.Rename(from, to) }

func (osFiles) link(from, to string) error {
	if err := os.Remove(to); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return linked(os.Link, from, to)
}

// linked gives a file a second name or, where the file system has one name for each (FAT, some of the network), makes a copy of it.
func linked(link func(from, to string) error, from, to string) error {
	err := link(from, to)
	if !errors.Is(err, syscall.EPERM) && !errors.Is(err, syscall.ENOTSUP) && !errors.Is(err, syscall.EMLINK) { // link(2)
		return err
	}
	f, err := os.Open(from)
	if err != nil {
		return err
	}
	defer f.Close()
	t, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(t, f)
	return errors.Join(err, t.Sync(), t.Close())
}

func (osFiles) remove(path string) error { return os.Remove(path) }

func (osFiles) syncDir(dir string) error { return disk.SyncFolder(dir) }

func (f osFile) size() (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// replace gives path a content that is on the disk when it returns. The file is open, and stays so. moved says that path has the new
// content although there is an error: only that this outlives a loss of power is not known.
func replace(fs files, path string, write func(io.WriterAt) error) (f file, moved bool, err error) {
	if f, err = fs.create(path + ".new"); err != nil {
		return nil, false, err
	}
	err = write(f)
	if err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = fs.rename(path+".new", path)
	}
	if err != nil {
		err = errors.Join(err, f.Close())
		_ = fs.remove(path + ".new") // where there is no room it takes some
		return nil, false, err
	}
	return f, true, fs.syncDir(filepath.Dir(path))
}
