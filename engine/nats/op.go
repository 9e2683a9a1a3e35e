package nats

import (
	"time"

	"hearth/engine"
)

// op is one operation that waits for the writer of its shard. What plan decides
// about it stands in it until apply or undo.
type op struct {
	item    item
	message *engine.Message // of an accept
	caps    engine.Caps
	wait    int64       // steady: when the message becomes ready; 0: at once
	window  int64       // steady: the end of the idempotency window
	cancel  bool        // of a settle: not where the message is in flight
	patient bool        // of a settle: it may wait for company
	from    place       // of a move: where the message was read
	done    chan answer // takes one
	// abandoned: its caller has left before it was planned, and may use its
	// bytes for something else. Guarded by the shard's mu.
	abandoned bool

	slot   uint32
	before slotState
	key    *keyed
	at     uint32 // in the page
}

// answer is what an operation came to.
type answer struct {
	receipt engine.Receipt
	err     error
}

func newOp(k kind, i id) *op { return &op{item: item{kind: k, id: i}, done: make(chan answer, 1)} }

func (o *op) fail(err error) { o.done <- answer{err: err} }

// place says where a message's record is.
type place struct {
	id       id
	key      string
	page     uint64
	newer    uint64
	at       uint32
	newerAt  uint32
	state    engine.State
	accepted int64
	due      int64
}

func placeOf(p *slot, key string) place {
	state := engine.State(p.state)
	if p.state == slotLeaving {
		state = engine.InFlight
	}
	return place{id: p.id, key: key, page: p.page, newer: p.newer, at: p.at, newerAt: p.newerAt,
		state: state, accepted: p.accepted, due: p.due}
}

func unixNano(ns int64) time.Time { return time.Unix(0, ns) }
