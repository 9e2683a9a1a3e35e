package engine

import (
	"strings"

	"hearth/faas"
)

// Bounds that every implementation keeps.
const (
	MaxTokens   = 16        // tokens of a key
	MaxToken    = 255       // bytes of a token
	MaxValue    = 512 << 10 // bytes of a value
	DigestChars = 64        // characters of a blob's name
)

// CheckKey returns nil where key can name an entry, else an error with
// faas.CodeInvalid that says why not.
func CheckKey(key string) error {
	if key == "" {
		return faas.Errorf(faas.CodeInvalid, "key", "a key needs at least one token")
	}
	tokens := 0
	for token := range strings.SplitSeq(key, "/") {
		tokens++
		if token == "" || len(token) > MaxToken {
			return faas.Errorf(faas.CodeInvalid, "key", "token %d of a key has %d bytes; use 1 to %d", tokens, len(token), MaxToken)
		}
	}
	if tokens > MaxTokens {
		return faas.Errorf(faas.CodeInvalid, "key", "a key has %d tokens; use at most %d", tokens, MaxTokens)
	}
	return nil
}

// CheckPrefix is CheckKey for a prefix, which may also be empty.
func CheckPrefix(prefix string) error {
	if prefix == "" {
		return nil
	}
	return CheckKey(prefix)
}

// CheckValue returns nil where value is small enough to be stored.
func CheckValue(key string, value []byte) error {
	if len(value) > MaxValue {
		return faas.Errorf(faas.CodeTooLarge, key, "a value of %d bytes is over the bound of %d", len(value), MaxValue)
	}
	return nil
}

// CheckDigest returns nil where digest is a sha256 in lower-case hex.
func CheckDigest(digest string) error {
	ok := len(digest) == DigestChars
	for i := 0; ok && i < len(digest); i++ {
		c := digest[i]
		ok = '0' <= c && c <= '9' || 'a' <= c && c <= 'f'
	}
	if !ok {
		return faas.Errorf(faas.CodeInvalid, "digest", "%.80q is not a sha256 in lower-case hex", digest)
	}
	return nil
}

// Below reports whether key is below prefix, counted in whole tokens: "a/b" is
// below "a" and below "", which is everything, but not below "a/b" itself.
func Below(key, prefix string) bool {
	if prefix == "" {
		return true
	}
	return len(key) > len(prefix) && key[len(prefix)] == '/' && key[:len(prefix)] == prefix
}
