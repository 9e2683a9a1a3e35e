package faas

import (
	"errors"
	"strings"
	"testing"
)

var testScope = Scope{Account: "111122223333", Region: "eu-central-1", Namespace: DefaultNamespace}

func TestParseFunctionRef(t *testing.T) {
	in := func(account, region, namespace, name, qualifier string) FunctionRef {
		return FunctionRef{FunctionID{Scope{account, region, namespace}, name}, qualifier}
	}
	for _, c := range []struct {
		text string
		want FunctionRef
	}{
		{"f", in("111122223333", "eu-central-1", "default", "f", "")},
		{"f:7", in("111122223333", "eu-central-1", "default", "f", "7")},
		{"f:$LATEST", in("111122223333", "eu-central-1", "default", "f", "$LATEST")},
		{"F_-9:live", in("111122223333", "eu-central-1", "default", "F_-9", "live")},
		{"function:f", in("111122223333", "eu-central-1", "default", "f", "")},
		{"function:function:1", in("111122223333", "eu-central-1", "default", "function", "1")},
		{"function", in("111122223333", "eu-central-1", "default", "function", "")},
		{"123456789012:function:f", in("123456789012", "eu-central-1", "default", "f", "")},
		{"123456789012:function:f:live", in("123456789012", "eu-central-1", "default", "f", "live")},
		{"123456789012:f", in("123456789012", "eu-central-1", "default", "f", "")},
		{"123456789012", in("111122223333", "eu-central-1", "default", "123456789012", "")},
		{"us-east-1:123456789012:function:f:1", in("123456789012", "us-east-1", "default", "f", "1")},
		{"us-gov-west-1:f", in("111122223333", "us-gov-west-1", "default", "f", "")},
		{"us-east-1", in("111122223333", "eu-central-1", "default", "us-east-1", "")},
		{"arn:aws:lambda:us-east-1:123456789012:function:f", in("123456789012", "us-east-1", "default", "f", "")},
		{"arn:aws-cn:lambda:cn-north-1:123456789012:function:f:$LATEST", in("123456789012", "cn-north-1", "default", "f", "$LATEST")},
		{"arn:aws:lambda:ap-guangzhou:123456789012:function:team/f:2", in("123456789012", "ap-guangzhou", "team", "f", "2")},
		{"team/f:2", in("111122223333", "eu-central-1", "team", "f", "2")},
		{strings.Repeat("n", 64), in("111122223333", "eu-central-1", "default", strings.Repeat("n", 64), "")},
	} {
		got, err := ParseFunctionRef(c.text, testScope)
		if err != nil || got != c.want {
			t.Errorf("%s: %+v, %v", c.text, got, err)
		}
	}
}

func TestParseFunctionRefRefuses(t *testing.T) {
	for _, c := range []struct{ text, field string }{
		{"", "functionName"},
		{":", "functionName"},
		{"f:", "functionName"},
		{":1", "functionName"},
		{"f:1:2", "functionName"},
		{"a b", "functionName"},
		{"../etc", "namespace"},
		{"a/b/c", "functionName"},
		{"f\x00", "functionName"},
		{"fü", "functionName"},
		{strings.Repeat("n", 65), "functionName"},
		{strings.Repeat("n", 100000), "functionName"},
		{"f:a b", "qualifier"},
		{"f:$PREVIOUS", "qualifier"},
		{"f:" + strings.Repeat("q", 129), "qualifier"},
		{"arn:aws:s3:us-east-1:123456789012:function:f", "functionName"},
		{"arn:aws:lambda:us-east-1:123456789012:layer:f", "functionName"},
		{"arn:aws:lambda:us-east-1:123456789012:function", "functionName"},
		{"arn:aws:lambda:us-east-1:123456789012:function:f:1:2", "functionName"},
		{"arn:aws:lambda:us-east-1:12345678901:function:f", "account"},
		{"arn:aws:lambda::123456789012:function:f", "region"},
		{"arn:aws:lambda:US-EAST-1:123456789012:function:f", "region"},
		{"arn:azure:lambda:us-east-1:123456789012:function:f", "functionName"},
	} {
		_, err := ParseFunctionRef(c.text, testScope)
		var e *Error
		if !errors.As(err, &e) || e.Code != CodeInvalid || e.Subject != c.field {
			t.Errorf("%.80s: %v, want invalid %s", c.text, err, c.field)
		}
		if err != nil && len(err.Error()) > 800 {
			t.Errorf("%.80s: the error has %d bytes", c.text, len(err.Error()))
		}
	}
}

func TestWithQualifier(t *testing.T) {
	for _, c := range []struct{ in, with, want string }{
		{"f", "", ""}, {"f", "1", "1"}, {"f:1", "", "1"}, {"f:1", "1", "1"}, {"f:1", "2", "error"}, {"f", "a b", "error"},
	} {
		ref, err := ParseFunctionRef(c.in, testScope)
		if err != nil {
			t.Fatal(err)
		}
		got, err := ref.WithQualifier(c.with)
		if (err != nil) != (c.want == "error") || err == nil && got.Qualifier != c.want {
			t.Errorf("%s with %q: %q, %v", c.in, c.with, got.Qualifier, err)
		}
	}
}

func TestFunctionARN(t *testing.T) {
	id := FunctionID{testScope, "f"}
	if got := FunctionARN(id, ""); got != "arn:aws:lambda:eu-central-1:111122223333:function:f" {
		t.Error(got)
	}
	id.Region = "cn-north-1"
	if got := FunctionARN(id, "live"); got != "arn:aws-cn:lambda:cn-north-1:111122223333:function:f:live" {
		t.Error(got)
	}
}

// FuzzParseFunctionRef: no input panics, what is accepted is valid, and its ARN
// is read as the same, whatever the defaults.
func FuzzParseFunctionRef(f *testing.F) {
	for _, s := range []string{
		"", "f", "f:1", "f:$LATEST", "team/f:live", "function:f", "123456789012:function:f:1", "us-east-1:f",
		"arn:aws:lambda:us-east-1:123456789012:function:f:1", "arn:aws-us-gov:lambda:us-gov-west-1:123456789012:function:n/f",
		"arn:::::::", ":::::", "/:/", "arn:aws:lambda:eusc-de-east-1:123456789012:function:f", "f:\xff",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		ref, err := ParseFunctionRef(s, testScope)
		if err != nil {
			if !IsCode(err, CodeInvalid) {
				t.Fatalf("%q: %v", s, err)
			}
			return
		}
		if errs := ref.ID.Validate(); len(errs) > 0 {
			t.Fatalf("%q was accepted: %v", s, errs)
		}
		other := Scope{"999999999999", "zz-other-9", DefaultNamespace}
		again, err := ParseFunctionRef(ref.ARN(), other)
		if err != nil || again != ref {
			t.Fatalf("%q became %+v, its ARN %s became %+v, %v", s, ref, ref.ARN(), again, err)
		}
	})
}
