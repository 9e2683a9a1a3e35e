package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
)

// provisionedSource answers with what tells instances apart, after a time in which
// a call to another instance can begin.
const provisionedSource = `
const instance = crypto.randomUUID();
export const handler = async (event) => {
  await new Promise((done) => setTimeout(done, event.hold));
  return { version: "VERSION", instance };
};
`

// provisioned is TestProvisioned's function.
type provisioned struct {
	*life
	sdk *lambda.Client
}

// TestProvisioned takes provisioned concurrency of an alias through its life.
func TestProvisioned(t *testing.T) {
	s := Start(t, "--cells", "off") // its instances are counted by their processes
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c := newGoClient(t, s).(goClient)
	p := &provisioned{&life{t: t, ctx: ctx, client: c, name: "provisioned"}, c.sdk}
	source := func(version string) []byte {
		return pack(t, map[string][]byte{"index.mjs": []byte(strings.ReplaceAll(provisionedSource, "VERSION", version))})
	}
	_, err := c.create(ctx, function{name: p.name, runtime: s.Newest(t, "nodejs"), handler: "index.handler", zip: source("one")})
	p.ok("create", err)
	p.ok("wait", c.waitActive(ctx, p.name))
	_, err = c.publish(ctx, p.name)
	p.ok("publish", err)
	p.ok("alias", c.createAlias(ctx, p.name, "live", "1", nil))
	free := p.unreserved()

	p.put(3)
	p.waitReady(3)
	if got := p.unreserved(); got != free-3 {
		t.Errorf("%d executions are not reserved, want %d", got, free-3)
	}
	processes := nodes(s)
	if len(processes) != 3 {
		t.Fatalf("%d processes of node run, want 3", len(processes))
	}
	p.atOnce(3, "one", 0)
	p.replaced(s, processes)
	p.atOnce(3, "one", 0)
	p.atOnce(4, "one", 1) // beyond them calls are on-demand

	p.ok("update", c.updateCode(ctx, p.name, source("two")))
	p.ok("wait", c.waitUpdated(ctx, p.name))
	_, err = c.publish(ctx, p.name)
	p.ok("publish", err)
	_, err = c.sdk.UpdateAlias(ctx, &lambda.UpdateAliasInput{FunctionName: &p.name, Name: aws.String("live"), FunctionVersion: aws.String("2")})
	p.ok("move the alias", err)
	p.waitReady(3)
	p.atOnce(3, "two", 0)

	_, err = c.sdk.DeleteProvisionedConcurrencyConfig(ctx, &lambda.DeleteProvisionedConcurrencyConfigInput{FunctionName: &p.name, Qualifier: aws.String("live")})
	p.ok("delete", err)
	_, err = p.status()
	if missing := (*types.ProvisionedConcurrencyConfigNotFoundException)(nil); !errors.As(err, &missing) {
		t.Errorf("after the deletion: %v", err)
	}
	if got := p.unreserved(); got != free {
		t.Errorf("%d executions are not reserved after the deletion, want %d", got, free)
	}
	p.atOnce(1, "two", 0) // what was provisioned is an ordinary idle instance
}

func (p *provisioned) put(n int32) {
	p.t.Helper()
	out, err := p.sdk.PutProvisionedConcurrencyConfig(p.ctx, &lambda.PutProvisionedConcurrencyConfigInput{
		FunctionName: &p.name, Qualifier: aws.String("live"), ProvisionedConcurrentExecutions: &n})
	p.ok("put provisioned concurrency", err)
	if got := aws.ToInt32(out.RequestedProvisionedConcurrentExecutions); got != n || out.Status != types.ProvisionedConcurrencyStatusEnumInProgress {
		p.t.Errorf("%d requested, status %s", got, out.Status)
	}
}

func (p *provisioned) status() (*lambda.GetProvisionedConcurrencyConfigOutput, error) {
	return p.sdk.GetProvisionedConcurrencyConfig(p.ctx, &lambda.GetProvisionedConcurrencyConfigInput{
		FunctionName: &p.name, Qualifier: aws.String("live")})
}

