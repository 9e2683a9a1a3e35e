package code

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"hearth/faas"
)

// derivedPrefix begins the names of what was derived from a package. It stands
// beside the content and goes away with it.
const derivedPrefix = "derived-"

// maxDerivedName bounds the name of what is derived.
const maxDerivedName = 64

// Derived returns the directory that Derive made under that name, and whether
// there is one. Nothing in it changes; it is there for as long as Path is.
func (d *Dir) Derived(name string) (path string, ok bool) {
	if !validDerivedName(name) {
		return "", false
	}
	path = filepath.Join(filepath.Dir(d.path), derivedPrefix+name)
	info, err := os.Lstat(path)
	return path, err == nil && info.IsDir()
}

// Derive makes something of the package that can be made again at any time, such
// as its code compiled, and keeps it beside the unpacked content under a name of
// 1..64 of [a-z0-9.-]. make gets the content's path and an empty directory
// and fills it with files and directories, which become readable to all; it is not called where the name exists already, and
// by one caller at a time for each package. What it leaves becomes visible as a
// whole or, on any error, not at all; it counts as part of the cache, and
// faas.CodeNoCapacity says that it did not fit. d stays the caller's.
func (s *Store) Derive(ctx context.Context, d *Dir, name string, make func(ctx context.Context, content, dir string) error) error {
	if !validDerivedName(name) {
		return faas.Errorf(faas.CodeInvalid, subject, "%q is no name for what is derived from a package", name)
	}
	unlock, err := s.lockDerive(ctx, d.entry)
	if err != nil {
		return err
	}
	defer unlock()
	if _, ok := d.Derived(name); ok {
		return nil
	}
	staging, err := os.MkdirTemp(s.tmp(), derivedPrefix)
	if err != nil {
		return storageError(err)
	}
	defer s.removeAll(staging) // where it was not renamed
	if err := make(ctx, d.path, staging); err != nil {
		return storageError(err)
	}
	bytes, err := settle(staging)
	if err != nil {
		return storageError(err)
	}
	if err := s.grow(d.entry, bytes); err != nil {
		return err
	}
	if err := os.Rename(staging, filepath.Join(filepath.Dir(d.path), derivedPrefix+name)); err != nil {
		s.shrink(d.entry, bytes)
		return storageError(err)
	}
	// A crash before this line makes the next run count too few bytes, no more.
	return storageError(s.rewriteMarker(d.entry))
}

// lockDerive waits until nobody else derives something of the package.
func (s *Store) lockDerive(ctx context.Context, e *cached) (unlock func(), err error) {
	select {
	case e.deriving <- struct{}{}:
		return func() { <-e.deriving }, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case <-s.ctx.Done():
		return nil, errClosed
	}
}

// grow books more bytes for an entry in use.
func (s *Store) grow(e *cached, bytes int64) error {
	s.mu.Lock()
	victims := s.victimsLocked(time.Now(), bytes)
	fits := s.bytes+bytes <= s.cache
	if fits {
		s.bytes += bytes
		e.bytes += bytes
	}
	s.mu.Unlock()
	s.discard(victims)
	if !fits {
		return faas.Errorf(faas.CodeNoCapacity, subject, "what was made of the package needs %d bytes, and the packages in use "+
			"leave fewer; raise the size of the package cache", bytes)
	}
	return nil
}

func (s *Store) shrink(e *cached, bytes int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.bytes -= bytes
	e.bytes -= bytes
}

// rewriteMarker writes how much the entry takes now.
func (s *Store) rewriteMarker(e *cached) error {
	s.mu.Lock()
	bytes := e.bytes
	var merged []string
	for _, part := range e.parts {
		merged = append(merged, part.digest)
	}
	s.mu.Unlock()
	next := filepath.Join(e.home, markerName+".next")
	if err := s.writeMarker(next, e.digest, bytes, merged); err != nil {
		return err
	}
	return os.Rename(next, filepath.Join(e.home, markerName))
}

// settle makes everything below dir readable to all, whatever the umask, and
// returns what it takes on disk, estimated as by diskBytes.
func settle(dir string) (bytes int64, err error) {
	err = filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		bytes += block + info.Size()
		if entry.IsDir() {
			return os.Chmod(path, modeDir)
		}
		return os.Chmod(path, modeFile)
	})
	return bytes, err
}

func validDerivedName(name string) bool {
	return name != "" && len(name) <= maxDerivedName && strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789.-") == ""
}
