package faas

import (
	"encoding/json"
	"regexp"
	"strings"
)

// MaxPolicy bounds the resource policy of one qualifier as PolicyDocument writes
// it, in bytes (Lambda quotas, "Resource-based policy").
const MaxPolicy = 20480

// The actions that statements of resource policies are about.
const (
	ActionInvoke    = "lambda:InvokeFunction"
	ActionInvokeURL = "lambda:InvokeFunctionUrl"
)

// Statement is one permission of a function's resource policy: it lets somebody
// who is not of the account, or who has no right of his own, take an action. A
// condition that is "" or nil holds for everybody.
type Statement struct {
	ID        string `json:"id"` // the "Sid", unique within a policy
	Action    string `json:"action"`
	Principal string `json:"principal"` // "*", an account, an ARN of IAM or a service's name

	SourceARN     string  `json:"sourceArn,omitempty"` // with * and ? in its parts
	SourceAccount string  `json:"sourceAccount,omitempty"`
	Organization  string  `json:"organization,omitempty"`
	EventToken    string  `json:"eventToken,omitempty"`
	URLAuth       URLAuth `json:"urlAuth,omitempty"`
	ViaURL        *bool   `json:"viaUrl,omitempty"`
}

// Access is a request to take an action on a function, as policies see it. What is
// not known of it is "".
type Access struct {
	Action        string
	Account       string // the caller's; "" is anonymous
	Caller        string // the caller's ARN
	Service       string // where a service calls, such as s3.amazonaws.com
	SourceARN     string // on whose behalf a service calls
	SourceAccount string
	Organization  string
	EventToken    string
	URLAuth       URLAuth // of the function URL that was called
	ViaURL        bool
}

var (
	accountPrincipal = regexp.MustCompile(`^\d{12}$`)
	iamPrincipal     = regexp.MustCompile(`^arn:aws[a-z-]*:(?:iam|sts)::\d{12}:\S+$`)
	servicePrincipal = regexp.MustCompile(`^(?:[a-z0-9-]+\.)+(?:amazonaws\.com(?:\.cn)?|amazon\.com)$`)
)

// principal returns the Principal element of the statement, nil where there can be
// none like it.
func (s Statement) principal() any {
	switch p := s.Principal; {
	case p == "*":
		return p
	case accountPrincipal.MatchString(p):
		return map[string]string{"AWS": "arn:aws:iam::" + p + ":root"}
	case iamPrincipal.MatchString(p):
		return map[string]string{"AWS": p}
	case servicePrincipal.MatchString(p):
		return map[string]string{"Service": p}
	}
	return nil
}

// Validate returns why the statement cannot be part of a policy, or nil; the words
// are Lambda's. Bounds and patterns of single fields are the dialect's.
func (s Statement) Validate() error {
	if s.principal() == nil {
		return Errorf(CodeInvalid, "principal", "The provided principal was invalid. Please check the principal and try again.")
	}
	if s.URLAuth != "" && s.Action != ActionInvokeURL {
		return Errorf(CodeInvalid, "functionUrlAuthType", "FunctionUrlAuthType is only supported for %s action", ActionInvokeURL)
	}
	if s.ViaURL != nil && s.Action != ActionInvoke {
		return Errorf(CodeInvalid, "invokedViaFunctionUrl", "InvokedViaFunctionUrl is only supported for %s action", ActionInvoke)
	}
	return nil
}

// Allows reports whether the statement permits a.
func (s Statement) Allows(a Access) bool {
	if s.Action != "*" && s.Action != "lambda:*" && !strings.EqualFold(s.Action, a.Action) {
		return false
	}
	return s.isFor(a) && s.conditionsHold(a)
}

func (s Statement) isFor(a Access) bool {
	switch p := s.Principal; {
	case p == "*":
		return true
	case accountPrincipal.MatchString(p):
		return p == a.Account
	case iamPrincipal.MatchString(p):
		account := strings.Split(p, ":")[4]
		return p == a.Caller || account == a.Account && strings.HasSuffix(p, ":root")
	default:
		return p == a.Service && p != ""
	}
}

