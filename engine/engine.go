// Package engine declares the durable stores that Hearth is built on and
// implements them on NATS JetStream, embedded in the binary.
//
// It owns the data directory's engine part: its lock, its format and its
// start-up check. It knows keys and bytes; it must not know what a function is.
// Package enginetest holds the contract that every implementation passes, the
// in-memory fake included.
package engine

import (
	"context"
	"errors"
	"io"
)

// Errors that callers test for with errors.Is.
var (
	ErrNotFound = errors.New("engine: not found")
	// ErrConflict: the key exists (Create), or its revision is not the one given.
	ErrConflict = errors.New("engine: conflict")
	ErrClosed   = errors.New("engine: closed")
	// ErrFull: the data directory has no room; nothing was written.
	ErrFull = errors.New("engine: no space left in the data directory")
	// ErrLocked: another process uses the data directory.
	ErrLocked = errors.New("engine: data directory is in use")
	// ErrDamaged: the stored data cannot be read; the message says which and how to mend it.
	ErrDamaged = errors.New("engine: data directory is damaged")
)

// Entry is one key's value at one revision. Revisions grow with every write to
// the store, whatever the key.
type Entry struct {
	Key      string
	Value    []byte
	Revision uint64
}

// Change is an entry as a watcher sees it. A deletion has a nil Value and the
// revision of the deletion. The zero Change marks the end of what existed when
// the watch began.
type Change struct {
	Entry
	Deleted bool
}

// Meta is a small consistent store of keys. A write that returned nil is on
// disk and survives kill -9 and power loss. Safe for concurrent use.
//
// A key is 1..16 tokens joined by '/'; a token is 1..255 bytes of any kind but
// '/' (implementations encode what their store cannot name). Values are at most
// 512 KiB.
type Meta interface {
	// Get returns the latest entry or ErrNotFound.
	Get(ctx context.Context, key string) (Entry, error)
	// Create writes a key that does not exist, else ErrConflict.
	Create(ctx context.Context, key string, value []byte) (revision uint64, err error)
	// Update writes a key whose latest revision is the one given, else ErrConflict.
	Update(ctx context.Context, key string, value []byte, last uint64) (revision uint64, err error)
	// Delete removes a key whose latest revision is the one given, else
	// ErrConflict; ErrNotFound where there is none. The revision returned is the
	// deletion's own: it orders the deletion among the changes that a watcher sees.
	Delete(ctx context.Context, key string, last uint64) (revision uint64, err error)
	// List returns the entries below a prefix (whole tokens; "" is everything),
	// sorted by key.
	List(ctx context.Context, prefix string) ([]Entry, error)
	// Watch calls apply, from one goroutine and in order of revision, for every
	// entry below the prefix and then for every later change. After the existing
	// entries it calls apply once with the zero Change. It returns when ctx ends
	// or apply fails.
	//
	// Of several changes to one key a watcher that lags may see only the last,
	// and so a deletion of what it never saw: enough to keep a copy, not to count
	// writes. No change is applied twice, and the last one is always applied.
	Watch(ctx context.Context, prefix string, apply func(Change) error) error
}

// Blobs stores byte strings under the sha256 of their content, lower-case hex.
// Put is durable when it returns. Safe for concurrent use.
type Blobs interface {
	// Put stores what r yields. It fails, and stores nothing, where the content
	// does not hash to digest. Storing what is there already is cheap and no error.
	Put(ctx context.Context, digest string, r io.Reader) error
	// Open returns the content, verified while it is read: a reader that reached
	// io.EOF has seen the bytes that hash to digest. ErrNotFound where there is none.
	Open(ctx context.Context, digest string) (io.ReadCloser, error)
	// Size returns the content's length in bytes, or ErrNotFound.
	Size(ctx context.Context, digest string) (int64, error)
	// Delete removes the content; no error where there is none.
	Delete(ctx context.Context, digest string) error
	// List calls visit for every digest, in no order.
	List(ctx context.Context, visit func(digest string, size int64) error) error
}
