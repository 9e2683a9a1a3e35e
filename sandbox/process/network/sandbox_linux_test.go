//go:build amd64

package network

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"

	"hearth/sandbox"
	"hearth/sandbox/process"
)

// networks makes a pool the process driver's, as the binary does.
type networks struct{ *Pool }

func (n networks) Acquire(ctx context.Context, egress sandbox.Egress) (process.Netns, error) {
	ns, err := n.Pool.Acquire(ctx, egress)
	if err != nil {
		return nil, err
	}
	return ns, nil
}

// The row, in the real sandbox: a function with egress reaches an HTTP
// server in another network namespace by name and by address, one without does
// not; and what it leaves behind does not keep its namespace from being used
// again.
func TestRealSandbox(t *testing.T) {
	w := newWorld(t)
	var log bytes.Buffer
	p := w.pool(func(o *Options) { o.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
	driver, err := process.New(process.Options{StateDir: t.TempDir(), DataID: "network-test", MaxSandboxes: 4, Networks: networks{p}})
	w.check(err)
	t.Cleanup(func() { w.check(driver.Close()) })
	const script = `for host in server.example ` + worldSide + `; do
exec 4<>/dev/tcp/$host/80 && printf 'GET / HTTP/1.0\r\n\r\n' >&4 && tail -n 1 <&4; echo; done 2>&1; echo end`
	run := func(id string, egress sandbox.Egress) string {
		t.Helper()
		box, err := driver.Create(t.Context(), sandbox.Spec{ID: id, MemoryMB: 128, TmpMB: 64, Egress: egress})
		w.check(err)
		w.check(box.Start(t.Context(), sandbox.Command{Args: []string{"/bin/bash", "-c", script}, Env: []string{"PATH=/usr/bin:/bin"}, Dir: "/"}))
		defer box.Output().Close()
		<-box.Done()
		w.check(box.Destroy("done"))
		output, err := io.ReadAll(box.Output())
		w.check(err)
		return string(output)
	}
	for i := range 3 {
		if got := run(fmt.Sprint("with-", i), sandbox.EgressInternet); strings.Count(got, worldSide+" "+hostSide+":") != 2 {
			t.Errorf("with egress:\n%s", got)
		}
	}
	if got := run("without", sandbox.EgressNone); strings.Contains(got, hostSide+":") || !strings.Contains(got, "end") {
		t.Errorf("without egress:\n%s", got)
	}
	w.check(driver.Close())
	w.check(p.Close()) // the log is complete
	if strings.Contains(log.String(), "not recycled") {
		t.Errorf("the log says:\n%s", log.String())
	}
}
