package async

import (
	"slices"
	"time"
)

// The costs of the round robin. An event costs what its function lately took of an
// instance's time, within bounds, so that long and short functions share instances
// by time and none waits for more than one round.
const (
	costUnit = 10 * time.Millisecond
	quantum  = 32 // what each line, and each account, may spend in one turn
)

// costOf is what one event of a function costs, 1 to quantum.
func costOf(duration time.Duration) int {
	return int(min(max((duration+costUnit-1)/costUnit, 1), quantum))
}

// ring is a deficit round robin over accounts and, in each, over its lines. It holds
// the lines that could begin an event now. Not safe for concurrent use.
type ring struct {
	accounts fifo[*account]
}

// account is the part of one account in a ring.
type account struct {
	name    string
	lines   fifo[*line]
	deficit int
	listed  bool // it is in the ring

	refused fifo[*line] // that a limit refused, longest ago first; those that are not any more are skipped
	watched bool        // a goroutine waits for something of the account to be freed

	// While lines of it were refused a moment ago by what they share, none begins before
	// those that fetch have fetched: they share it by turns and not by who fetches
	// faster.
	contended time.Time // until when
	fetching  int       // lines
}

// add puts a line at the end of its account, and the account at the end of the
// ring, unless they are in it.
func (r *ring) add(l *line) {
	if l.listed {
		return
	}
	l.listed, l.deficit = true, 0
	a := l.account
	a.lines.push(l)
	if !a.listed {
		a.listed, a.deficit = true, 0
		r.accounts.push(a)
	}
}

// next returns the line whose turn it is, nil where there is none. Of that line spend
// or drop is called before next is called again.
func (r *ring) next(now time.Time) *line {
	for {
		a, ok := r.accounts.head()
		if !ok {
			return nil
		}
		if a.fetching > 0 && now.Before(a.contended) { // relist brings it back
			r.accounts.pop()
			a.listed = false
			continue
		}
		l, ok := a.lines.head()
		if !ok {
			r.accounts.pop()
			a.listed = false
			continue
		}
		if a.deficit <= 0 {
			a.deficit += quantum
		}
		if l.deficit <= 0 {
			l.deficit += quantum
		}
		return l
	}
}

// relist puts an account with lines back into the ring.
func (r *ring) relist(a *account) {
	if !a.listed && a.lines.len() > 0 {
		a.listed = true
		r.accounts.push(a)
	}
}

// spend charges the line whose turn it is with what it began. A line, or an account,
// that has used its part makes way for the next.
func (r *ring) spend(l *line, cost int) {
	a := l.account
	l.deficit -= cost
	a.deficit -= cost
	if l.deficit <= 0 {
		a.lines.pop()
		a.lines.push(l)
	}
	if a.deficit <= 0 {
		r.accounts.pop()
		r.accounts.push(a)
	}
}

// drop takes the line whose turn it is out of the ring.
func (r *ring) drop(l *line) {
	l.account.lines.pop()
	l.listed = false
}

// fifo is a queue that reuses its room.
type fifo[T any] struct {
	items []T
	first int
}

func (f *fifo[T]) len() int { return len(f.items) - f.first }

func (f *fifo[T]) head() (item T, ok bool) {
	if f.len() == 0 {
		return item, false
	}
	return f.items[f.first], true
}

func (f *fifo[T]) push(item T) {
	if f.first > 32 && f.first*2 > len(f.items) {
		n := copy(f.items, f.items[f.first:])
		clear(f.items[n:])
		f.items, f.first = f.items[:n], 0
	}
	f.items = append(f.items, item)
}

// take removes the first item of which is says so.
func (f *fifo[T]) take(is func(T) bool) (item T, ok bool) {
	for i := f.first; i < len(f.items); i++ {
		if item = f.items[i]; is(item) {
			f.items = slices.Delete(f.items, i, i+1)
			return item, true
		}
	}
	var none T
	return none, false
}

func (f *fifo[T]) pop() {
	var zero T
	f.items[f.first] = zero
	f.first++
}
