package bench

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"hearth/api/lambda"
	"hearth/bench/stage"
	"hearth/code"
	"hearth/engine"
	"hearth/engine/datadir"
	"hearth/engine/nats"
	"hearth/faas"
	"hearth/invoke"
	"hearth/pool"
	"hearth/pool/pooltest"
	"hearth/provision"
	"hearth/quota"
	"hearth/registry"
)

// warmCalls is how many warm invocations may do no disk and no engine work.
const warmCalls = 2000

// countedMeta and countedBlobs count what is asked of the engine.
type countedMeta struct {
	engine.Meta
	calls *atomic.Int64
}

func (m countedMeta) Get(ctx context.Context, key string) (engine.Entry, error) {
	m.calls.Add(1)
	return m.Meta.Get(ctx, key)
}

func (m countedMeta) Create(ctx context.Context, key string, value []byte) (uint64, error) {
	m.calls.Add(1)
	return m.Meta.Create(ctx, key, value)
}

func (m countedMeta) Update(ctx context.Context, key string, value []byte, last uint64) (uint64, error) {
	m.calls.Add(1)
	return m.Meta.Update(ctx, key, value, last)
}

func (m countedMeta) Delete(ctx context.Context, key string, last uint64) (uint64, error) {
	m.calls.Add(1)
	return m.Meta.Delete(ctx, key, last)
}

func (m countedMeta) List(ctx context.Context, prefix string) ([]engine.Entry, error) {
	m.calls.Add(1)
	return m.Meta.List(ctx, prefix)
}

func (m countedMeta) Watch(ctx context.Context, prefix string, apply func(engine.Change) error) error {
	return m.Meta.Watch(ctx, prefix, func(c engine.Change) error {
		m.calls.Add(1)
		return apply(c)
	})
}

type countedBlobs struct {
	engine.Blobs
	calls *atomic.Int64
}

func (b countedBlobs) Put(ctx context.Context, digest string, r io.Reader) error {
	b.calls.Add(1)
	return b.Blobs.Put(ctx, digest, r)
}

func (b countedBlobs) Open(ctx context.Context, digest string) (io.ReadCloser, error) {
	b.calls.Add(1)
	return b.Blobs.Open(ctx, digest)
}

func (b countedBlobs) Size(ctx context.Context, digest string) (int64, error) {
	b.calls.Add(1)
	return b.Blobs.Size(ctx, digest)
}

// everyRuntime is a catalogue in which all are installed.
type everyRuntime struct{}

func (everyRuntime) Check(string) error { return nil }

// countedServer is the server's own wiring from the Lambda API to the pool, on the
// real engine, with runtimes that answer at once.
func countedServer(t testing.TB) (http.Handler, *atomic.Int64) {
	t.Helper()
	calls := new(atomic.Int64)
	dir := must(datadir.Open(t.TempDir()))(t)
	t.Cleanup(func() { check(t, dir.Close()) })
	eng := must(nats.Open(t.Context(), nats.Options{Dir: dir}))(t)
	t.Cleanup(func() { check(t, eng.Close(context.Background())) })
	packages := must(code.Open(t.Context(), code.Options{
		Dir: must(dir.Sub("code"))(t), Blobs: countedBlobs{eng.Blobs(), calls},
	}))(t)
	t.Cleanup(func() { check(t, packages.Close()) })
	allocator := quota.New(quota.Options{})
	pools := pool.New(pool.Options{Starter: pooltest.New(nil), Quota: allocator})
	t.Cleanup(func() { check(t, pools.Close(context.Background())) })
	control := must(registry.New(t.Context(), registry.Options{
		Meta: countedMeta{eng.Meta(), calls}, Packages: packages, Runtimes: everyRuntime{}, Deployer: pools,
		Quota: allocator,
	}))(t)
	t.Cleanup(func() { check(t, control.Close(context.Background())) })
	provisioned := provision.New(provision.Options{Source: control, Pools: pools, Quota: allocator})
	t.Cleanup(provisioned.Close)
	deployCounted(t, control)
	return lambda.New(lambda.Options{
		Registry: control, Invoker: invoke.New(invoke.Options{Resolver: control, Pools: pools, Quota: allocator}),
		Quotas: control, Provisioning: provisioned, Events: control, Policies: control, URLs: control,
		Mappings: control, Layers: control,
		Account: counted.Account, Region: counted.Region,
	}), calls
}

