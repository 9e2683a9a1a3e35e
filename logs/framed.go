package logs

import "bytes"

// Where an instance may hold several invocations, its runtime says of each line
// whose it is. A framed line is
//
//	frameStart, request id, frameEnds or frameGoesOn, text, '\n'
//
// and frameGoesOn says that the next framed line of the request continues this
// one: a write that did not end with a newline, or a part of a long line. Runtimes
// write at most PIPE_BUF bytes at once, so that nothing comes in between.
//
// Anything in the instance can write such a line. It counts only with the id of
// an invocation that the instance holds or held a short time ago; every other line
// is what it looks like.
const (
	frameStart  = 0x1e
	frameEnds   = 0x1f
	frameGoesOn = 0x1d
	// maxFrameID bounds a request id in a frame.
	maxFrameID = 128
	// maxParts bounds the unfinished lines of all invocations of one stream: they
	// may all end at once, and pendingBytes has room for that.
	maxParts = maxLine
)

// framed is a framed line, its newline included in text.
type framed struct {
	request string
	text    []byte
	goesOn  bool
}

// parseFramed reads a line that begins with frameStart and ends with '\n', or the
// beginning of one.
func parseFramed(line []byte) (framed, bool) {
	end := bytes.IndexAny(line[:min(len(line), maxFrameID+2)], "\x1f\x1d")
	if end < 2 || line[0] != frameStart {
		return framed{}, false
	}
	return framed{request: string(line[1:end]), text: line[end+1:], goesOn: line[end] == frameGoesOn}, true
}

// mayBeFrameLocked reports whether the beginning of a line is that of a frame that
// counts, as far as it can be told.
func (st *Stream) mayBeFrameLocked(begin []byte) bool {
	if len(begin) < maxFrameID+2 && bytes.IndexAny(begin, "\x1f\x1d") < 0 {
		return true
	}
	f, ok := parseFramed(begin)
	return ok && st.countsLocked(f)
}

// countsLocked reports whether a frame is of an invocation that the instance holds
// or held a short time ago.
func (st *Stream) countsLocked(f framed) bool {
	return st.captures.flying[f.request] != nil || st.captures.past.has(f.request)
}

// addFramedLocked adds the line where it carries a frame that counts. What was
// printed before the frame on the same line is a line without one.
func (st *Stream) addFramedLocked(line []byte) bool {
	at := bytes.IndexByte(line, frameStart)
	if at < 0 {
		return false
	}
	f, ok := parseFramed(line[at:])
	if !ok || !st.countsLocked(f) {
		return false
	}
	c := st.captures.flying[f.request]
	if at > 0 {
		st.addPlainLocked(append(bytes.Clone(line[:at]), '\n'))
	}
	switch {
	case c == nil: // it has ended: nothing is kept back for it
		st.addLocked(nil, f.request, f.text)
	case f.goesOn:
		st.holdPartLocked(c, f.text[:len(f.text)-1])
	case len(c.part) == 0:
		st.addLocked(c, "", f.text)
	default:
		st.holdPartLocked(c, f.text[:len(f.text)-1])
		st.flushPartLocked(c)
	}
	return true
}

// holdPartLocked keeps a part of a line until its end comes.
func (st *Stream) holdPartLocked(c *capture, text []byte) {
	if st.parts+len(text) > maxParts {
		st.flushPartLocked(c)
	}
	c.part = append(c.part, text...)
	st.parts += len(text)
	if st.parts > maxParts { // others hold it all
		st.flushPartLocked(c)
	}
}

// flushPartLocked ends the invocation's unfinished line.
func (st *Stream) flushPartLocked(c *capture) {
	if c == nil || len(c.part) == 0 {
		return
	}
	st.parts -= len(c.part)
	c.part = append(c.part, '\n')
	st.addLocked(c, "", c.part)
	c.part = c.part[:0]
	if cap(c.part) > keptBytes {
		c.part = nil
	}
}

// pastRequests remembers the requests that ended last, for output that comes
// after their end: an invocation that timed out runs on while others are held.
type pastRequests struct {
	known map[string]struct{}
	ring  []string
	next  int
}

// minPast is how many requests are remembered at least.
const minPast = 16

// add remembers the request, and as many as keep in all. Keep never falls.
func (p *pastRequests) add(request string, keep int) {
	if p.has(request) {
		return
	}
	if p.known == nil {
		p.known = map[string]struct{}{}
	}
	p.known[request] = struct{}{}
	if len(p.ring) < keep {
		p.ring = append(p.ring, request)
		return
	}
	delete(p.known, p.ring[p.next])
	p.ring[p.next] = request
	p.next = (p.next + 1) % len(p.ring)
}

func (p *pastRequests) has(request string) bool {
	_, ok := p.known[request]
	return ok
}
