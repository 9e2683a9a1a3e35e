package cwlogs

import (
	"strings"
	"testing"
)

// TestPatterns has the examples of "Filter pattern syntax" in the CloudWatch Logs User
// Guide, and what follows of its words. That a term may be a part of a word is
// unverified.
func TestPatterns(t *testing.T) {
	const (
		error400 = "[ERROR 400] BAD REQUEST"
		error401 = "[ERROR 401] UNAUTHORIZED REQUEST"
		info     = "[INFO 200] REQUEST FULFILLED"
		object   = `{"eventType":"UpdateTrail","sourceIPAddress":"111.111.111.111","n":5,"f":1.5,"arrayKey":["value","another value"],` +
			`"objectList":[{"id":1,"name":"a"},{"id":2}],"on":true,"off":false,"nothing":null,"a.b":{"c d":"x"}}`
	)
	for _, c := range []struct {
		pattern, line string
		want          bool
	}{
		{"", info, true},
		{" ", info, true},
		{"ERROR", error400, true},
		{"error", error400, false},
		{"ERROR UNAUTHORIZED", error401, true},
		{"ERROR UNAUTHORIZED", error400, false},
		{"?ERROR ?FULFILLED", info, true},
		{"?ERROR ?WARN", info, false},
		{"?WARN REQUEST", info, true},
		{`"BAD REQUEST"`, error400, true},
		{`"REQUEST BAD"`, error400, false},
		{"-ERROR", info, true},
		{"-ERROR", error400, false},
		{`REQUEST -"ERROR 401"`, error401, false},
		{`REQUEST -"ERROR 401"`, error400, true},
		{`"say \"hi\" \\ "`, `say "hi" \ there`, true},
		{`%ERROR 4\d+%`, error400, true},
		{`%^ERROR%`, error400, false},
		{`{ $.eventType = "UpdateTrail" }`, object, true},
		{`{$.eventType="Update*"}`, object, true},
		{`{ $.eventType != "Update*" }`, object, false},
		{`{ $.eventType = UpdateTrail }`, object, true},
		{`{ $.sourceIPAddress != 123.123.* }`, object, true},
		{`{ $.arrayKey[0] = "value" }`, object, true},
		{`{ $.arrayKey[2] = "value" }`, object, false},
		{`{ $.objectList[1].id = 2 }`, object, true},
		{`{ $.n > 4 && $.n <= 5 }`, object, true},
		{`{ $.n > 5 || $.f = 1.5 }`, object, true},
		{`{ ($.n > 5 || $.f >= 2) && $.on IS TRUE }`, object, false},
		{`{ $.on IS TRUE && $.off is false && $.nothing IS NULL && $.absent NOT EXISTS }`, object, true},
		{`{ $.nothing NOT EXISTS }`, object, false},
		{`{ $.absent IS NULL }`, object, false},
		{`{ $.absent != "x" }`, object, false},
		{`{ $.["a.b"]["c d"] = "x" }`, object, true},
		{`{ $.eventType = %^Update% }`, object, true},
		{`{ $.n = "5" }`, object, true},
		{`{ $.n = 5 }`, "text with n = 5", false},
		{`{ $.n = 5 }`, `[{"n":5}]`, false},
		{`{ $.n.m.o = 5 }`, object, false},
	} {
		p, err := parsePattern(c.pattern)
		if err != nil {
			t.Errorf("%s: %v", c.pattern, err)
			continue
		}
		if got := p.matches(c.line); got != c.want {
			t.Errorf("%s on %s: %v", c.pattern, c.line, got)
		}
	}
	for _, text := range []string{"a:b", "-", "?", `"open`, "%open", "%[%", "{", "{}", "{ $ }", "{ $.a }", "{ $.a = }", "{ $.a > x }", "{ a = 1 }",
		"{ $.a = 1 && }", "{ ($.a = 1 }", "{ $.a = 1 ) }", "{ $.a[x] = 1 }", `{ $.["a" = 1 }`, "{ $.a = 1 $.b = 2 }", "[a, b]",
		"{" + strings.Repeat("(", 100) + "$.a = 1" + strings.Repeat(")", 100) + "}"} {
		if p, err := parsePattern(text); err == nil {
			t.Errorf("%s was taken as %+v", text, p)
		}
	}
}

func FuzzPattern(f *testing.F) {
	f.Add(`ERROR -"a b" ?c %d+%`, "line")
	f.Add(`{ ($.a["b"][0] = "x*" || $.c > 5) && $.d IS TRUE }`, `{"a":{"b":["xy"]},"c":6,"d":true}`)
	f.Fuzz(func(t *testing.T, text, line string) {
		p, err := parsePattern(text)
		if err != nil {
			return
		}
		if p.matches(line) && strings.TrimSpace(text) == "-"+line && line != "" && plainTerm(line) {
			t.Errorf("%q matches %q", text, line)
		}
	})
}
