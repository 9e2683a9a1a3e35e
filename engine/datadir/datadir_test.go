package datadir_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"hearth/engine"
	"hearth/engine/datadir"
	"hearth/faas"
)

// holdVariable makes this test binary a process that holds a data directory.
const holdVariable = "HEARTH_DATADIR_HOLD"

func TestMain(m *testing.M) {
	if path := os.Getenv(holdVariable); path != "" {
		if _, err := datadir.Open(path); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println("held")
		os.Stdin.Read(make([]byte, 1)) // until the parent lets go
		return
	}
	os.Exit(m.Run())
}

func TestIdentityStays(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a", "b")
	d := open(t, path)
	id := d.ID()
	if !regexp.MustCompile(`^[0-9a-f]{8}$`).MatchString(id) {
		t.Errorf("id %q", id)
	}
	sub, err := d.Sub("engine")
	check(t, err)
	for _, dir := range []string{path, sub} {
		if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
			t.Errorf("%s: %v, %v", dir, info.Mode(), err)
		}
	}
	check(t, d.Close())
	check(t, os.Chmod(path, 0o755))
	d = open(t, path)
	if d.ID() != id {
		t.Errorf("id %s, before %s", d.ID(), id)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("permissions were not mended: %v, %v", info.Mode(), err)
	}
	if other := open(t, t.TempDir()); other.ID() == id {
		t.Error("two directories have one id")
	}
}

func TestLocked(t *testing.T) {
	path := t.TempDir()
	d := open(t, path)
	wantLocked(t, path, os.Getpid())
	check(t, d.Close())

	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), holdVariable+"="+path)
	stdin, err := cmd.StdinPipe()
	check(t, err)
	stdout, err := cmd.StdoutPipe()
	check(t, err)
	check(t, cmd.Start())
	line := make([]byte, 5)
	if _, err := stdout.Read(line); err != nil || !strings.HasPrefix(string(line), "held") {
		t.Fatalf("the holder says %q, %v", line, err)
	}
	wantLocked(t, path, cmd.Process.Pid)
	check(t, cmd.Process.Kill())
	cmd.Wait()
	stdin.Close()
	open(t, path) // the lock dies with its holder
}

// What a dead process left behind has its descriptors for a moment: the lock is waited
// for, but not for ever.
func TestLockOfADeadProcess(t *testing.T) {
	path := t.TempDir()
	d := open(t, path)
	check(t, d.Close())
	dead := exec.Command(os.Args[0], "-test.run", "^$")
	check(t, dead.Run())
	left, err := os.OpenFile(filepath.Join(path, "lock"), os.O_RDWR, 0)
	check(t, err)
	check(t, syscall.Flock(int(left.Fd()), syscall.LOCK_EX))
	check(t, os.WriteFile(left.Name(), fmt.Append(nil, dead.Process.Pid, "\n"), 0o600))
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		wantLocked(t, path, dead.Process.Pid)
		if waited := time.Since(began); waited < 10*time.Second || waited > time.Minute {
			t.Errorf("gave up after %v", waited)
		}
		go func() {
			time.Sleep(5 * time.Second)
			left.Close()
		}()
		d, err := datadir.Open(path)
		check(t, err)
		check(t, d.Close())
	})
}

func wantLocked(t *testing.T, path string, pid int) {
	t.Helper()
	_, err := datadir.Open(path)
	if !errors.Is(err, engine.ErrLocked) || !strings.Contains(err.Error(), fmt.Sprint(pid)) {
		t.Errorf("Open of a locked directory: %v; want ErrLocked naming %d", err, pid)
	}
}

func TestIdentityFile(t *testing.T) {
	for name, row := range map[string]struct {
		content string
		ok      func(error) bool
	}{
		"newer format": {`{"format":2,"id":"0123abcd","more":true}`, func(err error) bool {
			return faas.IsCode(err, faas.CodeInvalid) && strings.Contains(err.Error(), "newer")
		}},
		"this format":     {`{"format":1,"id":"0123abcd"}`, func(err error) bool { return err == nil }},
		"no format":       {`{"id":"0123abcd"}`, damaged},
		"empty":           {``, damaged},
		"not JSON":        {"\x00\x00", damaged},
		"id of no use":    {`{"format":1,"id":"../../x"}`, damaged},
		"id in upper":     {`{"format":1,"id":"0123ABCD"}`, damaged},
		"negative format": {`{"format":-1,"id":"0123abcd"}`, damaged},
	} {
		t.Run(name, func(t *testing.T) {
			path := t.TempDir()
			check(t, open(t, path).Close())
			check(t, os.WriteFile(filepath.Join(path, "hearth.json"), []byte(row.content), 0o600))
			d, err := datadir.Open(path)
			if !row.ok(err) {
				t.Errorf("Open: %v", err)
			}
			if err == nil {
				check(t, d.Close())
			}
		})
	}
}

func damaged(err error) bool { return errors.Is(err, engine.ErrDamaged) }

func TestForeignDirectoryIsLeftAlone(t *testing.T) {
	path := t.TempDir()
	check(t, os.Chmod(path, 0o755))
	check(t, os.WriteFile(filepath.Join(path, "thesis.txt"), nil, 0o644))
	if _, err := datadir.Open(path); !faas.IsCode(err, faas.CodeInvalid) || !strings.Contains(err.Error(), "thesis.txt") {
		t.Errorf("Open of somebody's directory: %v", err)
	}
	entries, err := os.ReadDir(path)
	check(t, err)
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o755 || len(entries) != 1 {
		t.Errorf("it was changed: %v, %d entries, %v", info.Mode(), len(entries), err)
	}
}

func TestFirstStartCutOff(t *testing.T) {
	path := t.TempDir()
	check(t, os.WriteFile(filepath.Join(path, "lock"), nil, 0o600))
	check(t, os.WriteFile(filepath.Join(path, "hearth.json.new"), []byte(`{"for`), 0o600))
	open(t, path)
}

func TestLostIdentity(t *testing.T) {
	path := t.TempDir()
	d := open(t, path)
	_, err := d.Sub("engine")
	check(t, err)
	check(t, d.Close())
	check(t, os.Remove(filepath.Join(path, "hearth.json")))
	if _, err := datadir.Open(path); !damaged(err) {
		t.Errorf("Open without the identity: %v", err)
	}
}

func TestSubNames(t *testing.T) {
	d := open(t, t.TempDir())
	for _, bad := range []string{"", ".", "..", "a/b", "/a", "../a"} {
		if _, err := d.Sub(bad); !faas.IsCode(err, faas.CodeInvalid) {
			t.Errorf("Sub(%q): %v", bad, err)
		}
	}
}

func TestPathIsAFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	check(t, os.WriteFile(path, nil, 0o600))
	if _, err := datadir.Open(path); err == nil {
		t.Error("a file was opened as a directory")
	}
}

func open(t *testing.T, path string) *datadir.Dir {
	t.Helper()
	d, err := datadir.Open(path)
	check(t, err)
	t.Cleanup(func() { d.Close() })
	return d
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
