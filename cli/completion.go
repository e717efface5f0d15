package cli

import (
	_ "embed"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/flexgw/flexgw/render/policy/all"
	"github.com/flexgw/flexgw/schema/export"
)

func completionCommand(env Env) *cli.Command {
	return &cli.Command{
		Name:      "completion",
		Usage:     "print the script with which a shell completes commands, flags and their values",
		ArgsUsage: "SHELL",
		Description: "SHELL is one of " + strings.Join(shells(), ", ") + ". The script is whole: it asks flexgw nothing while you type. Its first lines say where to put it.\n" +
			"In this shell: eval \"$(flexgw completion bash)\", source <(flexgw completion zsh), or flexgw completion fish | source.",
		Action: func(c *cli.Context) error {
			if c.NArg() != 1 {
				return usage("completion takes one SHELL: %s", strings.Join(shells(), ", "))
			}
			script, ok := scripts()[c.Args().First()]
			if !ok {
				return usage("no shell %q%s; known are %s", c.Args().First(), suggest(c.Args().First(), shells()), strings.Join(shells(), ", "))
			}
			places, err := tree(c.App)
			if err != nil {
				return world(err)
			}
			_, err = io.WriteString(env.Stdout, script(places))
			return worldly(err)
		},
	}
}

func shells() []string { return []string{"bash", "zsh", "fish"} }

func scripts() map[string]func([]spot) string {
	return map[string]func([]spot) string{"bash": bashScript, "zsh": zshScript, "fish": fishScript}
}

// known is a flag of which values are known: completion offers them.
func known(f cli.Flag, values ...string) cli.Flag {
	switch f := f.(type) {
	case *cli.StringFlag:
		return knownString{f, values}
	case *cli.GenericFlag:
		return knownGeneric{f, values}
	}
	panic(fmt.Sprintf("cli: %T has no known values", f))
}

// knownString and knownGeneric are their flag in every way, and have its values.
type (
	knownString struct {
		*cli.StringFlag
		values []string
	}
	knownGeneric struct {
		*cli.GenericFlag
		values []string
	}
)

func (f knownString) known() []string  { return f.values }
func (f knownGeneric) known() []string { return f.values }

// spot is a command, and what may follow it.
type spot struct {
	path     string // "usage flush"; "": the program itself
	commands []named
	flags    []completed
	args     offer
}

// named is a word, and what it is for.
type named struct{ name, usage string }

// completed is a flag.
type completed struct {
	names []string // with their dashes
	usage string
	value bool // it has one
	offer offer
}

// offer is what a value or an argument may be.
type offer struct {
	values []string // of which one may be; not all, where files may be too
	files  string   // file, dir, or "": none
	pairs  bool     // VALUE=FILE is one too
}

// tree is every command of a program that is shown, the program itself first.
func tree(app *cli.App) ([]spot, error) {
	args, err := argumentsOf()
	if err != nil {
		return nil, err
	}
	var all []spot
	var walk func(path string, commands []*cli.Command, flags []cli.Flag, use string)
	walk = func(path string, commands []*cli.Command, flags []cli.Flag, use string) {
		p := spot{path: path, args: offer{values: args[path], files: filesOf(use)}}
		for _, f := range flags {
			if x, ok := flagOf(f); ok {
				p.flags = append(p.flags, x)
			}
		}
		if !slices.ContainsFunc(p.flags, func(x completed) bool { return slices.Contains(x.names, "--help") }) {
			p.flags = append(p.flags, completed{names: []string{"--help", "-h"}, usage: "show help"})
		}
		var below []*cli.Command
		for _, c := range commands {
			if !c.Hidden && c.Name != "help" {
				p.commands = append(p.commands, named{c.Name, c.Usage})
				below = append(below, c)
			}
		}
		all = append(all, p)
		for _, c := range below {
			walk(strings.TrimSpace(path+" "+c.Name), c.Subcommands, c.Flags, c.ArgsUsage)
		}
	}
	walk("", app.Commands, app.Flags, "")
	return all, nil
}

