package lambda

import (
	"regexp"
	"strings"
	"sync"
)

// operation is one row of the service model: every operation that a client can
// know, served here or not.
type operation struct {
	name   string
	method string
	path   string // segments, {Name} is a variable
	query  string // what the query must contain: "find=LayerVersion", or ""
	status int    // of a success
	input  *shape // nil for the operations that are not served
}

// kind is the type of a shape.
type kind uint8

const (
	kindStructure kind = iota
	kindList
	kindMap
	kindString
	kindInteger
	kindLong
	kindDouble
	kindBoolean
	kindBlob
	kindTimestamp
)

// place is where a member of an input travels.
type place uint8

const (
	inBody place = iota
	inPath
	inQuery
	inHeader
)

// shape is a type of the model with its constraints. Bounds are of the value for
// numbers, of the number of characters for strings, of elements for lists.
type shape struct {
	name      string
	kind      kind
	min, max  *float64
	pattern   *pattern
	enum      []string
	sensitive bool // its values never appear in an error
	members   []member
	member    *shape // of a list
	key       *shape // of a map
	value     *shape
}

// member is a field of a structure.
type member struct {
	name     string
	path     string // its name in an error's path
	shape    *shape
	in       place
	wire     string // its name in a path, query or header
	required bool
}

func bound(v float64) *float64 { return &v }

// pattern is a regular expression of the model, which has to match the whole
// value. The model's are Java's: the three look-arounds that it uses, which Go's
// do not have, are split off and matched apart.
type pattern struct {
	text    string
	compile func() (match, never *regexp.Regexp)
}

// look-arounds at the border of a pattern, and what the value must then not match.
var lookarounds = []struct{ prefix, suffix, never string }{
	{prefix: `(?!^[0-9]+$)`, never: `^[0-9]+$`},
	{suffix: `(?<!\.)`, never: `\.$`},
}

func newPattern(text string) *pattern {
	return &pattern{text: text, compile: sync.OnceValues(func() (match, never *regexp.Regexp) {
		body := text
		for _, l := range lookarounds {
			if strings.HasPrefix(body, l.prefix) && strings.HasSuffix(body, l.suffix) {
				body = body[len(l.prefix) : len(body)-len(l.suffix)]
				never = regexp.MustCompile(l.never)
			}
		}
		return regexp.MustCompile(`\A(?:` + body + `)\z`), never
	})}
}

// matches reports whether the whole of s has the pattern.
func (p *pattern) matches(s string) bool {
	match, never := p.compile()
	return match.MatchString(s) && (never == nil || !never.MatchString(s))
}
