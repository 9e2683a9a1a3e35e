package funcurl

import (
	"net/http"
	"slices"
	"strconv"
	"strings"

	"hearth/faas"
)

// isPreflight reports whether a browser asks what it may send (Fetch standard,
// "CORS-preflight request").
func isPreflight(r *http.Request) bool {
	return r.Method == http.MethodOptions && r.Header.Get("Origin") != "" && r.Header.Get("Access-Control-Request-Method") != ""
}

// answerPreflight answers in the function's place.
func answerPreflight(w http.ResponseWriter, r *http.Request, c *faas.CORS) {
	header := w.Header()
	method := r.Header.Get("Access-Control-Request-Method")
	if setCORS(header, r, c) && allows(c.AllowMethods, method) {
		set(header, "Access-Control-Allow-Methods", granted(c, c.AllowMethods, method))
		set(header, "Access-Control-Allow-Headers", granted(c, c.AllowHeaders, r.Header.Get("Access-Control-Request-Headers")))
		if c.MaxAgeSeconds != nil {
			header.Set("Access-Control-Max-Age", strconv.Itoa(*c.MaxAgeSeconds))
		}
	}
	header.Set("Content-Length", "0")
	w.WriteHeader(http.StatusOK)
}

// setCORS sets the headers of every answer to a page whose origin is allowed, and
// reports whether it is.
func setCORS(header http.Header, r *http.Request, c *faas.CORS) bool {
	origin := r.Header.Get("Origin")
	if origin == "" {
		return false
	}
	header.Add("Vary", "Origin")
	if !allows(c.AllowOrigins, origin) {
		return false
	}
	if !c.AllowCredentials && slices.Contains(c.AllowOrigins, "*") {
		origin = "*"
	}
	header.Set("Access-Control-Allow-Origin", origin)
	set(header, "Access-Control-Expose-Headers", strings.Join(c.ExposeHeaders, ","))
	if c.AllowCredentials {
		header.Set("Access-Control-Allow-Credentials", "true")
	}
	return true
}

// granted is the value of a header that lists what is allowed. Where credentials
// are, browsers take "*" for a name and not for everything: what was asked for is
// answered instead.
func granted(c *faas.CORS, allowed []string, asked string) string {
	if c.AllowCredentials && slices.Contains(allowed, "*") {
		return asked
	}
	return strings.Join(allowed, ",")
}

func set(header http.Header, name, value string) {
	if value != "" {
		header.Set(name, value)
	}
}

// allows reports whether a list names s, "*" or, of origins, a pattern such as
// https://*.example.com.
func allows(list []string, s string) bool {
	return slices.ContainsFunc(list, func(allowed string) bool {
		before, after, pattern := strings.Cut(allowed, "*")
		if !pattern {
			return strings.EqualFold(allowed, s)
		}
		return len(s) >= len(before)+len(after) && strings.HasPrefix(s, before) && strings.HasSuffix(s, after)
	})
}
