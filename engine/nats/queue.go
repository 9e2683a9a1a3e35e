package nats

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go/jetstream"

	"hearth/engine"
)

// QueueOptions says how the queues and their history are kept.
type QueueOptions struct {
	// Shards is the number of journals that share the queues, 1 to 64, when they
	// are made; the number is stored, and this one is not looked at later. 0 means 1:
	// on one disk, more of them share fewer writes.
	Shards int
	// HistoryAge and HistoryBytes bound the history; 0 means 72 hours and 1 GiB.
	HistoryAge   time.Duration
	HistoryBytes int64
	// OnLoss is called with everything that is found damaged, also while the engine
	// opens; it must return soon. Losses are logged in any case.
	OnLoss func(engine.Loss)

	limits limits // tests; zero is usualLimits
}

const (
	defaultShards       = 1
	maxShards           = stampStep
	defaultHistoryAge   = 72 * time.Hour
	defaultHistoryBytes = 1 << 30
	keptLosses          = 100
	shardsKey           = "hearth-shards" // in the metadata of the first journal
)

// queue is an engine.Queue and an engine.History on shards.
type queue struct {
	access
	log      *slog.Logger
	clock    *clock
	shards   []*shard
	accounts accounts
	cache    *pageCache
	ready    atomic.Pointer[func(key string)]
	limits   limits
	onLoss   func(engine.Loss)

	life context.Context // ends when the queue is stopped
	end  context.CancelFunc
	work sync.WaitGroup

	mu     sync.Mutex
	losses []engine.Loss
}

// queuePlaces are the directories of a queue beside its streams.
type queuePlaces struct{ marks, aside string }

func openQueue(ctx context.Context, a access, o QueueOptions, where queuePlaces, now func() time.Time, log *slog.Logger) (*queue, error) {
	q := &queue{access: a, log: log, clock: newClock(now), limits: cmp.Or(o.limits, usualLimits), onLoss: o.OnLoss}
	q.cache = newPageCache(q.limits.cache)
	q.life, q.end = context.WithCancel(context.Background())
	count, err := q.shardCount(ctx, cmp.Or(o.Shards, defaultShards))
	if err != nil {
		return q, err
	}
	errs := make([]error, count)
	q.shards = make([]*shard, count)
	for n := range count {
		if q.shards[n], errs[n] = q.openShard(ctx, n, count, o, where); errs[n] != nil {
			return q, errors.Join(errs...)
		}
	}
	var reading sync.WaitGroup
	for n, s := range q.shards {
		reading.Go(func() { errs[n] = s.open(ctx) })
	}
	reading.Wait()
	if err := errors.Join(errs...); err != nil {
		return q, err
	}
	for _, s := range q.shards {
		q.work.Go(s.write)
		q.work.Go(s.keep)
	}
	return q, nil
}

// shardCount returns the number of shards that are stored, or want where there are none.
func (q *queue) shardCount(ctx context.Context, want int) (int, error) {
	if want < 1 || want > maxShards {
		return 0, fmt.Errorf("engine: %d shards of the queues; use 1 to %d", want, maxShards)
	}
	stream, err := q.js.Stream(ctx, shardName(0))
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return want, nil
	}
	if err != nil {
		return 0, q.fault(err, shardName(0), "open the stream")
	}
	count, err := strconv.Atoi(stream.CachedInfo().Config.Metadata[shardsKey])
	if err != nil || count < 1 || count > maxShards {
		return 0, engine.Failure(engine.ErrDamaged, shardName(0), "the stream does not say how many shards there are; stop Hearth and restore the data directory from a backup")
	}
	return count, nil
}

func shardName(n int) string { return fmt.Sprintf("QUEUE_%d", n) }

