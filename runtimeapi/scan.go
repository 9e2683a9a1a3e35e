package runtimeapi

import (
	"bytes"
	"strconv"
)

var (
	nextLine = []byte("GET " + invocationPrefix + "next ")
	postLine = []byte("POST " + invocationPrefix)
	headEnd  = []byte("\r\n\r\n")
	lineEnd  = []byte("\r\n")
)

// scan looks at the first request in b. It is plain where it is, or may become, a
// runtime's poll or answer in the usual form; it is whole where all of it is there:
// then it is read without waiting. Nothing else depends on it: a request is understood
// by readRequest alone, whoever reads it.
func scan(b []byte) (whole, plain bool) {
	poll := begins(b, nextLine)
	if !poll && !begins(b, postLine) {
		return false, false
	}
	end := bytes.Index(b, headEnd)
	head := b
	if end >= 0 {
		head = b[:end+len(lineEnd)]
	}
	if bytes.Count(head, lineEnd[1:]) != bytes.Count(head, lineEnd) {
		return false, false // readRequest takes it for the end of a line, too
	}
	if end < 0 {
		return false, true
	}
	length, chunked, plain := bodyFraming(head)
	body := b[end+len(headEnd):]
	switch {
	case !plain || poll == (chunked || length >= 0) || chunked && length >= 0:
		return false, false
	case chunked:
		return scanChunks(body)
	}
	return len(body) >= length, true
}

// bodyFraming is what the lines of a head say of the body's end; the length is -1 where
// they say none. It is not plain where there is more to know.
func bodyFraming(head []byte) (length int, chunked, plain bool) {
	length = -1
	for len(head) > 0 {
		var line []byte
		line, head, _ = bytes.Cut(head, lineEnd)
		name, value, _ := bytes.Cut(line, []byte(":"))
		switch {
		case is(name, "Content-Length"):
			n, err := strconv.ParseUint(string(bytes.TrimSpace(value)), 10, 31)
			if err != nil || length >= 0 {
				return 0, false, false
			}
			length = int(n)
		case is(name, "Transfer-Encoding"):
			if chunked || !is(bytes.TrimSpace(value), "chunked") {
				return 0, false, false
			}
			chunked = true
		case is(name, "Expect"):
			return 0, false, false
		}
	}
	return length, chunked, true
}

// begins reports whether b begins with the prefix, or may when there is more of it.
func begins(b, prefix []byte) bool {
	n := min(len(b), len(prefix))
	return bytes.Equal(b[:n], prefix[:n])
}

// scanChunks is scan for a body in chunks. It is not plain with trailers or extensions.
func scanChunks(b []byte) (whole, plain bool) {
	const longest = 8 // digits of a size
	for {
		size, rest, found := bytes.Cut(b, lineEnd)
		if !found {
			return false, len(size) <= longest
		}
		n, err := strconv.ParseUint(string(size), 16, 31)
		switch {
		case err != nil:
			return false, false
		case n == 0:
			plain = begins(rest, lineEnd)
			return plain && len(rest) >= len(lineEnd), plain
		case len(rest) < int(n)+len(lineEnd):
			return false, true
		}
		b = rest[int(n)+len(lineEnd):]
	}
}
