package cwlogs

import (
	"encoding/json"
	"regexp"
	"strconv"
	"strings"

	"hearth/auth"
)

// condition is an expression of a JSON pattern: { $.a.b[0] = "x*" && ($.n > 5 || $.c IS TRUE) }.
type condition interface{ holds(object any) bool }

type (
	both   struct{ a, b condition }
	either struct{ a, b condition }
	// comparison is a selector with an operator: = != < > <= >=, or one of the words.
	comparison struct {
		path     []string // names, and indices in decimal
		operator string
		text     string  // of = and !=
		number   float64 // of operators on numbers
		numeric  bool
		expr     *regexp.Regexp
	}
)

func (c both) holds(object any) bool   { return c.a.holds(object) && c.b.holds(object) }
func (c either) holds(object any) bool { return c.a.holds(object) || c.b.holds(object) }

func matchesObject(c condition, line string) bool {
	start := strings.IndexByte(line, '{')
	if start < 0 || strings.TrimSpace(line[:start]) != "" {
		return false
	}
	var object map[string]any
	in := json.NewDecoder(strings.NewReader(line))
	in.UseNumber()
	return in.Decode(&object) == nil && c.holds(object)
}

func (c *comparison) holds(object any) bool {
	found, exists := selected(object, c.path)
	switch c.operator {
	case "NOT EXISTS":
		return !exists
	case "IS NULL":
		return exists && found == nil
	case "IS TRUE":
		return found == true
	case "IS FALSE":
		return found == false
	}
	if !exists || found == nil {
		return false
	}
	if c.numeric {
		n, ok := number(found)
		return ok && compare(n, c.operator, c.number)
	}
	text, ok := plainText(found)
	return ok && c.matches(text) == (c.operator == "=")
}

func (c *comparison) matches(text string) bool {
	if c.expr != nil {
		return c.expr.MatchString(text)
	}
	return auth.Match(strings.ReplaceAll(c.text, "?", "\x00"), strings.ReplaceAll(text, "?", "\x00"))
}

func compare(a float64, operator string, b float64) bool {
	switch operator {
	case "=":
		return a == b
	case "!=":
		return a != b
	case "<":
		return a < b
	case "<=":
		return a <= b
	case ">":
		return a > b
	}
	return a >= b
}

func number(v any) (float64, bool) {
	n, ok := v.(json.Number)
	if !ok {
		return 0, false
	}
	f, err := n.Float64()
	return f, err == nil
}

func plainText(v any) (string, bool) {
	switch v := v.(type) {
	case string:
		return v, true
	case json.Number:
		return v.String(), true
	case bool:
		return strconv.FormatBool(v), true
	}
	return "", false
}

// selected is what a selector leads to.
func selected(v any, path []string) (any, bool) {
	for _, step := range path {
		switch in := v.(type) {
		case map[string]any:
			next, ok := in[step]
			if !ok {
				return nil, false
			}
			v = next
		case []any:
			i, err := strconv.Atoi(step)
			if err != nil || i < 0 || i >= len(in) {
				return nil, false
			}
			v = in[i]
		default:
			return nil, false
		}
	}
	return v, true
}

// objectParser reads a JSON pattern from the front.
type objectParser struct {
	rest  string
	depth int
}

// maxNested bounds parentheses in parentheses.
const maxNested = 50

func parseObject(text string) (condition, error) {
	p := &objectParser{rest: text}
	c, err := p.either()
	if err == nil && p.peek() != "" {
		err = invalidPattern("what follows is not understood: '%s'", clip(p.rest))
	}
	return c, err
}

func (p *objectParser) peek() string {
	p.rest = strings.TrimSpace(p.rest)
	return p.rest
}

// take takes a token, if it comes next.
func (p *objectParser) take(token string) bool {
	rest, ok := strings.CutPrefix(p.peek(), token)
	if ok {
		p.rest = rest
	}
	return ok
}

func (p *objectParser) either() (condition, error) {
	a, err := p.both()
	for err == nil && p.take("||") {
		var b condition
		b, err = p.both()
		a = either{a, b}
	}
	return a, err
}