// openShard opens the journals of one shard.
func (q *queue) openShard(ctx context.Context, n, count int, o QueueOptions, where queuePlaces) (*shard, error) {
	s := &shard{number: n, queue: q, slots: newSlots(), work: make(chan struct{}, 1), kick: make(chan struct{}, 1)}
	s.writer.ready = make(map[string]bool)
	s.history = &historyShard{queue: q, byID: make(map[id]int)}
	age := cmp.Or(o.HistoryAge, defaultHistoryAge)
	for _, j := range []struct {
		to *(*journal)
		o  journalOptions
	}{
		{&s.journal, journalOptions{name: shardName(n), counts: true, metadata: map[string]string{shardsKey: strconv.Itoa(count)}}},
		{&s.history.pages, journalOptions{name: fmt.Sprintf("EVENTS_%d", n), maxAge: age, maxBytes: cmp.Or(o.HistoryBytes, defaultHistoryBytes) / int64(count)}},
		{&s.history.summaries, journalOptions{name: fmt.Sprintf("EVENTS_%d_INDEX", n), maxAge: age}},
	} {
		j.o.marks, j.o.aside, j.o.log, j.o.life = where.marks, where.aside, q.log, q.life
		var err error
		if *j.to, err = openJournal(ctx, q.access, j.o); err != nil {
			return s, err
		}
	}
	return s, nil
}

// open reads what is stored.
func (s *shard) open(ctx context.Context) error {
	if err := s.history.open(ctx); err != nil {
		return err
	}
	// Where the end of the journal was cut off, its numbers come again.
	s.history.flush = min(s.history.flush, s.journal.last)
	return s.recover(ctx)
}

// stop ends the goroutines; what waits for them fails with ErrClosed.
func (q *queue) stop() {
	q.end()
	q.work.Wait()
}

// close closes the files, after stop.
func (q *queue) close() error {
	var errs []error
	for _, s := range q.shards {
		if s == nil {
			continue
		}
		if s.journal != nil && s.journal.mark != nil && len(s.pages.pages) > 0 {
			errs = append(errs, s.journal.witness(s.pages.end()-1, s.accepted))
		}
		errs = append(errs, s.journal.close(), s.history.pages.close(), s.history.summaries.close())
	}
	return errors.Join(errs...)
}

func (q *queue) shardOf(key string) *shard {
	return q.shards[hashPair(key, "")%uint64(len(q.shards))]
}

// Append implements engine.Queue.
func (q *queue) Append(ctx context.Context, m engine.Message, caps engine.Caps) (engine.Receipt, error) {
	return q.accept(ctx, m, time.Time{}, caps)
}

// Schedule implements engine.Queue.
func (q *queue) Schedule(ctx context.Context, m engine.Message, at time.Time, caps engine.Caps) (engine.Receipt, error) {
	return q.accept(ctx, m, at, caps)
}

func (q *queue) accept(ctx context.Context, m engine.Message, at time.Time, caps engine.Caps) (engine.Receipt, error) {
	if err := engine.CheckMessage(m); err != nil {
		return engine.Receipt{}, err
	}
	o := newOp(kindAccept, uuid.MustParse(m.ID))
	o.message, o.caps = &m, caps
	o.item.key, o.item.header, o.item.body = m.Key, m.Header, m.Body
	if !at.IsZero() {
		if o.wait = q.clock.until(at); o.wait > q.clock.steady() {
			o.item.due = at.UnixNano()
		}
	}
	if m.Idempotency != "" {
		window := int64(cmp.Or(m.Window, engine.DefaultWindow))
		o.item.seen = sumOf(m.Key, m.Idempotency)
		o.item.until, o.window = q.clock.wall()+window, q.clock.steady()+window
	}
	a, err := q.perform(ctx, q.shardOf(m.Key), o)
	return a.receipt, err
}

