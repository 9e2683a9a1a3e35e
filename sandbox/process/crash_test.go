//go:build linux && amd64

package process

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"hearth/sandbox"
)

func isNoCapacity(err error) bool { return errors.Is(err, sandbox.ErrNoCapacity) }

// crashID names what the crash tests make. Two runs of them on one machine must
// not meet, and the process that is killed has its parent's.
var crashID = "crash-" + cmp.Or(os.Getenv("HEARTH_TEST_CRASH_OF"), strconv.Itoa(os.Getpid()))

// crashee is the process that gets killed: sandboxes in every state.
func crashee(dir string) {
	fail := func(err error) {
		if err != nil {
			fmt.Println("failed:", err)
			os.Exit(1)
		}
	}
	d, err := New(Options{StateDir: dir, DataID: crashID, Spares: 1})
	fail(err)
	ctx := context.Background()
	for i, script := range []string{
		"exec sleep 10000",
		"(setsid sh -c 'trap \"\" TERM; sleep 10000 & wait' &); exec sleep 10000",
		"echo x > /tmp/x; exec sleep 10000",
	} {
		sb, err := d.Create(ctx, sandbox.Spec{ID: fmt.Sprint("c", i), MemoryMB: 64, TmpMB: 64 + i, Egress: sandbox.EgressNone})
		fail(err)
		fail(sb.Start(ctx, sandbox.Command{Args: []string{"/bin/sh", "-c", script}, Env: []string{"PATH=/bin:/usr/bin"}}))
		if i == 0 {
			fail(sb.Freeze())
		}
	}
	if os.Getenv("HEARTH_TEST_CHURN") != "" {
		fmt.Println("ready")
		churn(d)
	}
	_, err = d.Create(ctx, sandbox.Spec{ID: "unstarted", MemoryMB: 64, TmpMB: 64, Egress: sandbox.EgressNone})
	fail(err)
	fmt.Println("ready")
	select {}
}

// churn starts and destroys sandboxes for ever, several at once.
func churn(d *Driver) {
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for i := 0; ; i++ {
				// Sizes that are not kept ahead, so that some kills hit the making of a /tmp.
				spec := sandbox.Spec{ID: fmt.Sprintf("g%d-%d", g, i), MemoryMB: 64, TmpMB: 16 + i%8, Egress: sandbox.EgressNone}
				sb, err := d.Create(context.Background(), spec)
				if err != nil {
					continue
				}
				if sb.Start(context.Background(), sandbox.Command{Args: []string{"/bin/sleep", "10000"}}) == nil {
					sb.Output().Close()
				}
				sb.Destroy("churn")
			}
		})
	}
	wg.Wait()
}

// kill -9 at any moment of making and destroying sandboxes leaves nothing that
// the next New does not remove.
func TestKilledAnywhere(t *testing.T) {
	rounds := 4
	if os.Getenv("HEARTH_LONG") != "" {
		rounds = 100
	}
	dir := t.TempDir()
	before := countWorld(t, dir, crashID)
	for i := range rounds {
		after := time.Duration(rand.IntN(200)) * time.Millisecond
		t.Logf("round %d: killed after %v", i, after)
		crash(t, dir, "HEARTH_TEST_CHURN=1", after)
		d, err := New(Options{StateDir: dir, DataID: crashID})
		if err != nil {
			t.Fatalf("round %d: %v", i, err)
		}
		if err := d.Close(); err != nil {
			t.Fatalf("round %d: %v", i, err)
		}
		if err := poll(patience, func() (bool, error) { return countWorld(t, dir, crashID) == before, nil }); err != nil {
			t.Fatalf("round %d left %+v, before: %+v", i, countWorld(t, dir, crashID), before)
		}
		left, _ := filepath.Glob(filepath.Join(dir, "tmp", "*"))
		if len(left) > 0 {
			t.Fatalf("round %d left files: %v", i, left)
		}
	}
}

