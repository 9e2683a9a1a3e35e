package fake

import (
	"context"
	"fmt"
	"net"
	"os"
	"sync"
	"syscall"

	"hearth/sandbox"
)

// Program is a process: it returns its exit status. It must return soon after
// Process.Context is done; reads and writes on its socket and output fail then.
type Program func(*Process) int

// Process is what a Program sees of its sandbox.
type Process struct {
	Command sandbox.Command
	Spec    sandbox.Spec
	Socket  net.Conn // descriptor 3; nil where the command asked for none
	Output  *os.File // standard output and error

	box    *Sandbox
	ctx    context.Context
	cancel context.CancelFunc

	mu      sync.Mutex
	signals chan syscall.Signal // nil until the program handles signals
	killed  syscall.Signal      // what ended the program from outside; 0 = nothing
	oom     bool
}

// Context is done when the process has been killed.
func (p *Process) Context() context.Context { return p.ctx }

// Signals makes the process handle signals itself, SIGKILL excepted. Up to 16
// wait; more are lost.
func (p *Process) Signals() <-chan syscall.Signal {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.signals == nil {
		p.signals = make(chan syscall.Signal, 16)
	}
	return p.signals
}

// Dial connects to a listener that Sandbox.Listen opened.
func (p *Process) Dial(network, address string) (net.Conn, error) {
	return p.box.dial(p.ctx, network, address)
}

// OutOfMemory does what the kernel does to a group that passed its limit: it
// kills the process.
func (p *Process) OutOfMemory() {
	p.mu.Lock()
	p.oom = true
	p.mu.Unlock()
	limit := int64(p.box.Memory()) << 20
	p.box.SetUsage(sandbox.Usage{MemoryPeak: limit, Memory: limit, Pids: 1})
	p.kill(syscall.SIGKILL)
}

// signal delivers a signal: to the program where it handles signals, else it
// ends the process, as most signals do by default.
func (p *Process) signal(sig syscall.Signal) {
	p.mu.Lock()
	handler := p.signals
	p.mu.Unlock()
	if handler == nil || sig == syscall.SIGKILL {
		p.kill(sig)
		return
	}
	select {
	case handler <- sig:
	default:
	}
}

// kill makes the program's context and descriptors unusable. The first signal
// counts.
func (p *Process) kill(sig syscall.Signal) {
	p.mu.Lock()
	if p.killed == 0 {
		p.killed = sig
	}
	p.mu.Unlock()
	p.cancel()
	p.closeFiles()
}

func (p *Process) closeFiles() {
	_ = p.Output.Close() // a program may have closed either itself
	if p.Socket != nil {
		_ = p.Socket.Close()
	}
}

// run calls the program and returns how the process ended. A panic of the
// program is a crash of the process, as an abort would be.
func (p *Process) run(program Program) (exit sandbox.Exit) {
	code := -1
	defer func() {
		crash := recover()
		if crash != nil {
			fmt.Fprintf(p.Output, "panic: %v\n", crash)
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		switch {
		case p.killed != 0:
			exit = sandbox.Exit{Code: -1, Signal: p.killed, OOM: p.oom}
		case crash != nil:
			exit = sandbox.Exit{Code: -1, Signal: syscall.SIGABRT}
		default:
			exit = sandbox.Exit{Code: code & 0xff}
		}
		p.cancel()
		p.closeFiles()
	}()
	code = program(p)
	return
}
