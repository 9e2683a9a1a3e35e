package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"

	"hearth/api/funcurl"
	"hearth/auth"
	"hearth/engine/datadir"
	"hearth/faas"
)

// authenticator says who sent a request.
type authenticator interface {
	Authenticate(r *http.Request, service string) (*auth.Identity, error)
}

// verifies reports whether a server verifies signatures; up has no such setting.
func verifies(v values) bool { return v["auth"] == "on" }

// openKeys opens the keys of a data directory.
func openKeys(ctx context.Context, data *datadir.Dir, meta auth.Meta, log *slog.Logger) (*auth.Store, error) {
	dir, err := data.Sub("keys")
	if err != nil {
		return nil, err
	}
	return auth.Open(ctx, auth.StoreOptions{Meta: meta, Dir: dir, Logger: log})
}

// openCallers makes what tells callers apart. A server that verifies and has no
// administrator yet makes the first key, as there is nobody who could.
func openCallers(ctx context.Context, t *terminal, v values, keys *auth.Store, dir string) (authenticator, error) {
	if !verifies(v) {
		return auth.NewTrusting(v["account"]), nil
	}
	if !keys.HasAdmin() {
		if err := makeFirstKey(ctx, t, v, keys, filepath.Join(dir, firstKeyName)); err != nil {
			return nil, err
		}
	}
	return auth.NewVerifier(auth.VerifierOptions{Keys: keys, Regions: list(v["regions"])}), nil
}

// firstKeyName is the file in the data directory that has the first key.
const firstKeyName = "admin-credentials"

// makeFirstKey writes an administrator's key to a new file, and says where. It is
// never printed: what a server prints ends in logs.
func makeFirstKey(ctx context.Context, t *terminal, v values, keys *auth.Store, path string) error {
	// One that is there is of keys that are no more, or of a start that ended here.
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	_, credentials, err := keys.Create(ctx, auth.NewKey{Account: v["account"], Name: "admin", Admin: true})
	if err != nil {
		return err
	}
	if err := saveCredentials(path, "default", credentials); err != nil {
		return fmt.Errorf("the first key could not be written to %s: %w", path, err)
	}
	fmt.Fprintf(t.err, "hearth: made the first key, an administrator's; it is in %s\n", path)
	return nil
}

// guardMetrics lets those read metrics who are on this machine, or whose key has the
// right to: by a signature, or by its id and secret as name and password, which is
// what Prometheus can send.
func guardMetrics(callers authenticator, metrics http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		verifier, ok := callers.(*auth.Verifier)
		if ok && !fromThisMachine(r) {
			if err := mayReadMetrics(verifier, r); err != nil {
				w.Header().Set("WWW-Authenticate", `Basic realm="hearth"`)
				refuse(w, http.StatusUnauthorized, "AccessDeniedException", err.Error())
				return
			}
		}
		metrics.ServeHTTP(w, r)
	})
}

func mayReadMetrics(verifier *auth.Verifier, r *http.Request) error {
	var who *auth.Identity
	var err error
	if id, secret, basic := r.BasicAuth(); basic {
		who, err = verifier.Password(id, secret)
	} else {
		who, err = verifier.Authenticate(r, "hearth")
		defer r.Body.Close()
	}
	if err != nil {
		return err
	}
	return who.Allow("hearth:GetMetrics", "*")
}

// fromThisMachine reports whether a request came from a program of this machine: over
// loopback, by an address or as localhost (a page in a browser has its own name), and
// not through a proxy for somebody else.
func fromThisMachine(r *http.Request) bool {
	for _, name := range []string{"Forwarded", "X-Forwarded-For", "X-Real-Ip", "Via"} {
		if r.Header[name] != nil {
			return false
		}
	}
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	ip := net.ParseIP(host)
	return err == nil && ip != nil && ip.IsLoopback() && (&front{hosts: []string{"localhost"}}).allowed(r.Host)
}

// identify is how function URLs ask who calls; nil where nothing is verified.
func identify(callers authenticator) func(r *http.Request, action, arn string) (funcurl.Identity, error) {
	verifier, ok := callers.(*auth.Verifier)
	if !ok {
		return nil
	}
	return func(r *http.Request, action, arn string) (funcurl.Identity, error) {
		who, err := verifier.Authenticate(r, "lambda")
		if err != nil {
			return funcurl.Identity{}, &faas.Error{Code: faas.CodeDenied, Subject: "signature", Message: err.Error(), Cause: err}
		}
		return funcurl.Identity{
			Account: who.Account, ARN: who.ARN(), AccessKey: who.KeyID, UserID: who.KeyID, Allowed: who.Allow(action, arn) == nil,
		}, nil
	}
}