// perform hands an operation to a shard and waits for what comes of it.
func (q *queue) perform(ctx context.Context, s *shard, o *op) (answer, error) {
	if err := ctx.Err(); err != nil {
		return answer{}, err
	}
	done, err := q.gate.enter(s.journal.name)
	if err != nil {
		return answer{}, err
	}
	defer done()
	s.submit(o)
	select {
	case a := <-o.done:
		return a, a.err
	case <-ctx.Done():
		s.mu.Lock()
		o.abandoned = true
		s.mu.Unlock()
		return answer{}, fmt.Errorf("engine: waiting for a write to %s: %w", s.journal.name, ctx.Err())
	}
}

// Fetch implements engine.Queue.
func (q *queue) Fetch(ctx context.Context, key string, n int) ([]engine.Event, error) {
	done, err := q.begin(ctx, key)
	if err != nil {
		return nil, err
	}
	defer done()
	return q.shardOf(key).fetch(ctx, key, n)
}

// begin lets an operation on a key in.
func (q *queue) begin(ctx context.Context, key string) (done func(), err error) {
	if err := cmp.Or(engine.CheckKey(key), ctx.Err()); err != nil {
		return nil, err
	}
	return q.gate.enter(key)
}

// Release implements engine.Queue.
func (q *queue) Release(ids ...string) {
	var keys []string
	for _, text := range ids {
		i, err := uuid.Parse(text)
		if err != nil {
			continue
		}
		for _, s := range q.shards {
			if key := s.release(i); key != "" {
				keys = append(keys, key)
			}
		}
	}
	slices.Sort(keys)
	for _, key := range slices.Compact(keys) {
		q.notify(key)
	}
}

// Update implements engine.Queue.
func (q *queue) Update(ctx context.Context, id string, header []byte) error {
	return q.change(ctx, id, engine.CheckHeader(id, header), kindHeader, func(o *op) { o.item.header = header })
}

// Retry implements engine.Queue.
func (q *queue) Retry(ctx context.Context, id string, at time.Time, header []byte) error {
	return q.change(ctx, id, engine.CheckHeader(id, header), kindRetry, func(o *op) {
		o.item.header, o.item.due, o.wait = header, max(at.UnixNano(), q.clock.wall()), q.clock.until(at)
	})
}

// Settle implements engine.Queue.
func (q *queue) Settle(ctx context.Context, id string, o engine.Outcome) error {
	return q.settle(ctx, id, o, false)
}

// Cancel implements engine.Queue.
func (q *queue) Cancel(ctx context.Context, id string, o engine.Outcome) error {
	return q.settle(ctx, id, o, true)
}

func (q *queue) settle(ctx context.Context, id string, outcome engine.Outcome, cancel bool) error {
	var kept engine.Event
	err := engine.CheckOutcome(id, outcome)
	if err == nil && outcome.Keep {
		kept, err = q.Find(ctx, id)
	}
	return q.change(ctx, id, err, kindSettle, func(o *op) {
		o.cancel, o.patient = cancel, outcome.Patient
		o.item.status, o.item.details, o.item.kept = outcome.Status, outcome.Details, outcome.Keep
		o.item.header, o.item.body = kept.Header, kept.Body
	})
}

// change performs an operation on a message in the shard that has it.
func (q *queue) change(ctx context.Context, text string, bad error, k kind, fill func(*op)) error {
	if err := cmp.Or(engine.CheckID(text), bad); err != nil {
		return err
	}
	o := newOp(k, uuid.MustParse(text))
	fill(o)
	for _, s := range q.shards {
		if s.has(o.item.id) {
			_, err := q.perform(ctx, s, o)
			return err
		}
	}
	done, err := q.gate.enter(text)
	if err != nil {
		return err
	}
	done()
	return cmp.Or(ctx.Err(), engine.NotFound(text))
}

// has reports whether the shard holds a message, or will in a moment.
func (s *shard) has(i id) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, p := s.slots.find(i)
	return p != nil
}

// Notify implements engine.Queue.
func (q *queue) Notify(ready func(key string)) {
	if ready == nil {
		q.ready.Store(nil)
		return
	}
	q.ready.Store(&ready)
}

