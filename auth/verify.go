package auth

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// Skew is how far a request's time may be from the server's, both ways. A signed
// request that is sent again within it is accepted again, as on AWS.
const Skew = 15 * time.Minute

// MaxBody bounds a body that is verified, in bytes: the largest request that a
// dialect takes.
const MaxBody = 70_167_211

const (
	// freeBody is what is read without one of the places for large bodies: an
	// invocation's payload, which may be held for as long as it runs, and more.
	freeBody = 8 << 20
	// maxLarge bounds the larger bodies that are held in memory at once.
	maxLarge = 4
	// largeWait is how long a request waits for such a place.
	largeWait = 30 * time.Second
)

// Keys finds keys. Safe for concurrent use.
type Keys interface {
	// Find returns the key with an id, nil where there is none.
	Find(id string) *Key
}

// Verifier verifies signatures. Safe for concurrent use; it holds no goroutine.
type Verifier struct {
	keys    Keys
	regions []string
	now     func() time.Time
	large   chan struct{} // a token for each large body in memory
}

// VerifierOptions are what a Verifier is made from; Keys is required.
type VerifierOptions struct {
	Keys    Keys
	Regions []string         // those served; empty is any
	Clock   func() time.Time // nil is time.Now
}

// NewVerifier returns a verifier.
func NewVerifier(o VerifierOptions) *Verifier {
	if o.Keys == nil {
		panic("auth.NewVerifier: Keys is required")
	}
	v := &Verifier{keys: o.Keys, regions: o.Regions, now: o.Clock, large: make(chan struct{}, maxLarge)}
	if v.now == nil {
		v.now = time.Now
	}
	return v
}

// Authenticate verifies that a request was signed for a service, such as "lambda",
// with a key of the store, and returns whose it is. Errors are *Error.
//
// The body is read and verified whole: r.Body is then one that yields it from memory
// (Bytes), decoded where it was sent in signed chunks, with r.ContentLength to match.
// Only of a body that its client left unsigned (UNSIGNED-PAYLOAD) nothing was read.
// Who calls Authenticate closes r.Body when the request is done: until then a body
// above 8 MiB holds one of four places.
func (v *Verifier) Authenticate(r *http.Request, service string) (*Identity, error) {
	var c claim
	if err := readClaim(r, &c); err != nil {
		return nil, err
	}
	if err := c.checkSigned(r); err != nil {
		return nil, err
	}
	key := v.keys.Find(c.keyID)
	now := v.now()
	if err := c.checkKey(key, now); err != nil {
		return nil, err
	}
	if err := v.checkScope(&c, key, service); err != nil {
		return nil, err
	}
	if err := c.checkTime(now); err != nil {
		return nil, err
	}
	signer := key.signingKey(&c)
	switch {
	case c.payload == unsignedPayload, c.payload == "" && c.presigned && rawPath(c.service):
		if err := c.match(r, signer, unsignedPayload); err != nil {
			return nil, err
		}
	case strings.HasPrefix(c.payload, streamPrefix):
		if err := v.authenticateStream(r, &c, signer); err != nil {
			return nil, err
		}
	default:
		if err := v.authenticateBody(r, &c, signer); err != nil {
			return nil, err
		}
	}
	key.use.touch(now.Unix())
	return signer.identity, nil
}

// authenticateBody verifies a request whose signature is over its body's hash.
func (v *Verifier) authenticateBody(r *http.Request, c *claim, signer *signingKey) error {
	data, release, err := v.readAll(r, r.Body, r.ContentLength)
	if err != nil {
		return err
	}
	var sum [sha256.Size]byte
	var hash [2 * sha256.Size]byte
	payload := emptyHash
	if len(data) > 0 {
		sum = sha256.Sum256(data)
		hex.Encode(hash[:], sum[:])
		payload = string(hash[:])
	}
	if err := c.match(r, signer, payload); err != nil {
		release()
		return err
	}
	if c.payload != "" && c.payload != payload {
		release()
		return refuse(Invalid, "The value passed in x-amz-content-sha256 does not match the SHA-256 of the body.")
	}
	r.Body, r.ContentLength = newBody(data, release), int64(len(data))
	return nil
}

// checkSigned refuses a signature that leaves out what AWS has clients sign: the
// host, and every header that means something to it. A session token may be added
// after the signature, as it is compared with the key's.
func (c *claim) checkSigned(r *http.Request) error {
	for i := range len(c.signed) {
		if ch := c.signed[i]; ch <= ' ' || ch >= 0x7f || ch >= 'A' && ch <= 'Z' {
			return refuse(Incomplete, "SignedHeaders must be names in lower case, joined by semicolons. Got '%s'", clip(c.signed))
		}
	}
	if !c.signs("host") {
		return refuse(Invalid, "'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization.")
	}
	for name := range r.Header {
		if strings.HasPrefix(name, "X-Amz-") && name != "X-Amz-Security-Token" && !c.signs(name) {
			return refuse(Invalid, "'%s' must be a 'SignedHeader' in the AWS Authorization.", strings.ToLower(name))
		}
	}
	return nil
}

// signs reports whether a header, in any case, is among the signed ones.
func (c *claim) signs(name string) bool {
	for rest := c.signed; rest != ""; {
		var one string
		if one, rest, _ = strings.Cut(rest, ";"); len(one) == len(name) && strings.EqualFold(one, name) {
			return true
		}
	}
	return false
}

