//go:build linux && amd64

package process

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"hearth/sandbox"
)

// takeSlotLocked returns a free slot or a new one. Where all are in use but some
// are being cleaned, or a spare has one or gets one, it waits for one of those,
// letting go of mu meanwhile.
func (d *Driver) takeSlotLocked(ctx context.Context) (*slot, error) {
	for {
		if d.closed {
			return nil, sandbox.ErrClosed
		}
		if s := d.freeSlotLocked(); s != nil {
			return s, nil
		}
		if d.cleaning == 0 && !d.stock.building {
			spare := d.stock.surplusLocked(true)
			if spare == nil {
				return nil, fmt.Errorf("%w: all %d sandboxes are in use", sandbox.ErrNoCapacity, d.max)
			}
			d.discardLocked(spare)
		}
		changed := d.changed
		d.mu.Unlock()
		select {
		case <-changed:
			d.mu.Lock()
		case <-ctx.Done():
			d.mu.Lock()
			return nil, ctx.Err()
		}
	}
}

// freeSlotLocked returns a slot that nobody has, or nil.
func (d *Driver) freeSlotLocked() *slot {
	if last := len(d.free) - 1; last >= 0 {
		s := d.free[last]
		d.free = d.free[:last]
		return s
	}
	if d.made < d.max {
		d.made++
		return &slot{uid: d.users.first + d.made}
	}
	return nil
}

// checkMemory refuses a sandbox whose limit the machine could not serve now.
func (d *Driver) checkMemory(memoryMB int) error {
	if d.room.grant(memoryMB, memoryMB+d.minFreeMB, time.Now()) {
		return nil
	}
	kb, err := d.room.measure()
	if err != nil {
		return fmt.Errorf("process: read the free memory: %w", err)
	}
	if kb/1024 < int64(memoryMB+d.minFreeMB) {
		return fmt.Errorf("%w: %d MB of memory are available, a sandbox of %d MB needs %d",
			sandbox.ErrNoCapacity, kb/1024, memoryMB, memoryMB+d.minFreeMB)
	}
	d.room.grant(memoryMB, 0, time.Now())
	return nil
}

// memoryRoom remembers how much memory was available: the kernel takes 0.2 ms to
// say, on a machine with many block devices, and a start would wait for it.
type memoryRoom struct {
	mu sync.Mutex
	// measured is when availableMB was true. All that was granted since is taken off
	// it in full, as if it were in use at once.
	measured    time.Time
	availableMB int
}

// roomLasts is how long what was measured counts; others use the machine too.
const roomLasts = 5 * time.Second

// roomRecent is how long nothing else is asked for ahead of the next start.
const roomRecent = 100 * time.Millisecond

// refresh asks the kernel again, unless it was asked a moment ago.
func (r *memoryRoom) refresh() error {
	r.mu.Lock()
	recent := time.Since(r.measured) < roomRecent
	r.mu.Unlock()
	if recent {
		return nil
	}
	_, err := r.measure()
	return err
}

// grant takes memoryMB off what is left and returns true, if that is known to be
// neededMB or more.
func (r *memoryRoom) grant(memoryMB, neededMB int, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.availableMB < neededMB || now.Sub(r.measured) > roomLasts {
		return false
	}
	r.availableMB -= memoryMB
	return true
}

// measure asks the kernel, and returns what it says in KiB.
func (r *memoryRoom) measure() (int64, error) {
	now := time.Now()
	kb, err := memAvailable()
	if err != nil {
		return 0, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.measured, r.availableMB = now, int(kb/1024)
	return kb, nil
}

// checkDisk refuses a sandbox whose /tmp could not be filled now.
func (d *Driver) checkDisk(tmpMB int) error {
	var fs unix.Statfs_t
	if err := unix.Statfs(d.stateDir, &fs); err != nil {
		return fmt.Errorf("process: read the free disk space: %w", err)
	}
	if free := int64(fs.Bavail) * fs.Bsize >> 20; free < int64(tmpMB+d.minFreeMB) {
		return fmt.Errorf("%w: %d MB of disk are free, a /tmp of %d MB needs %d",
			sandbox.ErrNoCapacity, free, tmpMB, tmpMB+d.minFreeMB)
	}
	return nil
}

// scarce marks an error of a machine that has no room with ErrNoCapacity.
func scarce(err error) error {
	for _, e := range []unix.Errno{unix.EAGAIN, unix.ENOMEM, unix.ENOSPC, unix.EMFILE, unix.ENFILE, unix.EDQUOT} {
		if errors.Is(err, e) {
			return fmt.Errorf("%w: %w", sandbox.ErrNoCapacity, err)
		}
	}
	return err
}

// memAvailable is the memory that could be used without swapping, in KiB.
func memAvailable() (int64, error) {
	b, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, "MemAvailable:"); ok {
			return strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
		}
	}
	return 0, errors.New("process: /proc/meminfo has no MemAvailable")
}
