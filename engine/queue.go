package engine

import (
	"context"
	"errors"
	"time"
)

// Errors of queues beside those of the other stores.
var (
	// ErrBacklog: a cap on what may wait refuses the message; the error is a *Backlogged too.
	ErrBacklog = errors.New("engine: backlog is full")
	// ErrInFlight: the message has been fetched and is neither settled nor released.
	ErrInFlight = errors.New("engine: message is in flight")
)

// Message is one event on its way to be processed.
type Message struct {
	// ID names the event for ever: a UUID in its canonical form, lower case.
	ID string
	// Key names the queue (CheckKey). Each key is one first-in-first-out queue
	// and exists as long as it holds something; thousands are cheap. Its first
	// token is the account whose caps count it.
	Key string
	// Header is the caller's own small record about the event, at most MaxHeader
	// bytes. Retry and Update replace it; the body is never written again.
	Header []byte
	// Body is at most MaxBody bytes.
	Body []byte
	// Idempotency, where it is not empty, drops a message whose key and
	// Idempotency are those of one accepted within the last Window, settled
	// or not. At most MaxIdempotency bytes.
	Idempotency string
	// Window is how long this message's Idempotency drops others; 0 means
	// DefaultWindow, the most is MaxWindow.
	Window time.Duration
}

// Receipt is the answer to an accepted message.
type Receipt struct {
	// ID is the message's, or that of the first one where this is a duplicate.
	ID string
	// Duplicate says that nothing was stored, because the message is there already.
	Duplicate bool
}

// Caps bound what may wait before a message is accepted; 0 is no bound. What
// waits is all that is not settled: ready, delayed and in flight. Bytes are
// those of headers and bodies, and 64 more for each message.
type Caps struct {
	KeyEvents, KeyBytes         int64
	AccountEvents, AccountBytes int64
}

// State is where a message that is not settled is.
type State uint8

// The states of a message. Append leads to Ready or, with a time, to Delayed;
// Fetch to InFlight; Release back to Ready; Retry to Delayed; time to Ready.
const (
	Ready State = iota + 1
	Delayed
	InFlight
)

func (s State) String() string {
	return [...]string{"none", "ready", "delayed", "in flight"}[min(s, InFlight)]
}

// Event is a message that is not settled, as the queue holds it.
type Event struct {
	Message  // without Idempotency and Window
	State    State
	Accepted time.Time // when Append or Schedule stored it, on the wall clock
	Due      time.Time // when it becomes or became Ready, on the wall clock
}

// Outcome ends a message.
type Outcome struct {
	// Status is the caller's word for how it ended, 1 to MaxStatus bytes.
	Status string
	// Details is the caller's own record of it, at most MaxDetails bytes.
	Details []byte
	// Keep has the history keep header and body too, so that the event can be
	// looked at and run again.
	Keep bool
	// Patient says that nobody waits for it: while outcomes come one after the other
	// it may wait some milliseconds for more to be written with.
	Patient bool
}

// Backlog is what one key holds.
type Backlog struct {
	Key                      string
	Ready, Delayed, InFlight int
	Bytes                    int64 // as Caps count them
	// Oldest is when the message that Fetch would return next was accepted; zero
	// where none is ready.
	Oldest time.Time
}

// Use is what an account holds, as Caps count it.
type Use struct{ Events, Bytes int64 }

// Loss is something that was stored and cannot be read any more: the disk
// changed or lost it. What is not named in a Loss is not lost.
type Loss struct {
	At time.Time // when it was noticed
	// What says in words what is damaged, and where it is set aside if it is.
	What string
	// IDs are the lost events as far as they are known; Events is their number,
	// at least len(IDs), or -1 where not even that is known.
	IDs    []string
	Events int
	// Keys are the queues that lost events, as far as they are known.
	Keys []string
}

