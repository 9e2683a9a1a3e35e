package runtimes

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"net"
	"slices"
	"sync"
	"time"

	"hearth/faas"
	"hearth/runtimeapi"
	"hearth/runtimes/cell"
	"hearth/sandbox"
)

// cells are the stem cells of a Launcher: booted runtimes and prepared sandboxes.
type cells struct {
	*cell.Pool[*parked]
	launcher *Launcher
	room     *lateRoom
	// kinds tells how the cells of a class are made: cell.Class → kind. A class is
	// met by a version that could use it before any cell of it is made.
	kinds sync.Map
	// sizes tells which memory was asked for last of a class that serves any: cell.Class → int.
	sizes sync.Map

	mu   sync.Mutex
	told map[faas.FunctionID]map[cell.Class]int // the classes of the deployed versions
}

// kind is what the versions of one class have in common.
type kind struct {
	known       known
	interpreter interpreter
	driver      sandbox.Driver
}

const (
	// cellTmpMB is the size of /tmp that cells have: what functions have that ask for
	// no other.
	cellTmpMB = 512
	// bootMemoryMB is the memory of a cell that serves any size, until it is claimed,
	// where the size that was asked for last is not known or above mostBootMB: then what
	// stands by would be taken for more than it needs.
	bootMemoryMB = 256
	mostBootMB   = 2048
)

// classOf says which cells could become an instance of a version, or in a few
// words why none can.
func (c *cells) classOf(p plan) (class cell.Class, reason string) {
	config := p.version.Config
	switch {
	case c == nil:
		return cell.Class{}, "cells are off"
	case p.isolation != faas.IsolationProcess:
		return cell.Class{}, "isolation " + string(p.isolation)
	case config.EphemeralMB != cellTmpMB:
		return cell.Class{}, "size of /tmp"
	}
	if name := bootVariable(p.known.language, config.Environment); name != "" {
		return cell.Class{}, "variable " + name
	}
	if p.wrapper() != "" {
		return cell.Class{}, "variable " + wrapperVariable
	}
	if slices.ContainsFunc(config.Layers, func(l faas.Layer) bool { return l.Contents.Extensions }) {
		return cell.Class{}, "extensions of a layer" // they start before the runtime
	}
	if !p.known.custom() && slices.ContainsFunc(config.Layers, func(l faas.Layer) bool { return l.Contents.Libraries }) {
		return cell.Class{}, "libraries of a layer" // what was booted looked for the directory already
	}
	class = cell.Class{Runtime: p.known.name, Egress: string(config.Egress)}
	switch p.known.language {
	case languageProvided, languageHTTP:
		class.Runtime = string(p.known.language) // nothing runs in it yet: they are all the same
	case languageNode:
		class.MemoryMB = config.MemoryMB // V8 sizes its heap when it boots
		fallthrough
	default:
		class.Build = p.interpreter.version + " " + p.interpreter.binary
	}
	c.kinds.LoadOrStore(class, kind{p.known, p.interpreter, p.driver})
	if class.MemoryMB == 0 {
		c.sizes.Store(class, config.MemoryMB)
	}
	return class, ""
}

// parked is a stem cell's body: a sandbox, and in it a runtime that waits for its go
// frame, or where the package brings the runtime nothing yet.
type parked struct {
	box      sandbox.Sandbox
	session  *runtimeapi.Frames // nil where nothing runs
	listener net.Listener       // of the Runtime API; nil where it is not used
	born     sandbox.Usage      // when it was parked
}

// Done implements cell.Body.
func (b *parked) Done() <-chan struct{} { return b.box.Done() }

// Cost implements cell.Body.
func (b *parked) Cost() time.Duration { return b.born.CPU }

// Kill implements cell.Body.
func (b *parked) Kill(cause string) error {
	err := b.box.Destroy(cause)
	if b.session != nil {
		_ = b.session.Close() // it never fails
		_ = b.box.Output().Close()
	}
	return err
}

// boot makes the body of a cell.
func (c *cells) boot(ctx context.Context, class cell.Class) (*parked, error) {
	found, ok := c.kinds.Load(class)
	if !ok {
		return nil, errors.New("runtimes: a class of cells that no version has")
	}
	k := found.(kind)
	box, err := k.driver.Create(ctx, c.spec(k, class))
	if err != nil {
		return nil, err
	}
	b := &parked{box: box}
	if err := c.prepare(ctx, b, k, class); err != nil {
		return nil, errors.Join(err, b.Kill("boot failed"))
	}
	return b, nil
}

func (c *cells) spec(k kind, class cell.Class) sandbox.Spec {
	var id [8]byte
	rand.Read(id[:]) // never fails
	spec := sandbox.Spec{ID: "cell-" + hex.EncodeToString(id[:]), MemoryMB: class.MemoryMB, TmpMB: cellTmpMB,
		Egress: sandbox.Egress(class.Egress)}
	if spec.MemoryMB == 0 {
		spec.MemoryMB = c.likelySize(class)
	}
	spec.MilliCPU = faas.MilliCPU(spec.MemoryMB)
	if !k.known.custom() {
		spec.Mounts = c.launcher.runtimeMounts(k.known, k.interpreter)
	}
	return spec
}