var counted = faas.FunctionID{
	Scope: faas.Scope{Account: "000000000000", Region: "us-east-1", Namespace: faas.DefaultNamespace}, Name: "warm",
}

func deployCounted(t testing.TB, control *registry.Registry) {
	t.Helper()
	zip := must(code.Pack("functions/node"))(t)
	must(control.Create(t.Context(), registry.CreateInput{
		Function: counted, Zip: zip,
		Config: faas.Config{Runtime: "nodejs22.x", Handler: "index.handler", MemoryMB: memoryMB},
	}))(t)
	check(t, stage.Until(t.Context(), "the state", func() (bool, error) {
		f, err := control.Get(t.Context(), counted, "")
		return err == nil && f.Version.State == faas.StateActive, err
	}))
}

func must[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Error(err)
	}
}

// invokeOnce is one Invoke of the Lambda API.
func invokeOnce(t testing.TB, h http.Handler) {
	request := httptest.NewRequest(http.MethodPost, "/2015-03-31/functions/warm/invocations", bytes.NewReader(stage.Event))
	answer := httptest.NewRecorder()
	h.ServeHTTP(answer, request)
	if answer.Code != http.StatusOK || !bytes.Equal(answer.Body.Bytes(), stage.Event) { // the runtime echoes
		t.Fatalf("status %d: %s", answer.Code, answer.Body)
	}
}

// TestWarmPathDoesNoEngineWork: nothing is asked of the engine for a warm call,
// not even what it would answer from memory.
func TestWarmPathDoesNoEngineWork(t *testing.T) {
	h, calls := countedServer(t)
	if calls.Load() == 0 {
		t.Fatal("the deployment asked nothing of the engine: the counter is not in its way")
	}
	invokeOnce(t, h) // cold
	before := settled(t, calls)
	for range warmCalls {
		invokeOnce(t, h)
	}
	if n := calls.Load() - before; n != 0 {
		t.Errorf("%d warm calls asked the engine %d times", warmCalls, n)
	}
}

// settled waits until what a deployment leaves to the background is over.
func settled(t *testing.T, calls *atomic.Int64) (n int64) {
	t.Helper()
	quiet := time.Now()
	check(t, stage.Until(t.Context(), "the state", func() (bool, error) {
		if now := calls.Load(); now != n {
			n, quiet = now, time.Now()
		}
		return time.Since(quiet) > 100*time.Millisecond, nil
	}))
	return n
}

// warmAllocations is what a warm call may allocate on its way from the handler of the
// Lambda API to the runtime and back: the payload, the request and its ids, the
// leases, the event with its result, the headers of the answer.
const warmAllocations = 20

// TestWarmPathAllocations counts without the client and the socket, whose own
// allocations package http1 bounds, and without the runtime's (package runtimeapi).
func TestWarmPathAllocations(t *testing.T) {
	h, calls := countedServer(t)
	invokeOnce(t, h)
	settled(t, calls)
	body := bytes.NewReader(stage.Event)
	answer := &discarded{header: http.Header{}}
	request := httptest.NewRequest(http.MethodPost, "/2015-03-31/functions/warm/invocations", body)
	allocs := testing.AllocsPerRun(warmCalls, func() {
		body.Reset(stage.Event)
		clear(answer.header)
		h.ServeHTTP(answer, request)
	})
	if allocs > warmAllocations {
		t.Errorf("a warm call makes %v allocations, want at most %d", allocs, warmAllocations)
	}
}

// discarded is an answer that nobody reads.
type discarded struct{ header http.Header }

func (d *discarded) Header() http.Header         { return d.header }
func (d *discarded) Write(p []byte) (int, error) { return len(p), nil }
func (d *discarded) WriteHeader(int)             {}

// BenchmarkWarmPath is all that Hearth does for a warm call but the socket of its
// client and the runtime.
func BenchmarkWarmPath(b *testing.B) {
	h, _ := countedServer(b)
	b.ReportAllocs()
	for b.Loop() {
		invokeOnce(b, h)
	}
}
