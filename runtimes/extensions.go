package runtimes

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"strings"
	"time"

	"hearth/faas"
	"hearth/pool"
	"hearth/runtimeapi"
	"hearth/sandbox"
)

const (
	extensionsDir = layersDir + "/extensions"
	// extensionGrace is how long extensions have to end, whatever their instance ends of.
	extensionGrace = 2 * time.Second
	// runtimeShare is what the runtime has of it before they are told.
	runtimeShare = 300 * time.Millisecond
)

// extensions are those of one instance: the processes, and what they and the ones
// inside the runtime speak to.
type extensions struct {
	hub      *runtimeapi.Extensions
	server   *runtimeapi.Server // of a managed runtime, which has no other; else nil
	children []sandbox.Child
	streams  []LogStream
	// telemetry is nil where there are no external ones: nobody could subscribe.
	telemetry *runtimeapi.Telemetry
}

// externalExtensions are the names of the executables that layers bring, sorted.
func externalExtensions(layers string) ([]string, error) {
	if layers == "" {
		return nil, nil
	}
	entries, err := os.ReadDir(layers + "/extensions")
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	var names []string
	for _, entry := range entries {
		if regular(layers+"/extensions/"+entry.Name()) != nil {
			names = append(names, entry.Name())
		}
	}
	return names, err
}

// newExtensions makes an instance ready for extensions. A managed runtime has some
// only where a layer brings a process; then they get a server.
func (l *Launcher) newExtensions(ctx context.Context, p plan, r *process) (api string, err error) {
	names, err := externalExtensions(p.layers)
	if err != nil {
		return "", err
	}
	if p.known.language == languageHTTP || len(names) == 0 && !p.known.custom() {
		return "", nil
	}
	v := p.version
	r.extensions = new(extensions)
	if len(names) > 0 {
		r.extensions.telemetry = newTelemetry(r)
		r.tellInitStart(v, p.instance)
	}
	r.extensions.hub = runtimeapi.NewExtensions(runtimeapi.ExtensionOptions{
		Function: v.ID.Function.Name, Version: v.ID.Number, Handler: v.Config.Handler, Account: v.ID.Function.Account,
		External: names, Concurrent: p.known.concurrency(v.Config) > 1, Telemetry: r.extensions.telemetry,
	})
	if p.known.custom() {
		return "", nil
	}
	server, listener, err := l.openRuntimeAPI(ctx, r, nil, runtimeapi.ServerOptions{Extensions: r.extensions.hub, OnlyExtensions: true, Logger: l.log})
	if err != nil {
		return "", err
	}
	r.extensions.server = server
	l.serve(p, r, server, listener)
	return listener.Addr().String(), nil
}

// hidden are the variables of a function that its extensions do not have.
var hidden = []string{"_HANDLER", "AWS_EXECUTION_ENV", "AWS_LAMBDA_LOG_GROUP_NAME", "AWS_LAMBDA_LOG_STREAM_NAME", "LAMBDA_RUNTIME_DIR", "LAMBDA_TASK_ROOT"}

// startExtensions starts the processes that layers bring and waits until all have
// registered: only then may the runtime start. An *ExtensionError is theirs.
func (l *Launcher) startExtensions(ctx context.Context, p plan, r *process, env map[string]string) error {
	names, err := externalExtensions(p.layers)
	if err != nil || len(names) == 0 {
		return err
	}
	beside, ok := r.box.(sandbox.Spawner)
	if !ok {
		return faas.Errorf(faas.CodeUnsupported, "isolation", "isolation %q runs no extensions; the layers of this function bring %s", p.isolation, strings.Join(names, ", "))
	}
	if len(names) > runtimeapi.MaxExtensions {
		return &runtimeapi.ExtensionError{Name: names[runtimeapi.MaxExtensions], Type: runtimeapi.TypeExtensionLaunch, Reason: "Extension limit (10) reached"}
	}
	env = maps.Clone(env)
	for _, name := range hidden {
		delete(env, name)
	}
	for _, name := range names {
		if err := l.startExtension(ctx, p, r, beside, name, pairs(env)); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, p.version.Config.InitTimeout())
	defer cancel()
	err = r.extensions.hub.AwaitRegistered(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		return &runtimeapi.ExtensionError{Name: strings.Join(names, ", "), Type: runtimeapi.TypeExtensionInit, Reason: "not every extension registered in time"}
	}
	return err
}

