package cli

import (
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/flexgw/flexgw/docs"
	"github.com/flexgw/flexgw/reconcile/disk"
	"github.com/flexgw/flexgw/render/policy/all"
	"github.com/flexgw/flexgw/schema/cue"
	"github.com/flexgw/flexgw/schema/export"
)

func schemaCommand(env Env) *cli.Command {
	return &cli.Command{
		Name:  "schema",
		Usage: "export the schemas of kinds and policies, for editors and other tools",
		Subcommands: []*cli.Command{
			{
				Name:  "export",
				Usage: "write JSON Schemas for editors, or the CUE package",
				Description: "Without --dir, the one schema that judges a declaration of any kind goes to standard output. With it, the folder gets\n" +
					"flex.schema.json (that schema), kinds/ and policies/ (one schema each), project.schema.json (of .flexgw.yaml) and\n" +
					"catalog.json, in the form of the SchemaStore catalogue. With --format cue, the folder (cue.mod/pkg of your module) gets the package\n" + cue.Import + ".",
				Flags: []cli.Flag{
					&cli.StringFlag{Name: "dir", Usage: "write a folder of files to `DIR`"},
					known(&cli.StringFlag{Name: "format", Value: "json-schema", Usage: "`FORMAT`: json-schema or cue"}, "json-schema", "cue"),
					&cli.StringFlag{Name: "url", Usage: "the `URL` at which the folder will be found; without it, the folder itself"},
					&cli.BoolFlag{Name: "modeline", Usage: "print the comment that ties a YAML file to the schema, for its first line"},
				},
				Action: func(c *cli.Context) error {
					if c.Args().Present() {
						return usage("schema export takes no %q; --dir names the folder to write", c.Args().First())
					}
					switch format := c.String("format"); format {
					case "json-schema":
					case "cue":
						if c.IsSet("url") || c.Bool("modeline") {
							return usage("--url and --modeline are for json-schema: CUE imports %s", cue.Import)
						}
						return exportCUE(env, c.String("dir"))
					default:
						return usage("no format %q; known are json-schema, cue", format)
					}
					return exportSchemas(env, c.String("dir"), strings.TrimRight(c.String("url"), "/"), c.Bool("modeline"))
				},
			},
			{
				Name:      "show",
				Usage:     "print the JSON Schema of a kind, of a policy's config, or of what validate or diff --output json prints",
				ArgsUsage: "KIND|POLICY|validate|diff",
				Action: func(c *cli.Context) error {
					if c.NArg() != 1 {
						return usage("schema show takes one KIND or POLICY, or validate, or diff")
					}
					return showSchema(env, c.Args().First())
				},
			},
		},
		Action: func(c *cli.Context) error {
			if c.Args().Present() {
				return usage("no command %q: schema export, schema show NAME", "schema "+c.Args().First())
			}
			return cli.ShowSubcommandHelp(c)
		},
	}
}

func showSchema(env Env, name string) error {
	s, err := export.New(all.Catalog{})
	if err != nil {
		return world(err)
	}
	text, ok := s.Schema(name, "")
	switch {
	case name == "validate":
		text = docs.ValidateSchema
	case name == "diff":
		text = docs.DiffSchema
	case !ok:
		return usage("nothing is called %q%s; known are %s, and validate and diff for their JSON", name, suggest(name, s.Names()), strings.Join(s.Names(), ", "))
	}
	_, err = env.Stdout.Write(text)
	return err
}

func exportSchemas(env Env, dir, at string, modeline bool) error {
	s, err := export.New(all.Catalog{})
	if err != nil {
		return world(err)
	}
	if dir == "" && modeline {
		if at == "" {
			return usage("--modeline needs the place of the schema: --dir DIR, or --url URL")
		}
		_, err := fmt.Fprintln(env.Stdout, export.Modeline(at+"/"+export.Combined))
		return err
	}
	if dir == "" {
		_, err := env.Stdout.Write(s.Declaration(at))
		return err
	}
	where := at
	if where == "" {
		if where, err = fileURL(dir); err != nil {
			return world(err)
		}
	}
	files := s.Files(where)
	if err := writeFiles(dir, files); err != nil {
		return world(err)
	}
	if modeline {
		if at == "" {
			at = filepath.ToSlash(dir)
		}
		_, err := fmt.Fprintln(env.Stdout, export.Modeline(at+"/"+export.Combined))
		return err
	}
	_, err = fmt.Fprintf(env.Stdout, "wrote %d files to %s\n", len(files), dir)
	return err
}

func exportCUE(env Env, dir string) error {
	if dir == "" {
		return usage("--format cue writes several files: name the folder, --dir cue.mod/pkg")
	}
	sources, err := cue.Files()
	if err != nil {
		return world(err)
	}
	var files []export.File
	for _, f := range sources {
		files = append(files, export.File{Name: cue.Import + "/" + f.Name, Data: f.Data})
	}
	if err := writeFiles(dir, files); err != nil {
		return world(err)
	}
	_, err = fmt.Fprintf(env.Stdout, "wrote %d files to %s; import %q\n", len(files), dir, cue.Import)
	return err
}

// fileURL is the URL of a folder on this machine.
func fileURL(dir string) (string, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	return (&url.URL{Scheme: "file", Path: filepath.ToSlash(abs)}).String(), nil
}

func writeFiles(dir string, files []export.File) error {
	for _, f := range files {
		path := filepath.Join(dir, filepath.FromSlash(f.Name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := disk.Write(path, f.Data, 0o644); err != nil {
			return err
		}
	}
	return nil
}