// flagOf is a flag that is shown.
func flagOf(f cli.Flag) (x completed, ok bool) {
	if v, is := f.(cli.VisibleFlag); is && !v.IsVisible() {
		return x, false
	}
	d, ok := f.(cli.DocGenerationFlag)
	if !ok {
		return x, false
	}
	for _, n := range f.Names() {
		if len(n) == 1 {
			x.names = append(x.names, "-"+n)
		} else {
			x.names = append(x.names, "--"+n)
		}
	}
	x.usage, x.value = strings.ReplaceAll(d.GetUsage(), "`", ""), d.TakesValue()
	if !x.value {
		return x, true
	}
	if k, is := f.(interface{ known() []string }); is {
		x.offer.values = k.known()
	}
	_, rest, _ := strings.Cut(d.GetUsage(), "`")
	word, _, _ := strings.Cut(rest, "`")
	if x.offer.pairs = strings.HasSuffix(word, "[=FILE]"); !x.offer.pairs {
		x.offer.files = filesOf(word)
	}
	return x, true
}

// filesOf says whether a word of a usage, such as FILE or [PATH…], stands for a file or a folder.
func filesOf(use string) string {
	if strings.HasPrefix(use, "-") { // flags alone
		return ""
	}
	switch has := func(words ...string) bool {
		return slices.ContainsFunc(words, func(w string) bool { return strings.Contains(use, w) })
	}; {
	case has("FILE", "PATH", "PEM", "SOURCE", "BUNDLE", "REGISTRATION", "DIR1"):
		return "file"
	case has("DIR", "FOLDER"):
		return "dir"
	}
	return ""
}

// argumentsOf are the arguments of commands, by their paths, where they are known.
func argumentsOf() (map[string][]string, error) {
	var names []string
	for _, p := range policies() {
		names = append(names, p.Name)
	}
	s, err := export.New(all.Catalog{})
	if err != nil {
		return nil, err
	}
	return map[string][]string{"completion": shells(), "policy show": names, "explain": slices.Concat(knownCodes().Names, roots()), "schema show": append(s.Names(), "validate", "diff")}, nil
}

//go:embed completion/flexgw.bash
var bashText string

//go:embed completion/flexgw.zsh
var zshText string

//go:embed completion/flexgw.fish
var fishText string