// Queue is the durable store of what is to be processed: a FIFO queue for each
// key, delayed messages, and the outcome of each. What returned nil is on disk
// and survives kill -9 and power loss. Calls of several goroutines that wait at
// the same time are written together, so throughput comes from concurrent calls.
// Safe for concurrent use.
//
// Delivery is at least once. After a restart everything that was not settled is
// there: what was in flight is Ready again at its old place. Settling a message is
// one atomic write of its outcome and its removal, so what is settled never
// comes back.
//
// Delays are waited for on the monotonic clock, and kept as wall time over
// restarts: a clock that jumps shifts nothing that waits in a running process.
//
// Every method fails with ErrClosed after Close. A context that ends while a
// write is under way leaves open whether it took place.
type Queue interface {
	// Append stores a message at the end of its queue. It fails with ErrBacklog
	// where a cap is reached, and with ErrFull where the disk is nearly so. An
	// ID that is in the queue already is a duplicate.
	Append(ctx context.Context, m Message, caps Caps) (Receipt, error)
	// Schedule is Append for a message that becomes Ready at a time, at the end of
	// its queue as it is then. A time in the past is now.
	Schedule(ctx context.Context, m Message, at time.Time, caps Caps) (Receipt, error)

	// Fetch takes up to n Ready messages from the head of a queue, in order, and
	// makes them InFlight. It never waits for a message: none is no error.
	// First comes what was appended first; a message released is at its
	// old place, a delayed one at the place of the moment when it became Ready.
	Fetch(ctx context.Context, key string, n int) ([]Event, error)
	// Release makes messages in flight Ready again, at their old place. Nothing
	// is written. IDs that are not in flight are ignored.
	Release(ids ...string)
	// Update replaces the header of a message in whatever state. ErrNotFound
	// where it is settled or was never there. It is not refused on a nearly full
	// disk, nor are Retry, Cancel and Settle.
	Update(ctx context.Context, id string, header []byte) error
	// Retry makes a message in flight Delayed until a time, with a new header. No
	// cap refuses it. ErrNotFound where it is not in flight.
	Retry(ctx context.Context, id string, at time.Time, header []byte) error
	// Settle removes a message, in whatever state, and records its outcome in
	// the History; both or neither. ErrNotFound where it is settled already or
	// was never there.
	Settle(ctx context.Context, id string, o Outcome) error
	// Cancel is Settle for a message that is not in flight, else ErrInFlight.
	Cancel(ctx context.Context, id string, o Outcome) error

	// Notify has ready called with a key whenever one of its messages became
	// Ready, except for those that were before Notify: list Backlogs after it.
	// Calls come from several goroutines, hold no lock and must return at once.
	// One call may stand for several messages. nil ends it.
	Notify(ready func(key string))
	// Backlog returns what one key holds; it reads nothing from disk.
	Backlog(key string) Backlog
	// Backlogs returns every key that holds something, in no order; it reads
	// nothing from disk.
	Backlogs() []Backlog
	// Use returns what an account holds.
	Use(account string) Use
	// Find returns the message with its body, or ErrNotFound.
	Find(ctx context.Context, id string) (Event, error)
	// List returns up to limit messages of a key without their bodies, in the
	// order of their acceptance, from the one after the id given ("" is the first).
	// An id that has left since ends the listing with ErrNotFound.
	List(ctx context.Context, key, after string, limit int) ([]Event, error)

	// Losses returns what was found damaged since the queue was opened, the
	// last hundred. OnLoss, an option of the implementation, hears them all.
	Losses() []Loss
}

// Record is what the History keeps of a settled message.
type Record struct {
	ID, Key           string
	Status            string
	Accepted, Settled time.Time
	Details           []byte
	// Kept says that Header and Body were kept; only Get returns them.
	Kept         bool
	Header, Body []byte
	// Cursor orders records by their settlement and names no other record.
	Cursor uint64
}

// Query selects records of the History.
type Query struct {
	// Prefix is a key or the first whole tokens of one; "" is everything.
	Prefix string
	// Status, where it is not empty, selects by it.
	Status string
	// Since and Until bound Settled, Since inclusive, Until exclusive; zero is
	// no bound.
	Since, Until time.Time
	// Before continues a listing: the Cursor of the last record returned; 0
	// begins with the newest.
	Before uint64
	// Limit is the most records to return, 1 to MaxListed.
	Limit int
}

// History is the record of settled messages, the newest first, for a bounded time
// and in bounded space; what is beyond either is forgotten, oldest first. It is
// written by Queue.Settle and Queue.Cancel only. Safe for concurrent use.
type History interface {
	// Get returns the record of an id, with header and body where they were kept,
	// or ErrNotFound.
	Get(ctx context.Context, id string) (Record, error)
	// List returns records in the reverse order of their settlement.
	List(ctx context.Context, q Query) ([]Record, error)
}
