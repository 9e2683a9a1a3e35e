// Package nats is the engine on NATS JetStream, embedded in this process: no
// port, one directory, every write on disk before it is acknowledged.
//
// It owns the layout of buckets and streams, the embedded server, and the checks
// that tell a healthy store from a damaged one. It knows keys and bytes; it must
// not know what a function is. Locks: mark.mu and gate.mu are leaves; shard.mu is taken
// before historyShard.mu and account.mu, and neither of these before another.
package nats

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"hearth/engine"
	"hearth/engine/datadir"
)

// Options says where and how the engine runs.
type Options struct {
	// Dir is the data directory; holding it open proves that no other process
	// works in it. The engine keeps its files in the sub-directory "engine".
	Dir *datadir.Dir
	// Logger gets what the embedded server and the checks have to say; nil
	// discards it.
	Logger *slog.Logger
	// Reserve is the free space, in bytes, below which writes fail with
	// engine.ErrFull, so that the store never meets a full disk. 0 means 64 MiB.
	Reserve int64
	// Queue says how the queues are kept.
	Queue QueueOptions
	// Clock is the wall clock, which may jump; nil is time.Now.
	Clock func() time.Time
}

const (
	defaultReserve = 64 << 20
	metaBucket     = "meta"
	blobBucket     = "blobs"
)

// Engine is an open engine. Safe for concurrent use.
type Engine struct {
	server *embedded
	gate   *gate
	meta   *table
	blobs  *blobs
	queue  *queue
}

// Open starts the engine and checks what is stored. It fails with
// engine.ErrDamaged where metadata is lost or changed; a damaged blob does not
// keep the engine from starting, is logged, and makes Check and its readers fail.
func Open(ctx context.Context, o Options) (*Engine, error) {
	log := o.Logger
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	root, err := o.Dir.Sub("engine")
	if err != nil {
		return nil, err
	}
	store, marks := filepath.Join(root, "store"), filepath.Join(root, "marks")
	for _, dir := range []string{store, marks} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, fmt.Errorf("engine: %w", err)
		}
	}
	if err := syncDir(root); err != nil {
		return nil, fmt.Errorf("engine: %w", err)
	}
	if err := mendStreams(store); err != nil {
		return nil, fmt.Errorf("engine in %s: %w", root, err)
	}
	srv, err := startEmbedded(store, log)
	if err != nil {
		return nil, fmt.Errorf("engine in %s: %w", root, err)
	}
	reserve := o.Reserve
	if reserve == 0 {
		reserve = defaultReserve
	}
	e := &Engine{server: srv, gate: newGate()}
	if err := e.attach(ctx, o, queuePlaces{marks, filepath.Join(root, "aside")}, &room{dir: store, reserve: reserve}, log); err != nil {
		return nil, errors.Join(err, e.Close(ctx))
	}
	return e, nil
}

// attach opens the stores on the running server.
func (e *Engine) attach(ctx context.Context, o Options, where queuePlaces, r *room, log *slog.Logger) error {
	js, err := jetstream.New(e.server.conn)
	if err != nil {
		return err
	}
	shared := access{server: e.server, js: js, gate: e.gate, room: r}
	if e.meta, err = openTable(ctx, shared, metaBucket, where.marks); err != nil {
		return err
	}
	index, err := openTable(ctx, shared, blobBucket, where.marks)
	if err != nil {
		return err
	}
	if e.blobs, err = openBlobs(ctx, shared, index, log); err != nil {
		return err
	}
	e.queue, err = openQueue(ctx, shared, o.Queue, where, o.Clock, log)
	return err
}

// Meta returns the metadata store.
func (e *Engine) Meta() engine.Meta { return e.meta }

// Blobs returns the blob store.
func (e *Engine) Blobs() engine.Blobs { return e.blobs }

// Queue returns the queues.
func (e *Engine) Queue() engine.Queue { return e.queue }

// History returns the record of what the queues settled.
func (e *Engine) History() engine.History { return queueHistory{e.queue} }

// Check reads everything that is stored and returns engine.ErrDamaged, with what
// to do, where something is lost or changed. It takes as long as reading all
// blobs and all that waits; writes go on meanwhile.
func (e *Engine) Check(ctx context.Context) error {
	done, err := e.gate.enter("check")
	if err != nil {
		return err
	}
	defer done()
	return errors.Join(e.meta.check(ctx), e.blobs.check(ctx), e.queue.check(ctx))
}

// Close refuses new operations, lets those under way end until ctx does, and
// stops the server. When it returns nothing of the engine is left in the
// process. Every operation after it fails with engine.ErrClosed; a second Close
// does nothing.
func (e *Engine) Close(ctx context.Context) error {
	if !e.gate.close() {
		return nil
	}
	e.gate.drain(ctx)
	if e.queue != nil {
		e.queue.stop()
	}
	e.server.close()
	e.gate.drain(context.Background()) // what was under way has failed by now
	var errs []error
	for _, t := range []*table{e.meta, e.index()} {
		if t != nil {
			errs = append(errs, t.mark.close())
		}
	}
	if e.queue != nil {
		errs = append(errs, e.queue.close())
	}
	return errors.Join(errs...)
}

func (e *Engine) index() *table {
	if e.blobs == nil {
		return nil
	}
	return e.blobs.index
}
