package nats

import (
	"container/heap"

	"hearth/engine"
)

// slot is what memory holds of one message that is not settled: a hundred bytes
// without a pointer, so that a million of them cost neither room nor the
// collector's time. Header and body stay in their page.
type slot struct {
	id       id
	stamp    int64 // of acceptance; unique in the shard, and grows
	place    int64 // in its queue, among those that are ready
	accepted int64 // wall clock, ns
	due      int64 // wall clock, ns: when it becomes or became ready
	page     uint64
	newer    uint64 // the page with its newest header, or 0: that is with the body
	at       uint32 // in page
	newerAt  uint32 // in newer
	size     uint32 // as engine.MessageSize counts
	key      uint32
	ready    link // among the ready ones of its key, by place
	all      link // among all of its key, by stamp
	state    slotState
	wake     uint32 // counts the delays, so that an old timer is known as such
}

// slotState is engine.State and one more.
type slotState uint8

const (
	slotFree     slotState = 0
	slotReady    slotState = slotState(engine.Ready)
	slotDelayed  slotState = slotState(engine.Delayed)
	slotInFlight slotState = slotState(engine.InFlight)
	slotLeaving  slotState = 10 // its outcome is being written
)

// link is a place in a doubly linked list of slots; 0 is none.
type link struct{ next, prev uint32 }

// chain is the two ends of such a list.
type chain struct{ head, tail uint32 }

// append puts a slot at the end of a chain. of says where slots keep their links of
// that list.
func (s *slots) append(c *chain, n uint32, of func(*slot) *link) {
	*of(s.at(n)) = link{prev: c.tail}
	if c.tail != 0 {
		of(s.at(c.tail)).next = n
	} else {
		c.head = n
	}
	c.tail = n
}

// unlink takes a slot out of a chain.
func (s *slots) unlink(c *chain, n uint32, of func(*slot) *link) {
	l := of(s.at(n))
	if l.prev != 0 {
		of(s.at(l.prev)).next = l.next
	} else {
		c.head = l.next
	}
	if l.next != 0 {
		of(s.at(l.next)).prev = l.prev
	} else {
		c.tail = l.prev
	}
	*l = link{}
}

func ofReady(p *slot) *link { return &p.ready }
func ofAll(p *slot) *link   { return &p.all }

// keyed is one key's queue.
type keyed struct {
	key     string
	number  uint32
	account *account
	ready   chain
	all     chain
	counts  [slotLeaving + 1]int // of slots by state
	use     engine.Use
	// reserved is what the page under way will add to use.
	reserved engine.Use
}

func (k *keyed) empty() bool { return k.use.Events == 0 && k.reserved.Events == 0 }

// slots holds the messages of one shard that are not settled. It is a plain data
// structure: no lock, no clock, no disk.
type slots struct {
	slabs [][]slot // slot number n is slabs[n/slabSize][n%slabSize]; number 0 is not used
	used  uint32   // numbers given out, freed ones included
	free  uint32   // the first of a list of free slots, by ready.next
	byID  map[id]uint32

	keys   map[string]*keyed
	table  []*keyed // by number; nil where free
	spare  []uint32 // free numbers of table
	timers timers
}

const slabSize = 4096

func newSlots() *slots {
	return &slots{used: 1, byID: make(map[id]uint32), keys: make(map[string]*keyed), table: []*keyed{nil}}
}

func (s *slots) at(n uint32) *slot { return &s.slabs[n/slabSize][n%slabSize] }

// find returns the slot of an id, or 0 and nil.
func (s *slots) find(i id) (uint32, *slot) {
	n, ok := s.byID[i]
	if !ok {
		return 0, nil
	}
	return n, s.at(n)
}

// keyOf returns a key's queue and makes it where there is none.
func (s *slots) keyOf(key string, accounts *accounts) *keyed {
	if k := s.keys[key]; k != nil {
		return k
	}
	k := &keyed{key: key, account: accounts.of(engine.Account(key))}
	if n := len(s.spare); n > 0 {
		k.number, s.spare = s.spare[n-1], s.spare[:n-1]
		s.table[k.number] = k
	} else {
		k.number = uint32(len(s.table))
		s.table = append(s.table, k)
	}
	s.keys[key] = k
	return k
}

// known returns the string of a key that has a queue, or "".
func (s *slots) known(key []byte) string {
	if k := s.keys[string(key)]; k != nil {
		return k.key
	}
	return ""
}

