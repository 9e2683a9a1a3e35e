package load

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"time"
)

const (
	defaultTimeout = 30 * time.Second
	// maxHeaderLines and maxBody bound an answer.
	maxHeaderLines = 64
	maxBody        = 8 << 20
)

// functionError is the header with which Lambda marks the answer of a function
// that failed: its status is 200 all the same.
const functionError = "X-Amz-Function-Error"

// conn is one connection that sends the same bytes again and again. It reads just
// the HTTP/1.1 that servers answer a plain request with (a status, headers, a body
// with Content-Length): a whole client would take a good part of the time that is
// to be measured, on the same processors.
type conn struct {
	target Target
	net    net.Conn
	in     *bufio.Reader
	body   []byte
}

func dial(ctx context.Context, t Target) (*conn, error) {
	if t.Timeout <= 0 {
		t.Timeout = defaultTimeout
	}
	if t.Status == 0 {
		t.Status = 200
	}
	c, err := new(net.Dialer).DialContext(ctx, "tcp", t.Address)
	if err != nil {
		return nil, fmt.Errorf("load: %w", err)
	}
	return &conn{target: t, net: c, in: bufio.NewReaderSize(c, 16<<10)}, nil
}

func (c *conn) close() { _ = c.net.Close() }

// roundTrip sends the request and reads and checks the answer.
func (c *conn) roundTrip() error {
	if err := c.net.SetDeadline(time.Now().Add(c.target.Timeout)); err != nil {
		return err
	}
	if _, err := c.net.Write(c.target.Request); err != nil {
		return err
	}
	a, err := readAnswer(c.in, c.body)
	if err != nil {
		return err
	}
	c.body = a.body[:0]
	if a.status != c.target.Status || a.failed {
		return fmt.Errorf("status %d, function error %t: %.300s", a.status, a.failed, a.body)
	}
	if c.target.Check == nil {
		return nil
	}
	return c.target.Check(a.body)
}

// answer is what is read of one response.
type answer struct {
	status int
	failed bool // it has X-Amz-Function-Error
	body   []byte
}

var errChunked = errors.New("an answer without Content-Length cannot be measured here")

// readAnswer reads one response. Its body reuses the room of buffer where that
// suffices.
func readAnswer(in *bufio.Reader, buffer []byte) (a answer, err error) {
	line, err := readLine(in)
	if err != nil {
		return a, err
	}
	if a.status, err = parseStatus(line); err != nil {
		return a, err
	}
	length := -1
	for n := 0; ; n++ {
		if line, err = readLine(in); err != nil {
			return a, err
		}
		if len(line) == 0 {
			break
		}
		if n == maxHeaderLines {
			return a, errors.New("too many headers")
		}
		name, value, ok := bytes.Cut(line, []byte(":"))
		switch {
		case !ok:
			return a, fmt.Errorf("a header without a colon: %.100q", line)
		case is(name, "Content-Length"):
			length, err = strconv.Atoi(string(bytes.TrimSpace(value)))
			if err != nil || length < 0 || length > maxBody {
				return a, fmt.Errorf("Content-Length is %.40q", value)
			}
		case is(name, functionError):
			a.failed = true
		}
	}
	if length < 0 {
		return a, errChunked
	}
	if cap(buffer) < length {
		buffer = make([]byte, length)
	}
	a.body = buffer[:length]
	_, err = io.ReadFull(in, a.body)
	return a, err
}

// readLine returns a line without its end, valid until the next read.
func readLine(in *bufio.Reader) ([]byte, error) {
	line, err := in.ReadSlice('\n')
	if err != nil {
		return nil, err // bufio.ErrBufferFull bounds a line
	}
	return bytes.TrimSuffix(line[:len(line)-1], []byte("\r")), nil
}

func parseStatus(line []byte) (int, error) {
	rest, ok := bytes.CutPrefix(line, []byte("HTTP/1.1 "))
	if !ok || len(rest) < 3 {
		return 0, fmt.Errorf("not an answer in HTTP/1.1: %.100q", line)
	}
	status, err := strconv.Atoi(string(rest[:3]))
	if err != nil || status < 200 || status > 599 {
		return 0, fmt.Errorf("the status is %.3q", rest)
	}
	return status, nil
}

// is compares a header's name in any case.
func is(name []byte, want string) bool {
	return len(name) == len(want) && bytes.EqualFold(name, []byte(want))
}

// Post makes the bytes of a request with a JSON body. More headers are lines
// without their end.
func Post(address, path string, body []byte, headers ...string) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "POST %s HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n", path, address, len(body))
	for _, h := range headers {
		b.WriteString(h + "\r\n")
	}
	b.WriteString("\r\n")
	b.Write(body)
	return b.Bytes()
}
