package code

import (
	"bytes"
	"context"
	"errors"
	"os"
	"slices"
	"time"

	"hearth/faas"
)

// Forget says that no version uses the package any more. The blob and the
// directory go away a grace time later, once nobody uses the directory; the
// intent is on disk when Forget returns, so a crash does not leak the package.
// Until then Ingest and Prepare of the same package take it back.
func (s *Store) Forget(ctx context.Context, code faas.Code) error {
	if err := checkDigest(code.SHA256); err != nil {
		return err
	}
	unlock, err := s.lockIntent(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	if err := os.WriteFile(s.tomb(code.SHA256), nil, 0o600); err != nil {
		return storageError(err)
	}
	s.mu.Lock()
	s.forgotten[code.SHA256] = time.Now()
	s.mu.Unlock()
	s.poke()
	return nil
}

// remember takes back Forget.
func (s *Store) remember(ctx context.Context, digest string) error {
	unlock, err := s.lockIntent(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	return s.rememberLocked(digest)
}

// rememberLocked needs the intent lock.
func (s *Store) rememberLocked(digest string) error {
	s.mu.Lock()
	_, forgotten := s.forgotten[digest]
	s.mu.Unlock()
	if !forgotten {
		return nil
	}
	if err := os.Remove(s.tomb(digest)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	s.mu.Lock()
	delete(s.forgotten, digest)
	s.mu.Unlock()
	return nil
}

// lockIntent serialises what decides whether a package is wanted: forgetting,
// remembering and deleting. It may be held over disk and engine work, so its
// waiters have a deadline.
func (s *Store) lockIntent(ctx context.Context) (unlock func(), err error) {
	if s.ctx.Err() != nil {
		return nil, errClosed
	}
	select {
	case s.intent <- struct{}{}:
		return func() { <-s.intent }, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case <-s.ctx.Done():
		return nil, errClosed
	}
}

func (s *Store) poke() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// collect is the one goroutine that deletes forgotten packages and keeps the
// cache below its bound.
func (s *Store) collect() {
	defer s.tasks.Done()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-s.ctx.Done():
			return
		case <-s.wake:
		case <-timer.C:
		}
		if next := s.sweep(time.Now()); next > 0 {
			timer.Reset(next)
		}
	}
}

// deleteTimeout bounds one deletion of a blob; it is tried again later.
const deleteTimeout = 30 * time.Second

// sweep removes what is due and returns when to look again; 0 is not before
// something changes.
func (s *Store) sweep(now time.Time) time.Duration {
	s.mu.Lock()
	victims := s.victimsLocked(now, 0)
	due, next := s.dueLocked(now)
	s.mu.Unlock()
	s.discard(victims)
	for _, digest := range due {
		if err := s.deleteBlob(digest); err != nil && s.ctx.Err() == nil {
			s.log.Warn("could not delete a package; trying again", "digest", digest, "error", err)
			next = s.grace
		}
	}
	return next
}

// victimsLocked takes out of the map the unused entries that must go so that
// need more bytes fit: forgotten ones past their grace time always, then the
// longest unused.
func (s *Store) victimsLocked(now time.Time, need int64) []string {
	var unused []*cached
	var victims []string
	take := func(e *cached) (freed []*cached) {
		delete(s.entries, e.digest)
		s.bytes -= e.bytes
		victims = append(victims, e.home)
		return e.releasePartsLocked(now)
	}
	for _, e := range s.entries {
		if e.refs > 0 || !isClosed(e.done) {
			continue
		}
		if at, ok := s.forgottenLocked(e); ok && now.Sub(at) >= s.grace && now.Sub(e.lastUsed) >= s.grace {
			take(e)
			continue
		}
		unused = append(unused, e)
	}
	slices.SortFunc(unused, func(a, b *cached) int { return a.lastUsed.Compare(b.lastUsed) })
	for i := 0; i < len(unused) && s.bytes+need > s.cache; i++ {
		unused = append(unused, take(unused[i])...)
	}
	return victims
}

// dueLocked returns the forgotten packages whose blob is to be deleted, and how
// long until the next is due. One that is in use, or waits in the cache for its
// grace time, is not due: a draining pool may start another instance from it.
func (s *Store) dueLocked(now time.Time) (due []string, next time.Duration) {
	for _, e := range s.entries { // what was merged of forgotten packages goes before them
		if at, ok := s.forgottenLocked(e); ok && len(e.parts) > 0 && e.refs == 0 {
			next = earlier(next, max(s.grace-now.Sub(at), s.grace-now.Sub(e.lastUsed)))
		}
	}
	for digest, at := range s.forgotten {
		wait := s.grace - now.Sub(at)
		if e := s.entries[digest]; e != nil {
			if e.refs > 0 {
				continue // its release pokes
			}
			wait = max(wait, s.grace-now.Sub(e.lastUsed))
		}
		if wait <= 0 {
			due = append(due, digest)
		} else {
			next = earlier(next, wait)
		}
	}
	return due, next
}

// earlier returns the shorter of two waits, of which 0 is none.
func earlier(a, b time.Duration) time.Duration {
	if a == 0 || b > 0 && b < a {
		return b
	}
	return a
}

// deleteBlob deletes a forgotten package and then its tomb, unless somebody
// asked for it again or is storing it at this moment.
func (s *Store) deleteBlob(digest string) error {
	unlock, err := s.lockIntent(s.ctx)
	if err != nil {
		return err
	}
	defer unlock()
	s.mu.Lock()
	_, forgotten := s.forgotten[digest]
	wanted := s.ingesting[digest] > 0
	s.mu.Unlock()
	if !forgotten || wanted {
		return nil
	}
	ctx, cancel := context.WithTimeout(s.ctx, deleteTimeout)
	defer cancel()
	if err := s.blobs.Delete(ctx, digest); err != nil {
		return err
	}
	return s.rememberLocked(digest)
}

// put stores a package that was verified, in such a way that an earlier Forget
// cannot delete it meanwhile.
func (s *Store) put(ctx context.Context, digest string, zip []byte) error {
	s.addIngesting(digest, 1)
	defer s.addIngesting(digest, -1)
	if err := s.remember(ctx, digest); err != nil {
		return err
	}
	return s.blobs.Put(ctx, digest, bytes.NewReader(zip))
}

func (s *Store) addIngesting(digest string, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ingesting[digest] += n
	if s.ingesting[digest] == 0 {
		delete(s.ingesting, digest)
	}
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
