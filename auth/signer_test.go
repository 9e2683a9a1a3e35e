package auth

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

var sdkCredentials = aws.Credentials{AccessKeyID: example.KeyID, SecretAccessKey: example.Secret}

func payloadHash(body string) string {
	sum := sha256.Sum256([]byte(body))
	return hex.EncodeToString(sum[:])
}

// signed is a request that the SDK's own signer signed, as a server gets it.
func signed(t testing.TB, method, target, body, service string, at time.Time, change func(*http.Request)) *http.Request {
	t.Helper()
	r, err := http.NewRequest(method, "http://hearth.test:9000"+target, bytes.NewReader([]byte(body)))
	if err != nil {
		t.Fatal(err)
	}
	if change != nil {
		change(r)
	}
	hash := payloadHash(body)
	if claimed := r.Header.Get("X-Amz-Content-Sha256"); claimed != "" {
		hash = claimed
	}
	if err := v4.NewSigner().SignHTTP(context.Background(), sdkCredentials, r, hash, service, "eu-central-1", at); err != nil {
		t.Fatal(err)
	}
	return received(t, r)
}

const arnPath = "/2015-03-31/functions/arn%3Aaws%3Alambda%3Aeu-central-1%3A123456789012%3Afunction%3Ahello/invocations"

// TestSDKSigner verifies what aws-sdk-go-v2 signs.
func TestSDKSigner(t *testing.T) {
	for name, c := range map[string]struct {
		method, target, body string
		change               func(*http.Request)
	}{
		"plain":            {"POST", "/2015-03-31/functions/hello/invocations", `{"a":1}`, nil},
		"no body":          {"GET", "/2015-03-31/functions/", "", nil},
		"encoded ARN":      {"POST", arnPath, `{}`, nil},
		"encoded slash":    {"GET", "/2017-03-31/tags/arn%3Aaws%3Alambda%3Aeu-central-1%3A1%3Afunction%3Ax%2Fy%20z", "", nil},
		"query":            {"GET", "/2015-03-31/functions?Marker=a%2Fb%3D%3D&MaxItems=5&FunctionVersion=ALL&empty=", "", nil},
		"repeated query":   {"DELETE", "/2017-03-31/tags/x?tagKeys=b&tagKeys=a&tagKeys=%C3%A4+%26", "", nil},
		"padded header":    {"POST", "/2015-03-31/functions/hello/invocations", "x", setHeader("X-Amz-Client-Context", "  a   b  ")},
		"repeated header":  {"POST", "/2015-03-31/functions/hello/invocations", "x", func(r *http.Request) { r.Header["X-Amz-Meta"] = []string{"b", " a "} }},
		"claimed hash":     {"POST", "/2015-03-31/functions/hello/invocations", "x", setHeader("X-Amz-Content-Sha256", payloadHash("x"))},
		"unsigned payload": {"POST", "/2015-03-31/functions/hello/invocations", "x", setHeader("X-Amz-Content-Sha256", "UNSIGNED-PAYLOAD")},
		"dots and slashes": {"GET", "/a//b/./c", "", nil},
	} {
		t.Run(name, func(t *testing.T) {
			v := verifierAt(noon, nil)
			r := signed(t, c.method, c.target, c.body, "lambda", noon, c.change)
			who, err := v.Authenticate(r, "lambda")
			if err != nil {
				t.Fatal(err)
			}
			if who.Region != "eu-central-1" || who.KeyID != example.KeyID || who.ARN() != "arn:aws:iam::123456789012:user/AKIDEXAMPLE" {
				t.Errorf("it is of %+v", who)
			}
			if got := body(t, r); got != c.body {
				t.Errorf("the body is %q, was %q", got, c.body)
			}
		})
	}
}

func setHeader(name, value string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set(name, value) }
}