// shellWord is a text as one word of any of the shells: no text of ours has an apostrophe where that would not do.
func shellWord(text string) string { return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'" }

// filled is a script with its tables.
func filled(text string, tables map[string]string) string {
	for name, table := range tables {
		text = strings.Replace(text, "@"+name+"@", strings.TrimSuffix(table, "\n"), 1)
	}
	return text
}

// cases writes a branch of a case for each spot, and one for each flag that has a value, into flags. word writes a list.
func cases(all []spot, commands func(spot) string, offered func(offer) string) (places, flags string) {
	var p, f strings.Builder
	for _, x := range all {
		fmt.Fprintf(&p, "  %s) %s ;;\n", shellWord(x.path), commands(x))
		for _, flag := range x.flags {
			if !flag.value {
				continue
			}
			var names []string
			for _, n := range flag.names {
				names = append(names, shellWord(x.path+" "+n))
			}
			fmt.Fprintf(&f, "  %s) %s;;\n", strings.Join(names, " | "), offered(flag.offer))
		}
	}
	return p.String(), f.String()
}

// assigned is an offer as assignments of a shell.
func assigned(values, files string, pairs bool) string {
	text := ""
	if values != "" {
		text += "values=" + values + " "
	}
	if files != "" {
		text += "files=" + files + " "
	}
	if pairs {
		text += "pairs=1 "
	}
	return text
}

func bashScript(all []spot) string {
	list := func(words []string) string {
		if len(words) == 0 {
			return ""
		}
		return shellWord(strings.Join(words, " "))
	}
	offered := func(o offer) string { return assigned(list(o.values), o.files, o.pairs) }
	places, flags := cases(all, func(p spot) string {
		text := ""
		if len(p.commands) > 0 {
			text = "commands=" + list(namesOf(p.commands)) + " "
		}
		var names []string
		for _, f := range p.flags {
			names = append(names, f.names...)
		}
		return strings.TrimSpace(text + "flags=" + list(names) + " " + offered(p.args))
	}, offered)
	return filled(bashText, map[string]string{"commands": places, "flags": flags})
}

func namesOf(list []named) []string {
	var names []string
	for _, n := range list {
		names = append(names, n.name)
	}
	return names
}

func zshScript(all []spot) string {
	// A description begins behind the first colon.
	described := func(name, usage string) string { return shellWord(strings.ReplaceAll(name, ":", `\:`) + ":" + usage) }
	list := func(words []string) string {
		if len(words) == 0 {
			return ""
		}
		var q []string
		for _, w := range words {
			q = append(q, shellWord(w))
		}
		return "(" + strings.Join(q, " ") + ")"
	}
	offered := func(o offer) string { return assigned(list(o.values), o.files, o.pairs) }
	places, flags := cases(all, func(p spot) string {
		var text, words []string
		for _, c := range p.commands {
			words = append(words, described(c.name, c.usage))
		}
		if len(words) > 0 {
			text = append(text, "subs=("+strings.Join(words, " ")+")")
		}
		words = nil
		for _, f := range p.flags {
			for _, n := range f.names {
				words = append(words, described(n, f.usage))
			}
		}
		return strings.TrimSpace(strings.Join(append(text, "flags=("+strings.Join(words, " ")+")", offered(p.args)), " "))
	}, offered)
	return filled(zshText, map[string]string{"commands": places, "flags": flags})
}

func fishScript(all []spot) string {
	q := func(text string) string {
		return "'" + strings.NewReplacer(`\`, `\\`, "'", `\'`).Replace(text) + "'"
	}
	var b strings.Builder
	var paths []string
	for _, p := range all {
		if p.path != "" {
			paths = append(paths, q(p.path))
		}
		at := func(function string) string { return " -n " + q(function+" "+q(p.path)) }
		for _, c := range p.commands {
			fmt.Fprintf(&b, "complete -c flexgw%s -a %s -d %s\n", at("__flexgw_only"), c.name, q(c.usage))
		}
		for _, f := range p.flags {
			names := ""
			for _, n := range f.names {
				if long, ok := strings.CutPrefix(n, "--"); ok {
					names += " -l " + long
				} else {
					names += " -s " + n[1:]
				}
			}
			how := ""
			if f.value {
				how = fishOffer(f.offer, " -x", q)
			}
			fmt.Fprintf(&b, "complete -c flexgw%s%s%s -d %s\n", at("__flexgw_at"), names, how, q(f.usage))
		}
		if len(p.args.values) > 0 || p.args.files != "" {
			fmt.Fprintf(&b, "complete -c flexgw%s%s\n", at("__flexgw_at"), fishOffer(p.args, "", q))
		}
	}
	return filled(fishText, map[string]string{"paths": strings.Join(paths, " "), "commands": b.String()})
}

// fishOffer is an offer as flags of complete; only is what keeps files out.
func fishOffer(o offer, only string, q func(string) string) string {
	switch {
	case o.pairs:
		return " -x -a " + q("(__flexgw_pairs "+strings.Join(o.values, " ")+")")
	case o.files == "dir":
		return only + " -a " + q("(__fish_complete_directories (commandline -ct))")
	case o.files != "" && only != "":
		only = " -r -F"
	case o.files != "":
		only = " -F"
	}
	if len(o.values) > 0 {
		only += " -a " + q(strings.Join(o.values, " "))
	}
	return only
}
