package registry_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"hearth/engine"
	"hearth/engine/fake"
	"hearth/faas"
	"hearth/quota"
	"hearth/registry"
)

// shelf is the Packages of the tests. A zip is any bytes that begin with PK; one
// that contains "broken" can be stored but not prepared.
type shelf struct {
	mu     sync.Mutex
	zips   map[string][]byte
	block  chan struct{} // not nil: Prepare waits until it is closed
	forget int
}

func newShelf() *shelf { return &shelf{zips: make(map[string][]byte)} }

func codeOf(zip []byte) faas.Code {
	sum := sha256.Sum256(zip)
	return faas.Code{SHA256: hex.EncodeToString(sum[:]), Size: int64(len(zip))}
}

func (s *shelf) Ingest(_ context.Context, zip []byte) (faas.Code, error) {
	if !strings.HasPrefix(string(zip), "PK") {
		return faas.Code{}, faas.Errorf(faas.CodeInvalidZip, "zipFile", "Could not unzip uploaded file.")
	}
	code := codeOf(zip)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.zips[code.SHA256] = zip
	return code, nil
}

// Inspect says that a zip unpacks to a thousand times its size.
func (s *shelf) Inspect(ctx context.Context, code faas.Code) (faas.Contents, error) {
	zip, err := s.Read(ctx, code)
	return faas.Contents{Bytes: 1000 * int64(len(zip)), Libraries: strings.Contains(string(zip), "lib")}, err
}

func (s *shelf) Prepare(ctx context.Context, code faas.Code, layers ...faas.Code) error {
	for _, layer := range layers {
		if !s.has(layer) {
			return faas.Errorf(faas.CodeNotFound, layer.SHA256, "no such layer")
		}
	}
	s.mu.Lock()
	block, zip := s.block, s.zips[code.SHA256]
	s.mu.Unlock()
	if block != nil {
		select {
		case <-block:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if zip == nil {
		return faas.Errorf(faas.CodeNotFound, code.SHA256, "no such package")
	}
	if strings.Contains(string(zip), "broken") {
		return faas.Errorf(faas.CodeInvalidZip, "zipFile", "the archive ends too early")
	}
	return nil
}

func (s *shelf) Read(_ context.Context, code faas.Code) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if zip := s.zips[code.SHA256]; zip != nil {
		return zip, nil
	}
	return nil, faas.Errorf(faas.CodeNotFound, code.SHA256, "no such package")
}

func (s *shelf) Forget(_ context.Context, code faas.Code) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.zips, code.SHA256)
	s.forget++
	return nil
}

func (s *shelf) has(code faas.Code) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.zips[code.SHA256] != nil
}

func (s *shelf) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.zips)
}

type catalogue struct{}

func (catalogue) Check(runtime string) error {
	switch runtime {
	case "python3.11", "nodejs22.x", "provided.al2023":
		return nil
	case "python3.13":
		return faas.Errorf(faas.CodeRuntime, "runtime", "The runtime python3.13 is not installed. Run: hearth runtimes add python3.13")
	default:
		return faas.Errorf(faas.CodeInvalid, "runtime", "There is no runtime %s.", runtime)
	}
}

// stage is the Deployer of the tests: it knows which revisions could have instances.
type stage struct {
	mu       sync.Mutex
	prepared []string
	retired  []string
	block    chan struct{}
	onRetire func(*faas.Version)
}

func (s *stage) Prepare(ctx context.Context, _, next *faas.Version) error {
	s.mu.Lock()
	block := s.block
	s.prepared = append(s.prepared, next.Revision)
	s.mu.Unlock()
	if block != nil {
		select {
		case <-block:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

func (s *stage) Retire(old *faas.Version) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.retired = append(s.retired, old.Revision)
	if s.onRetire != nil {
		s.onRetire(old)
	}
}

func (s *stage) hasRetired(revision string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.retired {
		if r == revision {
			return true
		}
	}
	return false
}

// book is the Quota of the tests: it knows what is in force, and whether that
// ever passed what may be set aside.
type book struct {
	mu       sync.Mutex
	settings map[quota.Account]quota.Settings
	refused  error
	changed  map[faas.FunctionID]int
}

func newBook() *book {
	return &book{settings: make(map[quota.Account]quota.Settings), changed: make(map[faas.FunctionID]int)}
}

func (b *book) Configure(a quota.Account, s quota.Settings) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.settings[a] = s
	if err := quota.Check(a, s); err != nil && b.refused == nil {
		b.refused = err
	}
}

func (b *book) change(id faas.FunctionID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.changed[id]++
}

// changes returns how often the function was told to have changed.
func (b *book) changes(id faas.FunctionID) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.changed[id]
}

func (b *book) of(a quota.Account) quota.Settings {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.settings[a]
}

// err returns the first settings in force that could not be, if any were.
func (b *book) err() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.refused
}

// world is everything that a registry stands on; it outlives the registry.
type world struct {
	meta     engine.Meta
	packages *shelf
	stage    *stage
	quota    *book
	limits   faas.Limits
}

func newWorld() *world {
	return &world{meta: fake.New().Meta(), packages: newShelf(), stage: &stage{}, quota: newBook()}
}

func (w *world) open(t testing.TB) *registry.Registry {
	t.Helper()
	r, err := registry.New(t.Context(), w.options())
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	return r
}

func (w *world) options() registry.Options {
	return registry.Options{
		Meta: w.meta, Packages: w.packages, Runtimes: catalogue{}, Deployer: w.stage,
		Limits: w.limits, Architecture: faas.ArchX8664,
		Quota: w.quota, Changed: w.quota.change,
		CheckCron: func(s string) error {
			if strings.Count(s, " ") < 4 {
				return errors.New("it has too few fields")
			}
			return nil
		},
	}
}

func scope() faas.Scope {
	return faas.Scope{Account: "123456789012", Region: "eu-central-1", Namespace: faas.DefaultNamespace}
}

func fn(name string) faas.FunctionID { return faas.FunctionID{Scope: scope(), Name: name} }

func zipOf(s string) []byte { return []byte("PK" + s) }

func createInput(name string) registry.CreateInput {
	return registry.CreateInput{
		Function: fn(name),
		Config:   faas.Config{Runtime: "python3.11", Handler: "index.handler", Role: "arn:aws:iam::123456789012:role/r"},
		Zip:      zipOf("code of " + name),
	}
}

// until polls a condition that no event announces outside of a synctest bubble.
func until(t testing.TB, what string, condition func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	tick := time.NewTicker(200 * time.Microsecond)
	defer tick.Stop()
	for !condition() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("never came true: %s", what)
		}
	}
}

func settled(r *registry.Registry, id faas.FunctionID) bool {
	f, err := r.Get(context.Background(), id, "")
	return err != nil || f.Version.State != faas.StatePending && f.Version.Update != faas.UpdateInProgress
}

func wantCode(t testing.TB, err error, code faas.ErrorCode) {
	t.Helper()
	if err == nil || !faas.IsCode(err, code) {
		t.Fatalf("error = %v, want code %s", err, code)
	}
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
