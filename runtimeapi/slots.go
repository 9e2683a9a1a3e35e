package runtimeapi

// slots is how many invocations a runtime has shown that it can hold at once. It
// never falls: a poll that is gone comes back, or its process ends. Not safe for
// concurrent use.
type slots struct {
	n, limit int
	more     chan struct{} // closed when n rises; nil where it never will
}

func newSlots(limit int) slots {
	return slots{limit: limit, more: make(chan struct{})}
}

// show says that the runtime was seen to hold n, polls that wait included.
func (s *slots) show(n int) {
	n = min(n, s.limit)
	if n <= s.n {
		return
	}
	s.n = n
	close(s.more)
	s.more = nil
	if n < s.limit {
		s.more = make(chan struct{})
	}
}
