//go:build linux && amd64

package process

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"hearth/sandbox"
)

// What waits for a command has no privilege left, nothing of Hearth, and nothing
// but its output, its socket and the way that the command will come.
func TestParkedIsConfined(t *testing.T) {
	d := newDriver(t)
	sb, err := d.Create(t.Context(), testSpec())
	if err != nil {
		t.Fatal(err)
	}
	b := sb.(*box)
	proc := fmt.Sprintf("/proc/%d/", b.command.pid)
	status, err := os.ReadFile(proc + "status")
	if err != nil {
		t.Fatal(err)
	}
	uid := b.slot.uid
	for _, want := range []string{
		"CapPrm:\t0000000000000000\n", "CapEff:\t0000000000000000\n", "CapBnd:\t0000000000000000\n",
		"NoNewPrivs:\t1\n", "Seccomp:\t2\n", fmt.Sprintf("Uid:\t%d\t%d\t%d\t%d\n", uid, uid, uid, uid),
	} {
		if !strings.Contains(string(status), want) {
			t.Errorf("status lacks %q", want)
		}
	}
	if got := listing(t, proc+"fd"); !slices.Equal(got, []string{"0", "1", "2", "3", "4"}) {
		t.Errorf("descriptors %v, want 0 to %d", got, controlFD)
	}
	if env, _ := os.ReadFile(proc + "environ"); len(env) > 0 {
		t.Errorf("environment %q", env)
	}
	groups, err := os.ReadFile(proc + "cgroup")
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range strings.Split(strings.TrimSpace(string(groups)), "\n") {
		_, controllers, _ := strings.Cut(line, ":")
		controllers, path, _ := strings.Cut(controllers, ":")
		_, v2, ok := d.layout.controller(controllers)
		if (controllers == "" || ok && !v2) && slices.Contains(append(limited, ""), controllers) && !strings.HasPrefix(path, "/"+d.name+"/") {
			t.Errorf("it is in the group %s", line)
		}
	}
	if err := sb.Start(t.Context(), sandbox.Command{Args: []string{"/bin/sleep", "1000"}}); err != nil {
		t.Fatal(err)
	}
	defer sb.Output().Close()
	var got []string // its loader may have a library open for a moment
	if err := poll(patience, func() (bool, error) {
		got = listing(t, proc+"fd")
		return slices.Equal(got, []string{"0", "1", "2"}), nil
	}); err != nil {
		t.Errorf("descriptors %v of a command without a socket", got)
	}
}

// A command that cannot be says why, by name.
func TestStartErrors(t *testing.T) {
	d := newDriver(t, func(o *Options) { o.Spares = 1 })
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for want, cmd := range map[string]sandbox.Command{
		"change to /nowhere: no such":  {Args: []string{"/bin/true"}, Dir: "/nowhere"},
		"exec /bin/nothing: no such":   {Args: []string{"/bin/nothing"}, Socket: true},
		"exec /etc/passwd: permission": {Args: []string{"/etc/passwd"}},
		"mount on /var/task: ":         {Args: []string{"/bin/true"}, Mounts: []sandbox.Mount{{Source: file, Target: "/var/task"}}},
		"exec /var/task/none: no such": {Args: []string{"/var/task/none"}, Mounts: []sandbox.Mount{{Source: t.TempDir(), Target: "/var/task"}}},
		"take 131":                     {Args: []string{"/bin/true", strings.Repeat("x", messageMax)}},
	} {
		sb, err := d.Create(t.Context(), testSpec())
		if err != nil {
			t.Fatal(err)
		}
		if err := sb.Start(t.Context(), cmd); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q in it", err, want)
		}
		if err := sb.Destroy("test"); err != nil {
			t.Error(err)
		}
	}
	// Just what fits arrives whole.
	spec := testSpec()
	long := strings.Repeat("y", 100<<10)
	sb, err := d.Create(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	if err := sb.Start(t.Context(), sandbox.Command{Args: []string{"/bin/sh", "-c", `printf %s "$LONG" | wc -c`}, Env: []string{"LONG=" + long, "PATH=/bin:/usr/bin"}}); err != nil {
		t.Fatal(err)
	}
	if out := <-drain(sb); strings.TrimSpace(out) != fmt.Sprint(len(long)) {
		t.Errorf("%q bytes arrived of %d", out, len(long))
	}
}

