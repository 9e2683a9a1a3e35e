package nats

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
)

// mark is a file that remembers the highest revision that was acknowledged. A
// store whose end was cut off looks like a healthy, shorter one; the mark is the
// witness that lives outside of it.
//
// The file has two slots that are written in turn, so a write that power loss
// cuts in half leaves the slot before. A slot is the revision and its CRC-32C.
type mark struct {
	wanted atomic.Uint64 // the highest revision that any writer asked for

	mu     sync.Mutex
	file   *os.File
	stored uint64
	slot   int64
}

const (
	slotSize   = 512 // one sector: slots never share one
	slotUsed   = 12
	slotsCount = 2
)

// openMark opens the mark at path. Where there is none it returns nil and no
// error.
func openMark(path string) (*mark, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	m := &mark{file: f}
	found := false
	for slot := range int64(slotsCount) {
		b := make([]byte, slotUsed)
		if _, err := f.ReadAt(b, slot*slotSize); err != nil && !errors.Is(err, io.EOF) {
			return nil, errors.Join(err, f.Close())
		}
		revision := binary.BigEndian.Uint64(b)
		if crc32.Checksum(b[:8], castagnoli) != binary.BigEndian.Uint32(b[8:]) || found && revision < m.stored {
			continue
		}
		found, m.stored, m.slot = true, revision, slot
	}
	if !found {
		return nil, errors.Join(fmt.Errorf("the file %s cannot be read", path), f.Close())
	}
	m.wanted.Store(m.stored)
	return m, nil
}

// createMark makes a new mark with revision 0, whole or not at all.
func createMark(path string) (*mark, error) {
	temp := path + ".new"
	f, err := os.OpenFile(temp, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, err
	}
	m := &mark{file: f}
	err = errors.Join(f.Truncate(slotsCount*slotSize), m.writeLocked(0), m.writeLocked(0))
	if err == nil {
		err = os.Rename(temp, path)
	}
	if err == nil {
		err = syncDir(filepath.Dir(path))
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return m, nil
}

// raise makes durable that revision was acknowledged. Writers that come while a
// write is under way share the next one.
func (m *mark) raise(revision uint64) error {
	for {
		wanted := m.wanted.Load()
		if wanted >= revision || m.wanted.CompareAndSwap(wanted, revision) {
			break
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.stored >= revision {
		return nil
	}
	return m.writeLocked(m.wanted.Load())
}

// value returns the revision that is on disk.
func (m *mark) value() uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.stored
}

func (m *mark) close() error { return m.file.Close() }

func (m *mark) writeLocked(revision uint64) error {
	b := binary.BigEndian.AppendUint64(nil, revision)
	b = binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
	next := (m.slot + 1) % slotsCount
	if _, err := m.file.WriteAt(b, next*slotSize); err != nil {
		return err
	}
	if err := m.file.Sync(); err != nil {
		return err
	}
	m.stored, m.slot = revision, next
	return nil
}

func syncDir(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
