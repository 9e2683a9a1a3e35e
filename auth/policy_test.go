package auth

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

const helloARN = "arn:aws:lambda:eu-central-1:123456789012:function:hello"

func policy(t *testing.T, text string) *Policy {
	t.Helper()
	p, err := ParsePolicy([]byte(text))
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return p
}

func TestDecide(t *testing.T) {
	const allowInvoke = `{"Effect":"Allow","Action":"lambda:InvokeFunction","Resource":"arn:aws:lambda:*:*:function:hello*"}`
	for _, c := range []struct {
		statements, action, resource string
		want                         Decision
	}{
		{allowInvoke, "lambda:InvokeFunction", helloARN, Allowed},
		{allowInvoke, "lambda:invokefunction", helloARN + ":2", Allowed}, // actions have no case
		{allowInvoke, "lambda:InvokeFunction", strings.ToUpper(helloARN), NotAllowed},
		{allowInvoke, "lambda:InvokeFunction", strings.Replace(helloARN, "hello", "other", 1), NotAllowed},
		{allowInvoke, "lambda:InvokeFunctionUrl", helloARN, NotAllowed},
		{allowInvoke, "lambda:GetFunction", helloARN, NotAllowed},
		{`{"Effect":"Allow","Action":["logs:*","lambda:Get*"],"Resource":"*"}`, "lambda:GetFunction", helloARN, Allowed},
		{`{"Effect":"Allow","Action":["logs:*","lambda:Get*"],"Resource":"*"}`, "lambda:UpdateFunctionCode", helloARN, NotAllowed},
		{`{"Effect":"Allow","Action":"*","Resource":"*"},{"Effect":"Deny","Action":"lambda:Delete*","Resource":"*"}`, "lambda:DeleteFunction", helloARN, Forbidden},
		{`{"Effect":"Deny","Action":"lambda:Delete*","Resource":"*"},{"Effect":"Allow","Action":"*","Resource":"*"}`, "lambda:DeleteAlias", helloARN, Forbidden},
		{`{"Effect":"Allow","NotAction":"lambda:Delete*","Resource":"*"}`, "lambda:DeleteFunction", helloARN, NotAllowed},
		{`{"Effect":"Allow","NotAction":"lambda:Delete*","Resource":"*"}`, "lambda:GetFunction", helloARN, Allowed},
		{`{"Effect":"Allow","Action":"*","NotResource":"arn:aws:lambda:*:function:hello"}`, "lambda:GetFunction", helloARN, NotAllowed},
		{`{"Effect":"Allow","Action":"lambda:ListFunctions","Resource":"*"}`, "lambda:ListFunctions", "*", Allowed},
	} {
		p := policy(t, `{"Version":"2012-10-17","Statement":[`+c.statements+`]}`)
		if got := p.Decide(Query{Action: c.action, Resource: c.resource}); got != c.want {
			t.Errorf("%s\n%s on %s: %d, want %d", c.statements, c.action, c.resource, got, c.want)
		}
	}
}

