package faas

import (
	"bytes"
	"encoding/json"
)

// maxPatternDepth bounds how deep a pattern may be nested.
const maxPatternDepth = 100

// patternOperators are the tests that a pattern may hold in place of a value.
var patternOperators = map[string]bool{
	"prefix": true, "suffix": true, "anything-but": true, "numeric": true, "exists": true,
	"equals-ignore-case": true, "wildcard": true, "cidr": true,
}

// ValidEventPattern reports whether a text is an event pattern: a JSON object whose
// leaves are lists, not empty, of values and of tests with an operator.
func ValidEventPattern(text []byte) bool {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var root any
	if d.Decode(&root) != nil || d.More() {
		return false
	}
	object, ok := root.(map[string]any)
	return ok && validPattern(object, maxPatternDepth)
}

func validPattern(object map[string]any, depth int) bool {
	if depth == 0 {
		return false
	}
	for name, value := range object {
		switch value := value.(type) {
		case map[string]any:
			if len(value) == 0 || !validPattern(value, depth-1) {
				return false
			}
		case []any:
			if len(value) == 0 || !validAlternatives(name, value, depth-1) {
				return false
			}
		default:
			return false
		}
	}
	return true
}

// validAlternatives checks a leaf; those of $or are patterns themselves.
func validAlternatives(name string, all []any, depth int) bool {
	for _, one := range all {
		switch one := one.(type) {
		case map[string]any:
			if name == "$or" {
				if !validPattern(one, depth) {
					return false
				}
				continue
			}
			if len(one) != 1 {
				return false
			}
			for operator := range one {
				if !patternOperators[operator] {
					return false
				}
			}
		case []any:
			return false
		}
	}
	return true
}
