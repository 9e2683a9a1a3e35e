package nats

import (
	"fmt"
	"strings"
)

// A key's tokens become the tokens of a NATS subject: letters, digits, '-' and
// '_' stand for themselves, every other byte is written =XX in upper-case hex. So
// what people see most, names, stays readable in NATS tools, and each key has
// exactly one subject.

const hexDigits = "0123456789ABCDEF"

// encodeKey turns a valid key or prefix into the part of a subject that follows
// the bucket's own.
func encodeKey(key string) string {
	var b strings.Builder
	b.Grow(len(key) + 16)
	for i := range len(key) {
		switch c := key[i]; {
		case plain(c):
			b.WriteByte(c)
		case c == '/':
			b.WriteByte('.')
		default:
			b.WriteByte('=')
			b.WriteByte(hexDigits[c>>4])
			b.WriteByte(hexDigits[c&15])
		}
	}
	return b.String()
}

// decodeKey is the inverse of encodeKey. It refuses what encodeKey does not
// write, so two subjects never mean one key.
func decodeKey(subject string) (string, error) {
	var b strings.Builder
	b.Grow(len(subject))
	for i := 0; i < len(subject); i++ {
		switch c := subject[i]; {
		case plain(c):
			b.WriteByte(c)
		case c == '.':
			b.WriteByte('/')
		case c == '=' && i+2 < len(subject):
			high, low := strings.IndexByte(hexDigits, subject[i+1]), strings.IndexByte(hexDigits, subject[i+2])
			d := byte(high<<4 | low)
			if high < 0 || low < 0 || plain(d) || d == '/' {
				return "", fmt.Errorf("the subject %q does not encode a key", subject)
			}
			b.WriteByte(d)
			i += 2
		default:
			return "", fmt.Errorf("the subject %q does not encode a key", subject)
		}
	}
	return b.String(), nil
}

func plain(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '_'
}
