//go:build linux && amd64

package process

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"hearth/sandbox"
)

// Building a sandbox takes 2 ms. Dedicating one that is built to what a Spec says
// about memory and mounts takes a tenth of that, so some are built ahead.

// kind is all that must be known to build a sandbox.
type kind struct {
	tmpMB, pids, files int
	egress             sandbox.Egress
}

func (d *Driver) kindOf(spec sandbox.Spec) kind {
	return kind{tmpMB: d.tmp.size(spec.TmpMB, spec.MemoryMB), pids: spec.Pids, files: spec.Files, egress: spec.Egress}
}

const (
	// mostKinds is of how many kinds spares are kept: those that were asked for last.
	mostKinds = 4
	// refillPause is how long the filler waits after a start took a spare, while
	// half of them are left: the start has the CPU first.
	refillPause = 5 * time.Millisecond
	// spareMB is the memory that the machine must have for one more spare. It needs a
	// fraction of that.
	spareMB = 64
)

// stock is the spares: sandboxes that are built and belong to nobody yet. Its
// fields are guarded by Driver.mu, except for those that never change.
type stock struct {
	depth int // of each kind; 0 keeps none
	wake  chan struct{}
	stop  chan struct{} // closed by the driver's Close

	kinds    []kind // the one that was asked for last is the last
	spares   map[kind][]*box
	building bool // the filler has a slot for one more
}

func newStock(depth int, kinds []kind) *stock {
	s := &stock{depth: depth, wake: make(chan struct{}, 1), stop: make(chan struct{}), spares: map[kind][]*box{}}
	if depth > 0 {
		s.kinds = kinds
		s.wakeFiller()
	}
	return s
}

// wakeFiller tells the filler that there may be something to do.
func (s *stock) wakeFiller() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// takeLocked returns a spare of the kind, or nil. The caller dedicates it.
func (s *stock) takeLocked(k kind) *box {
	if s.depth == 0 {
		return nil
	}
	if i := slices.Index(s.kinds, k); i >= 0 {
		s.kinds = slices.Delete(s.kinds, i, i+1)
	}
	s.kinds = append(s.kinds, k)
	s.wakeFiller()
	boxes := s.spares[k]
	for i := len(boxes) - 1; i >= 0; i-- {
		b := boxes[i]
		if b.runs() {
			s.spares[k] = slices.Delete(boxes, i, i+1)
			return b
		}
	}
	return nil // those that died meanwhile the filler removes
}

// runs reports whether the sandbox's processes, of which the command's may not be
// the command yet, have not ended.
func (b *box) runs() bool {
	select {
	case <-b.firstGone:
		return false
	case <-b.done:
		return false
	default:
		return true
	}
}

// surplusLocked takes out a spare that is dead, or of a kind that is not kept, or
// any at all where there must be room. nil where there is none.
func (s *stock) surplusLocked(room bool) *box {
	for len(s.kinds) > mostKinds {
		s.kinds = s.kinds[1:]
	}
	for k, boxes := range s.spares {
		for i, b := range boxes {
			if room || !b.runs() || !slices.Contains(s.kinds, k) {
				s.spares[k] = slices.Delete(boxes, i, i+1)
				return b
			}
		}
		if len(boxes) == 0 {
			delete(s.spares, k)
		}
	}
	return nil
}

// wantedLocked returns the kind of the spare to be made next.
func (s *stock) wantedLocked() (kind, bool) {
	for _, k := range slices.Backward(s.kinds) {
		if len(s.spares[k]) < s.depth {
			return k, true
		}
	}
	return kind{}, false
}

// hurryLocked reports whether a kind has less than half of its spares.
func (s *stock) hurryLocked() bool {
	return slices.ContainsFunc(s.kinds, func(k kind) bool { return 2*len(s.spares[k]) < s.depth })
}

// fillStock keeps the stock filled. It ends with Close.
func (d *Driver) fillStock() {
	pause := time.NewTimer(0)
	defer pause.Stop()
	for {
		select {
		case <-d.stock.stop:
			return
		case <-d.stock.wake:
			d.mu.Lock()
			hurry := d.stock.hurryLocked()
			d.mu.Unlock()
			if !hurry {
				pause.Reset(refillPause)
				continue // what is taken meanwhile makes the pause begin anew
			}
		case <-pause.C:
		}
		d.fillNow()
	}
}

// fillNow builds spares until there are enough, or there is no room. A kind of which
// one cannot be built is forgotten until it is asked for again: that start has the
// error, or finds it gone.
func (d *Driver) fillNow() {
	for {
		d.mu.Lock()
		if d.closed {
			d.mu.Unlock()
			return
		}
		for b := d.stock.surplusLocked(false); b != nil; b = d.stock.surplusLocked(false) {
			d.discardLocked(b)
		}
		k, wanted := d.stock.wantedLocked()
		var s *slot
		if wanted {
			s = d.freeSlotLocked()
			d.stock.building = s != nil
		}
		d.mu.Unlock()
		if s == nil {
			return // enough, or every slot is in use: who gives one back wakes the filler
		}
		if err := d.addSpare(k, s); err != nil {
			d.log.Info("no sandboxes are built ahead", "egress", k.egress, "tmp", k.tmpMB, "error", err)
		}
	}
}

// addSpare builds one in a slot that was taken for it.
func (d *Driver) addSpare(k kind, s *slot) error {
	b := newBox(d, s)
	err := d.room.refresh() // for the next start, which then need not
	err = errors.Join(err, d.checkMemory(spareMB), d.checkDisk(k.tmpMB))
	if err == nil {
		err = d.build(context.Background(), b, k, false)
	}
	if err != nil {
		d.cleanLater(func() { d.abandon(b) })
	} else {
		b.watch()
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.stock.building = false
	if err != nil {
		d.stock.kinds = slices.DeleteFunc(d.stock.kinds, func(o kind) bool { return o == k })
		d.signalLocked()
		return scarce(err)
	}
	d.stock.spares[k] = append(d.stock.spares[k], b) // after a Close too: it looks when the filler has ended
	close(d.changed)                                 // who waits for a slot may have this one's
	d.changed = make(chan struct{})
	return nil
}

// discardLocked destroys a spare that was taken out of the stock.
func (d *Driver) discardLocked(b *box) {
	d.cleaning++ // until Destroy counts for itself
	d.background.Go(func() {
		if err := b.Destroy("not needed"); err != nil {
			d.log.Warn("a sandbox that was built ahead does not die", "error", err)
		}
		d.mu.Lock()
		defer d.mu.Unlock()
		d.cleaning--
		d.signalLocked()
	})
}

// dedicate makes a sandbox that was built what the spec says.
func (b *box) dedicate(spec sandbox.Spec) error {
	sources, err := openSources(spec.Mounts)
	if err != nil {
		return err
	}
	defer closeSources(sources)
	mounted := func() error { return nil }
	if len(sources) > 0 {
		mounted = b.d.mounter.begin(b.mnt, func() error { return attachSources(sources) }, nil)
	}
	err = errors.Join(b.slot.group.limitMemory(spec.MemoryMB), b.slot.group.prepareCPU(spec.MilliCPU)) // while the mounter mounts
	if err != nil {
		err = fmt.Errorf("process: set limits: %w", err)
	}
	return errors.Join(err, mounted())
}
