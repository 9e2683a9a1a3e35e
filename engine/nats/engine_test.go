package nats_test

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"hearth/engine"
	"hearth/engine/datadir"
	"hearth/engine/enginetest"
	"hearth/engine/nats"
)

// patience bounds everything that is expected to happen.
const patience = time.Minute

func TestMeta(t *testing.T) {
	enginetest.RunMeta(t, func(t *testing.T) engine.Meta { return start(t, t.TempDir()).Meta() })
}

func TestBlobs(t *testing.T) {
	enginetest.RunBlobs(t, func(t *testing.T) engine.Blobs { return start(t, t.TempDir()).Blobs() })
}

// opened is an engine in a test, with the directory that it holds.
type opened struct {
	*nats.Engine
	dir *datadir.Dir
}

// start opens an engine that is stopped when the test ends.
func start(t testing.TB, path string) *opened {
	t.Helper()
	e, err := open(t, path, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.stop)
	return e
}

func open(t testing.TB, path string, reserve int64) (*opened, error) {
	t.Helper()
	dir, err := datadir.Open(path)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	e, err := nats.Open(ctx, nats.Options{Dir: dir, Logger: log, Reserve: reserve})
	if err != nil {
		dir.Close()
		return nil, err
	}
	return &opened{Engine: e, dir: dir}, nil
}

// stop closes engine and directory; a second call does nothing.
func (o *opened) stop() {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	o.Close(ctx)
	o.dir.Close()
}

func TestQueue(t *testing.T) {
	enginetest.RunQueue(t, func(t *testing.T) enginetest.Queues { return start(t, t.TempDir()) })
}
