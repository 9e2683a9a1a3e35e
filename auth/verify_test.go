package auth

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

// TestRefusals has the words of AWS, as quoted in aws-sdk-js#254 and pulumi-aws#55
// (stale), aws-sdk-go#248 (mismatch), chalice#828 (incomplete), boto3#1752 (slashes).
func TestRefusals(t *testing.T) {
	authorization := func(text string) func(*http.Request) { return setHeader("Authorization", text) }
	for name, c := range map[string]struct {
		change  func(*http.Request)
		now     time.Time
		key     func(*Key)
		service string
		kind    Kind
		says    string
	}{
		"unsigned":       {change: func(r *http.Request) { r.Header.Del("Authorization") }, kind: Missing, says: "Missing Authentication Token"},
		"another scheme": {change: authorization("Bearer eyJ0eXAi"), kind: Incomplete, says: "Authorization header requires 'Credential' parameter. Authorization header requires 'Signature' parameter. Authorization header requires 'SignedHeaders' parameter. (Hashed"},
		"nothing known": {change: func(r *http.Request) { r.Header.Set("Authorization", "x"); r.Header.Del("X-Amz-Date") }, kind: Incomplete,
			says: "parameter. Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header. (Hashed with SHA-256 and encoded with Base64) Authorization=LXEWQrcmsEQBYnyp+6wy9chTD7GQPMTbAiWHF5IaSIE="},
		"no equal sign":     {change: authorization(algorithm + " Credential"), kind: Incomplete, says: "'Credential' not a valid key=value pair (missing equal-sign) in Authorization header (Hashed"},
		"too few slashes":   {change: replaceText("/20261128/eu-central-1", ""), kind: Incomplete, says: "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, got 'AKIDEXAMPLE/lambda/aws4_request'"},
		"too many slashes":  {change: replaceText("AKID", "AK/ID"), kind: Incomplete, says: "Credential must have exactly 5 slash-delimited"},
		"terminator":        {change: replaceText("aws4_request", "aws5_request"), kind: Invalid, says: "Credential should be scoped with a valid terminator: 'aws4_request', not 'aws5_request'. "},
		"date of the scope": {change: replaceText("/20261128/", "/20261127/"), kind: Invalid, says: "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '20261127' != '20261128', from '20261128T120000Z'."},
		"no date":           {change: setHeader("X-Amz-Date", "today"), kind: Incomplete, says: "Date must be in ISO-8601 'basic format'. Got 'today'."},
		"service":           {service: "logs", kind: Invalid, says: "Credential should be scoped to correct service: 'logs'. "},
		"region of the key": {key: func(k *Key) { k.Regions = []string{"us-east-1"} }, kind: Invalid, says: "Credential should be scoped to a valid region, not 'eu-central-1'. "},
		"another key":       {change: replaceText("AKIDEXAMPLE", "AKIDUNKNOWN"), kind: Unrecognized, says: "The security token included in the request is invalid."},
		"disabled":          {key: func(k *Key) { k.Disabled = true }, kind: Unrecognized, says: "The security token included in the request is invalid."},
		"needs its token":   {key: func(k *Key) { k.material = &Credentials{Secret: example.Secret, Token: "t"} }, kind: Unrecognized, says: "The security token included in the request is invalid."},
		"ended":             {key: func(k *Key) { k.Expires = noon }, kind: Expired, says: "The security token included in the request is expired"},
		"another secret":    {key: func(k *Key) { k.material = &Credentials{Secret: "x"} }, kind: Invalid, says: mismatchText + "\n\nThe Canonical String for this request should have been\n'POST\n/2015-03-31/functions/arn%253Aaws%253Alambda%253Aeu-central-1"},
		"stale":             {now: noon.Add(Skew + time.Second), kind: Invalid, says: "Signature expired: 20261128T120000Z is now earlier than 20261128T120001Z (20261128T121501Z - 15 min.)"},
		"from the future":   {now: noon.Add(-Skew - time.Second), kind: Invalid, says: "Signature not yet current: 20261128T120000Z is still later than 20261128T115959Z (20261128T114459Z + 15 min.)"},
		"claimed hash":      {change: func(r *http.Request) { r.Body = newBody([]byte("y"), nil) }, kind: Invalid, says: mismatchText},
		"body ends early":   {change: func(r *http.Request) { r.Body = io.NopCloser(iotest.ErrReader(io.ErrUnexpectedEOF)) }, kind: Unreadable, says: "could not be read to its end"},
		"too large":         {change: func(r *http.Request) { r.ContentLength = MaxBody + 1 }, kind: TooLarge, says: "Request must be smaller than 70167211 bytes"},
		"too large, chunked": {change: func(r *http.Request) {
			r.ContentLength, r.Body = -1, io.NopCloser(io.LimitReader(zeros{}, MaxBody+2))
		}, kind: TooLarge, says: "Request must be smaller than 70167211 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			r := signed(t, "POST", arnPath, "x", "lambda", noon, nil)
			if c.change != nil {
				c.change(r)
			}
			now, service := noon, "lambda"
			if !c.now.IsZero() {
				now = c.now
			}
			if c.service != "" {
				service = c.service
			}
			v := verifierAt(now, c.key)
			_, err := v.Authenticate(r, service)
			if kindOf(err) != c.kind || !strings.Contains(fmt.Sprint(err), c.says) {
				t.Errorf("%v\nwant %s", err, c.says)
			}
			if len(v.large) != 0 {
				t.Error("a refused request holds a place for large bodies")
			}
		})
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func TestWithinTheWindowARequestMayBeRepeated(t *testing.T) {
	v := verifierAt(noon.Add(Skew), nil)
	for range 2 {
		if _, err := v.Authenticate(signed(t, "POST", arnPath, "x", "lambda", noon, nil), "lambda"); err != nil {
			t.Fatal(err)
		}
	}
	if got := v.keys.Find(example.KeyID).seen().LastUsed; !got.Equal(noon.Add(Skew)) {
		t.Errorf("last used at %v", got)
	}
}

// TestDateHeader takes the time of a client that sends Date instead of X-Amz-Date.
func TestDateHeader(t *testing.T) {
	r := httptest.NewRequest("GET", "/x", nil)
	r.Header.Set("Date", noon.Format(http.TimeFormat))
	c := claim{date: "20261128", region: "us-east-1", service: "lambda", scope: "20261128/us-east-1/lambda", signed: "date;host", atText: "20261128T120000Z"}
	key := newKey(example, nil)
	text := c.appendStringToSign(nil, c.appendRequest(nil, r, "/x", emptyHash))
	r.Header.Set("Authorization", fmt.Sprintf("%s Credential=%s/%s/aws4_request, SignedHeaders=date;host, Signature=%x",
		algorithm, example.KeyID, c.scope, key.signingKey(&c).sign(nil, text)))
	if _, err := verifierAt(noon, nil).Authenticate(r, "lambda"); err != nil {
		t.Error(err)
	}
}

func TestLargeBodiesTakePlaces(t *testing.T) {
	large := strings.Repeat("x", freeBody+1)
	v := verifierAt(noon, nil)
	var open []*http.Request
	for i := range maxLarge {
		r := signed(t, "POST", "/2015-03-31/functions", large, "lambda", noon, nil)
		if i%2 == 1 {
			r.ContentLength = -1
		}
		if _, err := v.Authenticate(r, "lambda"); err != nil {
			t.Fatal(err)
		}
		open = append(open, r)
	}
	if len(v.large) != maxLarge {
		t.Fatalf("%d places taken by %d bodies", len(v.large), maxLarge)
	}
	for _, r := range open {
		if got := body(t, r); got != large {
			t.Errorf("the body came out with %d bytes of %d", len(got), len(large))
		}
		r.Body.Close()
		r.Body.Close() // once is what counts
	}
	if len(v.large) != 0 {
		t.Errorf("%d places are held after all was closed", len(v.large))
	}
}

func TestTrusting(t *testing.T) {
	v := NewTrusting("000000000000")
	for _, c := range []struct{ credential, account, region string }{
		{"", "000000000000", ""},
		{"anything/20261128/eu-west-1/lambda/aws4_request", "000000000000", "eu-west-1"},
		{"123456789012/20261128/eu-west-1/lambda/aws4_request", "123456789012", "eu-west-1"},
	} {
		r := httptest.NewRequest("GET", "/", nil)
		if c.credential != "" {
			r.Header.Set("Authorization", algorithm+" Credential="+c.credential+", SignedHeaders=host, Signature=0")
		}
		who, err := v.Authenticate(r, "lambda")
		if err != nil || who.Account != c.account || who.Region != c.region {
			t.Errorf("%q is of %+v, %v", c.credential, who, err)
		}
		if err := who.Allow("hearth:CreateKey", "*"); err != nil {
			t.Error(err)
		}
	}
	for target, ok := range map[string]bool{
		"/?X-Amz-Credential=K%2F20260101%2Fsa-east-1%2Flambda%2Faws4_request":        true,
		"/?X-Amz-Credential=K%2F20260101%2FEU%2Flambda%2Faws4_request":               false,
		"/?X-Amz-Credential=K%2F20260101%2F" + strings.Repeat("a", 33) + "%2Flambda": false,
		"/?X-Amz-Credential=K": false,
	} {
		if who, err := v.Authenticate(httptest.NewRequest("GET", target, nil), "lambda"); (err == nil) != ok || ok && who.Region != "sa-east-1" {
			t.Errorf("%s: %+v, %v", target, who, err)
		}
	}
	r := httptest.NewRequest("GET", "/", nil)
	r.Header.Set("Authorization", algorithm+" SignedHeaders=host")
	if _, err := v.Authenticate(r, "lambda"); kindOf(err) != Incomplete {
		t.Errorf("no credential: %v", err)
	}
}
