package faas

import (
	"strings"
	"testing"
)

func TestStatementAllows(t *testing.T) {
	yes := true
	invoke := Access{Action: ActionInvoke, Account: "111122223333", Caller: "arn:aws:iam::111122223333:user/ada"}
	s3 := Access{Action: ActionInvoke, Service: "s3.amazonaws.com", SourceARN: "arn:aws:s3:::photos", SourceAccount: "111122223333"}
	url := Access{Action: ActionInvokeURL, URLAuth: URLAuthNone}
	for _, c := range []struct {
		name string
		s    Statement
		a    Access
		want bool
	}{
		{"everybody", Statement{Action: ActionInvoke, Principal: "*"}, invoke, true},
		{"another action", Statement{Action: "lambda:GetFunction", Principal: "*"}, invoke, false},
		{"all actions of Lambda", Statement{Action: "lambda:*", Principal: "*"}, invoke, true},
		{"all actions", Statement{Action: "*", Principal: "*"}, invoke, true},
		{"an account", Statement{Action: ActionInvoke, Principal: "111122223333"}, invoke, true},
		{"another account", Statement{Action: ActionInvoke, Principal: "444455556666"}, invoke, false},
		{"an account by ARN", Statement{Action: ActionInvoke, Principal: "arn:aws:iam::111122223333:root"}, invoke, true},
		{"a user", Statement{Action: ActionInvoke, Principal: "arn:aws:iam::111122223333:user/ada"}, invoke, true},
		{"another user", Statement{Action: ActionInvoke, Principal: "arn:aws:iam::111122223333:user/bob"}, invoke, false},
		{"an account and nobody", Statement{Action: ActionInvoke, Principal: "111122223333"}, Access{Action: ActionInvoke}, false},
		{"a service", Statement{Action: ActionInvoke, Principal: "s3.amazonaws.com"}, s3, true},
		{"a service and a user", Statement{Action: ActionInvoke, Principal: "s3.amazonaws.com"}, invoke, false},
		{"its source", Statement{Action: ActionInvoke, Principal: "s3.amazonaws.com", SourceARN: "arn:aws:s3:::pho*"}, s3, true},
		{"a source that spans parts", Statement{Action: ActionInvoke, Principal: "s3.amazonaws.com", SourceARN: "arn:*photos"}, s3, false},
		{"another source", Statement{Action: ActionInvoke, Principal: "s3.amazonaws.com", SourceARN: "arn:aws:s3:::videos"}, s3, false},
		{"another source account", Statement{Action: ActionInvoke, Principal: "s3.amazonaws.com", SourceAccount: "444455556666"}, s3, false},
		{"an organization unknown", Statement{Action: ActionInvoke, Principal: "*", Organization: "o-1234567890"}, invoke, false},
		{"a public URL", Statement{Action: ActionInvokeURL, Principal: "*", URLAuth: URLAuthNone}, url, true},
		{"a URL of another kind", Statement{Action: ActionInvokeURL, Principal: "*", URLAuth: URLAuthIAM}, url, false},
		{"by URL only", Statement{Action: ActionInvoke, Principal: "*", ViaURL: &yes}, invoke, false},
	} {
		if got := c.s.Allows(c.a); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}

// FuzzWildcard holds Wildcard against the plain recursive definition.
func FuzzWildcard(f *testing.F) {
	for _, s := range [][2]string{{"", ""}, {"*", "abc"}, {"a?c", "abc"}, {"a*b*c", "axxbyyc"}, {"*a", "aaab"}, {"?", ""}, {"**", "x"}} {
		f.Add(s[0], s[1])
	}
	f.Fuzz(func(t *testing.T, pattern, s string) {
		pattern, s = pattern[:min(8, len(pattern))], s[:min(8, len(s))] // the plain one takes long
		if got, want := Wildcard(pattern, s, false), plainWildcard(pattern, s); got != want {
			t.Errorf("%q on %q: %v", pattern, s, got)
		}
	})
}

func plainWildcard(pattern, s string) bool {
	switch {
	case pattern == "":
		return s == ""
	case pattern[0] == '*':
		return plainWildcard(strings.TrimLeft(pattern, "*"), s) || s != "" && plainWildcard(pattern, s[1:])
	default:
		return s != "" && (pattern[0] == '?' || pattern[0] == s[0]) && plainWildcard(pattern[1:], s[1:])
	}
}
