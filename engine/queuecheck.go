package engine

import (
	"fmt"
	"strings"
	"time"

	"hearth/faas"
)

// Bounds of queues that every implementation keeps.
const (
	MaxHeader      = 16 << 10 // bytes of a message's header
	MaxBody        = 1 << 20  // bytes of a message's body
	MaxIdempotency = 256      // bytes
	MaxStatus      = 32       // bytes
	MaxDetails     = 64 << 10 // bytes of an outcome
	MaxListed      = 1000     // records of one listing

	// MessageOverhead is what Caps count for a message beside header and body.
	MessageOverhead = 64

	DefaultWindow = 2 * time.Minute // of idempotency
	MaxWindow     = 24 * time.Hour
)

// Account returns the first token of a key: whose caps count it.
func Account(key string) string {
	account, _, _ := strings.Cut(key, "/")
	return account
}

// Backlogged is the cause of an ErrBacklog: which cap refused, and by how much.
type Backlogged struct {
	Subject string // the key or the account
	Unit    string // "events" or "bytes"
	Limit   int64
	Use     int64 // without the message that was refused
}

func (b *Backlogged) Error() string {
	return fmt.Sprintf("%d of %d %s of %s wait", b.Use, b.Limit, b.Unit, b.Subject)
}

// Is makes a Backlogged an ErrBacklog.
func (b *Backlogged) Is(target error) bool { return target == ErrBacklog }

// Admit returns nil where the caps allow a message of size bytes beside what key
// and account hold, else an error that is ErrBacklog and carries a *Backlogged.
func (c Caps) Admit(m Message, key, account Use) error {
	size := MessageSize(m)
	for _, b := range [...]struct {
		Backlogged
		more int64
	}{
		{Backlogged{m.Key, "events", c.KeyEvents, key.Events}, 1},
		{Backlogged{m.Key, "bytes", c.KeyBytes, key.Bytes}, size},
		{Backlogged{Account(m.Key), "events", c.AccountEvents, account.Events}, 1},
		{Backlogged{Account(m.Key), "bytes", c.AccountBytes, account.Bytes}, size},
	} {
		if b.Limit > 0 && b.Use+b.more > b.Limit {
			return &faas.Error{Code: faas.CodeThrottled, Subject: b.Subject, Cause: &b.Backlogged,
				Message: fmt.Sprintf("its backlog holds %d of %d %s; retry later, or raise the cap", b.Use, b.Limit, b.Unit)}
		}
	}
	return nil
}

// MessageSize returns the bytes that Caps count for a message.
func MessageSize(m Message) int64 {
	return int64(len(m.Header)) + int64(len(m.Body)) + MessageOverhead
}

// CheckMessage returns nil where m can be stored, else an error with
// faas.CodeInvalid or CodeTooLarge that says why not.
func CheckMessage(m Message) error {
	if err := CheckID(m.ID); err != nil {
		return err
	}
	if err := CheckKey(m.Key); err != nil {
		return err
	}
	if err := checkSize(m.ID, "body", len(m.Body), MaxBody); err != nil {
		return err
	}
	if err := checkSize(m.ID, "idempotency key", len(m.Idempotency), MaxIdempotency); err != nil {
		return err
	}
	if m.Window < 0 || m.Window > MaxWindow {
		return faas.Errorf(faas.CodeInvalid, "window", "an idempotency window of %v; use 0 to %v", m.Window, MaxWindow)
	}
	return CheckHeader(m.ID, m.Header)
}

// CheckHeader returns nil where a header is small enough.
func CheckHeader(id string, header []byte) error {
	return checkSize(id, "header", len(header), MaxHeader)
}

// CheckOutcome returns nil where o can be recorded.
func CheckOutcome(id string, o Outcome) error {
	if len(o.Status) == 0 || len(o.Status) > MaxStatus {
		return faas.Errorf(faas.CodeInvalid, "status", "a status has %d bytes; use 1 to %d", len(o.Status), MaxStatus)
	}
	return checkSize(id, "details", len(o.Details), MaxDetails)
}

// CheckID returns nil where id is a UUID in canonical form.
func CheckID(id string) error {
	ok := len(id) == 36
	for i := 0; ok && i < len(id); i++ {
		switch c := id[i]; i {
		case 8, 13, 18, 23:
			ok = c == '-'
		default:
			ok = '0' <= c && c <= '9' || 'a' <= c && c <= 'f'
		}
	}
	if !ok {
		return faas.Errorf(faas.CodeInvalid, "id", "%.80q is not a UUID in canonical, lower-case form", id)
	}
	return nil
}

// CheckQuery returns nil where q can be answered.
func CheckQuery(q Query) error {
	if q.Limit < 1 || q.Limit > MaxListed {
		return faas.Errorf(faas.CodeInvalid, "limit", "a limit of %d; use 1 to %d", q.Limit, MaxListed)
	}
	return CheckPrefix(q.Prefix)
}

// Selects reports whether q selects a record; Limit is the caller's affair.
func (q Query) Selects(r Record) bool {
	return (q.Prefix == r.Key || Below(r.Key, q.Prefix)) &&
		(q.Status == "" || q.Status == r.Status) &&
		(q.Since.IsZero() || !r.Settled.Before(q.Since)) &&
		(q.Until.IsZero() || r.Settled.Before(q.Until)) &&
		(q.Before == 0 || r.Cursor < q.Before)
}

func checkSize(subject, what string, size, bound int) error {
	if size > bound {
		return faas.Errorf(faas.CodeTooLarge, subject, "a %s of %d bytes is over the bound of %d", what, size, bound)
	}
	return nil
}
