package nats_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"

	"hearth/engine"
	"hearth/engine/enginetest"
	"hearth/engine/nats"
)

// queueForEver appends, schedules, fetches, retries and settles from several
// goroutines, and prints one line for each operation after it was acknowledged.
func queueForEver(life, path string) error {
	number, err := strconv.Atoi(life)
	if err != nil {
		return err
	}
	e, _, err := openPlain(path, nats.Options.WithBusyQueues)
	if err != nil {
		return err
	}
	fmt.Println("open")
	failed := make(chan error)
	for g := range 4 {
		go func() { failed <- produceForEver(e.Queue(), number, g) }()
		go func() { failed <- consumeForEver(e.Queue(), fmt.Sprintf("a/f%d", g)) }()
	}
	return <-failed
}

// produceForEver stores the messages of one producer: their ids grow.
func produceForEver(q engine.Queue, life, producer int) error {
	ctx := context.Background()
	for i := 0; ; i++ {
		m := engine.Message{ID: enginetest.ID(life<<32 | producer<<24 | i), Key: fmt.Sprintf("a/f%d", producer), Header: []byte("1"),
			Body: make([]byte, rand.IntN(2000)), Idempotency: fmt.Sprint(life, producer, i)}
		at := time.Time{}
		if i%7 == 3 {
			at = time.Now().Add(time.Duration(rand.IntN(50)) * time.Millisecond)
		}
		if _, err := q.Schedule(ctx, m, at, engine.Caps{}); err != nil {
			return err
		}
		fmt.Println("accepted", m.ID, m.Key)
	}
}

// consumeForEver settles most of what it fetches, and retries or releases the rest.
func consumeForEver(q engine.Queue, key string) error {
	ctx := context.Background()
	for {
		events, err := q.Fetch(ctx, key, 1+rand.IntN(4))
		if err != nil {
			return err
		}
		for _, e := range events {
			switch rand.IntN(4) {
			case 0:
				header := string(e.Header) + "1"
				if err := q.Retry(ctx, e.ID, time.Now().Add(time.Millisecond), []byte(header)); err != nil {
					return err
				}
				fmt.Println("retried", e.ID, header)
			case 1:
				q.Release(e.ID)
			default:
				if err := q.Settle(ctx, e.ID, engine.Outcome{Status: "done", Details: e.Header, Keep: rand.IntN(2) == 0}); err != nil {
					return err
				}
				fmt.Println("settled", e.ID)
			}
		}
	}
}

// TestQueueKill kills a process that works with its queues, again and again on one
// data directory, at random moments. Afterwards each message that was acknowledged
// is in the queue or in the history, never in both, and settled if that was
// acknowledged; an acknowledged retry has its header; and nothing is declared lost.
func TestQueueKill(t *testing.T) {
	lives := 4
	if long {
		lives = 100
	}
	path := t.TempDir()
	known := newAcknowledged()
	for life := range lives {
		if life%4 == 3 {
			known.take(liveQueue(t, path, life, time.Duration(rand.IntN(100))*time.Millisecond, -1))
		} else {
			known.take(liveQueue(t, path, life, -1, 20+rand.IntN(600)))
		}
		e := start(t, path)
		known.want(t, e)
		e.stop()
	}
	t.Logf("%d lives, %d accepted, %d settled, %d retried", lives, len(known.accepted), len(known.settled), len(known.retried))
}

// acknowledged is what processes printed before they ended.
type acknowledged struct {
	accepted, settled map[string]bool
	retried           map[string]string // the last header by id
}

func newAcknowledged() *acknowledged {
	return &acknowledged{accepted: make(map[string]bool), settled: make(map[string]bool), retried: make(map[string]string)}
}

func (a *acknowledged) take(lines []string) {
	for _, line := range lines {
		word := strings.Fields(line)
		switch word[0] {
		case "accepted":
			a.accepted[word[1]] = true
		case "settled":
			a.settled[word[1]] = true
		case "retried":
			a.retried[word[1]] = word[2]
		}
	}
}

// want fails the test where something acknowledged is not there.
func (a *acknowledged) want(t *testing.T, e *opened) {
	t.Helper()
	if losses := e.Queue().Losses(); len(losses) > 0 {
		t.Fatalf("lost %+v", losses)
	}
	for id := range a.accepted {
		if err := wantAccepted(t.Context(), e, id, a.settled[id], a.retried[id]); err != nil {
			t.Fatalf("%s: %v", id, err)
		}
	}
}

func liveQueue(t *testing.T, path string, life int, d time.Duration, lines int) []string {
	job := "queue-" + strconv.Itoa(life)
	if d >= 0 {
		return liveFor(t, path, job, d)
	}
	return liveUntil(t, path, job, lines)
}

// wantAccepted returns nil where an accepted message is where it must be.
func wantAccepted(ctx context.Context, e *opened, id string, settled bool, header string) error {
	waiting, err := e.Queue().Find(ctx, id)
	if err != nil && !errors.Is(err, engine.ErrNotFound) {
		return err
	}
	record, recordErr := e.History().Get(ctx, id)
	if recordErr != nil && !errors.Is(recordErr, engine.ErrNotFound) {
		return recordErr
	}
	switch {
	case err == nil && recordErr == nil:
		return errors.New("it waits and is settled")
	case err != nil && recordErr != nil:
		return errors.New("it is gone")
	case settled && recordErr != nil:
		return errors.New("it was settled and waits")
	case err == nil && len(waiting.Header) < len(header):
		return fmt.Errorf("its header is %q after a retry with %q", waiting.Header, header)
	case recordErr == nil && len(record.Details) < len(header):
		return fmt.Errorf("it was settled at attempt %q after a retry with %q", record.Details, header)
	}
	return nil
}
