package pool

import (
	"context"
	"runtime"
	"slices"
	"sync"
	"time"

	"hearth/faas"
)

// A start keeps its turn for at most setupTurn, and once its runtime was started for
// at most initTurn more. What takes longer waits for something else than the CPU,
// most of the time: a package that is unpacked, or what init asks of others. While
// the CPUs have no time to spare it is busyTurn: more starts at once would only make
// each of them slower.
const (
	setupTurn = time.Second
	initTurn  = 100 * time.Millisecond
	busyTurn  = 5 * time.Second
)

// turns lets starts begin a few at a time. Three hundred that begin together share
// the CPU, and each is as slow as all of them; in turns the first is done at once
// and the last no later. The functions whose starts wait are served in rotation,
// the starts of each in the order in which they came: who asks for three hundred
// keeps nobody else waiting for more than one of them. The lock is taken last.
type turns struct {
	count     int // of all turns
	saturated func() bool

	mu    sync.Mutex
	free  int     // turns that nobody has
	ahead int     // of these, what starts that no call waits for may have
	lines []*line // where starts wait; the one whose turn is next first
}

// line is the starts of one function that wait, those apart that no call waits for.
type line struct {
	of    lineOf
	queue []chan struct{} // closed when the start has its turn; the first to come first
}

type lineOf struct {
	function faas.FunctionID
	ahead    bool
}

func newTurns(n int, saturated func() bool) *turns {
	if n <= 0 {
		n = 4 * runtime.GOMAXPROCS(0)
	}
	if saturated == nil {
		saturated = func() bool { return false }
	}
	return &turns{count: n, saturated: saturated, free: n, ahead: max(1, n/4)}
}

// turn is one start's turn. It is over when end is called, or its time is up.
type turn struct {
	turns *turns
	over  func()
	timer *time.Timer
}

// take waits for a turn, until ctx ends. The caller ends it.
func (t *turns) take(ctx context.Context, function faas.FunctionID, ahead bool) (*turn, error) {
	of := lineOf{function, ahead}
	begin := t.enter(of)
	select {
	case <-begin:
	case <-ctx.Done():
		t.withdraw(of, begin)
		return nil, context.Cause(ctx)
	}
	over := sync.OnceFunc(func() { t.leave(ahead) })
	return &turn{t, over, time.AfterFunc(setupTurn, over)}, nil
}

// started says that the runtime was started and init has begun.
func (t *turn) started() {
	if t.timer.Stop() {
		began := time.Now()
		t.timer = time.AfterFunc(initTurn, func() { t.expire(began) })
	}
}

// expire ends the turn of a start whose init began then, or looks again later.
func (t *turn) expire(began time.Time) {
	if time.Since(began) < busyTurn && t.turns.saturated() {
		time.AfterFunc(initTurn, func() { t.expire(began) })
		return
	}
	t.over()
}

func (t *turn) end() {
	t.timer.Stop()
	t.over()
}

// enter puts a start into its line. The channel is closed when it has its turn.
func (t *turns) enter(of lineOf) chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	i := t.findLocked(of)
	if i < 0 {
		i = len(t.lines)
		t.lines = append(t.lines, &line{of: of})
	}
	begin := make(chan struct{})
	t.lines[i].queue = append(t.lines[i].queue, begin)
	t.grantLocked()
	return begin
}

// withdraw takes a start out of its line, or gives back the turn that it has got
// meanwhile.
func (t *turns) withdraw(of lineOf, begin chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	i := t.findLocked(of)
	if i >= 0 {
		if at := slices.Index(t.lines[i].queue, begin); at >= 0 {
			t.takeLocked(i, at)
			return
		}
	}
	t.leaveLocked(of.ahead)
}

func (t *turns) leave(ahead bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.leaveLocked(ahead)
}

func (t *turns) leaveLocked(ahead bool) {
	t.free++
	if ahead {
		t.ahead++
	}
	t.grantLocked()
}

// grantLocked gives the free turns to the lines in their order. A line that had one
// goes to the end.
func (t *turns) grantLocked() {
	for t.free > 0 {
		next := slices.IndexFunc(t.lines, func(l *line) bool { return !l.of.ahead || t.ahead > 0 })
		if next < 0 {
			return
		}
		l := t.lines[next]
		t.free--
		if l.of.ahead {
			t.ahead--
		}
		close(l.queue[0])
		t.takeLocked(next, 0)
		if len(l.queue) > 0 {
			t.lines = append(slices.Delete(t.lines, next, next+1), l)
		}
	}
}

// takeLocked removes a start from a line, and the line with its last.
func (t *turns) takeLocked(i, at int) {
	l := t.lines[i]
	l.queue = slices.Delete(l.queue, at, at+1)
	if len(l.queue) == 0 {
		t.lines = slices.Delete(t.lines, i, i+1)
	}
}

func (t *turns) findLocked(of lineOf) int {
	return slices.IndexFunc(t.lines, func(l *line) bool { return l.of == of })
}
