package pool

// Spares are sandboxes that stand by and hold no instance, such as the stem cells
// of package runtimes. They count in this machine's bounds, and in no quota: each
// has taken its room with TakeSpare. They give way to instances, before any idle
// one does.
type Spares interface {
	// Yield ends one and returns when it is gone, at most about a second later, its
	// room given back; false where there is none.
	Yield() bool
}

// spareMB is the memory that a spare is taken to use. Its limit may be far higher,
// but it is frozen.
const spareMB = 16

// TakeSpare takes room on the machine for one spare; false where instances have or
// want all of it.
func (ps *Pools) TakeSpare() bool { return ps.governor.takeSpare(size{1, spareMB}) }

// GiveSpare gives back the room of a spare that is gone, or has become an
// instance, whose room its start has taken.
func (ps *Pools) GiveSpare() { ps.governor.giveSpare(size{1, spareMB}) }

// yield makes a spare give way; false where there is none.
func (ps *Pools) yield() bool { return ps.spares != nil && ps.spares.Yield() }

var gone = func() chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}()

// makeRoom takes a spare, or else an idle instance out of service; the channel is
// closed when it is gone. Nil where there is neither, or for a start that takes no
// instance's place no spare.
func (ps *Pools) makeRoom(modest bool) <-chan struct{} {
	switch {
	case ps.yield():
		return gone
	case modest:
		return nil
	}
	return ps.evictAny()
}
