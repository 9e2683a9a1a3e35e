package auth

import (
	"crypto/hmac"
	"crypto/sha256"
	"hash"
	"strings"
	"sync"
	"sync/atomic"
)

// signingKey is what a secret comes to for one date, region and service, and who
// signs with it. Safe for concurrent use.
type signingKey struct {
	scope    string // date/region/service
	identity *Identity
	macs     sync.Pool // of hash.Hash, keyed
}

// signingKeys remembers what was derived of one secret: a list that is replaced
// and never changed, as it has two or three entries.
type signingKeys struct {
	list atomic.Pointer[[]*signingKey]
}

// maxDerived bounds that list: two days of some regions and services. Beyond it
// everything is forgotten.
const maxDerived = 64

func (k *Key) signingKey(c *claim) *signingKey {
	old := k.derived.list.Load()
	if old != nil {
		for _, s := range *old {
			if s.scope == c.scope {
				return s
			}
		}
	}
	s := k.derive(c)
	next := []*signingKey{s}
	if old != nil && len(*old) < maxDerived {
		next = append(next, *old...)
	}
	k.derived.list.CompareAndSwap(old, &next) // else another call's is remembered
	return s
}

func (k *Key) derive(c *claim) *signingKey {
	key := deriveKey(k.material.Secret, c.date, c.region, c.service)
	s := &signingKey{scope: strings.Clone(c.scope), identity: &Identity{
		KeyID: k.ID, Account: k.Account, Name: k.Name, Region: strings.Clone(c.region), Admin: k.Admin, policy: k.Policy,
	}}
	s.macs.New = func() any { return hmac.New(sha256.New, key) }
	return s
}

// sign appends the HMAC of text to dst.
func (s *signingKey) sign(dst, text []byte) []byte {
	mac := s.macs.Get().(hash.Hash)
	mac.Reset()
	mac.Write(text)
	dst = mac.Sum(dst)
	s.macs.Put(mac)
	return dst
}

func deriveKey(secret, date, region, service string) []byte {
	key := []byte("AWS4" + secret)
	for _, part := range [...]string{date, region, service, terminator} {
		key = sum256(key, []byte(part))
	}
	return key
}

// sum256 is the HMAC of text.
func sum256(key, text []byte) []byte {
	mac := hmac.New(sha256.New, key)
	mac.Write(text)
	return mac.Sum(nil)
}
