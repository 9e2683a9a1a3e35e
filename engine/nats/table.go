package nats

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	client "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"hearth/engine"
)

// table is an engine.Meta on one stream, laid out as a NATS key-value bucket
// with history 1: the subject is the key, the sequence is the revision, a
// deletion is a record without a value.
//
// Each record counts the writes that its key has seen. Every sequence of the
// stream is exactly one write of one key, so the counts of all keys add up to
// the last sequence, unless the store lost a record. NATS itself does not notice
// (one flipped bit can cost it the rest of a block); check does. A cut-off end
// keeps the sum right and is noticed by the mark.
type table struct {
	access
	bucket string
	base   string // of the subjects, with its final dot
	stream jetstream.Stream
	mark   *mark
}

// recordOverhead is more than what subject, headers and index of a record take.
const recordOverhead = 32 << 10

// openTable opens the bucket and its mark, creates both where there is neither,
// and checks what is there.
func openTable(ctx context.Context, a access, bucket, marks string) (*table, error) {
	t := &table{access: a, bucket: bucket, base: "$KV." + bucket + "."}
	path := filepath.Join(marks, bucket)
	var err error
	if t.mark, err = openMark(path); err != nil {
		return nil, t.damaged("the witness of its last write is unreadable: %v", err)
	}
	if err := t.attach(ctx, path); err != nil {
		if t.mark != nil {
			err = errors.Join(err, t.mark.close())
		}
		return nil, err
	}
	return t, nil
}

func (t *table) attach(ctx context.Context, markPath string) error {
	var err error
	t.stream, err = t.js.Stream(ctx, "KV_"+t.bucket)
	missing := errors.Is(err, jetstream.ErrStreamNotFound)
	switch {
	case missing && t.mark != nil && t.mark.value() > 0:
		return t.damaged("its stream is missing")
	case missing:
		if t.stream, err = t.create(ctx); err != nil {
			return t.fault(err, t.bucket, "create the bucket")
		}
	case err != nil:
		return t.fault(err, t.bucket, "open the bucket")
	}
	if t.mark == nil {
		if last := t.stream.CachedInfo().State.LastSeq; last > 0 {
			return t.damaged("the witness of its last write, %s, is missing", markPath)
		}
		if t.mark, err = createMark(markPath); err != nil {
			return fmt.Errorf("engine: %w", err)
		}
	}
	return t.check(ctx)
}

// create makes the stream as nats.go would for a key-value bucket of history 1.
func (t *table) create(ctx context.Context) (jetstream.Stream, error) {
	return t.js.CreateStream(ctx, jetstream.StreamConfig{
		Name:               "KV_" + t.bucket,
		Subjects:           []string{t.base + ">"},
		Storage:            jetstream.FileStorage,
		MaxMsgsPerSubject:  1,
		MaxMsgSize:         engine.MaxValue + recordOverhead,
		Discard:            jetstream.DiscardNew,
		AllowDirect:        true,
		AllowRollup:        true,
		DenyDelete:         true,
		AllowAtomicPublish: true,
		Replicas:           1,
	})
}

// Get implements engine.Meta.
func (t *table) Get(ctx context.Context, key string) (engine.Entry, error) {
	if err := engine.CheckKey(key); err != nil {
		return engine.Entry{}, err
	}
	done, err := t.gate.enter(key)
	if err != nil {
		return engine.Entry{}, err
	}
	defer done()
	r, err := t.last(ctx, key)
	if err != nil {
		return engine.Entry{}, err
	}
	if !r.exists() {
		return engine.Entry{}, engine.NotFound(key)
	}
	return r.entry(), nil
}

// Create implements engine.Meta.
func (t *table) Create(ctx context.Context, key string, value []byte) (uint64, error) {
	return t.write(ctx, record{key: key, value: value}, func(last record) error {
		if last.exists() {
			return engine.Conflict(key, last.revision)
		}
		return nil
	})
}

// Update implements engine.Meta.
func (t *table) Update(ctx context.Context, key string, value []byte, revision uint64) (uint64, error) {
	return t.write(ctx, record{key: key, value: value}, func(last record) error {
		if !last.exists() {
			return engine.Conflict(key, 0)
		}
		if last.revision != revision {
			return engine.Conflict(key, last.revision)
		}
		return nil
	})
}

// Delete implements engine.Meta.
func (t *table) Delete(ctx context.Context, key string, revision uint64) (uint64, error) {
	return t.write(ctx, record{key: key, deleted: true}, func(last record) error {
		if !last.exists() {
			return engine.NotFound(key)
		}
		if last.revision != revision {
			return engine.Conflict(key, last.revision)
		}
		return nil
	})
}

// List implements engine.Meta.
func (t *table) List(ctx context.Context, prefix string) ([]engine.Entry, error) {
	if err := engine.CheckPrefix(prefix); err != nil {
		return nil, err
	}
	done, err := t.gate.enter(prefix)
	if err != nil {
		return nil, err
	}
	defer done()
	newest := make(map[string]record) // a key written meanwhile is met twice
	if _, err := t.scan(ctx, prefix, 1, func(r record) error { newest[r.key] = r; return nil }); err != nil {
		return nil, err
	}
	var entries []engine.Entry
	for _, r := range newest {
		if !r.deleted {
			entries = append(entries, r.entry())
		}
	}
	slices.SortFunc(entries, func(a, b engine.Entry) int { return strings.Compare(a.Key, b.Key) })
	return entries, nil
}