// crash runs the crashee, and kills it this long after it is ready.
func crash(t *testing.T, dir, env string, after time.Duration) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), "HEARTH_TEST_CRASH="+dir, "HEARTH_TEST_CRASH_OF="+strconv.Itoa(os.Getpid()), env)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || line != "ready\n" {
		cmd.Process.Kill()
		t.Fatalf("the driver's process said %q, %v", line, err)
	}
	if after > 0 {
		<-time.After(after) // the moment of the kill is what is random
	} else if w := countWorld(t, dir, crashID); w.processes < 7 || w.loops < 3 || w.groups == 0 {
		t.Errorf("the count sees too little: %+v", w)
	}
	cmd.Process.Kill()
	_ = cmd.Wait() // killed
}

// kill -9 leaves no process, mount, loop device or namespace; the control groups
// are removed by the next New.
func TestKilledDriver(t *testing.T) {
	dir := t.TempDir()
	before := countWorld(t, dir, crashID)
	crash(t, dir, "HEARTH_TEST_CHURN=", 0)

	after := before
	err := poll(patience, func() (bool, error) {
		after = countWorld(t, dir, crashID)
		after.groups = before.groups // left for the next New
		return after == before, nil
	})
	if err != nil {
		t.Errorf("left by kill -9: %+v, before: %+v", after, before)
	}
	d, err := New(Options{StateDir: dir, DataID: crashID})
	if err != nil {
		t.Fatal(err)
	}
	if n := countWorld(t, dir, crashID).groups; n != len(d.layout.parents(d.name)) {
		t.Errorf("%d control groups after New", n)
	}
	if out, exit := run(t, d, testSpec(), "/bin/echo", "again"); out != "again\n" {
		t.Errorf("after recovery: %q, %+v", out, exit)
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
	if err := poll(patience, func() (bool, error) { return countWorld(t, dir, crashID) == before, nil }); err != nil {
		t.Errorf("left by Close: %+v, before: %+v", countWorld(t, dir, crashID), before)
	}
}

// world counts what a driver has in the kernel.
type world struct {
	processes, groups, loops, mounts int
}

func countWorld(t *testing.T, stateDir, dataID string) world {
	t.Helper()
	var w world
	l, err := detectLayout()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range l.parents("hearth-" + dataID) {
		dirs, err := groupsBelow(p)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
		w.groups += len(dirs)
	}
	users := usersOf(dataID, defaultMaxSandboxes+1)
	statuses, _ := filepath.Glob("/proc/[0-9]*/status")
	for _, s := range statuses {
		b, _ := os.ReadFile(s) // a process may have ended since
		if strings.Contains(string(b), "\nState:\tZ") {
			continue // dead; the system's first process takes its time to reap it
		}
		_, uids, ok := strings.Cut(string(b), "\nUid:\t")
		var uid int
		if fmt.Sscan(uids, &uid); ok && uid >= users.first && uid < users.first+users.n {
			w.processes++
		}
	}
	backing, _ := filepath.Glob("/sys/block/loop*/loop/backing_file")
	for _, f := range backing {
		if b, _ := os.ReadFile(f); strings.HasPrefix(string(b), stateDir) {
			w.loops++
		}
	}
	w.mounts = countMounts(t, stateDir)
	return w
}

// countMounts counts the mounts on the host. Those of other tests, which run at the
// same time, are in their own temporary directories.
func countMounts(t *testing.T, stateDir string) (n int) {
	t.Helper()
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		at := strings.Fields(line)[4]
		if !strings.HasPrefix(at, os.TempDir()+"/") || strings.HasPrefix(at, stateDir+"/") {
			n++
		}
	}
	return n
}

