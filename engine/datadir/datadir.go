// Package datadir owns the data directory: who may use it (one process), which
// format it has, its identity, and its permissions.
//
// It must not know what the directories in it hold: each belongs to the package
// that asked for it with Sub.
package datadir

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"hearth/engine"
	"hearth/faas"
)

// Format is the layout that this binary writes. A directory with a higher
// number was written by a newer Hearth and is refused.
const Format = 1

const (
	lockName     = "lock"
	identityName = "hearth.json"
	tempSuffix   = ".new"
	dirMode      = 0o700
	fileMode     = 0o600
	// orphanLimit is how long what a dead process left may have the lock; it is looked
	// at each orphanPoll.
	orphanLimit = 30 * time.Second
	orphanPoll  = 10 * time.Millisecond
)

// Dir is an open data directory. While it is open no other process can open it.
// Safe for concurrent use.
type Dir struct {
	path string
	id   string
	lock *os.File
}

// identity is the content of hearth.json. Later formats keep these two fields.
type identity struct {
	Format int    `json:"format"`
	ID     string `json:"id"`
}

// Open creates the directory where it does not exist, locks it and checks its
// format. It fails with engine.ErrLocked, naming the process, where another one
// has it; with engine.ErrDamaged where its identity cannot be read; and with
// faas.CodeInvalid where it is newer than this binary or no data directory.
func Open(path string) (*Dir, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("data directory: %w", err)
	}
	if err := os.MkdirAll(path, dirMode); err != nil {
		return nil, fmt.Errorf("create the data directory: %w", err)
	}
	if err := refuseForeign(path); err != nil {
		return nil, err
	}
	if err := os.Chmod(path, dirMode); err != nil {
		return nil, fmt.Errorf("protect the data directory: %w", err)
	}
	lock, err := acquire(path)
	if err != nil {
		return nil, err
	}
	d := &Dir{path: path, lock: lock}
	if err := d.identify(); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return d, nil
}

// Path returns the directory's absolute path.
func (d *Dir) Path() string { return d.path }

// ID returns the directory's identity: 8 lower-case hexadecimal characters, made
// at random once. Whatever Hearth creates outside of the directory (cgroups,
// network devices) carries it in its name, so that the next start can tell what
// a dead process left from what another Hearth uses.
func (d *Dir) ID() string { return d.id }

// Sub returns the path of a directory within, created where it does not exist.
// The name is one path element; each package uses one of its own.
func (d *Dir) Sub(name string) (string, error) {
	if name == "" || name != filepath.Base(name) || name == "." || name == ".." {
		return "", faas.Errorf(faas.CodeInvalid, name, "%q is not the name of a directory", name)
	}
	path := filepath.Join(d.path, name)
	if err := os.Mkdir(path, dirMode); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", fmt.Errorf("data directory: %w", err)
	}
	if err := syncDir(d.path); err != nil {
		return "", err
	}
	return path, nil
}

// Close gives the directory free for another process. Call it after everything
// that works in the directory has ended. A second call is a harmless error.
func (d *Dir) Close() error { return d.lock.Close() }

// refuseForeign protects a directory full of somebody's files from being taken
// for an empty data directory, for instance after --data=$HOME.
func refuseForeign(path string) error {
	entries, err := os.ReadDir(path)
	if err != nil {
		return fmt.Errorf("data directory: %w", err)
	}
	names := make(map[string]bool)
	for _, e := range entries {
		names[e.Name()] = true
	}
	hadLock := names[lockName]
	if names[identityName] {
		return nil
	}
	delete(names, lockName) // a first start was cut off here
	delete(names, identityName+tempSuffix)
	for name := range names {
		if hadLock {
			return engine.Failure(engine.ErrDamaged, path,
				"the data directory %s has lost its file %s; restore the directory from a backup", path, identityName)
		}
		return faas.Errorf(faas.CodeInvalid, path,
			"%s is no Hearth data directory and is not empty (it has %q); name an empty or a new directory", path, name)
	}
	return nil
}

