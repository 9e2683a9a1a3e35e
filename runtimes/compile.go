package runtimes

import (
	"bufio"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"hearth/faas"
	"hearth/sandbox"
)

const (
	// compiledDir is where an instance finds what was compiled of its package.
	compiledDir = "/var/compiled"
	// compileLimit bounds one compilation.
	compileLimit    = time.Minute
	compileMemoryMB = 1024
	compileTmpMB    = 16
	// maxCompiled bounds what is kept of one package, in bytes.
	maxCompiled     = 512 << 20
	maxCompiledName = 2048
	// leastNodeFile is from where on a file's code cache is worth reading it, in
	// bytes of source; leastCompiled is the same for a package as a whole.
	leastNodeFile = 16 << 10
	leastCompiled = 16 << 10
)

// compiler compiles packages ahead of their starts: V8's code cache for Node, byte
// code for Python. A package is untrusted: it is compiled, not run, in a sandbox
// without network, one package at a time.
type compiler struct {
	launcher *Launcher
	turn     chan struct{} // held by the one compilation
	wanted   chan *faas.Version
	stop     context.CancelFunc
	worker   sync.WaitGroup
	tried    sync.Map // names of compilations that were tried; each once in a process's life
}

func newCompiler(l *Launcher) *compiler {
	ctx, stop := context.WithCancel(context.Background())
	c := &compiler{launcher: l, turn: make(chan struct{}, 1), wanted: make(chan *faas.Version, 16), stop: stop}
	c.worker.Go(func() { c.work(ctx) })
	return c
}

func (c *compiler) close() {
	c.stop()
	c.worker.Wait()
}

// work compiles packages whose starts found nothing compiled: they were unpacked
// anew, after the machine was started or the cache had no room for them.
func (c *compiler) work(ctx context.Context) {
	for {
		select {
		case version := <-c.wanted:
			if err := c.compile(ctx, version); err != nil && ctx.Err() == nil {
				c.launcher.log.Warn("a package cannot be compiled ahead; its starts do it", "version", version.ID.String(), "error", err)
			}
		case <-ctx.Done():
			return
		}
	}
}

// compiled returns the directory of what was compiled of a version's package; ""
// where there is none. Then it will be, if that is worth it.
func (l *Launcher) compiled(p plan, dir CodeDir) string {
	if l.compiler == nil || p.known.custom() {
		return ""
	}
	name := p.compiledName()
	path, ok := dir.Derived(name)
	if !ok {
		l.compiler.want(p.version, name)
		return ""
	}
	return path
}

// want has a version's package compiled in the background, if it was not tried.
func (c *compiler) want(version *faas.Version, name string) {
	if _, tried := c.tried.Load(version.Code.SHA256 + name); tried {
		return
	}
	select {
	case c.wanted <- version:
	default: // a later start asks again
	}
}

// Compile compiles the version's package for its runtime, where that makes starts
// faster and was not done: at most once in a process's life. An error is no
// obstacle to starts, which compile then. It returns within about a minute.
func (l *Launcher) Compile(ctx context.Context, version *faas.Version) error {
	if l.compiler == nil {
		return nil
	}
	return l.compiler.compile(ctx, version)
}

