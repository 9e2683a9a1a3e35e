package faas

import (
	"net"
	"slices"
	"strings"
	"time"
)

// URLAuth says who may call a function URL.
type URLAuth string

// The values of URLAuth.
const (
	URLAuthNone URLAuth = "NONE"    // whom the resource policy lets, without a signature
	URLAuthIAM  URLAuth = "AWS_IAM" // who signs and has the right to
)

// URLMode says how a function's answer reaches the client of its URL.
type URLMode string

// The values of URLMode.
const (
	URLBuffered URLMode = "BUFFERED"
	URLStreamed URLMode = "RESPONSE_STREAM"
)

// FunctionURL is an HTTP address of a function, or of one alias of it. It belongs
// to the name: it stays when the function or the alias is updated.
type FunctionURL struct {
	ID        string    `json:"id"` // 32 lower-case letters and digits, for ever its own
	Qualifier string    `json:"qualifier,omitempty"`
	Auth      URLAuth   `json:"auth"`
	Mode      URLMode   `json:"mode"`
	CORS      *CORS     `json:"cors,omitempty"`
	Created   time.Time `json:"created"`
	Modified  time.Time `json:"modified"`
}

// CORS says what pages of other origins may do with a function URL. With it the
// platform answers preflight requests itself and sets the headers of answers.
type CORS struct {
	AllowCredentials bool     `json:"allowCredentials,omitempty"`
	AllowHeaders     []string `json:"allowHeaders,omitempty"`
	AllowMethods     []string `json:"allowMethods,omitempty"`
	AllowOrigins     []string `json:"allowOrigins,omitempty"`
	ExposeHeaders    []string `json:"exposeHeaders,omitempty"`
	MaxAgeSeconds    *int     `json:"maxAgeSeconds,omitempty"`
}

// Clone returns a copy that shares nothing with u.
func (u FunctionURL) Clone() FunctionURL {
	if u.CORS == nil {
		return u
	}
	c := *u.CORS
	c.AllowHeaders = slices.Clone(c.AllowHeaders)
	c.AllowMethods = slices.Clone(c.AllowMethods)
	c.AllowOrigins = slices.Clone(c.AllowOrigins)
	c.ExposeHeaders = slices.Clone(c.ExposeHeaders)
	if c.MaxAgeSeconds != nil {
		age := *c.MaxAgeSeconds
		c.MaxAgeSeconds = &age
	}
	u.CORS = &c
	return u
}

// FunctionURLPath begins the addresses of function URLs by path.
const FunctionURLPath = "/lambda-url/"

// Address is where the URL is reached on the server whose own address is base
// (scheme and host, no slash): a host name of its own. A loopback address is called
// localhost, and one that has no names below it leads there by path.
func (u FunctionURL) Address(base, region string) string {
	scheme, hostport, _ := strings.Cut(base, "://")
	host, port, err := net.SplitHostPort(hostport)
	if err != nil {
		host = strings.Trim(hostport, "[]")
	}
	if ip := net.ParseIP(host); ip != nil {
		if !ip.IsLoopback() {
			return base + FunctionURLPath + u.ID + "/"
		}
		host = "localhost"
	}
	if port != "" {
		host = net.JoinHostPort(host, port)
	}
	return scheme + "://" + u.ID + ".lambda-url." + region + "." + host + "/"
}

// ValidFunctionURLID reports whether id has the form of a FunctionURL's.
func ValidFunctionURLID(id string) bool {
	if len(id) != 32 {
		return false
	}
	for _, c := range []byte(id) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') {
			return false
		}
	}
	return true
}
