package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"hearth/api/native"
	"hearth/auth"
	"hearth/engine"
	"hearth/engine/datadir"
	"hearth/engine/nats"
	"hearth/faas"
)

const keysHelp = `Makes, lists, disables and deletes the keys that 'hearth serve' verifies requests
with. Only an administrator's key may do so. The first one is made by the first
start of 'hearth serve'; where none is left, --data DIR works on the data
directory of a server that is stopped.

This command and all others sign with the first of these that there is:
  the file that --credentials (or HEARTH_CREDENTIALS) names, section --profile
  HEARTH_ACCESS_KEY_ID, HEARTH_SECRET_ACCESS_KEY, HEARTH_SESSION_TOKEN
  ~/.config/hearth/credentials, section --profile
  AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN`

func keysCommand(t *terminal) *cobra.Command {
	cmd := &cobra.Command{
		Use: "keys", Short: "Make, list, disable and delete the keys of a server", Long: keysHelp,
		Example: `  export HEARTH_CREDENTIALS=/var/lib/hearth/admin-credentials
  hearth keys create ada --save
  hearth keys list`,
		Args: names(0, "one of: create, list, disable, enable, delete"),
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(keysCreateCommand(t), keysListCommand(t), keysChangeCommand(t, true), keysChangeCommand(t, false), keysDeleteCommand(t))
	return cmd
}

// keyring makes and changes keys: those of a server, or of a data directory.
type keyring interface {
	Create(ctx context.Context, in *native.KeyRequest) (*native.NewKey, error)
	List(ctx context.Context, account string) ([]auth.Key, error)
	Disable(ctx context.Context, id string, disabled bool) (*auth.Key, error)
	Delete(ctx context.Context, id string) error
}

const offlineHelp = "work on this data directory, whose server is stopped, instead of talking to a server"

// withKeys runs an action on the keys that the command's flags mean.
func withKeys(cmd *cobra.Command, v values, run func(context.Context, keyring) error) error {
	dir, _ := cmd.Flags().GetString("data")
	if dir == "" {
		return run(cmd.Context(), serverKeys{newClient(v)})
	}
	if _, err := os.Stat(dir); err != nil {
		return usageError("--data: %w", err)
	}
	data, err := datadir.Open(dir)
	if errors.Is(err, engine.ErrLocked) {
		return fmt.Errorf("%w; leave --data out to talk to it", err)
	}
	if err != nil {
		return err
	}
	log := slog.New(slog.DiscardHandler)
	ctx := cmd.Context()
	store, err := nats.Open(ctx, nats.Options{Dir: data, Logger: log})
	if err != nil {
		return errors.Join(err, data.Close())
	}
	keys, err := openKeys(ctx, data, store.Meta(), log)
	if err == nil {
		err = errors.Join(run(ctx, storedKeys{keys}), keys.Close(ctx))
	}
	return errors.Join(err, store.Close(ctx), data.Close())
}

// serverKeys are the keys of a running server.
type serverKeys struct{ client *client }

func (k serverKeys) Create(ctx context.Context, in *native.KeyRequest) (*native.NewKey, error) {
	body, err := json.Marshal(in)
	if err != nil {
		return nil, err
	}
	out := new(native.NewKey)
	return out, k.client.do(ctx, http.MethodPost, "keys", nil, bytes.NewReader(body), out)
}

func (k serverKeys) List(ctx context.Context, account string) ([]auth.Key, error) {
	var out native.KeyList
	return out.Keys, k.client.do(ctx, http.MethodGet, "keys", url.Values{"account": {account}}, nil, &out)
}

func (k serverKeys) Disable(ctx context.Context, id string, disabled bool) (*auth.Key, error) {
	body, err := json.Marshal(native.KeyChange{Disabled: &disabled})
	if err != nil {
		return nil, err
	}
	out := new(auth.Key)
	return out, k.client.do(ctx, http.MethodPatch, "keys/"+url.PathEscape(id), nil, bytes.NewReader(body), out)
}

func (k serverKeys) Delete(ctx context.Context, id string) error {
	return k.client.do(ctx, http.MethodDelete, "keys/"+url.PathEscape(id), nil, nil, nil)
}

// storedKeys are those of a data directory.
type storedKeys struct{ store *auth.Store }

func (k storedKeys) Create(ctx context.Context, in *native.KeyRequest) (*native.NewKey, error) {
	key, err := in.Key(time.Now())
	if err != nil {
		return nil, err
	}
	key.Account = cmp.Or(key.Account, faas.DefaultAccount)
	made, credentials, err := k.store.Create(ctx, key)
	return &native.NewKey{Key: made, Credentials: credentials}, err
}

func (k storedKeys) List(_ context.Context, account string) ([]auth.Key, error) {
	return k.store.List(account), nil
}

func (k storedKeys) Disable(ctx context.Context, id string, disabled bool) (*auth.Key, error) {
	key, err := k.store.Disable(ctx, id, disabled)
	return &key, err
}

func (k storedKeys) Delete(ctx context.Context, id string) error { return k.store.Delete(ctx, id) }

func keysListCommand(t *terminal) *cobra.Command {
	var account string
	cmd := &cobra.Command{
		Use: "list", Short: "List the keys, without their secrets",
		Example: "  hearth keys list\n  hearth keys list --account 123456789012 --output json",
	}
	cmd.Flags().StringVar(&account, "account", "", "of this account only")
	cmd.Flags().String("data", "", offlineHelp)
	return command(cmd, true, names(0, "no arguments"), func(cmd *cobra.Command, _ []string, v values) error {
		return withKeys(cmd, v, func(ctx context.Context, keys keyring) error {
			all, err := keys.List(ctx, account)
			if err != nil {
				return err
			}
			return t.show(v, native.KeyList{Keys: append([]auth.Key{}, all...)}, func() { printKeys(t, all) })
		})
	})
}

func printKeys(t *terminal, all []auth.Key) {
	w := tabwriter.NewWriter(t.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "KEY\tNAME\tACCOUNT\tSTATE\tRIGHTS\tREGIONS\tCREATED\tLAST USED")
	for _, k := range all {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", k.ID, cmp.Or(k.Name, "-"), k.Account, keyState(&k, time.Now()), keyRights(&k),
			cmp.Or(strings.Join(k.Regions, ","), "all"), k.Created.Local().Format(time.DateTime), usedAt(k.LastUsed))
	}
	w.Flush()
}