func (c *compiler) compile(ctx context.Context, version *faas.Version) error {
	p, err := c.launcher.plan(version, "")
	if err != nil {
		return err
	}
	if p.known.custom() {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, compileLimit)
	defer cancel()
	select {
	case c.turn <- struct{}{}:
		defer func() { <-c.turn }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	name := p.compiledName()
	if _, tried := c.tried.LoadOrStore(version.Code.SHA256+name, nil); tried {
		return nil
	}
	dir, err := c.launcher.code.Acquire(ctx, version.Code)
	if err != nil {
		return err
	}
	defer dir.Release()
	if size, err := sourceSize(dir.Path(), p.known.language); err != nil || size < leastCompiled {
		return err
	}
	began := time.Now()
	err = c.launcher.code.Derive(ctx, dir, name, func(ctx context.Context, content, out string) error {
		return c.fill(ctx, p, content, out)
	})
	if errors.Is(err, errShared) {
		return nil
	}
	c.launcher.log.Debug("compiled a package", "version", version.ID.String(), "took", time.Since(began), "error", err)
	return err
}

// compiledName names what is compiled by everything that decides whether it can
// be used: V8 takes a cache only under the flags that it was made with. The memory
// is none of them (node/heap.js).
func (p plan) compiledName() string {
	inside, _ := p.interpreter.place()
	command := arguments(p.known.language, inside, runtimeDir, 0)
	sum := sha256.Sum256([]byte(p.interpreter.version + "\x00" + strings.Join(command, "\x00")))
	return string(p.known.language) + "-" + hex.EncodeToString(sum[:12])
}

// sourceSize is how many bytes of source in a package compiling it ahead can save
// a start from compiling.
func sourceSize(root string, l language) (size int64, err error) {
	err = filepath.WalkDir(root, func(_ string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		extension := filepath.Ext(entry.Name())
		if (l == languagePython) != (extension == ".py") || l == languageNode && extension != ".js" && extension != ".cjs" {
			return nil
		}
		info, err := entry.Info()
		if err == nil && (l == languagePython || info.Size() >= leastNodeFile) {
			size += info.Size()
		}
		return err
	})
	return size, err
}

// errShared is a driver whose processes see the host's paths: compiled code names
// its files, and its place would not be the same at the next start.
var errShared = errors.New("runtimes: the driver has no paths of its own")

// fill runs the language's compiler in a sandbox and writes what it sends to out.
func (c *compiler) fill(ctx context.Context, p plan, content, out string) error {
	l := c.launcher
	inside, mounts := p.interpreter.place()
	box, err := p.driver.Create(ctx, sandbox.Spec{
		ID: "compile-" + rand.Text(), MemoryMB: compileMemoryMB, TmpMB: compileTmpMB, Egress: sandbox.EgressNone,
		Mounts: append([]sandbox.Mount{{Source: content, Target: taskDir},
			{Source: l.bootstraps.folder(p.known.language), Target: runtimeDir}}, mounts...),
	})
	if err != nil {
		return err
	}
	defer func() { _ = box.Destroy("compiled") }() // where it was not below
	if _, shared := box.(sandbox.PathMapper); shared {
		return errShared
	}
	command := sandbox.Command{Args: p.compileCommand(inside), Env: []string{"LANG=en_US.UTF-8", "PATH=/usr/bin:/bin"}, Dir: taskDir, Socket: true}
	if err := box.Start(ctx, command); err != nil {
		return err
	}
	defer box.Socket().Close()
	defer box.Output().Close()
	var words words
	var drain sync.WaitGroup
	drain.Go(func() { words.read(box.Output()) })
	unwatch := context.AfterFunc(ctx, func() { _ = box.Destroy("compiling took too long") }) // its error comes again below
	defer unwatch()
	received := receiveCompiled(bufio.NewReaderSize(box.Socket(), 64<<10), out, maxCompiled)
	if received == nil {
		<-box.Done()
		if exit := box.Exit(); exit.Code != 0 || exit.Signal != 0 {
			received = fmt.Errorf("runtimes: the compiler ended with status %d, signal %d, out of memory: %t", exit.Code, exit.Signal, exit.OOM)
		}
	}
	destroyed := box.Destroy("compiled") // before the pipe is drained: it ends now
	drain.Wait()
	if received == nil {
		return destroyed
	}
	return errors.Join(received, context.Cause(ctx), words.err(), destroyed)
}

// compileCommand is the runtime's own command with the compiler in place of the
// bootstrap, so that V8's flags are the same.
func (p plan) compileCommand(interpreter string) []string {
	command := arguments(p.known.language, interpreter, runtimeDir, p.version.Config.MemoryMB)
	program := command[:len(command)-1]
	if p.known.language == languageNode {
		return append(program, runtimeDir+"/compile.js", taskDir, strconv.Itoa(leastNodeFile))
	}
	return append(program, runtimeDir+"/hearth_compile.py", taskDir, compiledDir)
}

// receiveCompiled writes records (the lengths of name and data, 4 bytes each, and
// both) as files below dir, until the stream ends. The sender is not trusted.
func receiveCompiled(r io.Reader, dir string, limit int64) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	for {
		var head [8]byte
		if _, err := io.ReadFull(r, head[:]); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		length, size := binary.BigEndian.Uint32(head[:4]), int64(binary.BigEndian.Uint32(head[4:]))
		if length > maxCompiledName || size > limit {
			return fmt.Errorf("runtimes: a compiled file of %d bytes, with a name of %d, is over the limit", size, length)
		}
		limit -= size
		name := make([]byte, length)
		if _, err := io.ReadFull(r, name); err != nil {
			return fmt.Errorf("runtimes: a compiled file was cut off: %w", err)
		}
		if err := writeCompiled(root, string(name), r, size); err != nil {
			return err
		}
	}
}

func writeCompiled(root *os.Root, name string, r io.Reader, size int64) error {
	if !filepath.IsLocal(name) {
		return fmt.Errorf("runtimes: a compiled file has the name %.100q", name)
	}
	if err := root.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	file, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	_, err = io.CopyN(file, r, size)
	return errors.Join(err, file.Close())
}

// words keeps the end of what a compiler printed, for whoever looks for its fault.
type words struct{ text []byte }

func (w *words) read(r io.Reader) {
	buf := make([]byte, 4096)
	for {
		n, err := r.Read(buf)
		w.text = append(w.text, buf[:n]...)
		w.text = w.text[max(0, len(w.text)-4096):]
		if err != nil {
			return
		}
	}
}

func (w *words) err() error {
	if len(w.text) == 0 {
		return nil
	}
	return fmt.Errorf("runtimes: the compiler printed: %s", w.text)
}