func (l *Launcher) startExtension(ctx context.Context, p plan, r *process, beside sandbox.Spawner, name string, env []string) error {
	read, write, err := os.Pipe()
	if err != nil {
		return err
	}
	defer write.Close()
	stream := tapped(l.logs.Stream(l.source(p), read), r.extensions.telemetry, "extension")
	r.extensions.streams = append(r.extensions.streams, stream)
	path := extensionsDir + "/" + name
	child, err := beside.Spawn(ctx, sandbox.Command{Args: []string{path}, Env: env, Dir: "/"}, write)
	if refusedExec(err) {
		return &runtimeapi.ExtensionError{Name: name, Type: runtimeapi.TypeExtensionLaunch, Reason: "fork/exec " + path + ": " + execReason(err)}
	}
	if err != nil {
		return err
	}
	r.extensions.children = append(r.extensions.children, child)
	r.workers.Go(func() { // a child ends with its sandbox, at the latest
		exit := child.Exit()
		reason := fmt.Sprintf("exit code %d", exit.Code)
		if exit.Signal != 0 {
			reason = "signal: " + exit.Signal.String()
		}
		r.extensions.hub.Fail(name, runtimeapi.TypeExtensionCrash, reason)
	})
	return nil
}

// initialized tells how each extension is when init is over.
func (e *extensions) initialized(p *process, err error) {
	for _, x := range e.hub.States() {
		p.journal.extension(x)
		p.tell("extension", func() map[string]any { return extensionRecord(x) })
	}
	p.tellInit("initReport", err)
	if e.telemetry != nil {
		e.telemetry.Seal()
	}
}

// watchExtensions ends the instance when one of its extensions has failed.
func (p *process) watchExtensions() {
	if p.extensions == nil {
		return
	}
	p.workers.Go(func() {
		select {
		case <-p.extensions.hub.Failed():
			p.closeSession()
			if err := p.box.Signal(killSignal); err != nil && !errors.Is(err, sandbox.ErrDestroyed) {
				p.log.Warn("a runtime whose extension failed could not be killed", "sandbox", p.box.ID(), "err", err)
			}
		case <-p.killed:
		}
	})
}

// extensionFailure is the failure of an instance's extension, if one has failed.
func (p *process) extensionFailure(requestID string) *pool.Failure {
	if p.extensions == nil {
		return nil
	}
	if failure := p.extensions.hub.Failure(); failure != nil {
		return failedExtension(requestID, failure)
	}
	return nil
}

func failedExtension(requestID string, e *runtimeapi.ExtensionError) *pool.Failure {
	kind := pool.FailedExit
	if e.Type == runtimeapi.TypeExtensionLaunch || e.Type == runtimeapi.TypeExtensionInit {
		kind = pool.FailedInit
	}
	return newFailure(kind, requestID, e.Type, e.Reason)
}

// Lingering implements what a pool asks of a runtime: see pool.Runtime's Lingerer.
func (p *process) Lingering() <-chan struct{} {
	if p.extensions == nil {
		return nil
	}
	return p.extensions.hub.Working()
}

// shutDownExtensions tells the extensions that the instance ends, and waits for the
// processes among them to end, until the deadline or until cut is closed.
func (p *process) shutDownExtensions(reason string, deadline time.Time, cut <-chan struct{}) {
	if p.extensions.telemetry != nil {
		p.extensions.telemetry.Flush()
	}
	if !p.extensions.hub.Shutdown(reason, deadline) {
		return
	}
	timer := time.NewTimer(time.Until(deadline))
	defer timer.Stop()
	for _, child := range p.extensions.children {
		select {
		case <-child.Done():
		case <-cut:
			return
		case <-timer.C:
			return
		}
	}
}

// close ends what is left of them, when their sandbox is dead.
func (e *extensions) close() {
	e.hub.Close()
	if e.telemetry != nil {
		e.telemetry.Close()
	}
	if e.server != nil {
		_ = e.server.Close() // its listener was closed with the sandbox
	}
}

func (e *extensions) closeLogs() {
	for _, s := range e.streams {
		_ = s.Close() // what it could not write, the log store has reported itself
	}
}
