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
	"time"

	"golang.org/x/sys/unix"

	"hearth/sandbox"
)

// Probe says what this host can isolate, for `hearth doctor`. It tries things
// out, the last of them a whole sandbox of a driver of its own, and leaves
// nothing. Of opts it uses StateDir (where /tmp is tried; empty is a directory of
// its own in /var/tmp) and Logger.
func Probe(opts Options) []Finding {
	if opts.StateDir == "" {
		dir, err := os.MkdirTemp("/var/tmp", "hearth-probe-")
		if err != nil {
			return []Finding{{Name: "state directory", Detail: err.Error(), Fix: "make /var/tmp writable"}}
		}
		defer os.Remove(dir) // empty again
		opts.StateDir = dir
	}
	findings := []Finding{probeRoot(), probeKernel()}
	l, err := detectLayout()
	if err == nil {
		err = l.check()
	}
	findings = append(findings, Finding{
		Name: "control groups", OK: err == nil, Detail: detail(l.String(), err),
		Fix: fix(err, "mount the missing hierarchy (systemd does), or boot without cgroup_disable"),
	})
	if err == nil {
		findings = append(findings, probeBurst(l), probeKill(l))
	}
	return append(findings, probeTmp(opts), probeSandbox(opts))
}

func detail(ok string, err error) string {
	if err != nil {
		return err.Error()
	}
	return ok
}

func fix(err error, how string) string {
	if err == nil {
		return ""
	}
	return how
}

func probeRoot() Finding {
	uid := os.Geteuid()
	f := Finding{Name: "user", OK: uid == 0, Detail: fmt.Sprintf("user id %d", uid)}
	if uid != 0 {
		f.Fix = "run Hearth as root: it gives every privilege up inside the sandboxes, and needs them to build one"
	}
	return f
}

// probeKernel tries the newest call that the driver needs: mount_setattr, Linux 5.12.
// (cgroup.kill, 5.14, it can do without.)
func probeKernel() Finding {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return Finding{Name: "kernel", Detail: err.Error(), Fix: "use Linux 5.14 or newer"}
	}
	err := unix.MountSetattr(-1, "", 0, &unix.MountAttr{})
	f := Finding{Name: "kernel", OK: !errors.Is(err, unix.ENOSYS), Detail: "Linux " + unix.ByteSliceToString(u.Release[:])}
	if !f.OK {
		f.Fix = "use Linux 5.14 or newer"
	}
	return f
}

func probeBurst(l layout) Finding {
	f := Finding{Name: "cpu burst", OK: true, Detail: "short calls of small functions are not cut at the end of a period"}
	mount, v2, _ := l.controller("cpu")
	if !v2 {
		if _, err := os.Stat(filepath.Join(mount, "cpu.cfs_burst_us")); err != nil {
			f.OK, f.Detail, f.Fix = false, "this kernel has no CFS burst", "use Linux 5.14 or newer"
		}
	}
	return f
}

func probeKill(l layout) Finding {
	if l.v2 == "" {
		return Finding{Name: "freezer", Detail: "version 1: freezing takes longer",
			Fix: "mount cgroup2, e.g. on /sys/fs/cgroup/unified"}
	}
	return Finding{Name: "freezer", OK: true, Detail: "version 2"}
}

// probeTmp makes one disk-backed /tmp.
func probeTmp(opts Options) Finding {
	f := Finding{Name: "/tmp on disk"}
	dir := filepath.Join(opts.StateDir, "probe-tmp")
	p := &tmpPool{dir: dir}
	err := os.MkdirAll(dir, 0o700)
	if err == nil {
		var img *image
		if img, err = p.makeDisk(16); err == nil {
			err = img.close()
		}
	}
	err = errors.Join(err, os.RemoveAll(dir))
	f.OK, f.Detail = err == nil, detail("an ext4 of exact size on a loop device", err)
	f.Fix = fix(err, "install e2fsprogs and give Hearth /dev/loop-control; until then /tmp is a tmpfs of at most half the memory, and is charged to it")
	return f
}

// probeSandbox runs a program in a sandbox.
func probeSandbox(opts Options) Finding {
	err := trial(opts)
	return Finding{
		Name: "process sandbox", OK: err == nil, Detail: detail("a program ran confined, and nothing of it is left", err),
		Fix: fix(err, "mend what is named here and above; in a container Hearth needs its own control groups and --privileged"),
	}
}

// trialLimit bounds each step of the trial: it asks whether this host can, not how fast.
const trialLimit = 30 * time.Second

func trial(opts Options) (err error) {
	opts.StateDir = filepath.Join(opts.StateDir, "probe")
	opts.DataID = fmt.Sprintf("probe-%d", os.Getpid())
	opts.MaxSandboxes, opts.Networks, opts.DeathLimit = 1, nil, trialLimit
	d, err := New(opts)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.Close(), os.RemoveAll(opts.StateDir)) }()
	ctx, cancel := context.WithTimeout(context.Background(), trialLimit)
	defer cancel()
	sb, err := d.Create(ctx, sandbox.Spec{ID: "probe", MemoryMB: 64, TmpMB: 16, Egress: sandbox.EgressNone})
	if err != nil {
		return err
	}
	if err := sb.Start(ctx, sandbox.Command{Args: []string{"/bin/echo", "ok"}}); err != nil {
		return err
	}
	defer sb.Output().Close()
	select {
	case <-sb.Done():
	case <-ctx.Done():
		return fmt.Errorf("process: /bin/echo does not end: %w", ctx.Err())
	}
	out, err := io.ReadAll(io.LimitReader(sb.Output(), 64))
	if err == nil && !bytes.Equal(out, []byte("ok\n")) {
		err = fmt.Errorf("process: /bin/echo answered %q, exit %+v", out, sb.Exit())
	}
	return errors.Join(err, sb.Destroy("probe"))
}
