package code

import (
	"path"
	"strings"
)

// ignoreName is the file, at the top of a function's directory, that says what
// is no part of the package.
const ignoreName = ".hearthignore"

// ignoreRules are the patterns of a .hearthignore: a line per pattern, later
// ones override earlier ones. As in .gitignore, '#' begins a comment, '!' takes
// back, a trailing '/' means directories only, a pattern with another '/' is
// relative to the top while one without matches at any depth, and '**' stands
// for any number of folders.
type ignoreRules []ignoreRule

type ignoreRule struct {
	parts   []string
	keep    bool
	dirOnly bool
	line    int
}

// maxIgnoreParts bounds the folders of one pattern.
const maxIgnoreParts = 64

// parseIgnore refuses a line that cannot match anything, naming it.
func parseIgnore(text string) (ignoreRules, error) {
	var rules ignoreRules
	for i, line := range strings.Split(text, "\n") {
		line = strings.TrimRight(line, " \t\r")
		if line == "" || line[0] == '#' {
			continue
		}
		r := ignoreRule{line: i + 1}
		line, r.keep = strings.CutPrefix(line, "!")
		line, r.dirOnly = strings.CutSuffix(line, "/")
		anchored := strings.Contains(line, "/")
		r.parts = strings.Split(strings.TrimPrefix(line, "/"), "/")
		if !anchored {
			r.parts = append([]string{"**"}, r.parts...)
		}
		if len(r.parts) > maxIgnoreParts {
			return nil, invalid("%s line %d: a pattern has at most %d folders", ignoreName, r.line, maxIgnoreParts)
		}
		for _, part := range r.parts {
			if _, err := path.Match(part, ""); err != nil || part == "" {
				return nil, invalid("%s line %d: %q is not a pattern", ignoreName, r.line, line)
			}
		}
		rules = append(rules, r)
	}
	return rules, nil
}

// ignores reports whether the path (relative, /-separated) is left out. What is
// below an ignored directory is never asked for.
func (rules ignoreRules) ignores(name string, dir bool) bool {
	parts := strings.Split(name, "/")
	ignored := false
	for _, r := range rules {
		if r.keep != ignored || r.dirOnly && !dir {
			continue
		}
		if matchParts(r.parts, parts) {
			ignored = !r.keep
		}
	}
	return ignored
}

// matchParts matches folder by folder; only the last '**' is ever tried again,
// so its time is the product of the lengths at worst.
func matchParts(pattern, parts []string) bool {
	star, from := -1, 0
	p, n := 0, 0
	for n < len(parts) {
		if p < len(pattern) && pattern[p] == "**" {
			star, from = p, n
			p++
			continue
		}
		if p < len(pattern) {
			if ok, _ := path.Match(pattern[p], parts[n]); ok {
				p, n = p+1, n+1
				continue
			}
		}
		if star < 0 {
			return false
		}
		from++
		p, n = star+1, from
	}
	return p == len(pattern) // a trailing ** wants something to stand for
}
