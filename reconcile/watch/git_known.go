package watch

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/go-git/go-git/v5/plumbing"

	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/source"
)

// known is what a folder came to when a tree was read. A repository of ours is read at one head after another, of which each
// has nearly all folders of the one before: a folder whose hash and name are the same, with no link below it that could lead
// elsewhere now, is not read again.
type known struct {
	id      plumbing.Hash
	shown   string
	files   []source.File // in it, but not below it
	ds      diag.List
	entries int
	kids    []*known
}

// treePlace names a folder as it was reached.
type treePlace struct {
	id    plumbing.Hash
	shown string
}

// remember takes the folders of the tree that was read before, and forget keeps those of this one in their place.
func (g *gathering) remember() {
	if !g.repo.ours {
		return
	}
	g.repo.mu.Lock()
	defer g.repo.mu.Unlock()
	g.before, g.known = g.repo.known, map[treePlace]*known{}
}

func (g *gathering) forget() {
	if !g.repo.ours {
		return
	}
	g.repo.mu.Lock()
	defer g.repo.mu.Unlock()
	g.repo.known = g.known
}

// again takes over a folder with all below it.
func (g *gathering) again(k *known) error {
	if err := g.count(k.entries); err != nil {
		return err
	}
	g.known[treePlace{k.id, k.shown}] = k
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

// noting is a folder that is being read.
type noting struct {
	g              *gathering
	k              *known
	links, faults  int // before
	files, reports int // before the entry that is read
}

func (g *gathering) note(at trail, shown string) *noting {
	return &noting{g: g, k: &known{id: at.last().id, shown: shown}, links: g.links, faults: len(g.faults)}
}

// entry is called before an entry is read, and entered after it.
func (n *noting) entry() { n.files, n.reports = len(n.g.files), len(n.g.ds) }

func (n *noting) entered(kid *item, full string) {
	n.k.entries++
	if !kid.isFolder() {
		n.k.files = append(n.k.files, n.g.files[n.files:]...)
		n.k.ds = append(n.k.ds, n.g.ds[n.reports:]...)
	} else if below := n.g.known[treePlace{kid.id, full}]; below != nil {
		n.k.kids = append(n.k.kids, below)
	}
}

// done keeps the folder when all of it was read, and nothing of it hangs on what is elsewhere.
func (n *noting) done() {
	if n.g.known != nil && n.links == n.g.links && n.faults == len(n.g.faults) {
		n.k.files, n.k.ds = slices.Clip(n.k.files), slices.Clip(n.k.ds)
		n.g.known[treePlace{n.k.id, n.k.shown}] = n.k
	}
}
