package watch

import (
	"cmp"
	"fmt"
	"path"
	"slices"

	"github.com/go-git/go-git/v5/plumbing"

	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/source"
)

// known is what a folder came to when a tree was read. A repository of ours is read at one head after another, of which each
// has nearly all of the one before: a folder whose hash and name are the same, with no link below it that could lead elsewhere
// now, is not read again, and of one that is, the files that are the same are taken over.
type known struct {
	id      plumbing.Hash
	shown   string
	files   []source.File // in it, but not below it; by name
	ds      diag.List
	kids    []*known // by name
	entries int
	total   int  // files, with those below
	whole   bool // all of it was read, and nothing hangs on what is elsewhere
}

func (k *known) count() int {
	if k == nil {
		return 0
	}
	return k.total
}

// lastRead is what the tree came to that was read last; nil: none was.
func (r *Repo) lastRead() *known {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.known
}

func (r *Repo) keep(k *known) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.known = k
}

// again takes over a folder with all below it.
func (g *gathering) again(k *known) error {
	if err := g.count(k.entries); err != nil {
		return err
	}
	g.files = append(g.files, k.files...)
	g.ds = append(g.ds, k.ds...)
	for _, kid := range k.kids {
		if err := g.again(kid); err != nil {
			return err
		}
	}
	return nil
}

// count bounds what a tree may have.
func (g *gathering) count(entries int) error {
	most := cmp.Or(g.repo.most, maxEntries)
	if g.entries += entries; g.entries > most {
		return &tooLarge{fmt.Sprintf("more than %d files and folders", most)}
	}
	return nil
}

// noting is a folder that is being read, its entries by name.
type noting struct {
	g              *gathering
	k              *known       // nil: the repository is not ours, and read once
	before         *known       // what it came to the last time; nil: it was not read
	links, faults  int          // before
	files, reports int          // before the entry that is read
	file           *source.File // that the entry which is read was, and still is; nil: it is another one
	oldFile        int          // next of before
	oldKid         int
}

func (g *gathering) note(at trail, shown string, before *known) *noting {
	n := &noting{g: g, before: before, links: g.links, faults: len(g.faults)}
	if !g.repo.ours {
		return n
	}
	n.k = &known{id: at.last().id, shown: shown}
	if before != nil {
		n.k.files = make([]source.File, 0, len(before.files)+1)
	}
	return n
}

// entry is called before an entry of the folder shown is read, and entered after it. It is how the entry is called.
func (n *noting) entry(shown string, kid *named) string {
	n.files, n.reports, n.file = len(n.g.files), len(n.g.ds), nil
	if n.before == nil {
		return path.Join(shown, kid.name)
	}
	begin := 0
	if shown != "." {
		begin = len(shown) + 1
	}
	for ; n.oldFile < len(n.before.files); n.oldFile++ {
		f := &n.before.files[n.oldFile]
		switch name := f.Name[begin:]; {
		case name < kid.name:
			continue
		case name > kid.name:
		default:
			if kid.isFile() && f.Hash == source.GitHash(kid.id) {
				n.file = f
			}
			return f.Name
		}
		break
	}
	return path.Join(shown, kid.name)
}

// folder is what the folder of a name came to the last time; nil: there was none.
func (n *noting) folder(full string) *known {
	if n.before == nil {
		return nil
	}
	for ; n.oldKid < len(n.before.kids); n.oldKid++ {
		switch k := n.before.kids[n.oldKid]; {
		case k.shown == full:
			return k
		case k.shown > full:
			return nil
		}
	}
	return nil
}

func (n *noting) entered(below *known, err error) {
	if n.k == nil {
		return
	}
	n.k.entries++
	switch {
	case err != nil:
	case below != nil:
		n.k.kids = append(n.k.kids, below)
		n.k.total += below.total
	default:
		n.k.files = append(n.k.files, n.g.files[n.files:]...)
		n.k.ds = append(n.k.ds, n.g.ds[n.reports:]...)
	}
}

// done is what the folder came to.
func (n *noting) done() *known {
	if n.k == nil {
		return nil
	}
	if cap(n.k.files)-len(n.k.files) > len(n.k.files)/8+1 {
		n.k.files = slices.Clone(n.k.files)
	}
	n.k.total += len(n.k.files)
	n.k.whole = n.links == n.g.links && n.faults == len(n.g.faults)
	return n.k
}