// likelySize is the memory that the next version to claim a cell probably has: setting
// another limit is three writes on the way of a start.
func (c *cells) likelySize(class cell.Class) int {
	if mb, ok := c.sizes.Load(class); ok && mb.(int) <= mostBootMB {
		return mb.(int)
	}
	return bootMemoryMB
}

// prepare does in a new sandbox all that needs no function: of a managed runtime
// the boot. It has no more of an environment than every function has.
func (c *cells) prepare(ctx context.Context, b *parked, k kind, class cell.Class) (err error) {
	switch k.known.language {
	case languageHTTP:
	case languageProvided:
		b.listener, err = b.box.Listen(ctx, "tcp", runtimeAPIAddress)
	default:
		err = c.bootRuntime(ctx, b, k, class)
	}
	if err != nil {
		return err
	}
	b.born, err = b.box.Usage()
	return err
}

func (c *cells) bootRuntime(ctx context.Context, b *parked, k kind, class cell.Class) error {
	inside, _ := k.interpreter.place()
	environment := defaults(k.known, func(path string) string { return path })
	err := b.box.Start(ctx, sandbox.Command{
		Args: arguments(k.known.language, inside, runtimeDir+"/"+c.launcher.bootstraps.entry(k.known.language, k.interpreter), class.MemoryMB),
		Env:  pairs(environment), Dir: "/", Socket: true,
	})
	if err != nil {
		return err
	}
	b.session = runtimeapi.NewParked(b.box.Socket())
	if err := b.session.AwaitParked(ctx); err != nil {
		return err
	}
	if err := b.box.Freeze(); err != nil && !errors.Is(err, sandbox.ErrUnsupported) {
		return err
	}
	return nil
}

// claim makes an instance of a cell. Nil where there is none: then the way says
// what kind of direct start follows. A cell that fails is no reason to fail the
// start: the next one is tried, as long as ctx permits.
func (c *cells) claim(ctx context.Context, p plan, r *process) (way faas.StartWay, reason string, done bool) {
	class, reason := c.classOf(p)
	if reason != "" {
		return faas.WayDirect, reason, false
	}
	defer c.Refill() // not before: to look at what there is to do takes CPU time that the start needs
	for claimed := c.Claim(class); claimed != nil; claimed = c.Again(class) {
		err := c.launcher.specialise(ctx, p, r, claimed.Body())
		if err == nil {
			return faas.WayCell, "", true
		}
		c.launcher.log.Warn("a stem cell failed when it was to become an instance; the next way is tried",
			"runtime", class.Runtime, "instance", p.instance, "err", err)
		claimed.Discard("specialising failed")
		r.mounting = 0
		if ctx.Err() != nil || refusedExec(err) { // the next would fail as well
			break
		}
	}
	return faas.WayEmpty, "", false
}

// specialise makes a claimed cell the version's. On an error r is as it was, and
// the cell its claimer's to discard.
func (l *Launcher) specialise(ctx context.Context, p plan, r *process, b *parked) error {
	if b.session != nil {
		if err := b.box.Thaw(); err != nil && !errors.Is(err, sandbox.ErrUnsupported) {
			return err
		}
	}
	mounts := append(p.extraMounts(), sandbox.Mount{Source: r.dir.Path(), Target: taskDir})
	_, shared := b.box.(sandbox.PathMapper) // its paths have to be known for the command
	if b.session != nil || shared {
		mounting := time.Now()
		if err := b.box.Mount(ctx, mounts...); err != nil {
			return err
		}
		r.mounting = time.Since(mounting)
		mounts = nil
	}
	if p.known.language != languageNode {
		if err := b.box.SetMemory(p.version.Config.MemoryMB); err != nil {
			return err
		}
	}
	if b.session == nil {
		return l.launchIn(ctx, p, r, b, mounts)
	}
	return l.begin(p, r, b)
}

// launchIn starts the package's own runtime in a prepared sandbox.
func (l *Launcher) launchIn(ctx context.Context, p plan, r *process, b *parked, mounts []sandbox.Mount) error {
	r.box = b.box
	err := l.launch(ctx, p, r, b.listener, mounts)
	if err == nil {
		return nil
	}
	if r.session != nil {
		r.closeSession()
	}
	r.box, r.session = nil, nil
	return err
}

// begin gives a booted runtime its function.
func (l *Launcher) begin(p plan, r *process, b *parked) error {
	s := l.settingOf(p, b.box)
	if err := b.session.Begin(s.document(s.environment())); err != nil {
		return err
	}
	r.box, r.session, r.booted = b.box, b.session, true
	r.execed = time.Now()
	l.connect(p, r)
	return nil
}
