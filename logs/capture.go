package logs

import "bytes"

// tailBytes is how much of an invocation's log its caller can ask for.
const tailBytes = 4 << 10

// capture keeps the end of one invocation's log.
type capture struct {
	request string
	buf     []byte // at most 2 × tailBytes; the end counts
	part    []byte // its framed line that has no end yet
}

func (c *capture) add(data []byte) {
	if len(data) > tailBytes {
		data = data[len(data)-tailBytes:]
	}
	if len(c.buf)+len(data) > 2*tailBytes {
		c.buf = append(c.buf[:0], c.buf[len(c.buf)-tailBytes:]...)
	}
	c.buf = append(c.buf, data...)
}

func (c *capture) tail() []byte {
	return bytes.Clone(c.buf[max(0, len(c.buf)-tailBytes):])
}

// minSettled is how many settled captures a stream keeps for Tail; more where
// more invocations were in flight at once.
const minSettled = 4

// captures are the invocations in flight of one stream and the last settled
// ones. Not safe for concurrent use.
type captures struct {
	flying  map[string]*capture
	sole    *capture // the one in flight, nil where there are none or several
	peak    int
	settled []*capture // oldest first
	past    pastRequests
	spare   *capture
}

func (cs *captures) begin(request string) {
	if cs.flying == nil {
		cs.flying = map[string]*capture{}
	}
	c := cs.spare
	cs.spare = nil
	if c == nil {
		c = &capture{}
	}
	c.request, c.buf = request, c.buf[:0]
	cs.flying[request] = c
	cs.peak = max(cs.peak, len(cs.flying))
	cs.findSole()
}

func (cs *captures) settle(request string) {
	c := cs.flying[request]
	if c == nil {
		return
	}
	delete(cs.flying, request)
	cs.findSole()
	if cs.peak > 1 { // else nothing in the instance frames its lines
		cs.past.add(request, max(minPast, 2*cs.peak))
	}
	cs.settled = append(cs.settled, c)
	if len(cs.settled) > max(minSettled, cs.peak) {
		cs.reuse(cs.settled[0])
		n := copy(cs.settled, cs.settled[1:])
		cs.settled[n] = nil
		cs.settled = cs.settled[:n]
	}
}

// tail takes a settled invocation's tail; nil where it is not known (any more).
func (cs *captures) tail(request string) []byte {
	for i, c := range cs.settled {
		if c.request != request {
			continue
		}
		cs.settled = append(cs.settled[:i], cs.settled[i+1:]...)
		tail := c.tail()
		cs.reuse(c)
		return tail
	}
	return nil
}

func (cs *captures) reuse(c *capture) { cs.spare = c }

func (cs *captures) findSole() {
	cs.sole = nil
	if len(cs.flying) == 1 {
		for _, c := range cs.flying {
			cs.sole = c
		}
	}
}
