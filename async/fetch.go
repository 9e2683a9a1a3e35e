package async

import (
	"errors"
	"time"

	"hearth/engine"
)

// Bounds of what is fetched and not begun yet.
const (
	maxFetch      = 64       // events of one fetch
	maxFetchBytes = 4 << 20  // of one fetch, as far as the average of the queue tells
	maxBuffered   = 64 << 20 // bytes of all lines
	maxFetches    = 8        // at once
	// stockFor is how long what is fetched before there is room for it is expected to
	// last, and stockLasts how long it is kept where none of it begins.
	stockFor   = 20 * time.Millisecond
	stockLasts = time.Second
	// emptyPause is how long a line rests whose queue gave nothing where it had said
	// that there is something.
	emptyPause = 10 * time.Millisecond
)

// ahead is how many events of a line are fetched before there is room for them: what
// is expected to begin within stockFor. Where functions of an account contend for what
// is free, none is: they share it by turns, and what waits in a stock takes none.
func (d *dispatcher) ahead(l *line, now time.Time) int {
	if l.duration <= 0 || d.buffered > maxBuffered/2 || now.Before(l.account.contended) {
		return 0
	}
	return int(min(int64(max(l.running, l.allowed))*int64(stockFor)/int64(l.duration), maxFetch))
}

// stock has more fetched of a line whose stock runs out.
func (d *dispatcher) stock(l *line, now time.Time) {
	n := d.ahead(l, now) - l.buffer.len()
	if l.fetching || n <= l.buffer.len() {
		return
	}
	if b := d.queue.Backlog(l.key); b.Ready > 0 {
		d.fetch(l, n, b, false)
	}
}

// keepStock has a line without room look again when it may have more, and gives its
// stock back where none of it has begun for long: such events wait on disk, where
// they are looked at in time.
func (d *dispatcher) keepStock(l *line, now time.Time) {
	at := l.stirred.Add(stockLasts)
	if !at.After(now) {
		d.unbuffer(l)
		d.turn(l)
		return
	}
	d.wakeAt(l, l.roomAt(at, now), now)
}

// fetch has up to n events fetched; to look only, they go back unless they are too
// old.
func (d *dispatcher) fetch(l *line, n int, b engine.Backlog, look bool) {
	n = min(n, maxFetch)
	if events := int64(b.Ready + b.Delayed + b.InFlight); events > 0 && b.Bytes > 0 {
		n = min(n, int(max(1, maxFetchBytes/(b.Bytes/events+1))))
	}
	l.fetching = true
	l.account.fetching++
	d.toFetch.push(fetch{l, n, look})
	d.startFetches()
}

// fetch is one that waits for its turn.
type fetch struct {
	line *line
	n    int
	look bool
}

func (d *dispatcher) startFetches() {
	for d.fetches < maxFetches && d.buffered < maxBuffered && !d.closing {
		f, ok := d.toFetch.head()
		if !ok {
			return
		}
		d.toFetch.pop()
		d.fetches++
		d.spawn(func() {
			events, err := d.queue.Fetch(d.ctx, f.line.key, f.n)
			d.report(func() { d.fetched(f, events, err) })
		})
	}
}

// fetched takes what a fetch brought.
func (d *dispatcher) fetched(f fetch, events []engine.Event, err error) {
	d.fetches--
	d.trap("fetched")
	l := f.line
	l.fetching = false
	l.account.fetching--
	now := time.Now()
	if err != nil && d.ctx.Err() == nil && !errors.Is(err, engine.ErrClosed) {
		d.log.Error("events cannot be fetched", "queue", l.key, "err", err)
		d.pause(l, faulted, nil, now, time.Time{})
	}
	if err == nil && len(events) == 0 && l.buffer.len() == 0 && !d.closing { // gone meanwhile, or what the queue counts is not there
		l.held = true
		d.wakeAt(l, now.Add(emptyPause), now)
	}
	if d.closing || l.recall {
		d.giveBack(events)
		events = nil
	}
	l.recall, l.stirred = false, now
	for i := range events {
		flight := d.flight(l, &events[i])
		switch {
		case flight.damaged != nil:
			d.end(flight, faulted, flight.damaged)
		case !now.Before(flight.expiry()):
			d.expire(flight)
		case f.look:
			l.lookAt = now.Add(lookEvery)
			if e := flight.expiry(); e.Before(l.lookAt) {
				l.lookAt = e
			}
			d.giveBack(events[i:])
			events = nil
		default:
			l.buffer.push(flight)
			d.buffered += flight.size
		}
		if events == nil {
			break
		}
	}
	wanted := l.wanted
	l.wanted = nil
	for _, t := range wanted {
		d.terminate(l.key, t)
	}
	d.startFetches()
	d.turn(l)
	d.ring.relist(l.account)
}

// giveBack returns events to their places in the queue.
func (d *dispatcher) giveBack(events []engine.Event) {
	ids := make([]string, len(events))
	for i := range events {
		ids[i] = events[i].ID
	}
	d.queue.Release(ids...)
}

// unbuffer gives back what a line has fetched and not begun, and what it fetches:
// that is behind it.
func (d *dispatcher) unbuffer(l *line) {
	l.recall = l.fetching
	var ids []string
	for l.buffer.len() > 0 {
		f, _ := l.buffer.head()
		l.buffer.pop()
		d.buffered -= f.size
		ids = append(ids, f.event.ID)
	}
	if len(ids) > 0 {
		d.queue.Release(ids...)
		d.startFetches()
	}
}
