package http1

import (
	"bufio"
	"bytes"
	"io"
	"maps"
	"net/http"
	"reflect"
	"strings"
	"testing"
)

func parse(data []byte) (h head, plain, done bool) {
	values := make([]string, maxHeaders)
	return parseHead(data, http.Header{}, values)
}

func TestPlainHeads(t *testing.T) {
	const rest = "Host: localhost:9000\r\nContent-Length: 2\r\n"
	for text, want := range map[string]bool{
		"POST /x HTTP/1.1\r\n" + rest:                                         true,
		"POST /x?a=b%20c HTTP/1.1\r\n" + rest:                                 true,
		"POST /x HTTP/1.1\r\n" + rest + "x-amz-log-type: Tail\r\n":            true,
		"POST /x HTTP/1.1\r\n" + rest + "Connection: Keep-Alive\r\n":          true,
		"POST /x HTTP/1.1\r\n" + rest + "A: \t v w \t\r\nA: second\r\n":       true,
		"GET /x HTTP/1.1\r\n" + rest:                                          false,
		"POST /x HTTP/1.0\r\n" + rest:                                         false,
		"POST http://a/x HTTP/1.1\r\n" + rest:                                 false,
		"POST //a/x HTTP/1.1\r\n" + rest:                                      false,
		"POST /x%2Fy HTTP/1.1\r\n" + rest:                                     false,
		"POST /x y HTTP/1.1\r\n" + rest:                                       false,
		"POST /x HTTP/1.1\r\nHost: a\r\n":                                     false,
		"POST /x HTTP/1.1\r\nContent-Length: 2\r\n":                           false,
		"POST /x HTTP/1.1\r\n" + rest + "Host: b\r\n":                         false,
		"POST /x HTTP/1.1\r\n" + rest + "Content-Length: 2\r\n":               false,
		"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: +2\r\n":               false,
		"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 2, 2\r\n":             false,
		"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 999999\r\n":           false,
		"POST /x HTTP/1.1\r\nHost: a b\r\nContent-Length: 2\r\n":              false,
		"POST /x HTTP/1.1\r\n" + rest + "Transfer-Encoding: chunked\r\n":      false,
		"POST /x HTTP/1.1\r\n" + rest + "transfer-encoding: identity\r\n":     false,
		"POST /x HTTP/1.1\r\n" + rest + "Expect: 100-continue\r\n":            false,
		"POST /x HTTP/1.1\r\n" + rest + "Upgrade: h2c\r\n":                    false,
		"POST /x HTTP/1.1\r\n" + rest + "Connection: close\r\n":               false,
		"POST /x HTTP/1.1\r\n" + rest + "Connection: keep-alive, Upgrade\r\n": false,
		"POST /x HTTP/1.1\r\n" + rest + " folded\r\n":                         false,
		"POST /x HTTP/1.1\r\n" + rest + "Name : v\r\n":                        false,
		"POST /x HTTP/1.1\r\n" + rest + "A: caf\xc3\xa9\r\n":                  false,
		"POST /x HTTP/1.1\r\n" + rest + "A: v\nB: w\r\n":                      false,
		"POST /x HTTP/1.1\r\n" + rest + "A: v\rB: w\r\n":                      false,
		"POST /x HTTP/1.1\nHost: a\n":                                         false,
		"POST /x HTTP/1.1\r\n" + rest + "nothing\r\n":                         false,
		"POST /x HTTP/1.1\r\n" + rest + strings.Repeat("A: v\r\n", 60):        false,
	} {
		if _, plain, done := parse([]byte(text + "\r\n{}")); plain != want || !done && want {
			t.Errorf("%q: plain %t (done %t), want %t", text, plain, done, want)
		}
	}
}

func TestHeadArrivesInParts(t *testing.T) {
	const text = "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n"
	for n := range len(text) {
		if _, plain, done := parse([]byte(text[:n])); !plain || done {
			t.Fatalf("after %d bytes: plain %t, done %t", n, plain, done)
		}
	}
	if h, plain, done := parse([]byte(text + "{}")); !plain || !done || h.size != len(text) || h.length != 2 {
		t.Errorf("%+v, %t, %t", h, plain, done)
	}
}

// FuzzHead: what is plain means the same to net/http.
func FuzzHead(f *testing.F) {
	for _, seed := range []string{
		"POST /2015-03-31/functions/f/invocations HTTP/1.1\r\nHost: localhost:9000\r\nContent-Length: 2\r\n\r\n{}",
		"POST /a?b=%20&c HTTP/1.1\r\nhost: [::1]:80\r\ncontent-length: 0002\r\nx-a:  v \r\nX-A: w\r\n\r\n{}",
		"POST /a? HTTP/1.1\r\nHost: x\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n",
		"POST /$:~_.- HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n",
		"POST /a HTTP/1.1\r\nHost: x\r\nAccept-Encoding: gzip\r\nContent-Length: 1\r\n folded\r\n\r\n1",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		h, plain, done := parse(data)
		if !plain || !done {
			return
		}
		in := bufio.NewReader(bytes.NewReader(data))
		r, err := http.ReadRequest(in)
		if err != nil {
			t.Fatalf("net/http refuses it: %v", err)
		}
		want := maps.Clone(r.Header)
		delete(want, "Host")
		if r.Method != plainMethod || r.RequestURI != h.target || r.Host != h.host || r.ContentLength != int64(h.length) || r.Close {
			t.Errorf("net/http: %s %q host %q length %d close %t; here %+v", r.Method, r.RequestURI, r.Host, r.ContentLength, r.Close, h)
		}
		if !reflect.DeepEqual(*r.URL, *requestURL(h.target)) {
			t.Errorf("net/http: %#v; here %#v", *r.URL, *requestURL(h.target))
		}
		if !reflect.DeepEqual(want, h.header) {
			t.Errorf("net/http: %q; here %q", want, h.header)
		}
		// The body begins at the same byte, whatever there is of it.
		body, _ := io.ReadAll(r.Body)
		if there := data[h.size:min(len(data), h.size+h.length)]; !bytes.Equal(body, there) {
			t.Errorf("net/http: body %q; here %q", body, there)
		}
	})
}
