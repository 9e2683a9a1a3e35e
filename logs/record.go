package logs

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"strconv"
	"unicode/utf8"
)

// record is one line of a segment.
type record struct {
	Time     int64    `json:"t"` // unix, nanoseconds
	Request  string   `json:"r"`
	Version  string   `json:"v"`
	Instance string   `json:"i"`
	Lines    []string `json:"m"`
	Bytes    [][]byte `json:"b"` // instead of Lines
}

// maxRecord bounds a record when it is read, in bytes; what is written stays
// far below (a line of 256 KiB or a read of 64 KiB, in base64 at worst).
const maxRecord = 2 << 20

// appendRecord encodes a block of lines, each ended by '\n'. The order of the
// fields is part of the format: times and request ids are read without parsing
// the rest.
func appendRecord(dst []byte, t int64, src *Source, request string, block []byte) []byte {
	dst = append(dst, `{"t":`...)
	dst = strconv.AppendInt(dst, t, 10)
	if request != "" {
		dst = append(dst, `,"r":`...)
		dst = appendString(dst, request)
	}
	dst = append(dst, `,"v":`...)
	dst = appendString(dst, src.Version)
	dst = append(dst, `,"i":`...)
	dst = appendString(dst, src.Instance)
	if isText(block) {
		dst = append(dst, `,"m":[`...)
		dst = appendLines(dst, block, func(dst, line []byte) []byte { return appendString(dst, line) })
	} else {
		dst = append(dst, `,"b":[`...)
		dst = appendLines(dst, block, appendBase64)
	}
	return append(dst, "]}\n"...)
}

func appendLines(dst, block []byte, encode func(dst, line []byte) []byte) []byte {
	for first := true; len(block) > 0; first = false {
		line, rest, _ := bytes.Cut(block, newline)
		if !first {
			dst = append(dst, ',')
		}
		dst = encode(dst, line)
		block = rest
	}
	return dst
}

var newline = []byte{'\n'}

// isText reports whether a block is fit for JSON strings: it survives them, and
// grows less than in base64.
func isText(block []byte) bool {
	escapes := 0
	for _, c := range block {
		if c < ' ' && c != '\n' && c != '\t' {
			escapes++
		}
	}
	return escapes*15 <= len(block) && utf8.Valid(block)
}

const hexDigits = "0123456789abcdef"

// appendString appends a JSON string. Bytes that are not UTF-8 must not be in s.
func appendString[T string | []byte](dst []byte, s T) []byte {
	dst = append(dst, '"')
	from := 0
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c >= ' ' && c != '"' && c != '\\' {
			continue
		}
		dst = append(dst, s[from:i]...)
		from = i + 1
		switch c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\t':
			dst = append(dst, '\\', 't')
		default:
			dst = append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		}
	}
	return append(append(dst, s[from:]...), '"')
}

func appendBase64(dst, line []byte) []byte {
	dst = append(dst, '"')
	dst = base64.StdEncoding.AppendEncode(dst, line)
	return append(dst, '"')
}

// parseRecord reads a record; false is a damaged one.
func parseRecord(raw []byte) (record, bool) {
	var r record
	if err := json.Unmarshal(raw, &r); err != nil || r.Time == 0 {
		return record{}, false
	}
	for _, b := range r.Bytes {
		r.Lines = append(r.Lines, string(b))
	}
	return r, true
}

// peek reads the time and the request (as it is written, escapes and all) of a
// record without parsing the rest.
func peek(raw []byte) (t int64, request []byte, ok bool) {
	rest, ok := bytes.CutPrefix(raw, []byte(`{"t":`))
	if !ok {
		return 0, nil, false
	}
	digits := 0
	for digits < len(rest) && rest[digits] >= '0' && rest[digits] <= '9' {
		digits++
	}
	t, err := strconv.ParseInt(string(rest[:digits]), 10, 64)
	if err != nil {
		return 0, nil, false
	}
	if rest, ok = bytes.CutPrefix(rest[digits:], []byte(`,"r":"`)); !ok {
		return t, nil, true
	}
	for i := 0; i < len(rest); i++ {
		switch rest[i] {
		case '\\':
			i++
		case '"':
			return t, rest[:i], true
		}
	}
	return 0, nil, false
}

// written is a request id as peek returns it.
func written(request string) []byte {
	quoted := appendString(nil, validString(request))
	return quoted[1 : len(quoted)-1]
}
