package cwlogs

import (
	"regexp"
	"strings"
)

// pattern is a filter pattern. The empty one matches every line.
//
// Terms stand beside one another: each has to be in the line, as it is written. A
// term in double quotes may hold anything, -term must not be in the line, and of
// those that are ?term one has to be. A term between percent signs is a regular
// expression. What begins with a brace looks into lines that are JSON objects.
type pattern struct {
	with, without, any []term
	object             condition // of a JSON pattern; nil for the others
}

// term is a text, or a regular expression.
type term struct {
	text string
	expr *regexp.Regexp
}

func (t term) in(line string) bool {
	if t.expr != nil {
		return t.expr.MatchString(line)
	}
	return strings.Contains(line, t.text)
}

// maxPattern is the API's bound, in characters.
const maxPattern = 1024

func invalidPattern(format string, args ...any) error {
	return invalid("Invalid filter pattern: "+format, args...)
}

func parsePattern(text string) (pattern, error) {
	var p pattern
	if len(text) > maxPattern {
		return p, invalid("1 validation error detected: Value at 'filterPattern' failed to satisfy constraint: Member must have length less than or equal to %d", maxPattern)
	}
	text = strings.TrimSpace(text)
	switch {
	case strings.HasPrefix(text, "{"):
		if !strings.HasSuffix(text, "}") {
			return p, invalid("If a filter pattern starts with '{' it must end with '}'")
		}
		var err error
		p.object, err = parseObject(text[1 : len(text)-1])
		return p, err
	case strings.HasPrefix(text, "["):
		return p, invalidPattern("patterns of columns ([a, b, …]) are not served by this version of Hearth; use terms, or a JSON pattern")
	}
	for text != "" {
		var err error
		if text, err = p.parseTerm(text); err != nil {
			return p, err
		}
		text = strings.TrimSpace(text)
	}
	return p, nil
}

// parseTerm takes the first term off a text that begins with one.
func (p *pattern) parseTerm(text string) (rest string, err error) {
	list := &p.with
	switch text[0] {
	case '-':
		list, text = &p.without, text[1:]
	case '?':
		list, text = &p.any, text[1:]
	}
	var t term
	switch {
	case strings.HasPrefix(text, `"`):
		if t.text, rest, err = quoted(text); err != nil {
			return "", err
		}
	case strings.HasPrefix(text, "%"):
		expr, after, closed := strings.Cut(text[1:], "%")
		if !closed {
			return "", invalidPattern("a regular expression ends with %%: '%s'", clip(text))
		}
		if t.expr, err = regexp.Compile(expr); err != nil {
			return "", invalidPattern("%s", clip(err.Error()))
		}
		rest = after
	default:
		end := strings.IndexAny(text, " \t\r\n")
		if end < 0 {
			end = len(text)
		}
		t.text, rest = text[:end], text[end:]
		if !plainTerm(t.text) {
			return "", invalidPattern("Invalid character(s) in term '%s'", clip(t.text))
		}
	}
	*list = append(*list, t)
	return rest, nil
}

// plainTerm reports whether a term needs no quotes.
func plainTerm(s string) bool {
	for _, c := range s {
		if !(c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c >= 0x80) {
			return false
		}
	}
	return s != ""
}

// quoted reads a text in double quotes, in which \" is one.
func quoted(s string) (text, rest string, err error) {
	var out strings.Builder
	for i := 1; i < len(s); i++ {
		switch {
		case s[i] == '\\' && i+1 < len(s) && (s[i+1] == '"' || s[i+1] == '\\'):
			i++
			out.WriteByte(s[i])
		case s[i] == '"':
			return out.String(), s[i+1:], nil
		default:
			out.WriteByte(s[i])
		}
	}
	return "", "", invalidPattern("a quote has no end: '%s'", clip(s))
}

func (p *pattern) matches(line string) bool {
	if p.object != nil {
		return matchesObject(p.object, line)
	}
	for _, t := range p.with {
		if !t.in(line) {
			return false
		}
	}
	for _, t := range p.without {
		if t.in(line) {
			return false
		}
	}
	// Beside terms of the other kinds, optional ones mean nothing, as on AWS.
	if len(p.any) == 0 || len(p.with) > 0 || len(p.without) > 0 {
		return true
	}
	for _, t := range p.any {
		if t.in(line) {
			return true
		}
	}
	return false
}