// A late mount has the attributes of every other.
func TestMountAttributes(t *testing.T) {
	code := t.TempDir()
	if err := errors.Join(os.WriteFile(code+"/f", []byte("x"), 0o666), os.Chmod(code, 0o777)); err != nil {
		t.Fatal(err)
	}
	d := newDriver(t)
	sb, err := d.Create(t.Context(), testSpec())
	if err != nil {
		t.Fatal(err)
	}
	script := `echo ready; until test -e /var/task/f; do sleep 0.01; done; grep ' /var/task ' /proc/self/mountinfo; LC_ALL=C; (echo y >/var/task/f) 2>&1; (: >/var/task/new) 2>&1`
	if err := sb.Start(t.Context(), sandbox.Command{Args: []string{"/bin/sh", "-c", script}, Env: []string{"PATH=/bin:/usr/bin"}}); err != nil {
		t.Fatal(err)
	}
	out := drain(sb)
	if err := sb.Mount(t.Context(), sandbox.Mount{Source: code, Target: "/var/task"}); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(<-out), "\n")
	if len(lines) != 4 {
		t.Fatalf("output %q", lines)
	}
	options := strings.Split(strings.Fields(lines[1])[5], ",")
	for _, want := range []string{"ro", "nosuid", "nodev"} {
		if !slices.Contains(options, want) {
			t.Errorf("mounted with %v, want %s", options, want)
		}
	}
	for _, l := range lines[2:] {
		if !strings.Contains(l, "Read-only file system") {
			t.Errorf("a write answered %q", l)
		}
	}
	<-sb.Done()
	if err := sb.Mount(t.Context(), sandbox.Mount{Source: code, Target: "/opt"}); err == nil {
		t.Error("a mount into a sandbox whose process has ended succeeded")
	}
}

// shuffle tries for ever to put something else in the place of a mount point, and
// tells of each success.
func shuffle([]string) {
	fmt.Println("ready")
	for {
		for _, p := range append(slices.Clone(sandbox.MountPoints), "/var") {
			for what, err := range map[string]error{
				"rename away": os.Rename(p, "/tmp/away"),
				"rename over": os.Rename("/tmp", p),
				"remove":      unix.Rmdir(p),
				"link":        os.Symlink("/tmp", p+"/link"),
				"make":        os.Mkdir(p+"/dir", 0o755),
				"mount":       unix.Mount("/tmp", p, "", unix.MS_BIND, ""),
				"unmount":     unix.Unmount(p, unix.MNT_DETACH),
				"chroot":      unix.Chroot("/tmp"),
			} {
				if err == nil {
					fmt.Println("did", what, p)
				}
			}
		}
	}
}

