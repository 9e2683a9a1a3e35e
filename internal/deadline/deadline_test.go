package deadline

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestEndsAtItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		c := New(began.Add(time.Second))
		derived, cancel := context.WithCancel(c)
		defer cancel()
		if err := c.Err(); err != nil {
			t.Errorf("at once: %v", err)
		}
		<-c.Done()
		<-derived.Done()
		if took := time.Since(began); took != time.Second {
			t.Errorf("ended after %v", took)
		}
		if err := context.Cause(c); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("ended with %v", err)
		}
		if err := context.Cause(derived); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("what is derived of it ended with %v", err)
		}
		<-c.Done()
	})
}

// Err and Done agree, whoever is asked first.
func TestErrEndsIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := New(time.Now().Add(time.Second))
		time.Sleep(time.Second)
		if c.Err() == nil {
			t.Error("it has not ended")
		}
		<-c.Done()
	})
}

func TestStopLeavesNoTimer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := New(time.Now().Add(time.Hour))
		waiting := c.Done()
		c.Stop()
		time.Sleep(2 * time.Hour)
		select {
		case <-waiting:
			t.Error("it ended after Stop")
		default:
		}
	})
}

func TestOf(t *testing.T) {
	at := time.Now().Add(time.Hour)
	if got, ok := Of(New(at)); !ok || got != at {
		t.Errorf("Of a deadline = %v, %t", got, ok)
	}
	other, cancel := context.WithDeadline(t.Context(), at)
	defer cancel()
	if _, ok := Of(other); ok {
		t.Error("a context that can be cancelled is taken for a deadline")
	}
}

func TestAllocations(t *testing.T) {
	at := time.Now().Add(time.Hour)
	if n := testing.AllocsPerRun(100, func() {
		c := New(at)
		_ = c.Err()
		c.Stop()
	}); n > 1 {
		t.Errorf("%v allocations for a context that nobody waits on", n)
	}
}
