package enginetest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"testing"

	"hearth/engine"
)

// watcher runs one Watch and hands its changes over.
type watcher struct {
	changes chan engine.Change
	ended   chan error
	stop    context.CancelFunc
}

func watch(t *testing.T, ctx context.Context, m engine.Meta, prefix string) *watcher {
	ctx, stop := context.WithCancel(ctx)
	w := &watcher{changes: make(chan engine.Change), ended: make(chan error, 1), stop: stop}
	var wg sync.WaitGroup
	wg.Go(func() {
		w.ended <- m.Watch(ctx, prefix, func(c engine.Change) error {
			select {
			case w.changes <- c:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
	})
	t.Cleanup(func() { stop(); wg.Wait() })
	return w
}

// next returns the next change; it fails the test when the watch ends instead.
func (w *watcher) next(t *testing.T, ctx context.Context) engine.Change {
	t.Helper()
	select {
	case c := <-w.changes:
		return c
	case err := <-w.ended:
		t.Fatalf("the watch ended: %v", err)
	case <-ctx.Done():
		t.Fatal("no change came")
	}
	panic("unreachable")
}

func (w *watcher) want(t *testing.T, ctx context.Context, key, value string, revision uint64) {
	t.Helper()
	c := w.next(t, ctx)
	if c.Key != key || string(c.Value) != value || c.Revision != revision || c.Deleted {
		t.Fatalf("change %q %q at %d deleted=%v, want %q %q at %d", c.Key, c.Value, c.Revision, c.Deleted, key, value, revision)
	}
}

func (w *watcher) wantDeleted(t *testing.T, ctx context.Context, key string, revision uint64) {
	t.Helper()
	if c := w.next(t, ctx); c.Key != key || c.Value != nil || c.Revision != revision || !c.Deleted {
		t.Fatalf("change %+v, want the deletion of %q at %d", c, key, revision)
	}
}

func (w *watcher) wantMark(t *testing.T, ctx context.Context) {
	t.Helper()
	if c := w.next(t, ctx); c.Key != "" || c.Revision != 0 || c.Deleted {
		t.Fatalf("change %q at %d, want the end of the snapshot", c.Key, c.Revision)
	}
}

func watchOrder(t *testing.T, ctx context.Context, m engine.Meta) {
	a := must(m.Create(ctx, "z", []byte("1")))(t)
	gone := must(m.Create(ctx, "gone", []byte("1")))(t)
	b := must(m.Create(ctx, "a", nil))(t)
	must(m.Delete(ctx, "gone", gone))(t)
	w := watch(t, ctx, m, "")
	w.want(t, ctx, "z", "1", a)
	w.want(t, ctx, "a", "", b)
	w.wantMark(t, ctx)
	a2 := must(m.Update(ctx, "z", []byte("2"), a))(t)
	w.want(t, ctx, "z", "2", a2)
	b2 := must(m.Delete(ctx, "a", b))(t)
	w.wantDeleted(t, ctx, "a", b2)
	b3 := must(m.Create(ctx, "a", []byte("3")))(t)
	w.want(t, ctx, "a", "3", b3)
	w.stop()
	if err := <-w.ended; !errors.Is(err, context.Canceled) {
		t.Errorf("the watch ended with %v", err)
	}
}

func watchEmpty(t *testing.T, ctx context.Context, m engine.Meta) {
	w := watch(t, ctx, m, "")
	w.wantMark(t, ctx)
	rev := must(m.Create(ctx, "k", []byte("v")))(t)
	w.want(t, ctx, "k", "v", rev)
}

func watchPrefix(t *testing.T, ctx context.Context, m engine.Meta) {
	one := must(m.Create(ctx, "a.b/1", nil))(t)
	for _, other := range []string{"a.b", "a.bc/1", "a/b/1", "x"} {
		must(m.Create(ctx, other, nil))(t)
	}
	w := watch(t, ctx, m, "a.b")
	w.want(t, ctx, "a.b/1", "", one)
	w.wantMark(t, ctx)
	must(m.Create(ctx, "y", nil))(t)
	two := must(m.Create(ctx, "a.b/2/deep", nil))(t)
	w.want(t, ctx, "a.b/2/deep", "", two)
	none := watch(t, ctx, m, "none")
	none.wantMark(t, ctx)
}

// watchRace has writers create keys, each once, while a watch runs from the
// middle: every key comes exactly once and in order of revision.
func watchRace(t *testing.T, ctx context.Context, m engine.Meta) {
	const writers, each = 8, 40
	started := make(chan struct{})
	var once sync.Once
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				if i == each/2 {
					once.Do(func() { close(started) })
				}
				if _, err := m.Create(ctx, fmt.Sprintf("w%d/%d", w, i), nil); err != nil {
					t.Errorf("Create: %v", err)
				}
			}
		})
	}
	<-started
	w := watch(t, ctx, m, "")
	seen := make(map[string]bool)
	var last uint64
	marks := 0
	for len(seen) < writers*each || marks == 0 {
		c := w.next(t, ctx)
		if c.Key == "" {
			marks++
			continue
		}
		if c.Revision <= last || seen[c.Key] {
			t.Fatalf("%q at %d after revision %d, seen before: %v", c.Key, c.Revision, last, seen[c.Key])
		}
		last, seen[c.Key] = c.Revision, true
	}
	wg.Wait()
	if marks != 1 {
		t.Errorf("%d ends of the snapshot", marks)
	}
}