// TestTampering changes what was signed: all of it has to be refused.
func TestTampering(t *testing.T) {
	for name, change := range map[string]func(*http.Request){
		"method":            func(r *http.Request) { r.Method = "PUT" },
		"path":              func(r *http.Request) { r.RequestURI = strings.Replace(r.RequestURI, "hello", "other", 1) },
		"path, decoded":     func(r *http.Request) { r.RequestURI = strings.Replace(r.RequestURI, "%3A", ":", 1) },
		"query":             func(r *http.Request) { r.URL.RawQuery = "Qualifier=2" },
		"query added":       func(r *http.Request) { r.URL.RawQuery += "&a=b" },
		"query, plus":       func(r *http.Request) { r.URL.RawQuery = strings.Replace(r.URL.RawQuery, "%2B", "+", 1) },
		"body":              func(r *http.Request) { r.Body = newBody([]byte(`{"a":2}`), nil) },
		"body, longer":      func(r *http.Request) { r.Body, r.ContentLength = newBody([]byte(`{"a":1} `), nil), 8 },
		"host":              func(r *http.Request) { r.Host = "other.test" },
		"date":              setHeader("X-Amz-Date", "20261128T120001Z"),
		"header":            setHeader("X-Amz-Log-Type", "None"),
		"header added":      setHeader("X-Amz-Invocation-Type", "Event"),
		"header repeated":   func(r *http.Request) { r.Header.Add("X-Amz-Log-Type", "None") },
		"header removed":    func(r *http.Request) { r.Header.Del("X-Amz-Log-Type") },
		"signature":         replaceIn("Signature=", func(s string) string { return strings.Repeat("0", len(s)) }),
		"signature, case":   replaceIn("Signature=", strings.ToUpper),
		"signature, short":  replaceIn("Signature=", func(s string) string { return s[:60] }),
		"region":            replaceText("eu-central-1", "us-east-1"),
		"service":           replaceText("/lambda/", "/logs/"),
		"signed headers":    replaceText("host;", "host;host;"),
		"no host":           replaceText("host;", ""),
		"header not signed": replaceText(";x-amz-log-type", ""),
		"security token":    setHeader("X-Amz-Security-Token", "token"),
	} {
		t.Run(name, func(t *testing.T) {
			r := signed(t, "POST", arnPath+"?Qualifier=a%2Bb", `{"a":1}`, "lambda", noon, setHeader("X-Amz-Log-Type", "Tail"))
			change(r)
			who, err := verifierAt(noon, nil).Authenticate(r, "lambda")
			if kind := kindOf(err); kind != Invalid && kind != Unrecognized || who != nil {
				t.Errorf("accepted as %+v, or refused with %v", who, err)
			}
		})
	}
}

func replaceText(old, new string) func(*http.Request) {
	return func(r *http.Request) {
		r.Header.Set("Authorization", strings.Replace(r.Header.Get("Authorization"), old, new, 1))
	}
}

func replaceIn(after string, change func(string) string) func(*http.Request) {
	return func(r *http.Request) {
		head, tail, _ := strings.Cut(r.Header.Get("Authorization"), after)
		r.Header.Set("Authorization", head+after+change(tail))
	}
}

// TestPresigned verifies what the SDK presigned, for as long as it is meant to hold.
func TestPresigned(t *testing.T) {
	presign := func(t *testing.T, expires, body string) *http.Request {
		r, err := http.NewRequest("POST", "http://hearth.test"+arnPath+"?Qualifier=1&X-Amz-Expires="+expires, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		target, header, err := v4.NewSigner().PresignHTTP(context.Background(), sdkCredentials, r, payloadHash(body), "lambda", "eu-central-1", noon)
		if err != nil {
			t.Fatal(err)
		}
		parsed, err := url.Parse(target)
		if err != nil {
			t.Fatal(err)
		}
		r.URL = parsed
		for name := range header {
			if name != "Host" {
				r.Header[name] = header[name]
			}
		}
		return received(t, r)
	}
	for _, c := range []struct {
		name, expires string
		after         time.Duration
		kind          Kind
		says          string
	}{
		{"at once", "60", 0, 0, ""},
		{"at its end", "60", time.Minute, 0, ""},
		{"later", "60", time.Minute + time.Second, Invalid, "Signature expired: 20261128T120000Z is now earlier than 20261128T120001Z (20261128T120101Z - 60 sec.)"},
		{"a week", "604800", 7 * 24 * time.Hour, 0, ""},
		{"more than a week", "604801", 0, Incomplete, "X-Amz-Expires"},
		{"nothing", "0", 0, Incomplete, "X-Amz-Expires"},
		{"negative", "-1", 0, Incomplete, "X-Amz-Expires"},
		{"no number", "soon", 0, Incomplete, "X-Amz-Expires"},
		{"from the future", "60", -16 * time.Minute, Invalid, "Signature not yet current"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := presign(t, c.expires, "{}")
			_, err := verifierAt(noon.Add(c.after), nil).Authenticate(r, "lambda")
			if kindOf(err) != c.kind || c.says != "" && !strings.Contains(fmt.Sprint(err), c.says) {
				t.Errorf("%v", err)
			}
		})
	}
	r := presign(t, "60", "{}")
	r.URL.RawQuery = strings.Replace(r.URL.RawQuery, "Qualifier=1", "Qualifier=2", 1)
	if _, err := verifierAt(noon, nil).Authenticate(r, "lambda"); kindOf(err) != Invalid {
		t.Errorf("another qualifier: %v", err)
	}
}

// TestSign has the verifier accept what Sign signs, and the SDK's signer agree.
func TestSign(t *testing.T) {
	for _, target := range []string{"/hearth/v1/functions?region=eu-central-1", arnPath + "?a=b%20c", "/hearth/v1/functions/x%2Fy", ""} {
		r, err := http.NewRequest("PUT", "http://hearth.test"+target, strings.NewReader("text"))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("X-Hearth-Idempotency-Key", "k")
		Sign(r, []byte("text"), example, "eu-central-1", "hearth", noon)
		if _, err := verifierAt(noon, nil).Authenticate(received(t, r), "hearth"); err != nil {
			t.Errorf("%q: %v", target, err)
		}
	}
}