// Starts leave nothing behind. HEARTH_LONG=1 makes 10,000 of them.
func TestNothingLeaks(t *testing.T) {
	n := 200
	if os.Getenv("HEARTH_LONG") != "" {
		n = 10_000
	}
	dir := t.TempDir()
	id := fmt.Sprintf("leak-%d", os.Getpid())
	d := newDriver(t, func(o *Options) { o.StateDir, o.DataID, o.MaxSandboxes, o.Spares = dir, id, 4, 2 })
	code := t.TempDir()
	life := func() {
		sb, err := d.Create(t.Context(), testSpec())
		if err != nil {
			t.Fatal(err)
		}
		late := func(target string) {
			if err := sb.Mount(t.Context(), sandbox.Mount{Source: code, Target: target}); err != nil {
				t.Fatal(err)
			}
		}
		late("/var/task")
		if err := sb.Start(t.Context(), sandbox.Command{Args: []string{"/bin/sh", "-c", "echo x >/tmp/x; sleep 1000 & echo ok; exec sleep 1000"}}); err != nil {
			t.Fatal(err)
		}
		out := sb.Output()
		defer out.Close()
		if _, err := io.ReadFull(out, make([]byte, len("ok\n"))); err != nil {
			t.Fatal(err)
		}
		late("/opt")
		if err := sb.Destroy("test"); err != nil {
			t.Fatal(err)
		}
	}
	count := func() [5]int {
		w := countWorld(t, dir, id)
		return [5]int{runtime.NumGoroutine(), len(listing(t, "/proc/self/fd")), w.processes, w.loops, w.mounts}
	}
	fillPools(t, d)
	before := settled(count)
	threads := len(listing(t, "/proc/self/task"))
	began := time.Now()
	for range n {
		life()
	}
	t.Logf("%d starts, %v each", n, time.Since(began)/time.Duration(n))
	var after [5]int
	err := poll(patience, func() (bool, error) {
		after = count()
		for i := range after {
			if after[i] > before[i] {
				return false, nil
			}
		}
		return true, nil
	})
	if err != nil {
		t.Errorf("goroutines, descriptors, processes, loop devices, mounts: %v before, %v after", before, after)
	}
	// A thread that a sandbox was built on takes its time to end. Of mounts threads of
	// ours are in the host's and the template's.
	now, namespaces := 0, map[string]int{}
	err = poll(patience, func() (bool, error) {
		now = len(listing(t, "/proc/self/task"))
		fits := now <= threads+20
		for kind, most := range map[string]int{"mnt": 2, "net": 1, "uts": 1, "ipc": 1} {
			namespaces[kind] = namespacesOfThreads(t, kind)
			fits = fits && namespaces[kind] <= most
		}
		return fits, nil
	})
	if err != nil {
		t.Errorf("%d threads before, %d after, in namespaces: %v", threads, now, namespaces)
	}
	if g := countWorld(t, dir, id).groups; g > 100 {
		t.Errorf("%d control groups for sandboxes that came one after the other", g)
	}
}

// namespacesOfThreads counts the namespaces that threads of this process are in.
func namespacesOfThreads(t *testing.T, kind string) int {
	t.Helper()
	found := map[string]bool{}
	for _, tid := range listing(t, "/proc/self/task") {
		ns, err := os.Readlink("/proc/self/task/" + tid + "/ns/" + kind)
		if err == nil { // a thread may have ended since
			found[ns] = true
		}
	}
	return len(found)
}

// fillPools makes every slot and every /tmp that the driver may have, so that
// what it keeps does not look like a leak.
func fillPools(t *testing.T, d *Driver) {
	t.Helper()
	var all []sandbox.Sandbox
	for range d.max {
		sb, err := d.Create(context.Background(), testSpec())
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, sb)
	}
	for _, sb := range all {
		if err := sb.Destroy("test"); err != nil {
			t.Fatal(err)
		}
	}
	awaitFull(t, d)
	err := poll(patience, func() (bool, error) {
		return d.tmp.noDisk != nil || d.tmp.idleOf(testSpec().TmpMB) >= min(tmpAhead, d.tmp.limit), nil
	})
	if err != nil {
		t.Fatal("there are not as many /tmp made ahead as there should be")
	}
}

// settled counts until two counts are equal: goroutines end a moment after their work.
func settled(count func() [5]int) [5]int {
	last := count()
	_ = poll(patience, func() (bool, error) {
		now := count()
		same := now == last
		last = now
		return same, nil
	})
	return last
}
