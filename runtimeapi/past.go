package runtimeapi

// pastKind is why an invocation is over.
type pastKind int

const (
	pastUnknown  pastKind = iota // never this instance's, or too long ago
	pastAnswered                 // the runtime answered it
	pastDropped                  // it was given up before the runtime answered
)

// pastKept is how many ended invocations are remembered: enough for every late
// answer of an instance with the largest InstanceConcurrency.
const pastKept = 1024

// pastIDs remembers the last ended invocations of an instance, so that a late
// answer is told from a made-up id. A zero pastIDs is empty. Not safe for
// concurrent use.
type pastIDs struct {
	kinds map[string]pastKind
	ring  []string
	next  int
}

func (p *pastIDs) add(id string, kind pastKind) {
	if p.kinds == nil {
		p.kinds = make(map[string]pastKind)
	}
	if len(p.ring) < pastKept {
		p.ring = append(p.ring, id)
	} else {
		delete(p.kinds, p.ring[p.next])
		p.ring[p.next] = id
		p.next = (p.next + 1) % pastKept
	}
	p.kinds[id] = kind
}

func (p *pastIDs) kind(id string) pastKind { return p.kinds[id] }

// set changes what is remembered of an id that is remembered.
func (p *pastIDs) set(id string, kind pastKind) {
	if _, ok := p.kinds[id]; ok {
		p.kinds[id] = kind
	}
}