func keyState(k *auth.Key, now time.Time) string {
	switch {
	case k.Disabled:
		return "disabled"
	case k.Expires.IsZero():
		return "works"
	case now.Before(k.Expires):
		return "until " + k.Expires.Local().Format(time.DateTime)
	}
	return "ended"
}

func keyRights(k *auth.Key) string {
	rights := "account"
	if k.Policy != nil {
		rights = "policy"
	}
	if k.Admin {
		rights += ", admin"
	}
	return rights
}

func usedAt(at time.Time) string {
	if at.IsZero() {
		return "never"
	}
	return at.Local().Format(time.DateTime)
}

func keysChangeCommand(t *terminal, disable bool) *cobra.Command {
	cmd := &cobra.Command{
		Use: "enable KEY", Short: "Have a disabled key work again",
		Example: "  hearth keys enable HEARTH3X5TQ7YB2MNDKA",
	}
	done := "enabled"
	if disable {
		cmd.Use, cmd.Short, done = "disable KEY", "Have a key work no more, until it is enabled", "disabled"
		cmd.Example = "  hearth keys disable HEARTH3X5TQ7YB2MNDKA"
	}
	cmd.Flags().String("data", "", offlineHelp)
	return command(cmd, true, names(1, "the id of a key"), func(cmd *cobra.Command, args []string, v values) error {
		return withKeys(cmd, v, func(ctx context.Context, keys keyring) error {
			key, err := keys.Disable(ctx, args[0], disable)
			if err != nil {
				return err
			}
			return t.show(v, key, func() { fmt.Fprintf(t.err, "%s is %s\n", key.ID, done) })
		})
	})
}

func keysDeleteCommand(t *terminal) *cobra.Command {
	cmd := &cobra.Command{
		Use: "delete KEY", Short: "Delete a key for good",
		Example: "  hearth keys delete HEARTH3X5TQ7YB2MNDKA",
	}
	cmd.Flags().String("data", "", offlineHelp)
	return command(cmd, true, names(1, "the id of a key"), func(cmd *cobra.Command, args []string, v values) error {
		return withKeys(cmd, v, func(ctx context.Context, keys keyring) error {
			if err := keys.Delete(ctx, args[0]); err != nil {
				return err
			}
			return t.show(v, map[string]string{"deleted": args[0]}, func() { fmt.Fprintf(t.err, "%s is deleted\n", args[0]) })
		})
	})
}