func (s Statement) conditionsHold(a Access) bool {
	if s.SourceARN != "" && !likeARN(s.SourceARN, a.SourceARN) {
		return false
	}
	if s.ViaURL != nil && *s.ViaURL != a.ViaURL {
		return false
	}
	for _, c := range [][2]string{
		{s.SourceAccount, a.SourceAccount}, {s.Organization, a.Organization},
		{s.EventToken, a.EventToken}, {string(s.URLAuth), string(a.URLAuth)},
	} {
		if c[0] != "" && c[0] != c[1] {
			return false
		}
	}
	return true
}

// likeARN is IAM's ArnLike: each of the six parts between colons is compared for
// itself, with * for any text and ? for one character.
func likeARN(pattern, arn string) bool {
	want, is := strings.SplitN(pattern, ":", 6), strings.SplitN(arn, ":", 6)
	if len(want) != 6 || len(is) != 6 {
		return false
	}
	for i := range want {
		if !Wildcard(want[i], is[i], false) {
			return false
		}
	}
	return true
}

// Wildcard reports whether a value matches a pattern of IAM, in which * is any text
// and ? any one byte; with fold, without regard to the case of letters a to z. It takes
// no longer than the product of their lengths.
func Wildcard(pattern, value string, fold bool) bool {
	p, v := 0, 0
	star, from := -1, 0 // the last star, and what it has taken up to
	for v < len(value) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, from = p, v
			p++
		case p < len(pattern) && (pattern[p] == '?' || sameByte(pattern[p], value[v], fold)):
			p++
			v++
		case star >= 0:
			from++
			p, v = star+1, from
		default:
			return false
		}
	}
	return strings.Trim(pattern[p:], "*") == ""
}

func sameByte(a, b byte, fold bool) bool {
	lower := func(c byte) byte {
		if c >= 'A' && c <= 'Z' {
			c += 'a' - 'A'
		}
		return c
	}
	return a == b || fold && lower(a) == lower(b)
}

type statementDocument struct {
	Sid       string
	Effect    string
	Principal any
	Action    string
	Resource  string
	Condition map[string]map[string]string `json:",omitempty"`
}

func (s Statement) document(resource string) statementDocument {
	d := statementDocument{Sid: s.ID, Effect: "Allow", Principal: s.principal(), Action: s.Action, Resource: resource}
	add := func(operator, key, value string) {
		if value == "" {
			return
		}
		if d.Condition == nil {
			d.Condition = make(map[string]map[string]string)
		}
		if d.Condition[operator] == nil {
			d.Condition[operator] = make(map[string]string)
		}
		d.Condition[operator][key] = value
	}
	add("StringEquals", "AWS:SourceAccount", s.SourceAccount)
	add("StringEquals", "aws:PrincipalOrgID", s.Organization)
	add("StringEquals", "lambda:EventSourceToken", s.EventToken)
	add("StringEquals", "lambda:FunctionUrlAuthType", string(s.URLAuth))
	add("ArnLike", "AWS:SourceArn", s.SourceARN)
	if s.ViaURL != nil {
		add("Bool", "lambda:InvokedViaFunctionUrl", map[bool]string{true: "true", false: "false"}[*s.ViaURL])
	}
	return d
}

// Document returns the statement in IAM's JSON, about the resource with that ARN.
func (s Statement) Document(resource string) string { return mustJSON(s.document(resource)) }

// PolicyDocument returns statements as a policy in IAM's JSON.
func PolicyDocument(resource string, statements []Statement) string {
	all := make([]statementDocument, len(statements))
	for i, s := range statements {
		all[i] = s.document(resource)
	}
	return mustJSON(struct {
		Version   string
		Id        string
		Statement []statementDocument
	}{"2012-10-17", "default", all})
}

// mustJSON writes strings, which cannot fail.
func mustJSON(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(b)
}