func (q *queue) notify(key string) {
	if ready := q.ready.Load(); ready != nil {
		(*ready)(key)
	}
}

// Backlog implements engine.Queue.
func (q *queue) Backlog(key string) engine.Backlog { return q.shardOf(key).backlog(key) }

// Backlogs implements engine.Queue.
func (q *queue) Backlogs() []engine.Backlog {
	var all []engine.Backlog
	for _, s := range q.shards {
		all = s.backlogs(all)
	}
	return all
}

// Use implements engine.Queue.
func (q *queue) Use(account string) engine.Use { return q.accounts.use(account) }

// Find implements engine.Queue.
func (q *queue) Find(ctx context.Context, text string) (engine.Event, error) {
	if err := cmp.Or(engine.CheckID(text), ctx.Err()); err != nil {
		return engine.Event{}, err
	}
	done, err := q.gate.enter(text)
	if err != nil {
		return engine.Event{}, err
	}
	defer done()
	for _, s := range q.shards {
		if e, ok, err := s.find(ctx, uuid.MustParse(text)); ok || err != nil {
			return e, err
		}
	}
	return engine.Event{}, engine.NotFound(text)
}

// List implements engine.Queue.
func (q *queue) List(ctx context.Context, key, after string, limit int) ([]engine.Event, error) {
	done, err := q.begin(ctx, key)
	if err != nil {
		return nil, err
	}
	defer done()
	if after == "" {
		return q.shardOf(key).list(ctx, key, nil, limit)
	}
	if err := engine.CheckID(after); err != nil {
		return nil, err
	}
	i := uuid.MustParse(after)
	return q.shardOf(key).list(ctx, key, &i, limit)
}

// Losses implements engine.Queue.
func (q *queue) Losses() []engine.Loss {
	q.mu.Lock()
	defer q.mu.Unlock()
	return slices.Clone(q.losses)
}

// lost tells of a loss.
func (q *queue) lost(l engine.Loss) {
	l.At = q.clock.now()
	q.log.Error("queued events are lost", "what", l.What, "events", l.Events, "ids", l.IDs, "keys", l.Keys)
	q.mu.Lock()
	q.losses = append(q.losses, l)
	if extra := len(q.losses) - keptLosses; extra > 0 {
		q.losses = slices.Clone(q.losses[extra:])
	}
	q.mu.Unlock()
	if q.onLoss != nil {
		q.onLoss(l)
	}
}

// queueHistory is the queue as an engine.History.
type queueHistory struct{ *queue }

// Get implements engine.History.
func (q queueHistory) Get(ctx context.Context, text string) (engine.Record, error) {
	if err := cmp.Or(engine.CheckID(text), ctx.Err()); err != nil {
		return engine.Record{}, err
	}
	done, err := q.gate.enter(text)
	if err != nil {
		return engine.Record{}, err
	}
	defer done()
	for _, s := range q.shards {
		if r, ok, err := s.history.get(ctx, uuid.MustParse(text)); ok || err != nil {
			return r, err
		}
	}
	return engine.Record{}, engine.NotFound(text)
}

// List implements engine.History.
func (q queueHistory) List(ctx context.Context, query engine.Query) ([]engine.Record, error) {
	if err := cmp.Or(engine.CheckQuery(query), ctx.Err()); err != nil {
		return nil, err
	}
	done, err := q.gate.enter(query.Prefix)
	if err != nil {
		return nil, err
	}
	defer done()
	var all []engine.Record
	for _, s := range q.shards {
		found, err := s.history.list(ctx, query)
		if err != nil {
			return nil, err
		}
		all = append(all, found...)
	}
	slices.SortFunc(all, func(a, b engine.Record) int { return cmp.Compare(b.Cursor, a.Cursor) })
	return all[:min(len(all), query.Limit)], nil
}