// TestResourcePolicy has the statements that AddPermission makes.
func TestResourcePolicy(t *testing.T) {
	const service = `{"Sid":"s3","Effect":"Allow","Principal":{"Service":"s3.amazonaws.com"},"Action":"lambda:InvokeFunction","Resource":"` + helloARN + `",
		"Condition":{"StringEquals":{"AWS:SourceAccount":"123456789012"},"ArnLike":{"AWS:SourceArn":"arn:aws:s3:::my-*"}}}`
	const account = `{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::210987654321:root"},"Action":"lambda:InvokeFunction","Resource":"*"}`
	const public = `{"Effect":"Allow","Principal":"*","Action":"lambda:InvokeFunctionUrl","Resource":"*","Condition":{"StringEquals":{"lambda:FunctionUrlAuthType":"NONE"}}}`
	p := policy(t, `{"Version":"2012-10-17","Id":"default","Statement":[`+service+","+account+","+public+`]}`)
	source := map[string]string{"aws:SourceAccount": "123456789012", "aws:SourceArn": "arn:aws:s3:::my-bucket"}
	for name, c := range map[string]struct {
		q    Query
		want Decision
	}{
		"service":           {Query{Action: "lambda:InvokeFunction", Resource: helloARN, Service: "s3.amazonaws.com", Context: source}, Allowed},
		"another source":    {Query{Action: "lambda:InvokeFunction", Resource: helloARN, Service: "s3.amazonaws.com", Context: map[string]string{"AWS:SourceAccount": "123456789012", "AWS:SourceArn": "arn:aws:s3:::your"}}, NotAllowed},
		"no source":         {Query{Action: "lambda:InvokeFunction", Resource: helloARN, Service: "s3.amazonaws.com"}, NotAllowed},
		"another service":   {Query{Action: "lambda:InvokeFunction", Resource: helloARN, Service: "sns.amazonaws.com", Context: source}, NotAllowed},
		"user of account":   {Query{Action: "lambda:InvokeFunction", Resource: helloARN, Principal: "arn:aws:iam::210987654321:user/a", Account: "210987654321"}, Allowed},
		"user of another":   {Query{Action: "lambda:InvokeFunction", Resource: helloARN, Principal: "arn:aws:iam::111111111111:user/a", Account: "111111111111"}, NotAllowed},
		"nobody":            {Query{Action: "lambda:InvokeFunction", Resource: helloARN}, NotAllowed},
		"everybody's URL":   {Query{Action: "lambda:InvokeFunctionUrl", Resource: helloARN, Context: map[string]string{"lambda:FunctionUrlAuthType": "NONE"}}, Allowed},
		"URL with AWS_IAM":  {Query{Action: "lambda:InvokeFunctionUrl", Resource: helloARN, Context: map[string]string{"lambda:FunctionUrlAuthType": "AWS_IAM"}}, NotAllowed},
		"account, by arrow": {Query{Action: "lambda:InvokeFunction", Resource: helloARN, Principal: "arn:aws:iam::210987654321:root"}, Allowed},
	} {
		if got := p.Decide(c.q); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
	again, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	if same := policy(t, string(again)); fmt.Sprint(same.Statement) != fmt.Sprint(p.Statement) && !strings.Contains(string(again), `"Principal":"*"`) {
		t.Errorf("it reads differently once it was written: %s", again)
	}
}

func TestConditions(t *testing.T) {
	context := map[string]string{"k": "a-b", "secure": "true"}
	for condition, want := range map[string]bool{
		`{"StringEquals":{"k":"a-b"}}`:                             true,
		`{"StringEquals":{"k":["x","a-b"]}}`:                       true,
		`{"StringEquals":{"k":"A-B"}}`:                             false,
		`{"StringEqualsIgnoreCase":{"K":"A-B"}}`:                   true,
		`{"StringLike":{"k":"a-*"}}`:                               true,
		`{"StringNotEquals":{"k":"a-b"}}`:                          false,
		`{"StringNotLike":{"k":["x*","y*"]}}`:                      true,
		`{"StringNotEquals":{"absent":"x"}}`:                       true,
		`{"StringEquals":{"absent":"x"}}`:                          false,
		`{"StringEqualsIfExists":{"absent":"x"}}`:                  true,
		`{"StringEqualsIfExists":{"k":"x"}}`:                       false,
		`{"Bool":{"secure":"True"}}`:                               true,
		`{"Null":{"absent":"true","k":"false"}}`:                   true,
		`{"Null":{"k":"true"}}`:                                    false,
		`{"StringEquals":{"k":"a-b"},"StringLike":{"secure":"f"}}`: false,
		`{"ArnLike":{"k":"arn:*"}}`:                                false,
	} {
		p := policy(t, `{"Statement":[{"Effect":"Allow","Action":"*","Resource":"*","Condition":`+condition+`}]}`)
		if got := p.Decide(Query{Action: "lambda:X", Resource: "*", Context: context}) == Allowed; got != want {
			t.Errorf("%s: %v", condition, got)
		}
	}
}

func TestPoliciesThatAreRefused(t *testing.T) {
	for text, says := range map[string]string{
		`{`:                 "no JSON",
		`{"Statement":[]}`:  "no Statement",
		`{"Statements":[]}`: "unknown field",
		`{"Version":"2020-01-01","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}`:                                  "Version must be 2012-10-17",
		`{"Statement":[{"Effect":"allow","Action":"*","Resource":"*"}]}`:                                                         "Effect must be Allow or Deny",
		`{"Statement":[{"Effect":"Allow","Resource":"*"}]}`:                                                                      "one of Action and NotAction",
		`{"Statement":[{"Effect":"Allow","Action":"*"}]}`:                                                                        "one of Resource and NotResource",
		`{"Statement":[{"Effect":"Allow","Action":"invoke","Resource":"*"}]}`:                                                    "no action",
		`{"Statement":[{"Effect":"Allow","Action":"*","Resource":"hello"}]}`:                                                     "no resource",
		`{"Statement":[{"Effect":"Allow","Action":"*","Resource":"*","Principal":"me"}]}`:                                        `Principal is "*"`,
		`{"Statement":[{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"IpAddress":{"aws:SourceIp":"10.0.0.0/8"}}}]}`: "IpAddress",
	} {
		if _, err := ParsePolicy([]byte(text)); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestAllow(t *testing.T) {
	restricted := policy(t, `{"Statement":[{"Effect":"Allow","Action":"lambda:InvokeFunction","Resource":"`+helloARN+`"},
		{"Effect":"Deny","Action":"lambda:DeleteFunction","Resource":"*"}]}`)
	who := &Identity{KeyID: "HEARTHX", Name: "ci", Account: "123456789012", policy: restricted}
	if err := who.Allow("lambda:InvokeFunction", helloARN); err != nil {
		t.Error(err)
	}
	for action, says := range map[string]string{
		"lambda:GetFunction":    "because no identity-based policy allows the lambda:GetFunction action",
		"lambda:DeleteFunction": "with an explicit deny in an identity-based policy",
		"hearth:CreateKey":      "because no identity-based policy allows the hearth:CreateKey action",
	} {
		want := "User: arn:aws:iam::123456789012:user/ci is not authorized to perform: " + action + " on resource: " + helloARN + " " + says
		if err := who.Allow(action, helloARN); kindOf(err) != Denied || err.Error() != want {
			t.Errorf("%v\nwant %s", err, want)
		}
	}
	unrestricted := &Identity{Account: "123456789012"}
	if unrestricted.Allow("lambda:DeleteFunction", helloARN) != nil || unrestricted.Allow("hearth:CreateKey", "*") == nil {
		t.Error("without a policy a key may do everything in its account, and nothing of the server's")
	}
	if (&Identity{Admin: true}).Allow("hearth:CreateKey", "*") != nil || (&Identity{Admin: true, policy: restricted}).Allow("hearth:CreateKey", "*") == nil {
		t.Error("an administrator makes keys, unless a policy does not say so")
	}
}

func FuzzMatch(f *testing.F) {
	f.Add("a*b?c", "axxbyc")
	f.Add("***", "")
	f.Fuzz(func(t *testing.T, pattern, value string) {
		if len(pattern) > 40 || len(value) > 40 {
			return
		}
		if got, want := Match(pattern, value), slowMatch(pattern, value); got != want {
			t.Errorf("Match(%q, %q) = %v", pattern, value, got)
		}
	})
}

// slowMatch is what Match means.
func slowMatch(p, v string) bool {
	memo := map[[2]int]bool{}
	var match func(i, j int) bool
	match = func(i, j int) bool {
		if i == len(p) {
			return j == len(v)
		}
		if known, ok := memo[[2]int{i, j}]; ok {
			return known
		}
		got := false
		switch {
		case p[i] == '*':
			got = match(i+1, j) || j < len(v) && match(i, j+1)
		case j < len(v):
			got = (p[i] == '?' || p[i] == v[j]) && match(i+1, j+1)
		}
		memo[[2]int{i, j}] = got
		return got
	}
	return match(0, 0)
}
