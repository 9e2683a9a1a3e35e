package native

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"hearth/auth"
	"hearth/faas"
)

// Keys are the key pairs of all accounts; see auth.Store for the rules.
type Keys interface {
	Create(ctx context.Context, in auth.NewKey) (auth.Key, auth.Credentials, error)
	List(account string) []auth.Key
	Disable(ctx context.Context, id string, disabled bool) (auth.Key, error)
	Delete(ctx context.Context, id string) error
}

// KeyRequest makes a key.
type KeyRequest struct {
	Account string          `json:"account,omitempty"` // the caller's where empty
	Name    string          `json:"name,omitempty"`
	Regions []string        `json:"regions,omitempty"`
	Admin   bool            `json:"admin,omitempty"`
	Policy  json.RawMessage `json:"policy,omitempty"`
	// Lifetime is how long the key works, in seconds; 0 is for ever. A key that ends
	// comes with a session token.
	Lifetime int64 `json:"lifetime,omitempty"`
}

// KeyChange disables or enables a key.
type KeyChange struct {
	Disabled *bool `json:"disabled"`
}

// NewKey is the answer to a KeyRequest: the only one that ever has the secret.
type NewKey struct {
	auth.Key
	Credentials auth.Credentials `json:"credentials"`
}

// KeyList is all keys, sorted by account, name and age.
type KeyList struct {
	Keys []auth.Key `json:"keys"`
}

func (a *API) routeKeys() {
	a.route("GET /hearth/v1/keys", a.listKeys)
	a.route("POST /hearth/v1/keys", a.createKey)
	a.route("GET /hearth/v1/keys/{id}", a.getKey)
	a.route("PATCH /hearth/v1/keys/{id}", a.changeKey)
	a.route("DELETE /hearth/v1/keys/{id}", a.deleteKey)
}

func (a *API) listKeys(w http.ResponseWriter, r *http.Request) error {
	writeJSON(w, http.StatusOK, KeyList{append([]auth.Key{}, a.Keys.List(r.URL.Query().Get("account"))...)})
	return nil
}

func (a *API) getKey(w http.ResponseWriter, r *http.Request) error {
	for _, k := range a.Keys.List("") {
		if k.ID == r.PathValue("id") {
			writeJSON(w, http.StatusOK, k)
			return nil
		}
	}
	return faas.Errorf(faas.CodeNotFound, "key", "there is no key %s", r.PathValue("id"))
}

func (a *API) createKey(w http.ResponseWriter, r *http.Request) error {
	var in KeyRequest
	if err := readSettings(w, r, "a key", &in); err != nil {
		return err
	}
	key, err := in.Key(a.Now())
	if err != nil {
		return err
	}
	if key.Account == "" {
		key.Account = a.scope(r).Account
	}
	made, credentials, err := a.Keys.Create(r.Context(), key)
	if err != nil {
		return err
	}
	w.Header().Set("Cache-Control", "no-store")
	writeJSON(w, http.StatusCreated, NewKey{made, credentials})
	return nil
}

// Key is what a store is asked for.
func (in *KeyRequest) Key(now time.Time) (auth.NewKey, error) {
	out := auth.NewKey{Account: in.Account, Name: in.Name, Regions: in.Regions, Admin: in.Admin}
	const maxLifetime = 10 * 365 * 24 * 3600
	if in.Lifetime < 0 || in.Lifetime > maxLifetime {
		return out, faas.Errorf(faas.CodeInvalid, "lifetime", "lifetime must be a number of seconds up to %d, not %d", maxLifetime, in.Lifetime)
	}
	if in.Lifetime > 0 {
		out.Expires = now.Add(time.Duration(in.Lifetime) * time.Second)
	}
	var err error
	if len(in.Policy) > 0 && string(in.Policy) != "null" {
		out.Policy, err = auth.ParsePolicy(in.Policy)
	}
	return out, err
}

func (a *API) changeKey(w http.ResponseWriter, r *http.Request) error {
	var in KeyChange
	if err := readSettings(w, r, "a key", &in); err != nil {
		return err
	}
	if in.Disabled == nil {
		return faas.Errorf(faas.CodeInvalid, "disabled", "say {\"disabled\": true} or false: nothing else of a key can be changed")
	}
	key, err := a.Keys.Disable(r.Context(), r.PathValue("id"), *in.Disabled)
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, key)
	return nil
}

func (a *API) deleteKey(w http.ResponseWriter, r *http.Request) error {
	return noContent(w, a.Keys.Delete(r.Context(), r.PathValue("id")))
}
