package nats_test

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"hearth/engine"
	"hearth/engine/enginetest"
)

// privateVariable is set in the process whose mounts nobody else sees.
const privateVariable = "HEARTH_ENGINE_PRIVATE"

// inPrivateMounts runs the test again in a mount namespace of its own; whatever
// happens to it, no mount stays behind.
func inPrivateMounts(t *testing.T, test func(t *testing.T)) {
	if os.Getenv(privateVariable) == "" {
		cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
		cmd.Env = append(os.Environ(), privateVariable+"=1")
		cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
		out, err := cmd.CombinedOutput()
		t.Logf("%s", out)
		check(t, err)
		return
	}
	test(t)
}

// onSmallDisk runs the test on a file system of a few megabytes.
func onSmallDisk(t *testing.T, test func(t *testing.T, path string)) {
	inPrivateMounts(t, func(t *testing.T) {
		path := t.TempDir()
		check(t, syscall.Mount("tmpfs", path, "tmpfs", 0, "size=64m"))
		t.Cleanup(func() { syscall.Unmount(path, syscall.MNT_DETACH) })
		test(t, path)
	})
}

const smallReserve = 16 << 20

func TestDiskFull(t *testing.T) {
	onSmallDisk(t, func(t *testing.T, path string) {
		e, err := open(t, filepath.Join(path, "data"), smallReserve)
		check(t, err)
		ctx := t.Context()
		rev, err := e.Meta().Create(ctx, "k", []byte("v"))
		check(t, err)
		var stored [][]byte
		for seed := uint64(0); err == nil; seed++ {
			content, digest := enginetest.Content(seed, 4<<20)
			if err = e.Blobs().Put(ctx, digest, bytes.NewReader(content)); err == nil {
				stored = append(stored, content)
			}
		}
		wantFull(t, "Put", err)
		if len(stored) < 5 {
			t.Fatalf("only %d blobs fitted", len(stored))
		}
		wantReads := func() {
			t.Helper()
			wantEntries(t, e, map[string]string{"k": "v"})
			for seed, content := range stored {
				_, digest := enginetest.Content(uint64(seed), len(content))
				check(t, read(ctx, e.Blobs(), digest, content))
			}
			check(t, e.Check(ctx))
		}
		wantReads()

		occupy(t, path)
		wantRefusal := func() {
			t.Helper()
			_, err = e.Meta().Update(ctx, "k", []byte("w"), rev)
			wantFull(t, "Update", err)
			_, err = e.Meta().Create(ctx, "l", nil)
			wantFull(t, "Create", err)
			wantReads()
		}
		wantRefusal()
		e.stop()
		e, err = open(t, filepath.Join(path, "data"), smallReserve)
		check(t, err)
		defer e.stop()
		wantRefusal()

		check(t, os.Remove(filepath.Join(path, "filler")))
		_, digest := enginetest.Content(0, 4<<20)
		check(t, e.Blobs().Delete(ctx, digest))
		_, digest = enginetest.Content(1, 4<<20)
		check(t, e.Blobs().Delete(ctx, digest))
		if _, err = e.Meta().Update(ctx, "k", []byte("w"), rev); err != nil {
			t.Errorf("Update after room was made: %v", err)
		}
		check(t, e.Check(ctx))
	})
}

// TestDiskFullBehindTheGuard lets the store itself meet the full disk, as when
// something else takes the last byte between the guard's look and the write.
func TestDiskFullBehindTheGuard(t *testing.T) {
	onSmallDisk(t, func(t *testing.T, path string) {
		e, err := open(t, filepath.Join(path, "data"), -1<<40)
		check(t, err)
		defer e.stop()
		ctx := t.Context()
		rev, err := e.Meta().Create(ctx, "k", []byte("v"))
		check(t, err)
		content, digest := enginetest.Content(0, 4<<20)
		check(t, e.Blobs().Put(ctx, digest, bytes.NewReader(content)))
		occupy(t, path)
		for err == nil {
			rev, err = e.Meta().Update(ctx, "k", bytes.Repeat([]byte("v"), 100<<10), rev)
		}
		wantFull(t, "Update", err)
		if entry, err := e.Meta().Get(ctx, "k"); err != nil {
			t.Errorf("Get on a full disk: %v (%d bytes)", err, len(entry.Value))
		}
		check(t, read(ctx, e.Blobs(), digest, content))
		check(t, os.Remove(filepath.Join(path, "filler")))
		entry, err := e.Meta().Get(ctx, "k")
		check(t, err)
		_, err = e.Meta().Update(ctx, "k", []byte("w"), entry.Revision)
		check(t, err)
		check(t, e.Check(ctx))
	})
}

// occupy fills the file system to its last byte.
func occupy(t *testing.T, path string) {
	f, err := os.Create(filepath.Join(path, "filler"))
	check(t, err)
	defer f.Close()
	for size := 1 << 20; size > 0; {
		if _, err := f.Write(make([]byte, size)); err != nil {
			size /= 2
		}
	}
}

func wantFull(t *testing.T, what string, err error) {
	t.Helper()
	if !errors.Is(err, engine.ErrFull) {
		t.Fatalf("%s on a full disk: %v, want ErrFull", what, err)
	}
}