// acquire takes the lock and leaves this process's id in the file. A process that was
// killed may have left one behind that has its descriptors for a moment: a sandbox
// that was being started. That one is waited for.
func acquire(path string) (*os.File, error) {
	name := filepath.Join(path, lockName)
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, fileMode)
	if err != nil {
		return nil, fmt.Errorf("data directory: %w", err)
	}
	err = flock(f)
	for deadline := time.Now().Add(orphanLimit); errors.Is(err, syscall.EWOULDBLOCK) && holderIsGone(name) && time.Now().Before(deadline); err = flock(f) {
		time.Sleep(orphanPoll)
	}
	if errors.Is(err, syscall.EWOULDBLOCK) {
		err = locked(path, name)
	} else if err == nil {
		err = errors.Join(f.Truncate(0), writeAt(f, strconv.Itoa(os.Getpid())+"\n"))
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

func flock(f *os.File) error {
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if !errors.Is(err, syscall.EINTR) {
			return err
		}
	}
}

// holderOf is the id of the process that took the lock last; 0 where it is not known.
func holderOf(name string) int {
	b, err := os.ReadFile(name)
	if err != nil {
		return 0
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		return 0
	}
	return pid
}

// holderIsGone reports that the process that took the lock has ended.
func holderIsGone(name string) bool {
	pid := holderOf(name)
	return pid > 0 && errors.Is(syscall.Kill(pid, 0), syscall.ESRCH)
}

func locked(path, name string) error {
	holder := "another process"
	if pid := holderOf(name); pid > 0 {
		holder = fmt.Sprintf("the process with id %d", pid)
	}
	return engine.Failure(engine.ErrLocked, path,
		"%s is using the data directory %s; stop it, or name another directory", holder, path)
}

// identify reads the identity, or makes it on the first start.
func (d *Dir) identify() error {
	name := filepath.Join(d.path, identityName)
	b, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return d.found(name)
	}
	if err != nil {
		return fmt.Errorf("data directory: %w", err)
	}
	var is identity
	if err := json.Unmarshal(b, &is); err != nil || is.Format < 1 || !validID(is.ID) {
		return engine.Failure(engine.ErrDamaged, d.path,
			"the file %s cannot be read; restore it, or the whole directory, from a backup", name)
	}
	if is.Format > Format {
		return faas.Errorf(faas.CodeInvalid, d.path,
			"the data directory %s has format %d and this Hearth knows formats up to %d; use the newer Hearth that wrote it", d.path, is.Format, Format)
	}
	d.id = is.ID
	return nil
}

// found writes the identity of a new directory, whole or not at all.
func (d *Dir) found(name string) error {
	random := make([]byte, 4)
	rand.Read(random) // never fails
	d.id = hex.EncodeToString(random)
	b, err := json.Marshal(identity{Format: Format, ID: d.id})
	if err != nil {
		return err
	}
	f, err := os.OpenFile(name+tempSuffix, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, fileMode)
	if err != nil {
		return fmt.Errorf("data directory: %w", err)
	}
	if err := errors.Join(writeAt(f, string(b)+"\n"), f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("data directory: %w", err)
	}
	if err := os.Rename(name+tempSuffix, name); err != nil {
		return fmt.Errorf("data directory: %w", err)
	}
	return errors.Join(syncDir(d.path), syncDir(filepath.Dir(d.path)))
}

func validID(id string) bool {
	b, err := hex.DecodeString(id)
	return err == nil && len(b) == 4 && strings.ToLower(id) == id
}

func writeAt(f *os.File, s string) error {
	_, err := f.WriteAt([]byte(s), 0)
	return err
}

// syncDir makes the names in a directory durable.
func syncDir(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("data directory: %w", err)
	}
	return errors.Join(f.Sync(), f.Close())
}
