package lambda

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"hearth/engine/fake"
	"hearth/faas"
	"hearth/registry"
)

// These stand in where a test has nothing of the kind.
type (
	noMappings struct{ Mappings }
	noPolicies struct{ Policies }
	noURLs     struct{ FunctionURLs }
	noLayers   struct{ Layers }
)

func (noPolicies) Permits(faas.FunctionID, string, faas.Access) bool { return false }

// packages keeps zips in memory, for a registry.
type packages struct {
	mu    sync.Mutex
	zips  map[string][]byte
	block chan struct{} // not nil: Prepare waits until it is closed
}

// blockPrepare keeps functions from being made ready until block is closed.
func (p *packages) blockPrepare(block chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.block = block
}

func (p *packages) Ingest(_ context.Context, zip []byte) (faas.Code, error) {
	sum := sha256.Sum256(zip)
	code := faas.Code{SHA256: hex.EncodeToString(sum[:]), Size: int64(len(zip))}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.zips[code.SHA256] = zip
	return code, nil
}

func (p *packages) Prepare(ctx context.Context, _ faas.Code, _ ...faas.Code) error {
	p.mu.Lock()
	block := p.block
	p.mu.Unlock()
	if block == nil {
		return nil
	}
	select {
	case <-block:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (p *packages) Inspect(context.Context, faas.Code) (faas.Contents, error) {
	return faas.Contents{}, nil
}

func (p *packages) Read(_ context.Context, code faas.Code) ([]byte, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.zips[code.SHA256], nil
}

func (p *packages) Forget(_ context.Context, code faas.Code) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.zips, code.SHA256)
	return nil
}

type anyRuntime struct{}

func (anyRuntime) Check(string) error { return nil }

// realWorld is a handler over the registry itself, in an engine in memory. Changed
// gets a token whenever a function did.
type realWorld struct {
	*Handler
	uuids
	registry *registry.Registry
	packages *packages
	changed  chan struct{}
}

func newRealWorld(t testing.TB) *realWorld {
	w := &realWorld{changed: make(chan struct{}, 1), packages: &packages{zips: map[string][]byte{}}}
	r, err := registry.New(context.Background(), registry.Options{
		Meta: fake.New().Meta(), Packages: w.packages, Runtimes: anyRuntime{},
		Limits: faas.LambdaLimits(), Clock: func() time.Time { return fakeNow },
		Changed: func(faas.FunctionID) {
			select {
			case w.changed <- struct{}{}:
			default:
			}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	w.registry = r
	w.Handler = New(Options{
		Registry: r, Invoker: &fakeInvoker{}, Quotas: r, Provisioning: noneProvisioned{}, Events: r, Mappings: r, Policies: r, URLs: r, Layers: r,
		Account: "123456789012", LinkKey: []byte("golden"), Clock: func() time.Time { return fakeNow },
	})
	return w
}

// uuids numbers the UUIDs and the names of function URLs that answers hold, so that
// golden files can name them.
type uuids struct{ seen []string }

var anyUUID = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|[a-z2-7]{32}\b`)

// hide replaces the UUIDs of an answer by <uuid:N>.
func (u *uuids) hide(answer string) string {
	return anyUUID.ReplaceAllStringFunc(answer, func(id string) string {
		at := slices.Index(u.seen, id)
		if at < 0 {
			at = len(u.seen)
			u.seen = append(u.seen, id)
		}
		return fmt.Sprintf("<uuid:%d>", at+1)
	})
}

// show puts the UUIDs back into a request.
func (u *uuids) show(request string) string {
	for i, id := range u.seen {
		request = strings.ReplaceAll(request, fmt.Sprintf("<uuid:%d>", i+1), id)
	}
	return request
}

// noneProvisioned is the Provisioning where no instance ever runs.
type noneProvisioned struct{}

func (noneProvisioned) Status(faas.FunctionID, string) faas.ProvisionedStatus {
	return faas.ProvisionedStatus{State: faas.ProvisionedInProgress}
}

// settle waits until no function of the world is being made ready.
func (w *realWorld) settle(t testing.TB) {
	timeout := time.NewTimer(time.Minute)
	defer timeout.Stop()
	for !w.settled(t) {
		select {
		case <-w.changed:
		case <-timeout.C:
			t.Fatal("a function is never made ready")
		}
	}
}

func (w *realWorld) settled(t testing.TB) bool {
	settled := true
	var ids []faas.FunctionID
	w.registry.EachFunction(func(id faas.FunctionID) { ids = append(ids, id) })
	for _, id := range ids {
		f, err := w.registry.Get(context.Background(), id, "")
		if err != nil {
			t.Fatal(err)
		}
		settled = settled && f.Version.State != faas.StatePending && f.Version.Update != faas.UpdateInProgress
	}
	return settled
}
