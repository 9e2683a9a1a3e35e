package stage

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"
)

// settleTimeout bounds the wait for a server to come to rest between two
// measurements, and settlePause is how often it is asked.
const (
	settleTimeout = 30 * time.Second
	settlePause   = 5 * time.Millisecond
)

// Stage is what one row has put up. It is used by one goroutine.
type Stage struct {
	Binary    string // Hearth's
	Source    string // the directory of package bench
	Isolation string // Hearth's default for functions
	Dir       string // a temporary directory, removed by Close
	closers   []func() error
}

// New makes a stage with a temporary directory.
func New(binary, source, isolation string) (*Stage, error) {
	dir, err := os.MkdirTemp("", "hearth-bench-")
	return &Stage{Binary: binary, Source: source, Isolation: isolation, Dir: dir}, err
}

// Close takes down all that was put up, the last first.
func (s *Stage) Close() (err error) {
	for len(s.closers) > 0 {
		last := s.closers[len(s.closers)-1]
		s.closers = s.closers[:len(s.closers)-1]
		err = errors.Join(err, last())
	}
	return errors.Join(err, os.RemoveAll(s.Dir))
}

// onClose has f called by Close, before what was given to it earlier.
func (s *Stage) onClose(f func() error) { s.closers = append(s.closers, f) }

// Until asks again and again whether something has come to be, for half a minute
// at most.
func Until(ctx context.Context, what string, done func() (bool, error)) error {
	ctx, cancel := context.WithTimeoutCause(ctx, settleTimeout, fmt.Errorf("%s: not within %v", what, settleTimeout))
	defer cancel()
	for {
		if ok, err := done(); ok || err != nil {
			return err
		}
		if err := Pause(ctx, settlePause); err != nil {
			return err
		}
	}
}

// Pause waits, or returns the cause of the end of ctx.
func Pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
