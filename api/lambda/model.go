package lambda

import (
	"regexp"
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
	input  *shape
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

// pattern is a regular expression of the model, which has to match the whole value.
type pattern struct {
	text    string
	compile func() (match, never *regexp.Regexp)
}

// lookArounds say in Go's syntax, which has none, what the patterns of the model
// with look-arounds say: what the value must match, and what it must not.
var lookArounds = map[string]struct{ match, never string }{
	`(?!^[0-9]+$)([a-zA-Z0-9-_]+)`:                   {match: notAllDigits},
	`((?!^\d+$)^[0-9a-zA-Z-_]+$)`:                    {match: notAllDigits},
	`[0-9A-Za-z\.\-_]*(?<!\.)`:                       {match: `([0-9A-Za-z.\-_]*[0-9A-Za-z\-_])?`},
	`(^(?!(system\x2e)))(^[_a-zA-Z0-9])([^$]*)`:      {match: `[_a-zA-Z0-9][^$]*`, never: `^system\.`},
	functionURLName + `(:((?!\d+$)[0-9a-zA-Z-_]+))?`: {match: functionURLName + `(:` + notAllDigits + `)?`},
}

const (
	notAllDigits    = `[0-9]*[a-zA-Z\-_][0-9a-zA-Z\-_]*`
	functionURLName = `(arn:(aws[a-zA-Z-]*)?:lambda:)?((eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1}:)?(\d{12}:)?(function:)?([a-zA-Z0-9-_]{1,64})`
)

func newPattern(text string) *pattern {
	return &pattern{text: text, compile: sync.OnceValues(func() (match, never *regexp.Regexp) {
		said, ok := lookArounds[text]
		if !ok {
			said.match = text
		}
		if said.never != "" {
			never = regexp.MustCompile(said.never)
		}
		return regexp.MustCompile(`\A(?:` + said.match + `)\z`), never
	})}
}

// matches reports whether the whole of s has the pattern.
func (p *pattern) matches(s string) bool {
	match, never := p.compile()
	return match.MatchString(s) && (never == nil || !never.MatchString(s))
}
