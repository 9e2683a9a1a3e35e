package auth

import (
	"encoding/json"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"
)

// suite is testdata/sigv4.json, which names its source.
type suite struct {
	AccessKeyID, SecretAccessKey, Region, Service, SessionToken string
	Vectors                                                     []struct {
		Name, Method, URI, Body, Authorization string
		Headers                                [][2]string
	}
}

// TestPublishedVectors verifies the requests of AWS's own test suite, and refuses
// each with one byte of its path changed.
func TestPublishedVectors(t *testing.T) {
	text, err := os.ReadFile("testdata/sigv4.json")
	if err != nil {
		t.Fatal(err)
	}
	var all suite
	if err := json.Unmarshal(text, &all); err != nil {
		t.Fatal(err)
	}
	if len(all.Vectors) < 25 {
		t.Fatalf("only %d vectors", len(all.Vectors))
	}
	for _, vector := range all.Vectors {
		t.Run(vector.Name, func(t *testing.T) {
			session := strings.HasPrefix(vector.Name, "post-sts")
			request := func() *http.Request {
				path, query, _ := strings.Cut(vector.URI, "?")
				r := &http.Request{Method: vector.Method, URL: &url.URL{Path: path, RawQuery: query}, RequestURI: vector.URI,
					Header: http.Header{"Authorization": {vector.Authorization}}, ContentLength: int64(len(vector.Body)), Body: newBody([]byte(vector.Body), nil)}
				for _, h := range vector.Headers {
					if h[0] == "Host" {
						r.Host = h[1]
						continue
					}
					r.Header.Add(h[0], h[1])
				}
				if session && r.Header.Get("X-Amz-Security-Token") == "" {
					r.Header.Set("X-Amz-Security-Token", all.SessionToken)
				}
				return r
			}
			c := Credentials{KeyID: all.AccessKeyID, Secret: all.SecretAccessKey}
			if session {
				c.Token = all.SessionToken
			}
			v := NewVerifier(VerifierOptions{Keys: Ring{c.KeyID: newKey(c, nil)},
				Clock: func() time.Time { return time.Date(2015, 8, 30, 12, 36, 0, 0, time.UTC) }})
			who, err := v.Authenticate(request(), all.Service)
			if err != nil {
				t.Fatal(err)
			}
			if who.Account != "123456789012" || who.Region != all.Region {
				t.Errorf("it is of %+v", who)
			}
			changed := request()
			changed.RequestURI = "/x" + changed.RequestURI
			if _, err := v.Authenticate(changed, all.Service); kindOf(err) != Invalid {
				t.Errorf("with another path: %v", err)
			}
		})
	}
}

// TestSignedAsDocumented has the example of AWS's documentation of Signature
// Version 4 (deriving the signing key; the tasks' GET of iam.amazonaws.com).
func TestSignedAsDocumented(t *testing.T) {
	r, _ := http.NewRequest("GET", "https://iam.amazonaws.com/?Action=ListUsers&Version=2010-05-08", nil)
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
	Sign(r, nil, example, "us-east-1", "iam", time.Date(2015, 8, 30, 12, 36, 0, 0, time.UTC))
	want := "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/iam/aws4_request, SignedHeaders=content-type;host;x-amz-date, " +
		"Signature=5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7"
	if got := r.Header.Get("Authorization"); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
