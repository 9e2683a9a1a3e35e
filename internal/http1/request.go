package http1

import (
	"bytes"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

const (
	// headBytes bounds the head of a request that is served here, and is how much of
	// a connection is read at once.
	headBytes = 8 << 10
	// maxHeaders bounds its number of header lines.
	maxHeaders = 48
	// maxBody bounds its body. net/http serves larger ones: beside reading them its
	// own cost is nothing.
	maxBody = 256 << 10
)

// head is the parsed head of a plain request.
type head struct {
	size   int // bytes, the empty line included
	length int // of the body
	target string
	host   string
	header http.Header
}

var crlf = []byte("\r\n")

// plainMethod is the only method that is served here.
const plainMethod = "POST"

// parseHead reads the head at the beginning of data. Done is false where its end
// has not arrived. Plain is false where net/http has to look at it; that is so for
// everything that is not known to be harmless, and may be known before the end.
// The header is filled; its values are of one string, made anew for each request.
func parseHead(data []byte, header http.Header, values []string) (h head, plain, done bool) {
	if n := min(len(data), len(plainMethod)+2); string(data[:n]) != (plainMethod + " /")[:n] {
		return h, false, true
	}
	end := bytes.Index(data, []byte("\r\n\r\n"))
	if end < 0 {
		bare := hasBareNewline(data) // net/http takes it for the end of a line
		return h, !bare, bare
	}
	h = head{size: end + 4, length: -1, header: header}
	text := string(data[:end+2])
	lineEnd := bytes.Index(data, crlf)
	if h.target, plain = parseTarget(text[:lineEnd]); !plain {
		return h, false, true
	}
	clear(header)
	for rest := text[lineEnd+2:]; rest != ""; {
		if len(values) == 0 {
			return h, false, true
		}
		n := lineLength(rest)
		if n < 0 || !h.field(rest[:n], values) {
			return h, false, true
		}
		values = values[1:]
		rest = rest[n+2:]
	}
	return h, h.host != "" && h.length >= 0, true
}

func hasBareNewline(data []byte) bool {
	for i, c := range data {
		if c == '\n' && (i == 0 || data[i-1] != '\r') {
			return true
		}
	}
	return false
}

// parseTarget reads a request line. The target is copied: parts of it may be kept
// by the handler, and must not keep the whole head.
func parseTarget(line string) (string, bool) {
	const version = " HTTP/1.1"
	if len(line) < len(plainMethod)+2+len(version) || line[len(line)-len(version):] != version {
		return "", false
	}
	target := line[len(plainMethod)+1 : len(line)-len(version)]
	set := &plainInPath
	for i := range len(target) {
		if target[i] == '?' {
			set = &plainInQuery
		}
		if !set[target[i]] {
			return "", false
		}
	}
	return strings.Clone(target), target[0] == '/' && (len(target) == 1 || target[1] != '/')
}

// requestURL makes of a plain target what url.ParseRequestURI would.
func requestURL(target string) *url.URL {
	path, query, asked := strings.Cut(target, "?")
	return &url.URL{Path: path, RawQuery: query, ForceQuery: asked && query == ""}
}

// lineLength is where a line ends that holds nothing but visible ASCII, spaces and
// tabs; -1 where there is another byte before its end.
func lineLength(s string) int {
	for i := range len(s) {
		if c := s[i]; c < ' ' && c != '\t' || c >= 0x7f {
			if c == '\r' && s[i+1] == '\n' { // s ends with one
				return i
			}
			return -1
		}
	}
	return -1
}

// field takes one header line; false where it is not plain. values has room for
// its value.
func (h *head) field(line string, values []string) bool {
	colon := 0
	for colon < len(line) && tokenByte[line[colon]] {
		colon++
	}
	if colon == 0 || colon == len(line) || line[colon] != ':' {
		return false
	}
	name, value := canonical(line[:colon]), trim(line[colon+1:])
	switch name {
	case "Host":
		if h.host != "" || !plainHost(value) {
			return false
		}
		h.host = value
		return true // net/http takes it out of the header, too
	case "Content-Length":
		return h.contentLength(value, values)
	case "Connection":
		if !equalFold(value, "keep-alive") {
			return false
		}
	case "Transfer-Encoding", "Expect", "Upgrade", "Trailer", "Te", "Proxy-Connection", "Keep-Alive", "Http2-Settings",
		"Pragma", "Content-Encoding":
		return false
	}
	if earlier, twice := h.header[name]; twice {
		h.header[name] = append(earlier, value)
		return true
	}
	values[0] = value
	h.header[name] = values[0:1:1]
	return true
}

func (h *head) contentLength(value string, values []string) bool {
	if h.length >= 0 || len(value) == 0 || len(value) > 6 {
		return false
	}
	for i := range len(value) {
		if value[i] < '0' || value[i] > '9' {
			return false
		}
	}
	n, err := strconv.Atoi(value)
	if err != nil || n > maxBody {
		return false
	}
	h.length = n
	values[0] = value
	h.header["Content-Length"] = values[0:1:1]
	return true
}

func trim(s string) string {
	for s != "" && (s[0] == ' ' || s[0] == '\t') {
		s = s[1:]
	}
	for s != "" && (s[len(s)-1] == ' ' || s[len(s)-1] == '\t') {
		s = s[:len(s)-1]
	}
	return s
}

// plainHost: a name or an address with or without a port.
func plainHost(s string) bool {
	for i := range len(s) {
		c := s[i]
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '.' || c == '-' || c == ':' || c == '[' || c == ']') {
			return false
		}
	}
	return s != ""
}

