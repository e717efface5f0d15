package deep

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"

	"github.com/flexgw/flexgw/reconcile/disk"
	"github.com/flexgw/flexgw/reconcile/envoy"
)

// Cache is a folder of answers, each in a file that is named by the content of what was asked. It may be shared by processes, and
// be removed at any time. Whatever cannot be read or written counts as not there. The zero Cache is not useful; see OpenCache.
type Cache struct{ folder disk.Folder }

// cacheFormat is part of every name, so that another version of this program reads no answer of this one by mistake.
const cacheFormat = "1"

// mostAnswers bounds the folder: an answer has 2 KiB at most.
const mostAnswers = 4096

// OpenCache makes a cache of a folder, which is made when there is something to keep.
func OpenCache(dir string) *Cache {
	return &Cache{disk.Folder{Dir: dir, Prefixes: []string{binaryPrefix, answerPrefix}, Entries: mostAnswers}}
}

// What the names of the two kinds of files begin with.
const (
	binaryPrefix = "envoy-"
	answerPrefix = "answer-"
)

// mostOfOne bounds a file that is read.
const mostOfOne = 64 << 10

// binary is what is known of a program, for as long as its file is the same.
type binary struct {
	Version string `json:"version"`
	Sum     string `json:"sum"` // SHA-256
}

// Version is the version of an Envoy that was asked before, without running it: for envoy.FindOptions.
func (c *Cache) Version(path string) (string, bool) {
	b, ok := c.binary(path)
	return b.Version, ok
}

// remember keeps the version of an Envoy that was found.
func (c *Cache) remember(found envoy.Found) {
	if b, ok := c.binary(found.Path); ok && b.Version == found.Version {
		return
	}
	name, ok := c.binaryName(found.Path)
	if !ok {
		return
	}
	sum, err := sumOf(found.Path)
	if err != nil {
		return
	}
	if text, err := json.Marshal(binary{found.Version, sum}); err == nil {
		_ = c.folder.Put(name, text)
	}
}

func (c *Cache) binary(path string) (b binary, ok bool) {
	name, ok := c.binaryName(path)
	if !ok {
		return b, false
	}
	text, ok := c.folder.Get(name, mostOfOne)
	return b, ok && json.Unmarshal(text, &b) == nil && b.Version != "" && b.Sum != ""
}

// binaryName is a function of all that changes when a file does: hashing 100 MB takes longer than a run of Envoy.
func (c *Cache) binaryName(path string) (string, bool) {
	info, err := os.Stat(path)
	if err != nil {
		return "", false
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return "", false
	}
	written, changed := disk.Times(st)
	return binaryPrefix + key(cacheFormat, path, fmt.Sprint(st.Dev, st.Ino, st.Size, written, changed)), true
}

func key(parts ...string) string {
	sum := sha256.New()
	for _, p := range parts {
		fmt.Fprintf(sum, "%d:%s", len(p), p)
	}
	return hex.EncodeToString(sum.Sum(nil)[:20])
}

func sumOf(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

// answers are those of one Envoy. The zero answers keep nothing.
type answers struct {
	cache *Cache
	envoy string
}

// of are the answers of one Envoy: of its very bytes, not of its version.
func (c *Cache) of(found envoy.Found) answers {
	c.remember(found)
	b, ok := c.binary(found.Path)
	if !ok {
		return answers{}
	}
	return answers{c, b.Sum + " " + b.Version}
}

// Identity tells an Envoy from others by its very bytes; "" if that cannot be, as when nothing is kept (c is nil).
func (c *Cache) Identity(found envoy.Found) string {
	if c == nil {
		return ""
	}
	return c.of(found).envoy
}

func (a answers) name(config []byte) string {
	return answerPrefix + key(cacheFormat, a.envoy, string(config))
}

const (
	saidYes = "yes"
	saidNo  = "no "
)

func (a answers) get(config []byte) (answer, bool) {
	if a.cache == nil {
		return answer{}, false
	}
	name := a.name(config)
	text, ok := a.cache.folder.Get(name, mostOfOne)
	if !ok {
		return answer{}, false
	}
	a.cache.folder.Touch(name) // what is used stays
	if string(text) == saidYes {
		return answer{fine: true}, true
	}
	words, no := strings.CutPrefix(string(text), saidNo)
	return answer{words: words}, no && words != ""
}

func (a answers) put(config []byte, x answer) {
	if a.cache == nil {
		return
	}
	text := saidYes
	if !x.fine {
		text = saidNo + x.words
	}
	_ = a.cache.folder.Put(a.name(config), []byte(text))
}
