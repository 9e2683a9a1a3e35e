package auth

import (
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

const (
	algorithm  = "AWS4-HMAC-SHA256"
	terminator = "aws4_request"
	timeFormat = "20060102T150405Z"
)

// claim is what a request says of its signature. Nothing of it is believed yet.
type claim struct {
	keyID, date, region, service string
	scope                        string // date/region/service
	signed                       string // names of headers, joined by ';'
	signature                    string // lower-case hex
	token                        string // of a session
	at                           time.Time
	atText                       string        // at, as the request has it
	lifetime                     time.Duration // of a presigned request; 0 where it says none
	presigned                    bool
	payload                      string // x-amz-content-sha256, "" where it is absent
}

// Signed reports whether a request carries a signature, valid or not.
func Signed(r *http.Request) bool {
	return len(r.Header["Authorization"]) > 0 || presigned(r)
}

func presigned(r *http.Request) bool {
	q := r.URL.RawQuery
	return strings.Contains(q, "X-Amz-Algorithm=") || strings.Contains(q, "X-Amz-Credential=") || strings.Contains(q, "X-Amz-Signature=")
}

// readClaim fills c from the header, else from the query of a presigned request.
func readClaim(r *http.Request, c *claim) error {
	authorization := headerValue(r.Header, "Authorization")
	switch {
	case authorization != "":
		return readHeader(r, authorization, c)
	case presigned(r):
		return readQuery(r, c)
	}
	return &Error{Missing, missingText}
}

func readHeader(r *http.Request, authorization string, c *claim) error {
	c.payload = headerValue(r.Header, "X-Amz-Content-Sha256")
	c.token = headerValue(r.Header, "X-Amz-Security-Token")
	c.atText = headerValue(r.Header, "X-Amz-Date")
	var credential string
	fields, ours := strings.CutPrefix(authorization, algorithm)
	for ours && fields != "" {
		var field string
		field, fields, _ = strings.Cut(fields, ",")
		if field = strings.Trim(field, " \t"); field == "" {
			continue
		}
		name, value, found := strings.Cut(field, "=")
		if !found {
			return refuse(Incomplete, "'%s' not a valid key=value pair (missing equal-sign) in Authorization header%s",
				clip(field), hashed(authorization))
		}
		switch name {
		case "Credential":
			credential = value
		case "SignedHeaders":
			c.signed = value
		case "Signature":
			c.signature = value
		}
	}
	var date error
	if c.atText == "" {
		c.atText, date = httpDate(r)
	}
	if missing := missingParts(c, credential, date == nil && c.atText != ""); missing != "" {
		return &Error{Incomplete, missing + hashed(authorization)}
	}
	return c.settle(credential)
}

// httpDate is the Date header as X-Amz-Date would say it, "" where there is none.
func httpDate(r *http.Request) (string, error) {
	text := headerValue(r.Header, "Date")
	if text == "" {
		return "", nil
	}
	if _, err := time.Parse(timeFormat, text); err == nil {
		return text, nil
	}
	at, err := http.ParseTime(text)
	return at.UTC().Format(timeFormat), err
}

func missingParts(c *claim, credential string, dated bool) string {
	var all []string
	for _, part := range []struct{ value, name string }{{credential, "Credential"}, {c.signature, "Signature"}, {c.signed, "SignedHeaders"}} {
		if part.value == "" {
			all = append(all, "Authorization header requires '"+part.name+"' parameter.")
		}
	}
	if !dated {
		all = append(all, "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header.")
	}
	return strings.Join(all, " ")
}

// hashed ends a message about an Authorization header as AWS does: it may hold a
// secret that was meant for somebody else.
func hashed(authorization string) string {
	sum := sha256.Sum256([]byte(authorization))
	return " (Hashed with SHA-256 and encoded with Base64) Authorization=" + base64.StdEncoding.EncodeToString(sum[:])
}

// maxPresigned is AWS's bound on a presigned request: a week, in seconds.
const maxPresigned = 604800

func readQuery(r *http.Request, c *claim) error {
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return refuse(Incomplete, "The query string cannot be parsed: %s", clip(err.Error()))
	}
	if got := query.Get("X-Amz-Algorithm"); got != algorithm {
		return refuse(Incomplete, "Unsupported AWS 'algorithm': '%s'.", clip(got))
	}
	c.presigned = true
	c.signed, c.signature, c.token = query.Get("X-Amz-SignedHeaders"), query.Get("X-Amz-Signature"), query.Get("X-Amz-Security-Token")
	c.atText = query.Get("X-Amz-Date")
	c.payload = query.Get("X-Amz-Content-Sha256")
	if c.payload == "" {
		c.payload = headerValue(r.Header, "X-Amz-Content-Sha256")
	}
	var missing []string
	for _, name := range []string{"X-Amz-Credential", "X-Amz-Signature", "X-Amz-SignedHeaders", "X-Amz-Date"} {
		if query.Get(name) == "" {
			missing = append(missing, "AWS query-string parameters must include '"+name+"'.")
		}
	}
	if len(missing) > 0 {
		return &Error{Incomplete, strings.Join(missing, " ") + " Re-examine the query-string parameters."}
	}
	if text := query.Get("X-Amz-Expires"); query.Has("X-Amz-Expires") {
		seconds, err := strconv.Atoi(text)
		if err != nil || seconds < 1 || seconds > maxPresigned {
			return refuse(Incomplete, "X-Amz-Expires must be a number of seconds from 1 to %d, not '%s'", maxPresigned, clip(text))
		}
		c.lifetime = time.Duration(seconds) * time.Second
	}
	return c.settle(query.Get("X-Amz-Credential"))
}

// settle takes the credential scope apart and reads the time.
func (c *claim) settle(credential string) error {
	var end, more string
	var ok [4]bool
	rest := credential
	c.keyID, rest, ok[0] = strings.Cut(rest, "/")
	scoped := rest
	c.date, rest, ok[1] = strings.Cut(rest, "/")
	c.region, rest, ok[2] = strings.Cut(rest, "/")
	c.service, end, ok[3] = strings.Cut(rest, "/")
	end, more, _ = strings.Cut(end, "/")
	if ok != [4]bool{true, true, true, true} || more != "" || c.keyID == "" {
		return refuse(Incomplete, "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, got '%s'", clip(credential))
	}
	if end != terminator {
		return refuse(Invalid, "Credential should be scoped with a valid terminator: '%s', not '%s'. ", terminator, clip(end))
	}
	c.scope = scoped[:len(scoped)-len(end)-1]
	at, err := time.Parse(timeFormat, c.atText)
	if err != nil {
		return refuse(Incomplete, "Date must be in ISO-8601 'basic format'. Got '%s'. See http://en.wikipedia.org/wiki/ISO_8601", clip(c.atText))
	}
	c.at = at
	if c.atText[:8] != c.date {
		return refuse(Invalid, "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '%s' != '%s', from '%s'.",
			clip(c.date), c.atText[:8], c.atText)
	}
	return nil
}

// headerValue returns the first value of a header whose canonical name is given.
func headerValue(h http.Header, name string) string {
	if values := h[name]; len(values) > 0 {
		return values[0]
	}
	return ""
}

// clip bounds what a message repeats of a request, in bytes.
func clip(s string) string {
	const most = 256
	if len(s) <= most {
		return strings.ToValidUTF8(s, "?")
	}
	return strings.ToValidUTF8(s[:most], "?") + "…"
}
