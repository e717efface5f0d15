package cli

import (
	"bytes"
	"fmt"
	"os"

	"github.com/urfave/cli/v2"

	"github.com/flexgw/flexgw/reconcile/disk"
	"github.com/flexgw/flexgw/reconcile/systemd"
)

// credential is a file that is read at each use: the one of a flag, or the service manager's of that name; "": there is neither.
func credential(c *cli.Context, env Env, flag, name string) string {
	if file := c.String(flag); file != "" {
		return file
	}
	if file, ok := systemd.Credential(env.Getenv, name); ok {
		return file
	}
	return ""
}

// secretOf is how a secret is read: from the file of a flag, the environment, or systemd's credentials; nil: it is nowhere.
func secretOf(c *cli.Context, env Env, flag, variable, name string) func() (string, error) {
	if v, ok := env.Getenv(variable); ok && v != "" && !c.IsSet(flag) {
		return func() (string, error) { return v, nil }
	}
	file := credential(c, env, flag, name)
	if file == "" {
		return nil
	}
	return func() (string, error) {
		b, err := readCredential(file, "--"+flag)
		return string(b), err
	}
}

// readCredential reads what is in a file but for the end of its last line; nothing is an error.
func readCredential(file, flag string) ([]byte, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("%s: read %s: %w", flag, file, disk.Cause(err))
	}
	if b = bytes.TrimRight(b, "\r\n"); len(b) == 0 {
		return nil, fmt.Errorf("%s: there is nothing in %s", flag, file)
	}
	return b, nil
}
