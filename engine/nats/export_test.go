package nats

import (
	"context"
	"errors"
	"time"
)

// WithTinyQueues returns options with which a handful of messages fills pages, and
// Tidy does what a keeper does now and then; by itself it does nothing.
func (o Options) WithTinyQueues() Options {
	o.Queue.limits = limits{page: 300, flush: 500, flushRecords: 5, cache: 1000, slack: 1500, slackPages: 20, smallPage: 200, purge: 400, move: 1000, byHand: true}
	return o
}

// WithBusyQueues returns options with tiny queues whose keepers work as usual, and so
// all the time.
func (o Options) WithBusyQueues() Options {
	o = o.WithTinyQueues()
	o.Queue.limits.byHand = false
	return o
}

// WithClock returns options with another wall clock.
func (o Options) WithClock(now func() time.Time) Options {
	o.Clock = now
	return o
}

// Tidy has every shard do at once what its keeper does now and then.
func (e *Engine) Tidy(ctx context.Context) error {
	var errs []error
	for _, s := range e.queue.shards {
		s.wake()
		errs = append(errs, s.tidy(ctx))
	}
	return errors.Join(errs...)
}

// QueuePages returns how many pages the journals of the queues have, and how many
// bytes.
func (e *Engine) QueuePages() (pages, bytes int) {
	for _, s := range e.queue.shards {
		s.mu.Lock()
		pages += len(s.pages.pages)
		bytes += int(s.pages.bytes)
		s.mu.Unlock()
	}
	return pages, bytes
}

// FlushHistory writes the outcomes that wait.
func (e *Engine) FlushHistory(ctx context.Context) error {
	var errs []error
	for _, s := range e.queue.shards {
		errs = append(errs, s.history.write(ctx))
	}
	return errors.Join(errs...)
}

// Chunks returns the number of messages in the stream of chunks.
func (e *Engine) Chunks(ctx context.Context) (uint64, error) {
	info, err := e.blobs.stream.Info(ctx)
	if err != nil {
		return 0, err
	}
	return info.State.Msgs, nil
}

// LoseConsumers deletes the consumers of all watches on the server.
func (e *Engine) LoseConsumers(ctx context.Context) (lost int, err error) {
	for name := range e.meta.stream.ConsumerNames(ctx).Name() {
		if err := e.meta.stream.DeleteConsumer(ctx, name); err != nil {
			return lost, err
		}
		lost++
	}
	return lost, nil
}

// Wound makes the engine believe that its store failed, and heals it.
func (e *Engine) Wound() error {
	e.server.log.Errorf("JetStream stream critical write error: a test")
	if e.server.heal() == nil {
		return errors.New("nothing was healed")
	}
	return nil
}

// LosePage deletes a page of the first shard's journal from the store.
func (e *Engine) LosePage(ctx context.Context, seq uint64) error {
	s := e.queue.shards[0]
	s.queue.cache = newPageCache(0)
	return s.journal.stream.DeleteMsg(ctx, seq)
}

// Witness has the marks reach as far as the journals do, as keepers have a moment
// after each write.
func (e *Engine) Witness() error {
	var errs []error
	for _, s := range e.queue.shards {
		errs = append(errs, s.journal.witness(s.pages.end()-1, s.accepted))
	}
	return errors.Join(errs...)
}

// PublishPage puts bytes into the journal of a key's shard behind the engine's back.
func (e *Engine) PublishPage(ctx context.Context, key string, page []byte) error {
	j := e.queue.shardOf(key).journal
	_, err := j.js.Publish(ctx, "page."+j.name, page)
	return err
}
