package runtimeapi

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"hearth/faas"
)

// The frame protocol. Hearth and a managed runtime's bootstrap exchange frames
// over a stream socket. All numbers are big-endian:
//
//	length   uint32   bytes that follow: 4 + header + payload
//	type     byte     one of the letters below
//	header   uint24   length of the header
//	header            text, see each type
//	payload           bytes, see each type
//
// From Hearth: at most one park frame, one go frame, then invoke frames. From the
// runtime: hello as its first byte, parked where it was told to park, then ready or
// an init error once, then one response, error or crash for each invoke, in any
// order; a stream and chunks may come before it, as parts of the response. Anything
// else breaks the session.
const (
	frameHello     = 'H' // header, payload: empty. The runtime runs.
	frameGo        = 'G' // payload: a Go document as JSON
	framePark      = 'P' // both ways: do what no function has a part in, and say when that is done
	frameReady     = 'R' // header, payload: empty. Init has ended well.
	frameInitError = 'E' // header: error type; payload: the error document
	frameInvoke    = 'I' // header: an invokeHeader as JSON; payload: the event
	frameResponse  = 'D' // header: request id; payload: the result
	frameError     = 'F' // header: request id, a space, error type; payload: the error document
	frameCrash     = 'C' // as an error, and the runtime ends: it takes no more events
	frameStream    = 'S' // header: request id, a space, content type. The result comes in chunks.
	frameChunk     = 'K' // header: request id; payload: the next part of the result
	frameCredit    = 'W' // from Hearth; header: request id; payload: bytes, in decimal, that it has taken of the result
)

const (
	framePrefix = 8 // length, type, header length
	// maxRuntimeHeader bounds the header of a frame from a runtime: a request id
	// and an error type, of which the function chooses the latter.
	maxRuntimeHeader = 1024
	maxUint24        = 1<<24 - 1
)

// errProtocol is the cause of a session that a runtime broke.
var errProtocol = errors.New("runtimeapi: the runtime broke the frame protocol")

// frame is one frame from a runtime. oversize is set, and the payload
// discarded, where it was larger than the reader's limit.
type frame struct {
	kind     byte
	header   string
	payload  []byte
	oversize int64 // the payload's length where it was over the limit, else 0
}

// readFrame reads one frame from a runtime, which is hostile: the memory that it
// takes is bounded by maxRuntimeHeader and limit, whatever the lengths say.
// io.EOF means that the stream ended between two frames. A header that is the
// expected one costs no memory.
func readFrame(r *bufio.Reader, limit int, expected string) (frame, error) {
	prefix, err := r.Peek(framePrefix)
	if err != nil {
		if err == io.EOF && len(prefix) > 0 {
			err = io.ErrUnexpectedEOF
		}
		return frame{}, err
	}
	length := int64(binary.BigEndian.Uint32(prefix[:4]))
	word := binary.BigEndian.Uint32(prefix[4:])
	f := frame{kind: byte(word >> 24)}
	header := int64(word & maxUint24)
	payload := length - 4 - header
	if payload < 0 || header > maxRuntimeHeader {
		return frame{}, fmt.Errorf("%w: lengths %d and %d", errProtocol, length, header)
	}
	_, _ = r.Discard(framePrefix) // it is in the buffer
	if header > 0 {
		text, err := r.Peek(int(header)) // less than the buffer holds
		if err != nil {
			return frame{}, unexpected(err)
		}
		if string(text) == expected {
			f.header = expected
		} else {
			f.header = string(text)
		}
		_, _ = r.Discard(int(header))
	}
	if payload > int64(limit) {
		f.oversize = payload
		_, err := io.CopyN(io.Discard, r, payload)
		return f, unexpected(err)
	}
	f.payload, err = readPayload(r, int(payload))
	return f, unexpected(err)
}

// readPayload reads n bytes, and takes memory only as they arrive: a runtime
// that announces much and sends nothing holds no more than a first step.
func readPayload(r *bufio.Reader, n int) ([]byte, error) {
	const step = 256 << 10
	if n == 0 {
		return nil, nil
	}
	buf := make([]byte, min(n, step))
	read := 0
	for {
		m, err := io.ReadFull(r, buf[read:])
		read += m
		if err != nil {
			return nil, err
		}
		if read == n {
			return buf, nil
		}
		grown := make([]byte, min(n, 4*len(buf)))
		copy(grown, buf)
		buf = grown
	}
}

func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// invokeHeader is the header of an invoke frame. Remaining is milliseconds from
// now, so that clocks need not agree.
type invokeHeader struct {
	ID        string          `json:"id"`
	Remaining int64           `json:"ms"`
	ARN       string          `json:"arn"`
	Trace     string          `json:"trace,omitempty"`
	Client    json.RawMessage `json:"client,omitempty"`
	Cognito   json.RawMessage `json:"cognito,omitempty"`
	Attempt   int             `json:"attempt,omitempty"` // of an asynchronous invocation
}

// appendInvokeHeader appends the invokeHeader of an event, which package json needs
// three allocations for.
func appendInvokeHeader(b []byte, event *faas.Event) []byte {
	b = appendString(append(b, `{"id":`...), event.RequestID)
	b = strconv.AppendInt(append(b, `,"ms":`...), time.Until(event.Deadline).Milliseconds(), 10)
	b = appendString(append(b, `,"arn":`...), event.InvokedARN)
	if event.TraceID != "" {
		b = appendString(append(b, `,"trace":`...), event.TraceID)
	}
	b = appendDocument(b, `,"client":`, event.ClientContext)
	b = appendDocument(b, `,"cognito":`, event.Cognito)
	if event.Attempt > 0 { // of an asynchronous invocation
		b = strconv.AppendInt(append(b, `,"attempt":`...), int64(event.Attempt), 10)
	}
	return append(b, '}')
}

// appendDocument appends a member that is JSON already: a header is never broken by
// what a caller sent as client context.
func appendDocument(b []byte, name string, text []byte) []byte {
	if len(text) == 0 || !json.Valid(text) {
		return b
	}
	return append(append(b, name...), text...)
}

// appendString appends a JSON string.
func appendString(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c >= 0x7f || c == '"' || c == '\\' {
			quoted, _ := json.Marshal(s) // strings always marshal
			return append(b, quoted...)
		}
	}
	return append(append(append(b, '"'), s...), '"')
}

// appendFrame appends everything of a frame but its payload.
func appendFrame(b []byte, kind byte, header []byte, payload int) ([]byte, error) {
	length := 4 + len(header) + payload
	if len(header) > maxUint24 || int64(length) > 1<<32-1 {
		return b, fmt.Errorf("runtimeapi: frame of %d and %d bytes is too large", len(header), payload)
	}
	b = binary.BigEndian.AppendUint32(b, uint32(length))
	b = binary.BigEndian.AppendUint32(b, uint32(kind)<<24|uint32(len(header)))
	return append(b, header...), nil
}
