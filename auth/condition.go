package auth

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Condition is what has to hold beside action and resource: operator to key to
// values. Everything in it has to hold; of the values of one key, one.
type Condition map[string]map[string]OneOrMore

// operators compare a value of the request with one of the policy's. Their negations
// hold where no value of the policy matches, and where the request has none.
var operators = map[string]struct {
	match   func(pattern, value string) bool
	negated bool
}{
	"StringEquals":              {match: exactly},
	"StringNotEquals":           {match: exactly, negated: true},
	"StringEqualsIgnoreCase":    {match: strings.EqualFold},
	"StringNotEqualsIgnoreCase": {match: strings.EqualFold, negated: true},
	"StringLike":                {match: Match},
	"StringNotLike":             {match: Match, negated: true},
	"ArnEquals":                 {match: matchARN},
	"ArnLike":                   {match: matchARN},
	"ArnNotEquals":              {match: matchARN, negated: true},
	"ArnNotLike":                {match: matchARN, negated: true},
	"Bool":                      {match: strings.EqualFold},
}

const (
	ifExists     = "IfExists"
	nullOperator = "Null"
)

func exactly(pattern, value string) bool { return pattern == value }

// matchARN is Match for each of an ARN's six parts by itself.
func matchARN(pattern, value string) bool {
	patterns, values := strings.SplitN(pattern, ":", 6), strings.SplitN(value, ":", 6)
	if len(patterns) != 6 || len(values) != 6 {
		return pattern == "*"
	}
	for i := range patterns {
		if !Match(patterns[i], values[i]) {
			return false
		}
	}
	return true
}

func (c Condition) check() error {
	for name := range c {
		if _, known := operators[strings.TrimSuffix(name, ifExists)]; !known && name != nullOperator {
			return fmt.Errorf("the condition operator %q is none of %s, %s, nor one of them with %s", name,
				strings.Join(slices.Sorted(maps.Keys(operators)), ", "), nullOperator, ifExists)
		}
	}
	return nil
}

func (c Condition) holds(q *Query) bool {
	for name, keys := range c {
		operator := operators[strings.TrimSuffix(name, ifExists)]
		for key, wanted := range keys {
			value, present := q.value(key)
			switch {
			case name == nullOperator:
				if slices.Contains(wanted, "true") == present {
					return false
				}
			case !present:
				if !operator.negated && !strings.HasSuffix(name, ifExists) {
					return false
				}
			case slices.ContainsFunc(wanted, func(p string) bool { return operator.match(p, value) }) == operator.negated:
				return false
			}
		}
	}
	return true
}

func (q *Query) value(key string) (string, bool) {
	if value, ok := q.Context[key]; ok {
		return value, true
	}
	for name, value := range q.Context {
		if strings.EqualFold(name, key) {
			return value, true
		}
	}
	return "", false
}
