package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"hearth/api/native"
	"hearth/auth"
)

const keysCreateHelp = `Makes a key pair and prints it, this once: the server keeps the secret to verify
signatures and never shows it again.

Without --policy a key may do everything in its account. A policy has the form of
AWS's: Effect, Action, Resource and Condition, with wildcards. Actions are those of
Lambda (lambda:InvokeFunction), of CloudWatch Logs (logs:FilterLogEvents), and
Hearth's own (hearth:ListEvents).`

// keyFlags are the flags of 'keys create'.
type keyFlags struct {
	account, policy, save, section string
	regions                        []string
	admin                          bool
	lifetime                       time.Duration
}

func keysCreateCommand(t *terminal) *cobra.Command {
	var f keyFlags
	cmd := &cobra.Command{
		Use: "create [NAME]", Short: "Make a key", Long: keysCreateHelp,
		Example: `  hearth keys create ada --save --save-as ada
  hearth keys create ci --policy deploy.json --regions eu-west-1
  hearth keys create visitor --lifetime 1h --output json
  hearth keys create root --admin --data /var/lib/hearth --account 000000000000`,
	}
	flags := cmd.Flags()
	flags.StringVar(&f.account, "account", "", "account, 12 digits (default: that of the key that asks)")
	flags.StringSliceVar(&f.regions, "regions", nil, "regions that it works in (default: all)")
	flags.StringVar(&f.policy, "policy", "", "file with a policy, JSON; - is standard input")
	flags.BoolVar(&f.admin, "admin", false, "an administrator's: may manage keys and limits of all accounts")
	flags.DurationVar(&f.lifetime, "lifetime", 0, "how long it works, such as 12h; it comes with a session token (default: for ever)")
	flags.StringVar(&f.save, "save", "", "write it to this credentials file, and do not print it (default file: ~/.config/hearth/credentials)")
	flags.StringVar(&f.section, "save-as", "default", "section of that file, which must be new")
	flags.Lookup("save").NoOptDefVal = usualFile
	flags.String("data", "", offlineHelp)
	return command(cmd, true, atMostOne("a name"), func(cmd *cobra.Command, args []string, v values) error {
		in := &native.KeyRequest{Account: f.account, Regions: f.regions, Admin: f.admin, Lifetime: int64(f.lifetime.Seconds())}
		if len(args) > 0 {
			in.Name = args[0]
		}
		if f.lifetime != 0 && f.lifetime < time.Second {
			return usageError("--lifetime must be at least 1s")
		}
		var err error
		if in.Policy, err = readPolicy(t, f.policy); err != nil {
			return err
		}
		path, err := f.file()
		if err == nil && path != "" {
			err = checkSectionFree(path, f.section)
		}
		if err != nil {
			return err
		}
		return withKeys(cmd, v, func(ctx context.Context, keys keyring) error {
			made, err := keys.Create(ctx, in)
			if err != nil {
				return err
			}
			return tellKey(t, v, made, path, f.section)
		})
	})
}

// usualFile stands for the usual credentials file.
const usualFile = "default"

func (f *keyFlags) file() (string, error) {
	if f.save == usualFile {
		return credentialsPath(os.Getenv)
	}
	return f.save, nil
}

// readPolicy reads a policy and says at once what is wrong with it.
func readPolicy(t *terminal, path string) ([]byte, error) {
	if path == "" {
		return nil, nil
	}
	text, err := os.ReadFile(path)
	if path == "-" {
		text, err = io.ReadAll(t.in)
	}
	if err != nil {
		return nil, usageError("--policy: %w", err)
	}
	if _, err := auth.ParsePolicy(text); err != nil {
		return nil, usageError("--policy %s: %s", path, words(err))
	}
	return text, nil
}

// tellKey saves a new key or prints it. One that cannot be saved is printed: its
// secret would be lost.
func tellKey(t *terminal, v values, made *native.NewKey, path, section string) error {
	if path != "" {
		err := saveCredentials(path, section, made.Credentials)
		if err == nil {
			return t.show(v, made.Key, func() { fmt.Fprintf(t.err, "made %s; it is in %s, section [%s]\n", made.ID, path, section) })
		}
		fmt.Fprintf(t.err, "hearth: it could not be saved, and so is printed: %v\n", err)
	}
	return t.show(v, made, func() { printKey(t, made) })
}

func printKey(t *terminal, made *native.NewKey) {
	c := made.Credentials
	fmt.Fprintf(t.out, "AWS_ACCESS_KEY_ID=%s\nAWS_SECRET_ACCESS_KEY=%s\n", c.KeyID, c.Secret)
	if c.Token != "" {
		fmt.Fprintf(t.out, "AWS_SESSION_TOKEN=%s\n", c.Token)
	}
	whose := "account " + made.Account
	if made.Admin {
		whose += ", an administrator's"
	}
	fmt.Fprintf(t.err, "made a key of %s; its secret is not shown again\n", whose)
}
