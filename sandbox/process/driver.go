//go:build linux && amd64

package process

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"hearth/sandbox"
)

// Defaults of Options and sandbox.Spec.
const (
	defaultMaxSandboxes = 1000
	defaultMinFreeMB    = 128
	defaultPids         = 1024
	defaultFiles        = 1024
	defaultTmpMB        = 512
)

// Driver makes process sandboxes. It is safe for concurrent use.
type Driver struct {
	log       *slog.Logger
	max       int
	minFreeMB int
	stateDir  string
	name      string // of the control groups
	layout    layout
	users     idRange
	caps      int // capabilities that this kernel knows
	filter    []unix.SockFilter
	template  *template
	proc      *os.File // the host's /proc, for threads that have left its mounts
	room      memoryRoom
	berths    *berths
	mounter   *mounter
	stock     *stock
	tmp       *tmpPool
	lo        *loopback
	networks  Networks // nil without egress
	setups    gate     // setups and launches at once
	deaths    gate     // kills at once: dying takes CPU time too, and each has deathLimit for it
	// deathLimit is Options.DeathLimit, or its default.
	deathLimit time.Duration
	// quarantine is how long clean waits at a time for a sandbox that outlived
	// Destroy. It asks again until the driver closes: writing out a large file to a
	// slow disk cannot be interrupted, and takes minutes.
	quarantine time.Duration

	// background are the Creates in flight, the filler of the stock, and the cleaning
	// of dead sandboxes.
	background sync.WaitGroup

	mu       sync.Mutex
	boxes    map[string]*box // by sandbox id, until clean
	free     []*slot
	made     int           // slots that exist or are lost, at most max
	cleaning int           // slots that come back
	changed  chan struct{} // closed and replaced when a slot comes back
	closed   bool
	lost     int // slots that were not fit for use again
}

// slot is what outlives a sandbox and is used by the next: control groups, and a
// user that owns nothing else on the machine while a process of it lives.
type slot struct {
	uid   int
	group *group
}

// idRange is a range of user and group ids. The first is that of every
// sandbox's first process; the others belong to one slot each.
type idRange struct{ first, n int }

// mostSandboxes is what one driver has user ids for.
const mostSandboxes = 1<<14 - 1

// usersOf chooses the ids of a driver, far above those that people and systems
// use, and different for drivers with different data.
func usersOf(dataID string, n int) idRange {
	const base, step, ranges = 1 << 30, mostSandboxes + 1, 1 << 15
	h := fnv.New32a()
	h.Write([]byte(dataID))
	return idRange{first: base + int(h.Sum32()%ranges)*step, n: n}
}

// gate admits a number of callers at once.
type gate chan struct{}