// watchCopy keeps a copy by watching while few keys are written hard; at the end
// the copy equals the store.
func watchCopy(t *testing.T, ctx context.Context, m engine.Meta) {
	w := watch(t, ctx, m, "")
	w.wantMark(t, ctx)
	var wg sync.WaitGroup
	for k := range 4 {
		wg.Go(func() { churn(t, ctx, m, fmt.Sprintf("k%d", k)) })
	}
	done := make(chan uint64, 1)
	go func() {
		wg.Wait()
		rev, err := m.Create(ctx, "last", nil)
		if err != nil {
			t.Errorf("Create: %v", err)
		}
		done <- rev
	}()
	got := make(map[string]string)
	var last uint64
	for got["last"] == "" {
		c := w.next(t, ctx)
		if c.Revision <= last {
			t.Fatalf("revision %d after %d", c.Revision, last)
		}
		last = c.Revision
		if c.Deleted {
			delete(got, c.Key)
		} else {
			got[c.Key] = fmt.Sprintf("%d %s", c.Revision, c.Value)
		}
	}
	<-done
	want := make(map[string]string)
	for _, e := range must(m.List(ctx, ""))(t) {
		want[e.Key] = fmt.Sprintf("%d %s", e.Revision, e.Value)
	}
	if !maps.Equal(got, want) {
		t.Errorf("the copy is %q, the store %q", got, want)
	}
}

// churn creates, updates and deletes one key in turn and leaves it existing.
func churn(t *testing.T, ctx context.Context, m engine.Meta, key string) {
	for i := range 20 {
		rev, err := m.Create(ctx, key, []byte("new"))
		if err == nil {
			rev, err = m.Update(ctx, key, []byte(fmt.Sprint(i)), rev)
		}
		if err == nil && i < 19 {
			_, err = m.Delete(ctx, key, rev)
		}
		if err != nil {
			t.Errorf("churn: %v", err)
			return
		}
	}
}

func watchError(t *testing.T, ctx context.Context, m engine.Meta) {
	must(m.Create(ctx, "k", nil))(t)
	stop := errors.New("enough")
	calls := 0
	err := m.Watch(ctx, "", func(engine.Change) error { calls++; return stop })
	if !errors.Is(err, stop) || calls != 1 {
		t.Errorf("Watch returned %v after %d calls", err, calls)
	}
}
