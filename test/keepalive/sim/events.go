package sim

// kind is what happens at an event.
type kind uint8

const (
	arrival kind = iota
	started      // an instance is ready
	ended        // a call ended
	look         // the policy is to look at the idle instances
	ahead        // an instance is to be started ahead
)

// event is one thing that will happen.
type event struct {
	at       int64 // nanoseconds
	order    uint64
	app      int32
	instance int32
	kind     kind
}

func (e event) before(o event) bool {
	return e.at < o.at || e.at == o.at && e.order < o.order
}

// queue is a heap of events.
type queue struct {
	events []event
	order  uint64
}

func (q *queue) push(e event) {
	q.order++
	e.order = q.order
	q.events = append(q.events, e)
	i := len(q.events) - 1
	for i > 0 {
		parent := (i - 1) / 2
		if !q.events[i].before(q.events[parent]) {
			break
		}
		q.events[i], q.events[parent] = q.events[parent], q.events[i]
		i = parent
	}
}

func (q *queue) pop() event {
	first := q.events[0]
	last := len(q.events) - 1
	q.events[0] = q.events[last]
	q.events = q.events[:last]
	for i := 0; ; {
		child := 2*i + 1
		if child >= last {
			break
		}
		if child+1 < last && q.events[child+1].before(q.events[child]) {
			child++
		}
		if !q.events[child].before(q.events[i]) {
			break
		}
		q.events[i], q.events[child] = q.events[child], q.events[i]
		i = child
	}
	return first
}
