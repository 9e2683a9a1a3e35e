package nats

import (
	"testing"
	"testing/synctest"
	"time"
)

// TestPatientOutcomesWaitForCompany looks for how long the writer waits before it
// writes what is pending.
func TestPatientOutcomesWaitForCompany(t *testing.T) {
	const since = time.Millisecond // the last page of outcomes
	for _, c := range []struct {
		name    string
		since   time.Duration
		patient int
		urgent  time.Duration // after it, something that somebody waits for
		want    time.Duration
	}{
		{name: "one after another", since: since, patient: 1, want: patience - since},
		{name: "several", since: since, patient: 3, want: patience - since},
		{name: "one alone", since: patience, patient: 1},
		{name: "many", since: since, patient: company},
		{name: "beside one that is urgent", since: since, patient: 1, urgent: 2 * time.Millisecond, want: 2 * time.Millisecond},
		{name: "nothing", since: since},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &shard{queue: &queue{life: t.Context()}, work: make(chan struct{}, 1)}
				s.writer.settled = time.Now()
				time.Sleep(c.since)
				for range c.patient {
					o := newOp(kindSettle, id{})
					o.patient = true
					s.submit(o)
				}
				if c.urgent > 0 {
					time.AfterFunc(c.urgent, func() { s.submit(newOp(kindAccept, id{})) })
				}
				began := time.Now()
				s.gather()
				if got := time.Since(began); got != c.want {
					t.Errorf("it waits for %v, not %v", got, c.want)
				}
			})
		})
	}
}