func (c *claim) checkKey(key *Key, now time.Time) error {
	if key == nil || key.Disabled {
		return &Error{Unrecognized, unrecognizedText}
	}
	if subtle.ConstantTimeCompare([]byte(c.token), []byte(key.material.Token)) != 1 {
		return &Error{Unrecognized, unrecognizedText}
	}
	if !key.Expires.IsZero() && !now.Before(key.Expires) {
		return &Error{Expired, expiredText}
	}
	return nil
}

func (v *Verifier) checkScope(c *claim, key *Key, service string) error {
	message := ""
	if len(v.regions) > 0 && !slices.Contains(v.regions, c.region) || len(key.Regions) > 0 && !slices.Contains(key.Regions, c.region) ||
		!plausibleRegion(c.region) {
		message = "Credential should be scoped to a valid region, not '" + clip(c.region) + "'. "
	}
	if c.service != service {
		message += "Credential should be scoped to correct service: '" + service + "'. "
	}
	if message != "" {
		return &Error{Invalid, message}
	}
	return nil
}

// plausibleRegion bounds what becomes part of keys: 1 to 32 of a-z, 0-9 and -.
func plausibleRegion(s string) bool {
	if s == "" || len(s) > 32 {
		return false
	}
	for _, c := range []byte(s) {
		if c != '-' && (c < 'a' || c > 'z') && (c < '0' || c > '9') {
			return false
		}
	}
	return true
}

func (c *claim) checkTime(now time.Time) error {
	if limit := now.Add(Skew); c.at.After(limit) {
		return refuse(Invalid, "Signature not yet current: %s is still later than %s (%s + 15 min.)", c.atText, stamp(limit), stamp(now))
	}
	if c.lifetime > 0 {
		if limit := now.Add(-c.lifetime); c.at.Before(limit) {
			return refuse(Invalid, "Signature expired: %s is now earlier than %s (%s - %d sec.)", c.atText, stamp(limit), stamp(now), int(c.lifetime.Seconds()))
		}
		return nil
	}
	if limit := now.Add(-Skew); c.at.Before(limit) {
		return refuse(Invalid, "Signature expired: %s is now earlier than %s (%s - 15 min.)", c.atText, stamp(limit), stamp(now))
	}
	return nil
}

func stamp(t time.Time) string { return t.UTC().Format(timeFormat) }

// scratch is memory for canonical requests, which are forgotten as soon as they are
// hashed.
type scratch struct {
	text []byte
	mac  [sha256.Size]byte
}

var scratches = sync.Pool{New: func() any { return &scratch{text: make([]byte, 0, 2<<10)} }}

// match compares the signature with the one of the request as it is.
func (c *claim) match(r *http.Request, signer *signingKey, payload string) error {
	path := sentPath(r)
	clean := path
	if !rawPath(c.service) {
		clean = normalized(path)
	}
	if c.matches(r, signer, clean, payload) || clean != path && c.matches(r, signer, path, payload) {
		return nil
	}
	canonical := c.appendRequest(nil, r, clean, payload)
	return refuse(Invalid, "%s\n\nThe Canonical String for this request should have been\n'%s'\n\nThe String-to-Sign should have been\n'%s'\n",
		mismatchText, canonical, c.appendStringToSign(nil, canonical))
}

func (c *claim) matches(r *http.Request, signer *signingKey, path, payload string) bool {
	mem := scratches.Get().(*scratch)
	defer scratches.Put(mem)
	mem.text = c.appendRequest(mem.text[:0], r, path, payload)
	n := len(mem.text)
	mem.text = c.appendStringToSign(mem.text, mem.text)
	mac := signer.sign(mem.mac[:0], mem.text[n:])
	mem.text = hex.AppendEncode(mem.text[:0], mac)
	return subtle.ConstantTimeCompare(mem.text, []byte(c.signature)) == 1
}

func (c *claim) appendStringToSign(dst, canonical []byte) []byte {
	sum := sha256.Sum256(canonical)
	dst = append(append(append(append(dst, algorithm...), '\n'), c.atText...), '\n')
	dst = append(append(append(dst, c.scope...), "/"+terminator...), '\n')
	return hex.AppendEncode(dst, sum[:])
}

// Password returns who a key id and its secret are of, where a client can send
// nothing better than those: over a connection that nobody reads.
func (v *Verifier) Password(id, secret string) (*Identity, error) {
	key := v.keys.Find(id)
	now := v.now()
	// A secret that is unknown is compared, too, so that the time tells nothing.
	known := &Credentials{}
	if key != nil {
		known = key.material
	}
	got, want := sha256.Sum256([]byte(secret)), sha256.Sum256([]byte(known.Secret))
	if key == nil || known.Token != "" || subtle.ConstantTimeCompare(got[:], want[:]) != 1 {
		return nil, &Error{Unrecognized, unrecognizedText}
	}
	if err := (&claim{}).checkKey(key, now); err != nil {
		return nil, err
	}
	key.use.touch(now.Unix())
	return &Identity{KeyID: key.ID, Account: key.Account, Name: key.Name, Admin: key.Admin, policy: key.Policy}, nil
}