// What runs inside cannot lead a mount elsewhere, nor keep it from its place.
func TestMountWhileShuffling(t *testing.T) {
	code := t.TempDir()
	d := newDriver(t)
	sb, err := d.Create(t.Context(), withProg(t, testSpec()))
	if err != nil {
		t.Fatal(err)
	}
	if err := sb.Start(t.Context(), sandbox.Command{Args: []string{progPath, "hostile", "shuffle"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(sb.Output(), make([]byte, len("ready\n"))); err != nil {
		t.Fatal(err)
	}
	out := drain(sb)
	info := fmt.Sprintf("/proc/%d/mountinfo", sb.(*box).command.pid)
	for _, target := range sandbox.MountPoints {
		before, err := os.ReadFile(info)
		if err != nil {
			t.Fatal(err)
		}
		if err := sb.Mount(t.Context(), sandbox.Mount{Source: code, Target: target}); err != nil {
			t.Fatal(err)
		}
		after, err := os.ReadFile(info)
		if err != nil {
			t.Fatal(err)
		}
		if n := bytes.Count(after, []byte("\n")) - bytes.Count(before, []byte("\n")); n != 1 || !bytes.Contains(after, []byte(" "+target+" ro,nosuid,nodev")) {
			t.Errorf("%d mounts more, none of them as it should be on %s:\n%s", n, target, after)
		}
	}
	if err := sb.Destroy("test"); err != nil {
		t.Error(err)
	}
	if got := <-out; got != "" {
		t.Errorf("it %s", got)
	}
}

// No part of a mount point's path is followed if it is a link.
func TestMountFollowsNoLinks(t *testing.T) {
	dir := t.TempDir()
	if err := errors.Join(os.MkdirAll(dir+"/real/sub", 0o755), os.Symlink("real", dir+"/link"), os.Symlink("sub", dir+"/real/last")); err != nil {
		t.Fatal(err)
	}
	err := onThread(func() error {
		err := errors.Join(unix.Unshare(unix.CLONE_FS|unix.CLONE_NEWNS), unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""))
		if err != nil {
			return err
		}
		for _, target := range []string{dir + "/link/sub", dir + "/real/last", dir + "/link", "/proc/self/cwd"} {
			sources, err := openSources([]sandbox.Mount{{Source: dir, Target: target}})
			if err != nil {
				return err
			}
			if err := attachAt(sources[0]); !errors.Is(err, unix.ELOOP) {
				t.Errorf("mount on %s: %v", target, err)
			}
			closeSources(sources)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// A start that mounts and races with death is done or refused.
func TestStartRacesDestroy(t *testing.T) {
	code := t.TempDir()
	d := newDriver(t, func(o *Options) { o.Spares = 2 })
	for i := range 40 {
		sb, err := d.Create(t.Context(), testSpec())
		if err != nil {
			t.Fatal(err)
		}
		var racers sync.WaitGroup
		racers.Go(func() {
			err := sb.Start(t.Context(), sandbox.Command{Args: []string{"/bin/sleep", "1000"}, Socket: i%2 == 0,
				Mounts: []sandbox.Mount{{Source: code, Target: "/var/task"}}})
			if err != nil && !errors.Is(err, sandbox.ErrDestroyed) && sb.(*box).runs() {
				t.Error(err)
			}
		})
		racers.Go(func() {
			if err := sb.Destroy("raced"); err != nil {
				t.Error(err)
			}
		})
		racers.Wait()
	}
}

// Mounts and limits that race with death are done or refused, and leave nothing.
func TestMountRacesDestroy(t *testing.T) {
	code := t.TempDir()
	d := newDriver(t)
	mounts := countMounts(t, d.stateDir)
	for range 20 {
		sb, err := d.Create(t.Context(), testSpec())
		if err != nil {
			t.Fatal(err)
		}
		var racers sync.WaitGroup
		for _, target := range sandbox.MountPoints {
			racers.Go(func() {
				err := errors.Join(sb.Mount(t.Context(), sandbox.Mount{Source: code, Target: target}), sb.SetMemory(256))
				if err != nil && !errors.Is(err, sandbox.ErrDestroyed) && sb.(*box).runs() {
					t.Error(err)
				}
			})
		}
		racers.Go(func() {
			if err := sb.Destroy("raced"); err != nil {
				t.Error(err)
			}
		})
		racers.Wait()
	}
	if now := countMounts(t, d.stateDir); now != mounts {
		t.Errorf("%d mounts on the host, %d before", now, mounts)
	}
}

func awaitFull(t *testing.T, d *Driver) {
	t.Helper()
	if err := poll(patience, func() (bool, error) { return d.full(), nil }); err != nil {
		t.Fatalf("the stock is not full: %v", err)
	}
}

// Create takes a spare of its kind, one that lives; where every slot is a spare's
// it gets a slot of one.
func TestStock(t *testing.T) {
	d := newDriver(t, func(o *Options) { o.Spares, o.MaxSandboxes = 2, 3 })
	awaitFull(t, d)
	spares := func(k kind) []*box {
		d.mu.Lock()
		defer d.mu.Unlock()
		return slices.Clone(d.stock.spares[k])
	}
	spec, err := complete(testSpec())
	if err != nil {
		t.Fatal(err)
	}
	built := spares(d.kindOf(spec))
	if len(built) != 2 {
		t.Fatalf("%d spares", len(built))
	}
	dead := built[1] // it would be the next
	if err := dead.first.kill(unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-dead.firstGone
	first, err := d.Create(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	if first != sandbox.Sandbox(built[0]) {
		t.Error("the spare that lives was not taken")
	}
	awaitFull(t, d)
	other := testSpec()
	other.TmpMB = 16
	second, err := d.Create(t.Context(), other)
	if err != nil {
		t.Fatalf("with all slots built ahead for another kind: %v", err)
	}
	for _, sb := range []sandbox.Sandbox{first, second} {
		if err := sb.Start(t.Context(), sandbox.Command{Args: []string{"/bin/echo", "ok"}}); err != nil {
			t.Fatal(err)
		}
		if out := <-drain(sb); out != "ok\n" {
			t.Errorf("output %q", out)
		}
	}
}

// noNetworks gives none.
type noNetworks struct{}

func (noNetworks) Acquire(context.Context, sandbox.Egress) (Netns, error) {
	return nil, errors.New("no egress here")
}
func (noNetworks) Close() error { return nil }

// A kind that cannot be built is not tried for ever, and keeps no other from being
// built.
func TestStockOfWhatCannotBe(t *testing.T) {
	d := newDriver(t, func(o *Options) { o.Spares, o.Networks = 1, noNetworks{} })
	awaitFull(t, d)
	d.mu.Lock()
	kinds := slices.Clone(d.stock.kinds)
	d.mu.Unlock()
	if len(kinds) != 1 || kinds[0].egress != sandbox.EgressNone {
		t.Errorf("spares are kept of %+v", kinds)
	}
	spec := testSpec()
	spec.Egress = sandbox.EgressInternet
	if _, err := d.Create(t.Context(), spec); err == nil || !strings.Contains(err.Error(), "no egress here") {
		t.Errorf("%v, want the network's error", err)
	}
}

// The room that is known shrinks by what is granted, and is forgotten in time.
func TestMemoryRoom(t *testing.T) {
	now := time.Now()
	r := memoryRoom{measured: now, availableMB: 1000}
	for i, c := range []struct {
		take, need int
		after      time.Duration
		want       bool
	}{
		{300, 428, 0, true}, {300, 428, time.Second, true}, {300, 428, time.Second, false}, {100, 228, roomLasts, true},
		{100, 228, roomLasts + 1, false},
	} {
		if got := r.grant(c.take, c.need, now.Add(c.after)); got != c.want {
			t.Errorf("grant %d: %v, %d MB left", i, got, r.availableMB)
		}
	}
}

// Only what changes is written, and in an order that the kernel takes.
func TestLimitsChange(t *testing.T) {
	d := newDriver(t)
	sb, err := d.Create(t.Context(), testSpec())
	if err != nil {
		t.Fatal(err)
	}
	g := sb.(*box).slot.group
	read := func(v1, v2 string) int64 {
		t.Helper()
		name := v1
		if g.memory.v2 {
			name = v2
		}
		n, err := number(g.memory.dir, name)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	for _, mb := range []int{256, 64, 64, 1769} {
		if err := sb.SetMemory(mb); err != nil {
			t.Fatal(err)
		}
		if got := read("memory.limit_in_bytes", "memory.max"); got != int64(mb)<<20 {
			t.Errorf("the limit is %d, want %d MB", got, mb)
		}
	}
	for _, milli := range []int{1000, 72, 36, 36, 0, 500, 2000} {
		if err := sb.SetCPU(milli); err != nil {
			t.Fatal(err)
		}
		if g.cpu.v2 {
			continue
		}
		want := int64(-1)
		if milli > 0 {
			q, _ := quota(milli)
			want = int64(q)
		}
		if got, err := number(g.cpu.dir, "cpu.cfs_quota_us"); err != nil || got != want {
			t.Errorf("the quota is %d, %v; want %d", got, err, want)
		}
	}
}

// A quota that was prepared for is one write later, and one that was not is as good.
func TestPrepareCPU(t *testing.T) {
	sb, err := newDriver(t).Create(t.Context(), testSpec())
	if err != nil {
		t.Fatal(err)
	}
	g := sb.(*box).slot.group
	if g.cpu.v2 {
		t.Skip("the files of version 1")
	}
	read := func(name string) int64 {
		t.Helper()
		n, err := number(g.cpu.dir, name)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	for _, c := range []struct{ prepared, set int }{{1000, 1000}, {1000, 72}, {72, 1000}, {0, 500}, {36, 36}} {
		if err := errors.Join(g.setCPU(0), g.prepareCPU(c.prepared)); err != nil {
			t.Fatal(err)
		}
		if got := read("cpu.cfs_quota_us"); got != -1 {
			t.Errorf("preparing for %d set a quota of %d", c.prepared, got)
		}
		if err := errors.Join(g.setCPU(c.set), g.prepareCPU(2000)); err != nil {
			t.Fatal(err)
		}
		q, p := quota(c.set)
		if read("cpu.cfs_quota_us") != int64(q) || read("cpu.cfs_period_us") != int64(p) || read("cpu.cfs_burst_us") != int64(q) {
			t.Errorf("%+v: %d of %d, burst %d; want %d of %d", c, read("cpu.cfs_quota_us"), read("cpu.cfs_period_us"), read("cpu.cfs_burst_us"), q, p)
		}
	}
}
