package http1

import (
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// largeWrite is from where a part of an answer is written as it is and not copied.
const largeWrite = 16 << 10

// response is the answer to one request. It is written in one go at the end, or,
// where the handler said its length and wrote much, as it comes.
type response struct {
	conn    net.Conn // for large parts
	fast    net.Conn
	header  http.Header
	status  int    // 0 until WriteHeader
	buf     []byte // head, where it is made, and body that is not written yet
	begun   bool   // the head is in buf, or written
	close   bool   // the connection ends with this answer
	length  int64  // as the handler said it; -1 where it did not
	written int64  // of the body
	err     error  // of the connection; the first
}

var _ http.ResponseWriter = (*response)(nil)

func (w *response) reset() {
	clear(w.header)
	*w = response{conn: w.conn, fast: w.fast, header: w.header, buf: w.buf[:0], length: -1}
	if cap(w.buf) > 4*largeWrite { // an idle connection holds little
		w.buf = nil
	}
}

func (w *response) Header() http.Header { return w.header }

// WriteHeader sets the status; a second one, and informational ones, do nothing.
func (w *response) WriteHeader(status int) {
	if w.status != 0 || status < 200 {
		return
	}
	w.status = status
	if value := w.header["Content-Length"]; len(value) > 0 {
		n, err := strconv.ParseInt(value[0], 10, 64)
		if err == nil && n >= 0 {
			w.length = n
		}
	}
}

func (w *response) bodyAllowed() bool {
	return w.status != http.StatusNoContent && w.status != http.StatusNotModified
}

func (w *response) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	if !w.bodyAllowed() {
		return 0, http.ErrBodyNotAllowed
	}
	if w.written += int64(len(p)); w.length >= 0 && w.written > w.length {
		return 0, http.ErrContentLength
	}
	if w.length < 0 {
		w.buf = append(w.buf, p...) // the head is made when the length is known
		return len(p), nil
	}
	if !w.begun {
		w.begin(w.length, p)
	}
	if len(w.buf)+len(p) < largeWrite {
		w.buf = append(w.buf, p...)
		return len(p), nil
	}
	if w.err == nil {
		buffers := net.Buffers{w.buf, p}
		_, w.err = buffers.WriteTo(w.conn)
	}
	w.buf = w.buf[:0]
	return len(p), w.err
}

// finish writes what is left of the answer.
func (w *response) finish() error {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	if !w.begun {
		body := w.buf
		if w.length < 0 || !w.bodyAllowed() {
			if len(body) > 0 {
				w.buf = nil
			}
			w.begin(int64(len(body)), body)
			w.buf = append(w.buf, body...)
		} else {
			w.begin(w.length, nil)
		}
	}
	if w.length >= 0 && w.written != w.length && w.bodyAllowed() {
		w.close = true // the client sees that it is cut
	}
	if w.err == nil {
		_, w.err = w.fast.Write(w.buf)
	}
	return w.err
}

// begin appends the head. The order of its fields is none.
func (w *response) begin(length int64, start []byte) {
	w.begun = true
	b := append(w.buf, "HTTP/1.1 "...)
	b = strconv.AppendInt(b, int64(w.status), 10)
	b = append(b, ' ')
	if text := http.StatusText(w.status); text != "" {
		b = append(b, text...)
	} else {
		b = append(b, "status code "...)
		b = strconv.AppendInt(b, int64(w.status), 10)
	}
	b = append(b, "\r\n"...)
	if _, said := w.header["Date"]; !said {
		b = append(append(append(b, "Date: "...), dateNow()...), "\r\n"...)
	}
	for name, values := range w.header {
		switch name {
		case "Content-Length":
			continue
		case "Connection":
			w.close = w.close || len(values) > 0 && strings.EqualFold(values[0], "close")
			continue
		}
		for _, value := range values {
			b = append(append(b, name...), ": "...)
			b = append(appendClean(b, value), "\r\n"...)
		}
	}
	if w.bodyAllowed() {
		if _, said := w.header["Content-Type"]; !said && len(start) > 0 {
			b = append(append(append(b, "Content-Type: "...), http.DetectContentType(start)...), "\r\n"...)
		}
		b = strconv.AppendInt(append(b, "Content-Length: "...), length, 10)
		b = append(b, "\r\n"...)
	}
	if w.close {
		b = append(b, "Connection: close\r\n"...)
	}
	w.buf = append(b, "\r\n"...)
}

// appendClean appends a header's value; what would end its line becomes a space.
func appendClean(b []byte, value string) []byte {
	from := len(b)
	b = append(b, value...)
	for i := from; i < len(b); i++ {
		if b[i] == '\r' || b[i] == '\n' {
			b[i] = ' '
		}
	}
	return b
}

// date is the Date header of one second.
type date struct {
	second int64
	text   string
}

var lastDate atomic.Pointer[date]

func dateNow() string {
	now := time.Now()
	d := lastDate.Load()
	if d == nil || d.second != now.Unix() {
		d = &date{now.Unix(), now.UTC().Format(http.TimeFormat)}
		lastDate.Store(d)
	}
	return d.text
}
