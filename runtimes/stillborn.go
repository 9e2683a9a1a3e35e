package runtimes

import (
	"context"
	"errors"
	"os/exec"
	"syscall"
	"time"

	"hearth/faas"
	"hearth/pool"
)

// stillborn is a runtime that could not be started because of what the function's
// package holds. Its Init fails with the document that Lambda answers.
type stillborn struct {
	journal *journal
	failure func(requestID string) *pool.Failure
	done    chan struct{} // closed
}

var _ pool.Runtime = (*stillborn)(nil)

func (s *stillborn) Init(context.Context) error { return s.failure("") }

func (s *stillborn) Slots() (int, <-chan struct{}) { return 1, nil }

func (s *stillborn) Ready() error { return nil }

func (s *stillborn) Invoke(_ context.Context, event *faas.Event) (faas.Outcome, error) {
	s.journal.begin(event.RequestID)
	return faas.Outcome{}, s.failure(event.RequestID)
}

func (s *stillborn) Settle(report *faas.Report, wantTail bool) []byte {
	return s.journal.settle(report, wantTail)
}

func (s *stillborn) Freeze() error         { return nil }
func (s *stillborn) Thaw() error           { return nil }
func (s *stillborn) MaxMemory() int64      { return 0 }
func (s *stillborn) Parts() faas.Timeline  { return faas.Timeline{} }
func (s *stillborn) Done() <-chan struct{} { return s.done }

func (s *stillborn) Kill(string, time.Duration) error {
	s.journal.end()
	return nil
}

// execRefusals are the errors of exec that a package's bootstrap causes: no
// interpreter for its first line, another machine's binary, a text that is none.
var execRefusals = []syscall.Errno{syscall.ENOENT, syscall.ENOEXEC, syscall.EACCES, syscall.EISDIR, syscall.ELOOP}

func refusedExec(err error) bool {
	for _, errno := range execRefusals {
		if errors.Is(err, errno) {
			return true
		}
	}
	return errors.Is(err, exec.ErrNotFound)
}

func execReason(err error) string {
	for _, errno := range execRefusals {
		if errors.Is(err, errno) {
			return errno.Error()
		}
	}
	return "not found"
}