func (p *objectParser) both() (condition, error) {
	a, err := p.one()
	for err == nil && p.take("&&") {
		var b condition
		b, err = p.one()
		a = both{a, b}
	}
	return a, err
}

func (p *objectParser) one() (condition, error) {
	if !p.take("(") {
		return p.comparison()
	}
	if p.depth++; p.depth > maxNested {
		return nil, invalidPattern("there are more than %d parentheses in one another", maxNested)
	}
	c, err := p.either()
	if err == nil && !p.take(")") {
		err = invalidPattern("a parenthesis has no end")
	}
	p.depth--
	return c, err
}

func (p *objectParser) comparison() (condition, error) {
	c := new(comparison)
	var err error
	if c.path, err = p.selector(); err != nil {
		return nil, err
	}
	for _, words := range []string{"NOT EXISTS", "IS NULL", "IS TRUE", "IS FALSE"} {
		first, second, _ := strings.Cut(words, " ")
		if text := p.peek(); len(text) > len(first) && strings.EqualFold(text[:len(first)], first) {
			after := strings.TrimLeft(text[len(first):], " \t")
			if len(after) >= len(second) && strings.EqualFold(after[:len(second)], second) {
				c.operator, p.rest = words, after[len(second):]
				return c, nil
			}
		}
	}
	for _, operator := range []string{"!=", "<=", ">=", "=", "<", ">"} {
		if p.take(operator) {
			c.operator = operator
			return c, p.operand(c)
		}
	}
	return nil, invalidPattern("an operator is missing before '%s'", clip(p.rest))
}

// selector reads $.name, $.name[0].name or $.["any name"].
func (p *objectParser) selector() ([]string, error) {
	if !p.take("$") {
		return nil, invalidPattern("a selector begins with $: '%s'", clip(p.rest))
	}
	var path []string
	for {
		switch {
		case strings.HasPrefix(p.rest, `.["`), strings.HasPrefix(p.rest, `["`):
			p.rest = strings.TrimPrefix(p.rest, ".")
			name, rest, err := quoted(p.rest[1:])
			if err != nil {
				return nil, err
			}
			rest, closed := strings.CutPrefix(rest, "]")
			if !closed {
				return nil, invalidPattern("a bracket has no end: '%s'", clip(p.rest))
			}
			path, p.rest = append(path, name), rest
		case strings.HasPrefix(p.rest, "["):
			index, rest, closed := strings.Cut(p.rest[1:], "]")
			if _, err := strconv.Atoi(index); err != nil || !closed {
				return nil, invalidPattern("an index is a number in brackets: '%s'", clip(p.rest))
			}
			path, p.rest = append(path, index), rest
		case strings.HasPrefix(p.rest, "."):
			end := 1 + strings.IndexAny(p.rest[1:]+" ", " \t.[]=!<>&|()")
			if end == 1 {
				return nil, invalidPattern("a name is missing in a selector: '%s'", clip(p.rest))
			}
			path, p.rest = append(path, p.rest[1:end]), p.rest[end:]
		case len(path) == 0:
			return nil, invalidPattern("a selector is written such as $.level: '%s'", clip(p.rest))
		default:
			return path, nil
		}
	}
}

// operand reads a number, or a text: in quotes, or up to what ends it.
func (p *objectParser) operand(c *comparison) error {
	text := p.peek()
	ordered := c.operator != "=" && c.operator != "!="
	if strings.HasPrefix(text, `"`) && !ordered {
		var err error
		c.text, p.rest, err = quoted(text)
		return err
	}
	if strings.HasPrefix(text, "%") && !ordered {
		expr, rest, closed := strings.Cut(text[1:], "%")
		var err error
		if c.expr, err = regexp.Compile(expr); err != nil || !closed {
			return invalidPattern("this is no regular expression between %%: '%s'", clip(text))
		}
		p.rest = rest
		return nil
	}
	end := strings.IndexAny(text+" ", " \t&|()")
	c.text, p.rest = text[:end], text[end:]
	if n, err := strconv.ParseFloat(c.text, 64); err == nil {
		c.number, c.numeric = n, true
	}
	if c.text == "" || ordered && !c.numeric {
		return invalidPattern("after %s comes a number, or behind = and != a text: '%s'", c.operator, clip(text))
	}
	return nil
}
