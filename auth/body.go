package auth

import (
	"errors"
	"io"
	"net/http"
	"sync"
	"time"
)

// Body is a request's body in memory, as Authenticate leaves it.
type Body struct {
	data    []byte
	read    int
	release func()
	once    sync.Once
}

func newBody(data []byte, release func()) *Body { return &Body{data: data, release: release} }

// Bytes returns what was not read yet, without a copy, and reads it.
func (b *Body) Bytes() []byte {
	rest := b.data[b.read:]
	b.read = len(b.data)
	return rest
}

func (b *Body) Read(p []byte) (int, error) {
	if b.read == len(b.data) {
		return 0, io.EOF
	}
	n := copy(p, b.data[b.read:])
	b.read += n
	return n, nil
}

// Close gives back the place of a large body.
func (b *Body) Close() error {
	if b.release != nil {
		b.once.Do(b.release)
	}
	return nil
}

func keepNothing() {}

// readAll reads a body of the announced size, -1 where it is unknown. A large one
// has a place until release is called.
func (v *Verifier) readAll(r *http.Request, body io.Reader, size int64) (data []byte, release func(), err error) {
	release = keepNothing
	switch {
	case size == 0 || body == nil || body == http.NoBody:
		return nil, release, nil
	case size > MaxBody:
		return nil, release, tooLarge()
	case size > 0 && size <= freeBody:
		data = make([]byte, size)
		if _, err = io.ReadFull(body, data); err != nil {
			return nil, release, unreadable(err)
		}
		return data, release, nil
	}
	// What is longer, or of unknown length, is read up to the bound before it asks
	// for a place.
	data, err = io.ReadAll(io.LimitReader(body, freeBody))
	if err != nil {
		return nil, release, unreadable(err)
	}
	if len(data) < freeBody {
		if size > 0 && int64(len(data)) < size {
			return nil, release, unreadable(io.ErrUnexpectedEOF)
		}
		return data, release, nil
	}
	return v.readLarge(r, data, body, size)
}

// readLarge reads what follows the first bytes of a large body.
func (v *Verifier) readLarge(r *http.Request, first []byte, body io.Reader, size int64) ([]byte, func(), error) {
	timer := time.NewTimer(largeWait)
	defer timer.Stop()
	select {
	case v.large <- struct{}{}:
	case <-r.Context().Done():
		return nil, keepNothing, unreadable(r.Context().Err())
	case <-timer.C:
		return nil, keepNothing, &Error{Busy, "Rate Exceeded. Too many large requests are being served; try again."}
	}
	release := func() { <-v.large }
	data := first
	if size > 0 {
		data = make([]byte, size)
		n := copy(data, first)
		if _, err := io.ReadFull(body, data[n:]); err != nil {
			release()
			return nil, keepNothing, unreadable(err)
		}
		return data, release, nil
	}
	rest, err := io.ReadAll(io.LimitReader(body, MaxBody+1-int64(len(first))))
	if err != nil {
		release()
		return nil, keepNothing, unreadable(err)
	}
	if data = append(data, rest...); len(data) > MaxBody {
		release()
		return nil, keepNothing, tooLarge()
	}
	return data, release, nil
}

func tooLarge() error {
	return refuse(TooLarge, "Request must be smaller than %d bytes", MaxBody)
}

// unreadable words why a body could not be read; what a chunk reader says of it
// stands.
func unreadable(err error) error {
	var worded *Error
	if errors.As(err, &worded) {
		return worded
	}
	return refuse(Unreadable, "The request's body could not be read to its end: %s", clip(err.Error()))
}
