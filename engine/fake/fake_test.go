package fake_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"hearth/engine"
	"hearth/engine/enginetest"
	"hearth/engine/fake"
)

func TestMeta(t *testing.T) {
	enginetest.RunMeta(t, func(*testing.T) engine.Meta { return fake.New().Meta() })
}

func TestBlobs(t *testing.T) {
	enginetest.RunBlobs(t, func(*testing.T) engine.Blobs { return fake.New().Blobs() })
}

func TestRefuseAndClose(t *testing.T) {
	e := fake.New()
	ctx := context.Background()
	rev, err := e.Meta().Create(ctx, "k", nil)
	if err != nil {
		t.Fatal(err)
	}
	e.Refuse(engine.ErrFull)
	if _, err := e.Meta().Update(ctx, "k", nil, rev); !errors.Is(err, engine.ErrFull) {
		t.Errorf("Update when full: %v", err)
	}
	_, digest := enginetest.Content(1, 0)
	if err := e.Blobs().Put(ctx, digest, strings.NewReader("")); !errors.Is(err, engine.ErrFull) {
		t.Errorf("Put when full: %v", err)
	}
	if _, err := e.Meta().Get(ctx, "k"); err != nil {
		t.Errorf("Get when full: %v", err)
	}
	if _, err := e.Meta().Delete(ctx, "k", rev); err != nil {
		t.Errorf("Delete when full: %v", err)
	}
	watched := make(chan error, 1)
	marked := make(chan struct{})
	go func() {
		watched <- e.Meta().Watch(ctx, "", func(engine.Change) error { close(marked); return nil })
	}()
	<-marked
	e.Close()
	if err := <-watched; !errors.Is(err, engine.ErrClosed) {
		t.Errorf("Watch after Close: %v", err)
	}
	if _, err := e.Meta().Get(ctx, "k"); !errors.Is(err, engine.ErrClosed) {
		t.Errorf("Get after Close: %v", err)
	}
}

func TestQueue(t *testing.T) {
	enginetest.RunQueue(t, func(*testing.T) enginetest.Queues { return fake.New() })
}
