package auth

import (
	"crypto/rand"
	"encoding/base32"
	"encoding/base64"
	"slices"
	"sync/atomic"
	"time"

	"hearth/faas"
)

// Key is a key pair as everybody with the right to may see it: without its secret.
// Keys that a Store gave out are never changed.
type Key struct {
	ID      string    `json:"accessKeyId"`
	Account string    `json:"account"`
	Name    string    `json:"name,omitempty"`    // of who uses it; not unique
	Regions []string  `json:"regions,omitempty"` // it works in; empty is all that are served
	Admin   bool      `json:"admin,omitempty"`   // may do what concerns the whole server
	Policy  *Policy   `json:"policy,omitempty"`  // nil allows everything in the account
	Created time.Time `json:"created"`
	// Expires is when the key ends; zero is never.
	Expires  time.Time `json:"expires,omitzero"`
	Disabled bool      `json:"disabled,omitempty"`
	// LastUsed is the last time that a signature of it was accepted, to about a
	// minute where the server was killed; zero is never.
	LastUsed time.Time `json:"lastUsed,omitzero"`

	// Pointers, so that printing a Key in any way prints no secret.
	material *Credentials
	use      *usage
	derived  *signingKeys
}

// Credentials are what signs requests. Only who made them has them.
type Credentials struct {
	KeyID  string `json:"accessKeyId"`
	Secret string `json:"secretAccessKey"`
	// Token is of keys that expire: it has to come with every request.
	Token string `json:"sessionToken,omitempty"`
}

// usage is shared by the successive states of one key.
type usage struct {
	at      atomic.Int64 // seconds since 1970; 0 is never
	written int64        // what the store has of it; the flusher's
}

func (u *usage) touch(now int64) {
	if u.at.Load() < now {
		u.at.Store(now)
	}
}

func (u *usage) time() time.Time {
	if at := u.at.Load(); at > 0 {
		return time.Unix(at, 0).UTC()
	}
	return time.Time{}
}

// NewKey describes a key that is to be made. Account is required.
type NewKey struct {
	Account string
	Name    string
	Regions []string
	Admin   bool
	Policy  *Policy
	Expires time.Time // zero is never
}

// KeyOf returns a key that is in no store, for credentials that were made elsewhere.
func KeyOf(c Credentials, in NewKey) *Key {
	return &Key{
		ID: c.KeyID, Account: in.Account, Name: in.Name, Regions: in.Regions, Admin: in.Admin, Policy: in.Policy, Expires: in.Expires,
		material: &c, use: new(usage), derived: new(signingKeys),
	}
}

// Ring is keys by their ids; it is not changed while it is in use.
type Ring map[string]*Key

// Find returns the key with an id, nil where there is none.
func (r Ring) Find(id string) *Key { return r[id] }

// maxName is IAM's bound on a user's name, in bytes.
const maxName = 64

func (n *NewKey) check(now time.Time) error {
	if !faas.ValidAccount(n.Account) {
		return faas.Errorf(faas.CodeInvalid, "account", "an account is 12 digits, not %q", n.Account)
	}
	if n.Name != "" && !validName(n.Name) {
		return faas.Errorf(faas.CodeInvalid, "name", "a name is 1 to %d letters, digits and any of +=,.@_-, not %q", maxName, n.Name)
	}
	for _, region := range n.Regions {
		if !faas.ValidRegion(region) {
			return faas.Errorf(faas.CodeInvalid, "regions", "%q is no region: one is named such as us-east-1", region)
		}
	}
	if !n.Expires.IsZero() && !n.Expires.After(now) {
		return faas.Errorf(faas.CodeInvalid, "expires", "a key must end in the future, not at %s", n.Expires.Format(time.RFC3339))
	}
	if n.Policy != nil {
		return n.Policy.Check()
	}
	return nil
}

func validName(s string) bool {
	for _, c := range []byte(s) {
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9') && !slices.Contains([]byte("+=,.@_-"), c) {
			return false
		}
	}
	return s != "" && len(s) <= maxName
}

// idPrefix begins the ids of all keys. It is not AWS's, so that who finds one knows
// where it belongs, and scanners for leaked AWS keys are not misled.
const idPrefix = "HEARTH"

// newCredentials makes an id of 20 characters and a secret of 40 (240 random bits),
// the lengths that tools expect, without characters that a shell would take apart.
func newCredentials(session bool) *Credentials {
	c := &Credentials{
		KeyID:  idPrefix + base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(random(9))[:14],
		Secret: base64.RawURLEncoding.EncodeToString(random(30)),
	}
	if session {
		c.Token = base64.RawURLEncoding.EncodeToString(random(48))
	}
	return c
}

func random(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails (crypto/rand)
	return b
}
