package cli

import (
	"cmp"
	"context"
	"path"
	"sync"

	"github.com/urfave/cli/v2"

	"github.com/flexgw/flexgw/cli/lsp"
	"github.com/flexgw/flexgw/docs"
	"github.com/flexgw/flexgw/schema/diag"
)

func lspCommand(env Env) *cli.Command {
	return &cli.Command{
		Name:  "lsp",
		Usage: "serve an editor: the Language Server Protocol on standard input and output",
		Description: "Editors start it. It judges the declarations of each folder that the editor has open as flexgw validate does in that folder, with the\n" +
			"texts that are being edited in the place of the files, and those of a file outside of all folders as --partial does. Names in flags are\n" +
			"relative to the folder. What it has to say beside the protocol is on standard error.",
		Flags: append([]cli.Flag{
			&cli.BoolFlag{Name: "partial", Usage: "a folder is not the whole gateway: references to other objects are notes"},
			&cli.BoolFlag{Name: "require-env", Usage: "an unset $VARIABLE is an error"},
			&cli.BoolFlag{Name: "verbose", Aliases: []string{"v"}, Usage: "say more on standard error"},
			&cli.BoolFlag{Name: "stdio", Usage: "taken because many editors give it; there is no other way"},
		}, judgeFlags()...),
		Action: func(c *cli.Context) error {
			if c.Args().Present() {
				return usage("lsp takes no %q: the editor names the folders", c.Args().First())
			}
			if err := given(c, "config", "baseline", "target-version"); err != nil {
				return err
			}
			if _, err := readSettings(c, Env{Getenv: env.Getenv, Now: env.Now}); err != nil { // what is wrong with the flags is said now
				if e, ok := err.(*exit); ok && e.code == ExitUsage {
					return err
				}
			}
			log, err := logger(env.Stderr, "text", c.Bool("verbose"))
			if err != nil {
				return err
			}
			clean := lsp.Serve(cmp.Or[context.Context](c.Context, context.Background()), env.Stdin, env.Stdout,
				lsp.Options{House: &editorHouse{flags: c, env: env}, Name: "flexgw", Version: version(), Log: log})
			if !clean {
				return &exit{code: ExitDiagnostics} // the protocol's code for an editor that is gone without a word
			}
			return nil
		},
	}
}

// editorHouse is lsp's House.
type editorHouse struct {
	flags *cli.Context
	env   Env
	pages sync.Map // of codes
}

// Folder implements lsp.House.
func (h *editorHouse) Folder(dir string) lsp.Room { return newEditorRoom(h, dir, "") }

// File implements lsp.House.
func (h *editorHouse) File(name string) lsp.Room { return newEditorRoom(h, path.Dir(name), name) }

// page is where a code is explained on the web; "": nowhere.
func (h *editorHouse) page(code diag.Code, own ownRules) string {
	if x, ok := own.Find(code); ok {
		return x.Page
	}
	if page, known := h.pages.Load(code); known {
		return page.(string)
	}
	page := ""
	if docs.Markdown(string(code)) != "" {
		page = pageOf(string(code))
	} else if _, ok := policyMarkdown(string(code)); ok {
		page = policyPage(string(code))
	}
	h.pages.Store(code, page)
	return page
}
