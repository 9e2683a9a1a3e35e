package runtimeapi

import (
	"context"
	"errors"
	"io"

	"hearth/faas"
)

// sink takes the response of one invocation part by part: for the invocation's
// stream, or, where its caller wants it whole, into memory up to the session's limit.
// It belongs to one goroutine.
type sink struct {
	to          faas.ResponseStream // nil where the parts are collected
	limit       int64
	contentType string
	opened      bool // the stream was told
	size        int64
	parts       []byte
}

// newSink returns the sink for a response with that content type. Its stream hears
// of it with the first byte: until then the function may still fail as a whole.
func newSink(to faas.ResponseStream, limit int, contentType string) *sink {
	k := &sink{to: to, limit: int64(limit), contentType: contentType}
	if to != nil {
		k.limit = faas.MaxStreamed
	}
	return k
}

func (k *sink) open() {
	if !k.opened && k.to != nil {
		k.to.Open(k.contentType)
	}
	k.opened = true
}

// full reports whether the response is over its limit: what comes is dropped.
func (k *sink) full() bool { return k.size > k.limit }

// write takes a part, and waits for the stream until ctx ends.
func (k *sink) write(ctx context.Context, p []byte) error {
	room := max(0, k.limit-k.size)
	k.size += int64(len(p))
	if p = p[:min(room, int64(len(p)))]; len(p) == 0 {
		return nil
	}
	if k.to == nil {
		k.parts = append(k.parts, p...)
		return nil
	}
	k.open()
	return k.to.Write(ctx, p)
}

// streamBuffer is how much of a streamed response is read at once, in bytes.
const streamBuffer = 32 << 10

// errFull: a response is over its limit.
var errFull = errors.New("runtimeapi: the response is too large")

// copy writes what it reads, until that ends or ctx does; errFull where it is more
// than the sink takes.
func (k *sink) copy(ctx context.Context, from io.Reader) error {
	buf := make([]byte, streamBuffer)
	for {
		n, err := from.Read(buf)
		if err := k.write(ctx, buf[:n]); err != nil {
			return err
		}
		switch {
		case k.full():
			return errFull
		case err == io.EOF:
			return nil
		case err != nil:
			return err
		}
	}
}

// finish is the outcome of the response, which ended with out: a function error, or
// nothing.
func (k *sink) finish(out faas.Outcome) faas.Outcome {
	switch {
	case out.FunctionError != "":
		return out
	case k.full():
		return tooLarge(k.size, int(k.limit))
	}
	k.open()
	out.Payload = k.parts
	return out
}
