package nats

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"hearth/engine"
)

const (
	// A watch that lags holds at most this much in memory.
	watchMessages = 256
	watchBytes    = 4 << 20
	// After two heartbeats without one the client replaces the consumer.
	watchHeartbeat = time.Second
)

// Watch implements engine.Meta. What exists is read record by record until there
// is no next one, which makes the end of the snapshot exact; a consumer goes on
// from there. The consumer is an ordered one: the client replaces it, from the
// last record seen, whenever it is lost.
func (t *table) Watch(ctx context.Context, prefix string, apply func(engine.Change) error) error {
	if err := engine.CheckPrefix(prefix); err != nil {
		return err
	}
	done, err := t.gate.enter(prefix)
	if err != nil {
		return err
	}
	defer done()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(t.gate.closing, func() { cancel(engine.Closed(prefix)) })()

	next, err := t.scan(ctx, prefix, 1, func(r record) error {
		if r.deleted {
			return ctx.Err()
		}
		return apply(engine.Change{Entry: r.entry()})
	})
	if err == nil {
		err = apply(engine.Change{})
	}
	if err == nil {
		err = t.follow(ctx, prefix, next, apply)
	}
	if cause := context.Cause(ctx); cause != nil && errors.Is(err, context.Canceled) {
		return cause
	}
	return err
}

// follow applies every record below prefix from a revision on until ctx ends.
func (t *table) follow(ctx context.Context, prefix string, from uint64, apply func(engine.Change) error) error {
	consumer, err := t.js.OrderedConsumer(ctx, t.stream.CachedInfo().Config.Name, jetstream.OrderedConsumerConfig{
		FilterSubjects: []string{t.filter(prefix)},
		DeliverPolicy:  jetstream.DeliverByStartSequencePolicy,
		OptStartSeq:    from,
	})
	if err != nil {
		return t.fault(err, prefix, "watch")
	}
	messages, err := consumer.Messages(
		jetstream.PullMaxMessagesWithBytesLimit(watchMessages, watchBytes), jetstream.PullHeartbeat(watchHeartbeat))
	if err != nil {
		return t.fault(err, prefix, "watch")
	}
	defer messages.Stop()
	for {
		m, err := messages.Next(jetstream.NextContext(ctx))
		if err != nil {
			return t.fault(err, prefix, "watch")
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		r, err := t.parseMsg(m)
		if err != nil {
			return err
		}
		if err := apply(engine.Change{Entry: r.entry(), Deleted: r.deleted}); err != nil {
			return err
		}
	}
}

func (t *table) parseMsg(m jetstream.Msg) (record, error) {
	about, err := m.Metadata()
	if err != nil {
		return record{}, err
	}
	r, err := parseRecord(t.base, m.Subject(), about.Sequence.Stream, m.Headers(), m.Data())
	if err != nil {
		return record{}, t.damaged("%v", err)
	}
	return r, nil
}
