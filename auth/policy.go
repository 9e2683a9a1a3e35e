package auth

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"hearth/faas"
)

// Policy is a document of the IAM policy language, identity-based (of a key) or
// resource-based (of a function: its statements have a Principal). It is not changed
// once it is in use.
type Policy struct {
	Version   string      `json:"Version,omitempty"`
	ID        string      `json:"Id,omitempty"`
	Statement []Statement `json:"Statement"`
}

// Statement allows or denies. Action, Resource, Principal and Condition have to hold
// together; of each list one entry is enough.
type Statement struct {
	Sid       string     `json:"Sid,omitempty"`
	Effect    string     `json:"Effect"` // Allow or Deny
	Principal *Principal `json:"Principal,omitempty"`
	Action    OneOrMore  `json:"Action,omitempty"`
	NotAction OneOrMore  `json:"NotAction,omitempty"`
	Resource  OneOrMore  `json:"Resource,omitempty"`
	// NotResource applies to all but these.
	NotResource OneOrMore `json:"NotResource,omitempty"`
	Condition   Condition `json:"Condition,omitempty"`
}

// OneOrMore is a list that is written as a plain string where it has one entry.
type OneOrMore []string

func (l OneOrMore) MarshalJSON() ([]byte, error) {
	if len(l) == 1 {
		return json.Marshal(l[0])
	}
	return json.Marshal([]string(l))
}

func (l *OneOrMore) UnmarshalJSON(text []byte) error {
	var one string
	if json.Unmarshal(text, &one) == nil {
		*l = OneOrMore{one}
		return nil
	}
	return json.Unmarshal(text, (*[]string)(l))
}

// Principal is who a statement of a resource-based policy is about: everybody ("*"),
// or kinds with their names, such as AWS and Service.
type Principal struct {
	Everybody bool
	Kinds     map[string]OneOrMore
}

func (p Principal) MarshalJSON() ([]byte, error) {
	if p.Everybody {
		return []byte(`"*"`), nil
	}
	return json.Marshal(p.Kinds)
}

func (p *Principal) UnmarshalJSON(text []byte) error {
	var one string
	if json.Unmarshal(text, &one) == nil {
		if one != "*" {
			return fmt.Errorf("a Principal is \"*\" or an object, not %q", one)
		}
		*p = Principal{Everybody: true}
		return nil
	}
	return json.Unmarshal(text, &p.Kinds)
}

// covers reports whether the principal of a query is meant.
func (p *Principal) covers(q *Query) bool {
	if p.Everybody {
		return true
	}
	if q.Service != "" {
		return slices.Contains(p.Kinds["Service"], q.Service)
	}
	return slices.ContainsFunc(p.Kinds["AWS"], func(name string) bool {
		return name == "*" || name == q.Principal || q.Account != "" && (name == q.Account || name == "arn:aws:iam::"+q.Account+":root")
	})
}

// Query is one question to a policy.
type Query struct {
	Action    string // such as lambda:InvokeFunction
	Resource  string // an ARN, or "*" where the action has none
	Principal string // the caller's ARN; "" where nobody was verified
	Account   string // the caller's; "" where nobody was verified
	Service   string // where a service calls for somebody, such as events.amazonaws.com
	// Context are the values of condition keys; names in any case.
	Context map[string]string
}

// Decision is what a policy says to a query.
type Decision uint8

const (
	// NotAllowed: no statement applies.
	NotAllowed Decision = iota
	// Allowed: a statement allows it, none denies it.
	Allowed
	// Forbidden: a statement denies it, whatever others say.
	Forbidden
)

// ParsePolicy reads a policy and checks it.
func ParsePolicy(text []byte) (*Policy, error) {
	in := json.NewDecoder(bytes.NewReader(text))
	in.DisallowUnknownFields()
	p := new(Policy)
	if err := in.Decode(p); err != nil {
		return nil, faas.Errorf(faas.CodeInvalid, "policy", "the policy is no JSON that can be understood: %w", err)
	}
	return p, p.Check()
}

// Check refuses what Decide would not understand.
func (p *Policy) Check() error {
	if p.Version != "" && p.Version != "2012-10-17" && p.Version != "2008-10-17" {
		return faas.Errorf(faas.CodeInvalid, "policy", "the policy's Version must be 2012-10-17, not %q", p.Version)
	}
	if len(p.Statement) == 0 {
		return faas.Errorf(faas.CodeInvalid, "policy", "the policy has no Statement")
	}
	for i := range p.Statement {
		if err := p.Statement[i].check(); err != nil {
			return faas.Errorf(faas.CodeInvalid, "policy", "statement %d of the policy: %w", i+1, err)
		}
	}
	return nil
}

func (s *Statement) check() error {
	if s.Effect != "Allow" && s.Effect != "Deny" {
		return fmt.Errorf("Effect must be Allow or Deny, not %q", s.Effect)
	}
	if (len(s.Action) > 0) == (len(s.NotAction) > 0) {
		return fmt.Errorf("it needs one of Action and NotAction")
	}
	if (len(s.Resource) > 0) == (len(s.NotResource) > 0) {
		return fmt.Errorf("it needs one of Resource and NotResource")
	}
	for _, action := range slices.Concat(s.Action, s.NotAction) {
		if service, name, found := strings.Cut(action, ":"); action != "*" && (!found || service == "" || name == "") {
			return fmt.Errorf("%q is no action: one is written such as lambda:InvokeFunction", action)
		}
	}
	for _, resource := range slices.Concat(s.Resource, s.NotResource) {
		if resource != "*" && !strings.HasPrefix(resource, "arn:") {
			return fmt.Errorf("%q is no resource: one is an ARN, with wildcards, or *", resource)
		}
	}
	return s.Condition.check()
}

// Decide answers a query.
func (p *Policy) Decide(q Query) Decision {
	decision := NotAllowed
	for i := range p.Statement {
		s := &p.Statement[i]
		if !s.applies(&q) {
			continue
		}
		if s.Effect == "Deny" {
			return Forbidden
		}
		decision = Allowed
	}
	return decision
}

func (s *Statement) applies(q *Query) bool {
	return (s.Principal == nil || s.Principal.covers(q)) &&
		listed(s.Action, s.NotAction, q.Action, matchFold) && listed(s.Resource, s.NotResource, q.Resource, Match) &&
		s.Condition.holds(q)
}

// listed reports whether a value matches one of the patterns, or none of those that
// are excluded.
func listed(patterns, excluded []string, value string, match func(pattern, value string) bool) bool {
	if len(excluded) > 0 {
		return !slices.ContainsFunc(excluded, func(p string) bool { return match(p, value) })
	}
	return slices.ContainsFunc(patterns, func(p string) bool { return match(p, value) })
}

// Match reports whether a value matches a pattern; see faas.Wildcard.
func Match(pattern, value string) bool { return faas.Wildcard(pattern, value, false) }

// matchFold is Match without regard to case.
func matchFold(pattern, value string) bool { return faas.Wildcard(pattern, value, true) }