func equalFold(s, lower string) bool {
	if len(s) != len(lower) {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if c >= 'A' && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c != lower[i] {
			return false
		}
	}
	return true
}

// canonical is the name's canonical form, without an allocation for those that
// are common, and for those that are canonical already.
func canonical(name string) string {
	var buf [40]byte
	if len(name) > len(buf) {
		return http.CanonicalHeaderKey(name)
	}
	upper := true
	for i := range len(name) {
		c := name[i]
		switch {
		case upper && c >= 'a' && c <= 'z':
			c -= 'a' - 'A'
		case !upper && c >= 'A' && c <= 'Z':
			c += 'a' - 'A'
		}
		buf[i] = c
		upper = c == '-'
	}
	if known, ok := common[string(buf[:len(name)])]; ok {
		return known
	}
	if string(buf[:len(name)]) == name {
		return name
	}
	return string(buf[:len(name)])
}

// common are the headers that clients of the Lambda API send.
var common = names("Accept", "Accept-Encoding", "Amz-Sdk-Invocation-Id", "Amz-Sdk-Request", "Authorization", "Connection",
	"Content-Length", "Content-Type", "Host", "User-Agent", "X-Amz-Client-Context", "X-Amz-Content-Sha256", "X-Amz-Date",
	"X-Amz-Invocation-Type", "X-Amz-Log-Type", "X-Amz-Security-Token", "X-Amz-User-Agent", "X-Amzn-Trace-Id",
	"Transfer-Encoding", "Expect", "Upgrade")

func names(all ...string) map[string]string {
	m := make(map[string]string, len(all))
	for _, name := range all {
		m[name] = name
	}
	return m
}

var (
	tokenByte = byteSet("!#$%&'*+-.^_`|~")
	// plainInPath are bytes that mean themselves in a path, however it is escaped.
	plainInPath  = byteSet("/-._~:$")
	plainInQuery = byteSet("/-._~:$@!'()*+,;=&%?")
)

// byteSet holds letters, digits and the bytes given.
func byteSet(more string) (set [256]bool) {
	for c := range 256 {
		set[c] = c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
	}
	for _, c := range []byte(more) {
		set[c] = true
	}
	return set
}