// enter waits for a place until ctx ends or stop is closed.
func (g gate) enter(ctx context.Context, stop <-chan struct{}) error {
	select {
	case g <- struct{}{}:
		return nil
	case <-stop:
		return sandbox.ErrDestroyed
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (g gate) leave() { <-g }

var validDataID = regexp.MustCompile(`^[a-z0-9-]{1,32}$`)

// New removes what an earlier process with the same DataID left and returns a
// driver. It needs root.
func New(opts Options) (*Driver, error) {
	l, err := detectLayout()
	if err != nil {
		return nil, err
	}
	return newOn(l, opts)
}

// newOn makes a driver that uses these control group hierarchies.
func newOn(l layout, opts Options) (*Driver, error) {
	if !validDataID.MatchString(opts.DataID) {
		return nil, fmt.Errorf("process: data id %q: must be 1 to 32 of a-z, 0-9 and -", opts.DataID)
	}
	if !filepath.IsAbs(opts.StateDir) {
		return nil, fmt.Errorf("process: state directory %q: must be an absolute path", opts.StateDir)
	}
	if opts.MaxSandboxes > mostSandboxes {
		return nil, fmt.Errorf("process: MaxSandboxes is %d: at most %d", opts.MaxSandboxes, mostSandboxes)
	}
	d := &Driver{
		log:        opts.Logger,
		max:        opts.MaxSandboxes,
		minFreeMB:  opts.MinFreeMB,
		stateDir:   opts.StateDir,
		layout:     l,
		name:       "hearth-" + opts.DataID,
		networks:   opts.Networks,
		setups:     make(gate, 2*runtime.NumCPU()),
		deaths:     make(gate, 4*runtime.NumCPU()),
		deathLimit: cmp.Or(opts.DeathLimit, defaultDeathLimit),
		quarantine: defaultQuarantine,
		boxes:      map[string]*box{},
		changed:    make(chan struct{}),
		stock:      newStock(opts.Spares, firstKinds(opts.Networks)),
	}
	if d.log == nil {
		d.log = slog.New(slog.DiscardHandler)
	}
	if d.max <= 0 {
		d.max = defaultMaxSandboxes
	}
	if d.minFreeMB <= 0 {
		d.minFreeMB = defaultMinFreeMB
	}
	d.users = usersOf(opts.DataID, d.max+1)
	if err := d.open(); err != nil {
		d.networks = nil // they stay the caller's
		return nil, errors.Join(err, d.release())
	}
	return d, nil
}

// open makes everything that the sandboxes share.
func (d *Driver) open() (err error) {
	if err := d.layout.check(); err != nil {
		return err
	}
	if err := recoverGroups(d.layout, d.name); err != nil {
		return fmt.Errorf("process: remove what an earlier run left: %w", err)
	}
	err = errors.Join(d.layout.prepare(d.name), d.layout.limitAll(d.name), d.layout.weighAll(d.name, runtime.NumCPU()))
	if err != nil {
		return err
	}
	if d.filter, err = filter(); err != nil {
		return err
	}
	for d.caps < maxCapability {
		if _, err := unix.PrctlRetInt(unix.PR_CAPBSET_READ, uintptr(d.caps), 0, 0, 0); err != nil {
			break
		}
		d.caps++
	}
	if d.proc, err = os.Open("/proc"); err != nil {
		return err
	}
	root := filepath.Join(d.stateDir, "root")
	if err := os.MkdirAll(root, 0o711); err != nil {
		return err
	}
	if d.template, err = newTemplate(root, d.users); err != nil {
		return err
	}
	if d.tmp, err = newTmpPool(filepath.Join(d.stateDir, "tmp"), min(d.max, 64), d.log); err != nil {
		return err
	}
	if d.berths, err = newBerths(cap(d.setups)); err != nil {
		return err
	}
	if d.lo, err = newLoopback(); err != nil {
		return err
	}
	d.mounter = newMounter(d.template.ns)
	if d.stock.depth > 0 {
		d.background.Go(d.fillStock)
	}
	return nil
}

// firstKinds are the kinds of sandbox that most functions want.
func firstKinds(networks Networks) []kind {
	k := kind{tmpMB: defaultTmpMB, pids: defaultPids, files: defaultFiles, egress: sandbox.EgressNone}
	kinds := []kind{k}
	if networks != nil {
		k.egress = sandbox.EgressInternet
		kinds = append(kinds, k)
	}
	return kinds
}

// Name implements sandbox.Driver.
func (d *Driver) Name() string { return "process" }

// Create implements sandbox.Driver.
func (d *Driver) Create(ctx context.Context, spec sandbox.Spec) (sandbox.Sandbox, error) {
	spec, err := complete(spec)
	if err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if spec.Egress != sandbox.EgressNone && d.networks == nil {
		return nil, fmt.Errorf("process: egress %q: this driver has no networks: %w", spec.Egress, sandbox.ErrUnsupported)
	}
	b, built, err := d.admit(ctx, spec)
	if err != nil {
		return nil, err
	}
	defer d.background.Done()
	if !built {
		if err := d.build(ctx, b, d.kindOf(spec), true); err != nil {
			d.cleanLater(func() { d.abandon(b) })
			return nil, scarce(fmt.Errorf("process: create sandbox %s: %w", spec.ID, err))
		}
		b.watch()
	}
	if err := b.dedicate(spec); err != nil {
		return nil, scarce(errors.Join(fmt.Errorf("process: create sandbox %s: %w", spec.ID, err), b.Destroy("not completed")))
	}
	d.mu.Lock()
	b.ready = true
	closed := d.closed
	d.mu.Unlock()
	if closed { // and Close did not see it
		return nil, errors.Join(sandbox.ErrClosed, b.Destroy("shutdown"))
	}
	return b, nil
}

// complete fills in the defaults and names what is wrong.
func complete(spec sandbox.Spec) (sandbox.Spec, error) {
	if err := spec.Validate(); err != nil {
		return spec, err
	}
	if spec.MemoryMB == 0 {
		return spec, errors.New("process: MemoryMB is 0: a sandbox needs a memory limit")
	}
	if spec.Pids <= 0 {
		spec.Pids = defaultPids
	}
	if spec.Files <= 0 {
		spec.Files = defaultFiles
	}
	if spec.TmpMB <= 0 {
		spec.TmpMB = defaultTmpMB
	}
	switch spec.Egress {
	case "":
		spec.Egress = sandbox.EgressNone
	case sandbox.EgressNone, sandbox.EgressInternet:
	default:
		return spec, fmt.Errorf("process: egress %q: unknown", spec.Egress)
	}
	return spec, checkMounts(spec.Mounts)
}

// newBox returns a sandbox that is to be built in a slot.
func newBox(d *Driver, s *slot) *box {
	return &box{
		d: d, slot: s, spare: -1,
		firstGone: make(chan struct{}), done: make(chan struct{}),
		killed: make(chan struct{}), destroyed: make(chan struct{}),
	}
}

// admit counts the Create in background and registers the box: one of the stock,
// which is built, or a new one with a slot.
func (d *Driver) admit(ctx context.Context, spec sandbox.Spec) (b *box, built bool, err error) {
	if err := errors.Join(d.checkMemory(spec.MemoryMB), d.checkDisk(spec.TmpMB)); err != nil {
		return nil, false, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return nil, false, sandbox.ErrClosed
	}
	if _, ok := d.boxes[spec.ID]; ok {
		return nil, false, fmt.Errorf("process: sandbox %s exists already", spec.ID)
	}
	d.boxes[spec.ID] = nil // takeSlotLocked lets go of mu
	d.background.Add(1)
	b = d.stock.takeLocked(d.kindOf(spec))
	built = b != nil
	if !built {
		slot, err := d.takeSlotLocked(ctx)
		if err != nil {
			delete(d.boxes, spec.ID)
			d.background.Done()
			return nil, false, err
		}
		b = newBox(d, slot)
	}
	b.id, b.mounts, b.memoryMB = spec.ID, spec.Mounts, spec.MemoryMB
	b.files, b.pids = spec.Files, spec.Pids
	d.boxes[b.id] = b
	return b, built, nil
}

// build makes the sandbox. What it made before it failed, abandon removes.
// What only the command's process needs is made beside its sandbox, or before.
func (d *Driver) build(ctx context.Context, b *box, k kind, beside bool) (err error) {
	if err := d.setups.enter(ctx, nil); err != nil {
		return err
	}
	defer d.setups.leave()
	if b.slot.group == nil {
		name := strconv.Itoa(b.slot.uid - d.users.first)
		if b.slot.group, err = newGroup(d.layout, d.name, name); err != nil {
			return err
		}
	}
	var networks Networks = d.lo
	if k.egress != sandbox.EgressNone {
		networks = d.networks
	}
	if b.netns, err = networks.Acquire(ctx, k.egress); err != nil {
		return err
	}
	if b.tmp, err = d.tmp.get(ctx, k.tmpMB); err != nil {
		return err
	}
	// Never in house itself: its thread is among the sandbox's mounts by then.
	furnish := sync.OnceValue(func() error { return b.furnish(k) })
	if beside && len(d.setups) == 1 { // else what is beside has no CPU either
		furnish = promise(furnish)
	} else {
		_ = furnish() // house asks again
	}
	err = onThread(func() error { return b.house(k, furnish) })
	_ = furnish() // house may have failed before it asked
	b.plumbing.closeTheirs()
	return err
}

// promise begins f in another goroutine and returns what waits for it, at any time and
// again.
func promise(f func() error) (wait func() error) {
	var err error
	done := make(chan struct{})
	go func() {
		defer close(done)
		err = f()
	}()
	return func() error {
		<-done
		return err
	}
}

// furnish sets the limits that the command's process is born with, and makes what
// connects it with Hearth.
func (b *box) furnish(k kind) (err error) {
	g := b.slot.group
	if b.plumbing, err = plumb(b.slot.uid); err != nil {
		return err
	}
	if err := g.limitPids(k.pids); err != nil {
		return err
	}
	if b.cpu0, err = g.cpuTime(); err != nil {
		return err
	}
	b.oom, err = watchOOM(g)
	return err
}

// cleanLater runs f, which ends in clean, in the background.
func (d *Driver) cleanLater(f func()) {
	d.mu.Lock()
	d.cleaning++
	d.mu.Unlock()
	d.background.Go(f)
}

// abandon ends a sandbox that was not completed.
func (d *Driver) abandon(b *box) {
	dead := true
	if b.lifeline != nil {
		b.lifeline.Close()
	}
	if b.first != nil {
		b.watchers.Go(b.awaitFirst)
		_ = b.first.kill(unix.SIGKILL) // it dies of the lifeline as well
		dead = b.gone(d.deathLimit)
	}
	d.clean(b, dead)
}

// defaultDeathLimit is short: the answer to a call that timed out waits for it.
const defaultDeathLimit = time.Second

// defaultQuarantine is also how long a sandbox that outlived Destroy keeps Close
// waiting before its slot is given up.
const defaultQuarantine = 10 * time.Second

// clean takes a dead sandbox apart and gives its slot back, once the control
// groups were seen to be empty. dead is false where processes may be left.
func (d *Driver) clean(b *box, dead bool) {
	if b.oom != nil {
		b.oom.close()
	}
	b.closeUnused()
	var errs []error
	for told, closing := false, false; !dead && !closing; closing = d.isClosed() {
		if dead = b.gone(d.quarantine); !dead && !told {
			told = true
			d.log.Error("a sandbox has processes left long after it was killed", "sandbox", b.id, "waited", d.quarantine)
		}
	}
	if dead {
		b.watchers.Wait()
	}
	if b.mnt != nil {
		errs = append(errs, b.mnt.Close())
	}
	if b.netns != nil && dead {
		b.netns.Release()
	}
	if b.slot.group != nil {
		errs = append(errs, b.slot.group.recycle())
	}
	if b.tmp != nil && dead {
		if err := d.tmp.put(b.tmp); err != nil {
			d.log.Warn("cannot remove a /tmp", "sandbox", b.id, "error", err)
		}
	}
	d.settle(b, dead, errors.Join(errs...))
}

func (d *Driver) isClosed() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.closed
}

// settle unregisters a box and returns or loses its slot.
func (d *Driver) settle(b *box, dead bool, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.boxes[b.id] == b {
		delete(d.boxes, b.id)
	}
	d.cleaning--
	if dead && err == nil {
		d.free = append(d.free, b.slot)
	} else {
		d.lost++
		d.log.Error("a slot is lost: processes may be left in it", "sandbox", b.id, "error", err)
	}
	d.signalLocked()
}

// signalLocked wakes those who wait for a slot, the filler of the stock included.
func (d *Driver) signalLocked() {
	d.stock.wakeFiller()
	close(d.changed)
	d.changed = make(chan struct{})
}

// Close implements sandbox.Driver. It closes the Networks as well. A slot that was
// lost (a process that could not be killed, a group that did not become empty) is
// in its error.
func (d *Driver) Close() error {
	d.mu.Lock()
	if d.closed {
		d.mu.Unlock()
		d.background.Wait()
		return nil
	}
	d.closed = true
	var ready []*box
	for _, b := range d.boxes {
		if b != nil && b.ready {
			ready = append(ready, b)
		}
	}
	close(d.stock.stop)
	d.mu.Unlock()

	var wg sync.WaitGroup
	for _, b := range ready {
		d.setups <- struct{}{} // as many at once as setups
		wg.Go(func() {
			defer d.setups.leave()
			_ = b.Destroy("shutdown") // a failure is counted in lost
		})
	}
	wg.Wait()
	d.background.Wait() // the filler too: now nothing is added to the stock
	d.mu.Lock()
	for b := d.stock.surplusLocked(true); b != nil; b = d.stock.surplusLocked(true) {
		d.discardLocked(b)
	}
	d.mu.Unlock()
	d.background.Wait()
	var lost error
	if d.lost > 0 {
		lost = fmt.Errorf("process: %d slots were lost; the next start removes what is left of them", d.lost)
	}
	return errors.Join(lost, d.release())
}

// release lets go of everything that the sandboxes shared. No sandbox is left.
func (d *Driver) release() error {
	var errs []error
	if d.networks != nil {
		errs = append(errs, d.networks.Close())
	}
	if d.lo != nil {
		errs = append(errs, d.lo.Close())
	}
	if d.tmp != nil {
		errs = append(errs, d.tmp.close())
	}
	for _, s := range d.free {
		if s.group != nil {
			errs = append(errs, s.group.close())
		}
	}
	if d.lost == 0 {
		errs = append(errs, removeGroups(d.layout.parents(d.name)))
	}
	if d.mounter != nil {
		d.mounter.close()
	}
	if d.berths != nil {
		d.berths.close()
	}
	if d.template != nil {
		errs = append(errs, d.template.close())
	}
	if d.proc != nil {
		errs = append(errs, d.proc.Close())
	}
	return errors.Join(errs...)
}