// write stores the next record of a key, provided that allowed agrees with the
// last one and that nobody else writes in between.
func (t *table) write(ctx context.Context, r record, allowed func(last record) error) (uint64, error) {
	if err := engine.CheckKey(r.key); err != nil {
		return 0, err
	}
	if err := engine.CheckValue(r.key, r.value); err != nil {
		return 0, err
	}
	done, err := t.gate.enter(r.key)
	if err != nil {
		return 0, err
	}
	defer done()
	last, err := t.last(ctx, r.key)
	if err != nil {
		return 0, err
	}
	if err := allowed(last); err != nil {
		return 0, err
	}
	if err := t.admit(r); err != nil {
		return 0, err
	}
	r.writes = last.writes + 1
	return t.publish(ctx, r, last.revision)
}

func (t *table) admit(r record) error {
	if r.deleted {
		return t.room.forDelete(r.key)
	}
	return t.room.forWrite(r.key, len(r.value)+recordOverhead)
}

// publish appends the record where the key is still at revision last. A context
// that ends meanwhile leaves open whether the record was stored.
func (t *table) publish(ctx context.Context, r record, last uint64) (uint64, error) {
	ack, err := t.access.publish(ctx, r.message(t.subject(r.key)), jetstream.WithExpectLastSequencePerSubject(last))
	if lostRace(err) {
		now, err := t.last(ctx, r.key)
		if err != nil {
			return 0, err
		}
		if !now.exists() {
			return 0, engine.Conflict(r.key, 0)
		}
		return 0, engine.Conflict(r.key, now.revision)
	}
	if err != nil {
		return 0, t.fault(err, r.key, "write")
	}
	if err := t.mark.raise(ack.Sequence); err != nil {
		return 0, t.fault(err, r.key, "record the write")
	}
	return ack.Sequence, nil
}

// last returns the newest record of a key, or the zero record's revision and
// writes where it was never written.
func (t *table) last(ctx context.Context, key string) (record, error) {
	m, err := t.read(func() (*jetstream.RawStreamMsg, error) { return t.stream.GetLastMsgForSubject(ctx, t.subject(key)) })
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return record{key: key}, nil
	}
	if err != nil {
		return record{}, t.fault(err, key, "read")
	}
	return t.parse(m)
}

// scan calls visit for the newest records below a prefix, deletions included, in
// order of revision from the one given. It ends when there is none left and
// returns the revision after the last one.
func (t *table) scan(ctx context.Context, prefix string, from uint64, visit func(record) error) (next uint64, err error) {
	for more := true; more; {
		var messages []*client.Msg
		if messages, more, err = t.batch(ctx, "KV_"+t.bucket, t.filter(prefix), from); err != nil {
			return from, t.fault(err, prefix, "read")
		}
		for _, m := range messages {
			r, err := t.parseBatched(m)
			if err != nil {
				return from, err
			}
			if err := visit(r); err != nil {
				return from, err
			}
			from = r.revision + 1
		}
	}
	return from, nil
}

func (t *table) parseBatched(m *client.Msg) (record, error) {
	seq, err := sequenceOf(m)
	if err != nil {
		return record{}, t.damaged("%v", err)
	}
	r, err := parseRecord(t.base, m.Header.Get(jetstream.SubjectHeader), seq, m.Header, m.Data)
	if err != nil {
		return record{}, t.damaged("%v", err)
	}
	return r, nil
}

func (t *table) parse(m *jetstream.RawStreamMsg) (record, error) {
	r, err := parseRecord(t.base, m.Subject, m.Sequence, m.Header, m.Data)
	if err != nil {
		return record{}, t.damaged("%v", err)
	}
	return r, nil
}

func (t *table) subject(key string) string { return t.base + encodeKey(key) }

// filter returns the subject filter of everything below a prefix.
func (t *table) filter(prefix string) string {
	if prefix == "" {
		return t.base + ">"
	}
	return t.base + encodeKey(prefix) + ".>"
}

// check reads every record and compares what is there with what was
// acknowledged. Writes that happen meanwhile do not disturb it.
func (t *table) check(ctx context.Context) error {
	acknowledged := t.mark.value()
	newest := make(map[string]uint64)
	var last, sum uint64
	_, err := t.scan(ctx, "", 1, func(r record) error {
		sum += r.writes - newest[r.key]
		newest[r.key], last = r.writes, r.revision
		return nil
	})
	if err != nil {
		return err
	}
	info, err := t.stream.Info(ctx)
	if err != nil {
		return t.fault(err, t.bucket, "check")
	}
	if end := info.State.LastSeq; end < acknowledged {
		return t.damaged("its last writes are gone: it ends at revision %d, and %d was acknowledged", end, acknowledged)
	}
	if sum != last || last < acknowledged {
		return t.damaged("records are lost: those that are left account for %d of %d writes", sum, max(last, acknowledged))
	}
	return nil
}

func (t *table) damaged(format string, args ...any) error {
	return engine.Failure(engine.ErrDamaged, t.bucket, "the bucket %s in the data directory is damaged: %s; stop Hearth and restore the data directory from a backup",
		t.bucket, fmt.Sprintf(format, args...))
}

func (r record) entry() engine.Entry {
	if r.deleted {
		return engine.Entry{Key: r.key, Revision: r.revision}
	}
	return engine.Entry{Key: r.key, Value: r.value, Revision: r.revision}
}
