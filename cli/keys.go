package cli

import (
	"fmt"
	"os"
	"slices"
	"sync"

	"github.com/urfave/cli/v2"

	"github.com/flexgw/flexgw/reconcile/disk"
	"github.com/flexgw/flexgw/reconcile/systemd"
	"github.com/flexgw/flexgw/schema/sops"
)

// keyring is the age keys of one run of the command line, that open what SOPS encrypted. A nil one is empty.
type keyring struct {
	mu   sync.Mutex
	keys *sops.Keys
}

func (k *keyring) now() *sops.Keys {
	if k == nil {
		return nil
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.keys
}

// withKeys gives commands that read declarations their keys, before they begin.
func withKeys(env Env, commands ...*cli.Command) {
	for _, c := range commands {
		if !slices.Contains([]string{"validate", "render", "diff", "apply", "run", "list", "lsp"}, c.Name) {
			continue
		}
		c.Flags = append(c.Flags, &cli.StringFlag{Name: "age-key-file", Usage: "open what SOPS encrypted with the age keys in `FILE`, beside those of $SOPS_AGE_KEY, $SOPS_AGE_KEY_FILE and the unit's credential age-key"})
		c.Before = func(c *cli.Context) error {
			_, err := env.keys.load(env, c.String("age-key-file"))
			return err
		}
	}
}

// load reads all keys anew. What was read before stays when one can not be read. changed: they are others now.
func (k *keyring) load(env Env, file string) (changed bool, err error) {
	var all *sops.Keys
	add := func(where, text string) error {
		keys, err := sops.ParseKeys(text)
		if err != nil {
			return world(fmt.Errorf("%s: %w", where, err))
		}
		all = all.Join(keys)
		return nil
	}
	files := [][2]string{{"--age-key-file", file}}
	if v, ok := env.Getenv("SOPS_AGE_KEY_FILE"); ok {
		files = append(files, [2]string{"$SOPS_AGE_KEY_FILE", v})
	}
	if path, ok := systemd.Credential(env.Getenv, "age-key"); ok {
		files = append(files, [2]string{"the credential age-key", path})
	}
	if v, ok := env.Getenv("SOPS_AGE_KEY"); ok && v != "" {
		if err := add("$SOPS_AGE_KEY", v); err != nil {
			return false, err
		}
	}
	for _, f := range files {
		if f[1] == "" {
			continue
		}
		b, err := os.ReadFile(f[1])
		if err != nil {
			return false, world(fmt.Errorf("%s: read %s: %w", f[0], f[1], disk.Cause(err)))
		}
		if err := add(f[0], string(b)); err != nil {
			return false, err
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if changed = all.Fingerprint() != k.keys.Fingerprint(); changed {
		k.keys = all
	}
	return changed, nil
}