// forget drops a key's queue where it holds nothing.
func (s *slots) forget(k *keyed) {
	if !k.empty() || s.keys[k.key] != k {
		return
	}
	delete(s.keys, k.key)
	s.table[k.number] = nil
	s.spare = append(s.spare, k.number)
}

// add puts in a message that is neither in a list of ready ones nor delayed yet:
// set follows. Stamps come in growing order, or sort must follow.
func (s *slots) add(v slot, k *keyed) uint32 {
	n := s.free
	if n != 0 {
		s.free = s.at(n).ready.next
	} else {
		n = s.used
		s.used++
		if int(n/slabSize) >= len(s.slabs) {
			s.slabs = append(s.slabs, make([]slot, slabSize))
		}
	}
	p := s.at(n)
	v.key, v.state, v.wake = k.number, slotInFlight, p.wake
	*p = v
	s.byID[v.id] = n
	s.append(&k.all, n, ofAll)
	k.counts[slotInFlight]++
	k.use.Events++
	k.use.Bytes += int64(v.size)
	return n
}

// remove takes a message out, whatever its state, and out of its account's use.
func (s *slots) remove(n uint32) {
	p := s.at(n)
	k := s.table[p.key]
	s.set(n, slotInFlight)
	k.counts[slotInFlight]--
	s.unlink(&k.all, n, ofAll)
	k.use.Events--
	k.use.Bytes -= int64(p.size)
	k.account.add(-1, -int64(p.size))
	delete(s.byID, p.id)
	wake := p.wake
	*p = slot{wake: wake + 1}
	p.ready.next = s.free
	s.free = n
}

// relink puts the list of all messages of a key into the order given.
func (s *slots) relink(k *keyed, numbers []uint32) {
	k.all = chain{}
	for _, n := range numbers {
		s.append(&k.all, n, ofAll)
	}
}

// set moves a message to another state. One that becomes ready has its place set;
// one that becomes delayed needs a timer.
func (s *slots) set(n uint32, to slotState) {
	p := s.at(n)
	k := s.table[p.key]
	if p.state == slotReady {
		s.unlink(&k.ready, n, ofReady)
	}
	k.counts[p.state]--
	k.counts[to]++
	p.state = to
	if to == slotReady {
		s.link(n, p, k)
	}
}

// link puts a slot among the ready ones of its key. New ones belong at the end
// and released ones near the head, so it looks from both sides at once.
func (s *slots) link(n uint32, p *slot, k *keyed) {
	after, before := k.ready.tail, k.ready.head // p goes behind after, or ahead of before
	for after != 0 && s.at(after).place > p.place {
		if s.at(before).place > p.place {
			after = s.at(before).ready.prev
			break
		}
		after, before = s.at(after).ready.prev, s.at(before).ready.next
	}
	if after == 0 {
		before = k.ready.head
		k.ready.head = n
	} else {
		before = s.at(after).ready.next
		s.at(after).ready.next = n
	}
	p.ready = link{next: before, prev: after}
	if before == 0 {
		k.ready.tail = n
	} else {
		s.at(before).ready.prev = n
	}
}

// delay sets a timer for a slot; an older one of it counts no more.
func (s *slots) delay(n uint32, at int64) {
	p := s.at(n)
	p.wake++
	heap.Push(&s.timers, timer{at: at, slot: n, wake: p.wake})
	s.set(n, slotDelayed)
}

// elapsed returns a slot whose delay is over, or 0.
func (s *slots) elapsed(now int64) uint32 {
	for len(s.timers) > 0 && s.timers[0].at <= now {
		t := heap.Pop(&s.timers).(timer)
		if p := s.at(t.slot); p.state == slotDelayed && p.wake == t.wake {
			return t.slot
		}
	}
	return 0
}

// timer is the end of a slot's delay.
type timer struct {
	at   int64 // the shard's clock
	slot uint32
	wake uint32
}

// timers is a heap, the next one first.
type timers []timer

func (t timers) Len() int           { return len(t) }
func (t timers) Less(i, j int) bool { return t[i].at < t[j].at }
func (t timers) Swap(i, j int)      { t[i], t[j] = t[j], t[i] }
func (t *timers) Push(x any)        { *t = append(*t, x.(timer)) }
func (t *timers) Pop() any {
	old := *t
	last := old[len(old)-1]
	*t = old[:len(old)-1]
	return last
}
