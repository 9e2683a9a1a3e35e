// Command hearth is the whole platform in one binary: the developer server
// (up), the production server (serve) and the command line over their API.
//
// It is the only place that wires packages together and the only one that reads
// flags, the environment and files of configuration. Exit codes: 0 success, 1
// failure, 2 wrong usage, 3 the function returned an error, 4 not found,
// 5 refused for lack of room or quota.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"syscall"

	"hearth/faas"
)

// The main thread belongs to main: a goroutine that locked itself to it for a
// sandbox's set-up could never give it back, and Hearth itself would end up in
// the function's sandbox (RULES, trap 1).
func init() { runtime.LockOSThread() }

// Exit codes, stable for scripts.
const (
	exitFailure       = 1
	exitUsage         = 2
	exitFunctionError = 3
	exitNotFound      = 4
	exitThrottled     = 5
)

func main() {
	keepMonitorAwake(os.Args[1:])
	os.Exit(Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// Main runs one command line and returns its exit code; tests call it too.
func Main(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	root := newRoot(&terminal{in: stdin, out: stdout, err: stderr})
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	var exit *exitError
	if !errors.As(err, &exit) {
		// A command's own errors have their code (failure): this one is of the
		// command line itself, such as an unknown command.
		exit = &exitError{exitUsage, errors.New(strings.TrimSpace(err.Error()) + "; see 'hearth --help'")}
	}
	if exit.err != nil {
		fmt.Fprintln(stderr, "hearth: "+words(exit.err))
	}
	return exit.code
}

// failure gives the error of a command that has no exit code the general one.
func failure(err error) error {
	var exit *exitError
	if err == nil || errors.As(err, &exit) {
		return err
	}
	return &exitError{exitFailure, err}
}

// words is what a person reads of an error: of Hearth's own, the sentence
// without its code.
func words(err error) string {
	var e *faas.Error
	if errors.As(err, &e) && e.Message != "" && e.Error() == err.Error() {
		return e.Message
	}
	return err.Error()
}

// exitError carries an exit code; a nil err says that all was told already.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit code %d", e.code)
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

func usageError(format string, args ...any) error {
	return &exitError{exitUsage, fmt.Errorf(format, args...)}
}

// terminal is where a command reads and writes.
type terminal struct {
	in  io.Reader
	out io.Writer
	err io.Writer
}
