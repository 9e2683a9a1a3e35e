package funcurl

import (
	"encoding/base64"
	"encoding/json"
	"mime"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// event is a request in payload format 2.0.
type event struct {
	Version               string            `json:"version"`
	RouteKey              string            `json:"routeKey"`
	RawPath               string            `json:"rawPath"`
	RawQueryString        string            `json:"rawQueryString"`
	Cookies               []string          `json:"cookies,omitempty"`
	Headers               map[string]string `json:"headers"`
	QueryStringParameters map[string]string `json:"queryStringParameters,omitempty"`
	RequestContext        requestContext    `json:"requestContext"`
	Body                  *string           `json:"body,omitempty"`
	IsBase64Encoded       bool              `json:"isBase64Encoded"`
}

type requestContext struct {
	AccountID    string      `json:"accountId"`
	APIID        string      `json:"apiId"`
	Authorizer   *authorizer `json:"authorizer,omitempty"`
	DomainName   string      `json:"domainName"`
	DomainPrefix string      `json:"domainPrefix"`
	HTTP         httpContext `json:"http"`
	RequestID    string      `json:"requestId"`
	RouteKey     string      `json:"routeKey"`
	Stage        string      `json:"stage"`
	Time         string      `json:"time"`
	TimeEpoch    int64       `json:"timeEpoch"` // milliseconds since 1970
}

type authorizer struct {
	IAM iamContext `json:"iam"`
}

type iamContext struct {
	AccessKey       string  `json:"accessKey"`
	AccountID       string  `json:"accountId"`
	CallerID        string  `json:"callerId"`
	CognitoIdentity *string `json:"cognitoIdentity"`
	PrincipalOrgID  *string `json:"principalOrgId"`
	UserARN         string  `json:"userArn"`
	UserID          string  `json:"userId"`
}

type httpContext struct {
	Method    string `json:"method"`
	Path      string `json:"path"`
	Protocol  string `json:"protocol"`
	SourceIP  string `json:"sourceIp"`
	UserAgent string `json:"userAgent"`
}

const (
	defaultRoute = "$default"
	// requestTime is the layout of requestContext.time.
	requestTime = "02/Jan/2006:15:04:05 -0700"
)

// newEvent makes the event of a request. A caller of a URL without signatures is
// nil, and "anonymous" in the event.
func newEvent(r *http.Request, a address, who *Identity, body []byte, requestID string, now time.Time) *event {
	source, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		source = r.RemoteAddr
	}
	e := &event{
		Version: "2.0", RouteKey: defaultRoute, RawPath: a.rawPath, RawQueryString: r.URL.RawQuery,
		Cookies: cookies(r.Header), Headers: headers(r, source), QueryStringParameters: queryParameters(r.URL.RawQuery),
		RequestContext: requestContext{
			AccountID: "anonymous", APIID: a.URL.ID, DomainName: a.domain, DomainPrefix: a.URL.ID,
			HTTP:      httpContext{Method: r.Method, Path: a.path, Protocol: r.Proto, SourceIP: source, UserAgent: r.UserAgent()},
			RequestID: requestID, RouteKey: defaultRoute, Stage: defaultRoute,
			Time: now.UTC().Format(requestTime), TimeEpoch: now.UnixMilli(),
		},
	}
	if who != nil {
		e.RequestContext.AccountID = who.Account
		e.RequestContext.Authorizer = &authorizer{IAM: iamContext{
			AccessKey: who.AccessKey, AccountID: who.Account, CallerID: who.UserID, UserARN: who.ARN, UserID: who.UserID,
		}}
	}
	if len(body) > 0 {
		text := string(body)
		if e.IsBase64Encoded = !isText(r.Header.Get("Content-Type")) || !utf8.Valid(body); e.IsBase64Encoded {
			text = base64.StdEncoding.EncodeToString(body)
		}
		e.Body = &text
	}
	return e
}

func (e *event) encode() []byte {
	b, err := json.Marshal(e)
	if err != nil { // strings and numbers: cannot be
		panic(err)
	}
	return b
}

// headers has every header in lower case, repeated ones joined by commas, and what
// a load balancer in front adds.
func headers(r *http.Request, source string) map[string]string {
	all := make(map[string]string, len(r.Header)+4)
	for name, values := range r.Header {
		all[strings.ToLower(name)] = strings.Join(values, ",")
	}
	all["host"] = r.Host
	all["x-forwarded-for"] = source
	if before := r.Header.Get("X-Forwarded-For"); before != "" {
		all["x-forwarded-for"] = before + ", " + source
	}
	all["x-forwarded-proto"] = "http"
	if r.TLS != nil {
		all["x-forwarded-proto"] = "https"
	}
	if local, ok := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr); ok {
		all["x-forwarded-port"] = strconv.Itoa(local.Port)
	}
	return all
}

func cookies(h http.Header) []string {
	var all []string
	for _, line := range h["Cookie"] {
		for cookie := range strings.SplitSeq(line, ";") {
			if cookie = strings.TrimSpace(cookie); cookie != "" {
				all = append(all, cookie)
			}
		}
	}
	return all
}

// queryParameters has the parameters decoded, repeated ones joined by commas. One
// that cannot be decoded is kept as it is.
func queryParameters(raw string) map[string]string {
	if raw == "" {
		return nil
	}
	all := make(map[string]string)
	for pair := range strings.SplitSeq(raw, "&") {
		if pair == "" {
			continue
		}
		name, value, _ := strings.Cut(pair, "=")
		name, value = unescape(name), unescape(value)
		if before, repeated := all[name]; repeated {
			value = before + "," + value
		}
		all[name] = value
	}
	return all
}

func unescape(s string) string {
	if plain, err := url.QueryUnescape(s); err == nil {
		return plain
	}
	return s
}

// isText reports whether a body of the type travels as it is; every other is sent
// in base64, a form among them, as Lambda does.
func isText(contentType string) bool {
	kind, _, err := mime.ParseMediaType(contentType)
	if err != nil {
		return false
	}
	switch kind {
	case "application/json", "application/xml", "application/javascript", "application/graphql":
		return true
	}
	return strings.HasPrefix(kind, "text/") || strings.HasSuffix(kind, "+json") || strings.HasSuffix(kind, "+xml")
}
