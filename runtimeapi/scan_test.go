package runtimeapi

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
)

func TestScan(t *testing.T) {
	post := "POST " + invocationPrefix + "id/response HTTP/1.1\r\n"
	for request, want := range map[string]struct{ whole, plain bool }{
		"":                          {false, true},
		"GET /2018":                 {false, true},
		nextRequest:                 {true, true},
		nextRequest + "GET ":        {true, true},
		nextRequest[:40]:            {false, true},
		"GET /2018-06-01/ping HTTP": {false, false},
		"PUT " + invocationPrefix:   {false, false},
		"\r\n" + nextRequest:        {false, false},
		"GET " + invocationPrefix + "next HTTP/1.1\r\nContent-Length: 0\r\n\r\n": {false, false},
		"GET " + invocationPrefix + "next HTTP/1.1\nHost: x\n\n":                 {false, false},
		post + "\r\n":                                                      {false, false},
		post + "Content-Length: 2\r\n\r\n{":                                {false, true},
		post + "content-length:2\r\n\r\n{}":                                {true, true},
		post + "Content-Length: -2\r\n\r\n{}":                              {false, false},
		post + "Content-Length: 2\n\n{}\r\n\r\n":                           {false, false},
		post + "Content-Length: 2\r\nExpect: 100-continue\r\n\r\n":         {false, false},
		post + "Transfer-Encoding: chunked\r\n\r\n":                        {false, true},
		post + "Transfer-Encoding: Chunked\r\n\r\n2\r\n{}":                 {false, true},
		post + "Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n":        {false, true},
		post + "Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\nGET": {true, true},
		post + "Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nA: b":    {false, false},
		post + "Transfer-Encoding: chunked\r\n\r\n2;a=b\r\n":               {false, false},
		post + "Transfer-Encoding: chunked\r\n\r\n123456789012345":         {false, false},
		post + "Transfer-Encoding: gzip\r\n\r\n":                           {false, false},
		post + "Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n{}": {false, false},
	} {
		if whole, plain := scan([]byte(request)); whole != want.whole || plain != want.plain {
			t.Errorf("%q: whole %v, plain %v", request, whole, plain)
		}
	}
}

// FuzzScan compares with who understands the request. One that is whole is read without
// another byte; one that could be read is not waited for.
func FuzzScan(f *testing.F) {
	f.Add([]byte(nextRequest))
	f.Add([]byte("POST " + invocationPrefix + "id/response HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}"))
	f.Add([]byte("POST " + invocationPrefix + "id/error HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"))
	f.Add([]byte("POST " + invocationPrefix + "id/error HTTP/1.1\nTransfer-Encoding: chunked\r\n\n2\r\n{}\r\n0\r\nA: b\r\n\r\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > readBuffer {
			return // more than a caller of Invoke looks at
		}
		whole, plain := scan(b)
		in := &counted{Reader: bytes.NewReader(b)}
		r := bufio.NewReaderSize(in, readBuffer)
		q, err := readRequest(r)
		understood := err == nil
		if understood {
			_, err = q.readBody(r, MaxResponse)
		}
		switch {
		case whole && !plain:
			t.Errorf("%q is whole, and not plain", b)
		case whole && in.ended:
			t.Errorf("%q is whole, and more was asked for: %v", b, err)
		case plain && !whole && understood && err == nil:
			t.Errorf("%q is waited for, and was read", b)
		}
	})
}

// counted notes that its end was read.
type counted struct {
	io.Reader
	ended bool
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.ended = c.ended || errors.Is(err, io.EOF)
	return n, err
}

// What a caller looks at is a few KiB: it costs no memory.
func BenchmarkScan(b *testing.B) {
	request := []byte("POST " + invocationPrefix + "id/response HTTP/1.1\r\nHost: 127.0.0.1:9001\r\nUser-Agent: aws-lambda-go\r\n" +
		"Transfer-Encoding: chunked\r\nContent-Type: application/json\r\n\r\n400\r\n" + strings.Repeat("x", 0x400) + "\r\n0\r\n\r\n")
	b.ReportAllocs()
	for b.Loop() {
		if whole, _ := scan(request); !whole {
			b.Fatal("not whole")
		}
	}
}
