package auth

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// Payload hashes that are no hash.
const (
	unsignedPayload = "UNSIGNED-PAYLOAD"
	streamPrefix    = "STREAMING-"
	emptyHash       = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
)

// rawPaths are the services that sign a path as it was sent: encoded once, and not
// normalized. All others encode what was sent once more.
func rawPath(service string) bool { return service == "s3" }

// appendRequest appends the canonical request. Path is the request's, encoded as it
// was sent.
func (c *claim) appendRequest(dst []byte, r *http.Request, path, payload string) []byte {
	dst = append(append(dst, r.Method...), '\n')
	if rawPath(c.service) {
		dst = append(dst, path...)
	} else {
		dst = appendEscaped(dst, path, true)
	}
	dst = append(dst, '\n')
	dst = c.appendQuery(dst, r.URL.RawQuery)
	dst = append(dst, '\n')
	for names := c.signed; names != ""; {
		var name string
		name, names, _ = strings.Cut(names, ";")
		dst = appendHeader(dst, r, name)
	}
	dst = append(append(append(dst, '\n'), c.signed...), '\n')
	return append(dst, payload...)
}

// appendHeader appends a header's line: its values trimmed, their runs of spaces
// made one, joined by commas.
func appendHeader(dst []byte, r *http.Request, name string) []byte {
	dst = append(append(dst, name...), ':')
	values := r.Header[canonicalName(name)]
	switch {
	case name == "host":
		dst = appendTrimmed(dst, r.Host)
	case name == "content-length" && len(values) == 0 && r.ContentLength >= 0:
		dst = strconv.AppendInt(dst, r.ContentLength, 10)
	}
	for i, value := range values {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendTrimmed(dst, value)
	}
	return append(dst, '\n')
}

func appendTrimmed(dst []byte, value string) []byte {
	value = strings.Trim(value, " \t")
	for i := range len(value) {
		if value[i] != ' ' || value[i-1] != ' ' {
			dst = append(dst, value[i])
		}
	}
	return dst
}

// appendQuery appends the canonical query string: decoded, encoded the one way,
// sorted by name and value, without the signature itself.
func (c *claim) appendQuery(dst []byte, raw string) []byte {
	if raw == "" {
		return dst
	}
	var pairs []string
	for pair := range strings.SplitSeq(raw, "&") {
		if pair == "" {
			continue
		}
		name, value, _ := strings.Cut(pair, "=")
		name = reescape(name)
		if c.presigned && name == "X-Amz-Signature" {
			continue
		}
		// '=' sorts above what names are made of; a NUL is below all of it.
		pairs = append(pairs, name+"\x00"+reescape(value))
	}
	slices.Sort(pairs)
	for i, pair := range pairs {
		if i > 0 {
			dst = append(dst, '&')
		}
		name, value, _ := strings.Cut(pair, "\x00")
		dst = append(append(append(dst, name...), '='), value...)
	}
	return dst
}

// reescape encodes a part of a query in the canonical way, however it was encoded.
// A plus is a space, as it is to those who read the query.
func reescape(s string) string {
	decoded, err := url.QueryUnescape(s)
	if err != nil {
		decoded = s // the readers refuse it
	}
	return string(appendEscaped(nil, decoded, false))
}

// appendEscaped percent-encodes everything but RFC 3986's unreserved characters,
// and slashes where they are parts of a path.
func appendEscaped(dst []byte, s string, path bool) []byte {
	const upperHex = "0123456789ABCDEF"
	for i := range len(s) {
		c := s[i]
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' ||
			c == '-' || c == '.' || c == '_' || c == '~' || c == '/' && path {
			dst = append(dst, c)
			continue
		}
		dst = append(dst, '%', upperHex[c>>4], upperHex[c&15])
	}
	return dst
}

// sentPath is the path as it was sent.
func sentPath(r *http.Request) string {
	if r.RequestURI != "" && r.RequestURI[0] == '/' {
		path, _, _ := strings.Cut(r.RequestURI, "?")
		return path
	}
	if path := r.URL.EscapedPath(); path != "" {
		return path
	}
	return "/"
}

// normalized removes empty and dot segments (RFC 3986, 5.2.4), which AWS does
// before it signs. Some SDKs do not; both are accepted.
func normalized(path string) string {
	if !strings.Contains(path, "//") && !strings.Contains(path, "/.") {
		return path
	}
	var kept []string
	for segment := range strings.SplitSeq(path, "/") {
		switch segment {
		case "", ".":
		case "..":
			if len(kept) > 0 {
				kept = kept[:len(kept)-1]
			}
		default:
			kept = append(kept, segment)
		}
	}
	clean := "/" + strings.Join(kept, "/")
	if last := path[strings.LastIndexByte(path, '/')+1:]; len(kept) > 0 && (last == "" || last == "." || last == "..") {
		clean += "/"
	}
	return clean
}

// canonicalName is http.CanonicalHeaderKey without an allocation for the headers
// that SDKs sign.
func canonicalName(lower string) string {
	if name, ok := signedOften[lower]; ok {
		return name
	}
	return http.CanonicalHeaderKey(lower)
}

var signedOften = func() map[string]string {
	all := map[string]string{}
	for _, name := range []string{"Accept", "Accept-Encoding", "Amz-Sdk-Invocation-Id", "Amz-Sdk-Request", "Content-Length", "Content-Type",
		"Host", "X-Amz-Client-Context", "X-Amz-Content-Sha256", "X-Amz-Date", "X-Amz-Invocation-Type", "X-Amz-Log-Type",
		"X-Amz-Security-Token", "X-Amz-Target", "X-Amz-User-Agent"} {
		all[strings.ToLower(name)] = name
	}
	return all
}()