// waitReady waits until n instances are ready. What is ready is what is allocated
// and requested.
func (p *provisioned) waitReady(n int32) {
	p.t.Helper()
	var last string
	p.eventually(func() bool {
		out, err := p.status()
		p.ok("get provisioned concurrency", err)
		requested, allocated, available := aws.ToInt32(out.RequestedProvisionedConcurrentExecutions),
			aws.ToInt32(out.AllocatedProvisionedConcurrentExecutions), aws.ToInt32(out.AvailableProvisionedConcurrentExecutions)
		last = fmt.Sprintf("%d requested, %d allocated, %d available, %s %s", requested, allocated, available, out.Status, aws.ToString(out.StatusReason))
		if requested != n || allocated > n || available > allocated || out.Status == types.ProvisionedConcurrencyStatusEnumFailed {
			p.t.Fatal(last)
		}
		ready := out.Status == types.ProvisionedConcurrencyStatusEnumReady
		if ready != (available == n) {
			p.t.Fatal(last)
		}
		return ready
	}, func() string { return last })
}

// eventually asks again and again until done or the test's time is up.
func (p *provisioned) eventually(done func() bool, last func() string) {
	p.t.Helper()
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	for !done() {
		select {
		case <-again.C:
		case <-p.ctx.Done():
			p.t.Fatalf("time is up: %s", last())
		}
	}
}

// atOnce runs n calls at the same time: each has an instance of its own, of that
// version, and so many of them are cold.
func (p *provisioned) atOnce(n int, version string, wantCold int) {
	p.t.Helper()
	var mu sync.Mutex
	var calls sync.WaitGroup
	instances, cold := map[string]bool{}, 0
	for range n {
		calls.Go(func() {
			a, err := p.client.invoke(p.ctx, p.name, "live", `{"hold":2000}`)
			mu.Lock()
			defer mu.Unlock()
			var r struct{ Version, Instance string }
			if err != nil || a.functionError != "" || json.Unmarshal([]byte(a.payload), &r) != nil || r.Version != version {
				p.t.Errorf("call: %v, %s %s, want version %s", err, a.functionError, a.payload, version)
				return
			}
			instances[r.Instance] = true
			if strings.Contains(a.log, "Init Duration: ") {
				cold++
			}
		})
	}
	calls.Wait()
	if len(instances) != n || cold != wantCold {
		p.t.Errorf("%d calls at once had %d instances, %d of them cold, want %d cold", n, len(instances), cold, wantCold)
	}
}

// replaced kills one of the instances from outside: without any call another one
// takes its place.
func (p *provisioned) replaced(s *Server, before []int) {
	p.t.Helper()
	victim := before[0]
	p.ok("kill", syscall.Kill(victim, syscall.SIGKILL))
	var now []int
	fresh := func() bool {
		now = nodes(s)
		return !slices.Contains(now, victim) && slices.ContainsFunc(now, func(pid int) bool { return !slices.Contains(before, pid) })
	}
	p.eventually(fresh, func() string { return fmt.Sprintf("of %v, %d was killed; %v run", before, victim, now) })
	p.waitReady(3)
}

// unreserved is what the account has left without reservations.
func (p *provisioned) unreserved() int32 {
	p.t.Helper()
	out, err := p.sdk.GetAccountSettings(p.ctx, &lambda.GetAccountSettingsInput{})
	p.ok("get the account's settings", err)
	return aws.ToInt32(out.AccountLimit.UnreservedConcurrentExecutions)
}

// nodes are the processes of node that functions of the server run.
func nodes(s *Server) []int {
	var pids []int
	for _, p := range s.Processes() {
		if program, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", p.PID)); err == nil && filepath.Base(program) == "node" {
			pids = append(pids, p.PID)
		}
	}
	return pids
}
