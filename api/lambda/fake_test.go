package lambda

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"hearth/faas"
	"hearth/invoke"
	"hearth/registry"
)

// fakeRegistry keeps functions in memory, becomes Active at once when it is read,
// and numbers its revision ids, so that answers are the same in each run.
type fakeRegistry struct {
	mu        sync.Mutex
	functions map[faas.FunctionID]*fakeFunction
	revisions int
	err       error // returned by everything, where not nil
	quotas    *fakeQuotas
	events    *fakeEvents
}

type fakeFunction struct {
	head     *faas.Version
	versions []*faas.Version
	aliases  map[string]*faas.Alias
	tags     map[string]string
	zips     map[string][]byte
}

var fakeNow = time.Date(2026, 11, 20, 19, 30, 15, 123456789, time.UTC)

func newFakeRegistry() *fakeRegistry {
	r := &fakeRegistry{functions: map[faas.FunctionID]*fakeFunction{}}
	r.quotas, r.events = newFakeQuotas(r), newFakeEvents(r)
	return r
}

func (f *fakeRegistry) revision() string {
	f.revisions++
	return fmt.Sprintf("00000000-0000-4000-8000-%012d", f.revisions)
}

func (f *fakeRegistry) find(id faas.FunctionID) (*fakeFunction, error) {
	if f.err != nil {
		return nil, f.err
	}
	fn, ok := f.functions[id]
	if !ok {
		return nil, missing("Function not found: ", id, "", faas.ErrNoFunction)
	}
	return fn, nil
}

func missing(what string, id faas.FunctionID, qualifier string, cause error) error {
	arn := faas.FunctionARN(id, qualifier)
	return &faas.Error{Code: faas.CodeNotFound, Subject: arn, Message: what + arn, Cause: cause}
}

func (fn *fakeFunction) resolve(qualifier string) (*faas.Version, error) {
	if a, ok := fn.aliases[qualifier]; ok {
		qualifier = a.Version
	}
	if qualifier == "" || qualifier == faas.Latest {
		return fn.head, nil
	}
	for _, v := range fn.versions {
		if v.ID.Number == qualifier {
			return v, nil
		}
	}
	return nil, missing("Function not found: ", fn.head.ID.Function, qualifier, faas.ErrNoQualifier)
}

func digest(zip []byte) faas.Code {
	sum := sha256.Sum256(zip)
	return faas.Code{SHA256: hex.EncodeToString(sum[:]), Size: int64(len(zip))}
}

func (f *fakeRegistry) Create(_ context.Context, in registry.CreateInput) (*faas.Version, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err != nil {
		return nil, f.err
	}
	if f.functions[in.Function] != nil {
		return nil, faas.Errorf(faas.CodeConflict, in.Function.Name, "Function already exist: %s", in.Function.Name)
	}
	config := in.Config.WithDefaults(in.Function.Name)
	v := &faas.Version{
		ID: faas.VersionID{Function: in.Function, Number: faas.Latest}, Config: config, Code: digest(in.Zip),
		RevisionID: f.revision(), LastModified: fakeNow,
		State: faas.StatePending, StateReason: "The function is being created.", StateCode: "Creating",
	}
	fn := &fakeFunction{aliases: map[string]*faas.Alias{}, tags: in.Tags, zips: map[string][]byte{v.Code.SHA256: in.Zip}}
	active := *v
	active.State, active.StateReason, active.StateCode = faas.StateActive, "", ""
	active.Update, active.RevisionID = faas.UpdateSuccessful, f.revision()
	fn.head = &active
	f.functions[in.Function] = fn
	if in.Publish {
		return f.publish(fn, nil), nil
	}
	return v, nil
}

func (f *fakeRegistry) publish(fn *fakeFunction, description *string) *faas.Version {
	v := *fn.head
	v.ID.Number = faas.VersionNumber(int64(len(fn.versions) + 1))
	v.RevisionID = f.revision()
	if description != nil {
		v.Config.Description = *description
	}
	fn.versions = append(fn.versions, &v)
	return &v
}

func (f *fakeRegistry) update(id faas.FunctionID, revision string, change func(*fakeFunction, *faas.Version)) (*faas.Version, error) {
	fn, err := f.find(id)
	if err != nil {
		return nil, err
	}
	if revision != "" && revision != fn.head.RevisionID {
		return nil, faas.Errorf(faas.CodePrecondition, id.Name, "The Revision Id provided does not match the latest Revision Id.")
	}
	next := *fn.head
	change(fn, &next)
	next.RevisionID = f.revision()
	fn.head = &next
	answer := next
	answer.Update, answer.UpdateReason, answer.UpdateCode = faas.UpdateInProgress, "The function is being created.", "Creating"
	return &answer, nil
}

func (f *fakeRegistry) UpdateCode(_ context.Context, in registry.UpdateCodeInput) (*faas.Version, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	v, err := f.update(in.Function, in.RevisionID, func(fn *fakeFunction, next *faas.Version) {
		next.Code = digest(in.Zip)
		fn.zips[next.Code.SHA256] = in.Zip
	})
	if err == nil && in.Publish {
		return f.publish(f.functions[in.Function], nil), nil
	}
	return v, err
}

func (f *fakeRegistry) UpdateConfig(_ context.Context, id faas.FunctionID, p registry.ConfigPatch, revision string) (*faas.Version, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.update(id, revision, func(_ *fakeFunction, next *faas.Version) {
		set(&next.Config.Runtime, p.Runtime)
		set(&next.Config.Handler, p.Handler)
		set(&next.Config.Description, p.Description)
		set(&next.Config.MemoryMB, p.MemoryMB)
		set(&next.Config.TimeoutSeconds, p.TimeoutSeconds)
		set(&next.Config.EphemeralMB, p.EphemeralMB)
		set(&next.Config.Environment, p.Environment)
		set(&next.Config.Logging, p.Logging)
		set(&next.Config.TracingMode, p.TracingMode)
		set(&next.Config.DeadLetter, p.DeadLetter)
	})
}

func set[T any](target *T, v *T) {
	if v != nil {
		*target = *v
	}
}

func (f *fakeRegistry) Get(_ context.Context, id faas.FunctionID, qualifier string) (*registry.Function, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	fn, err := f.find(id)
	if err != nil {
		return nil, err
	}
	v, err := fn.resolve(qualifier)
	if err != nil {
		return nil, err
	}
	return &registry.Function{ID: id, Tags: fn.tags, Version: v}, nil
}

func (f *fakeRegistry) Delete(_ context.Context, id faas.FunctionID, qualifier string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	fn, err := f.find(id)
	if err != nil {
		return err
	}
	if qualifier == "" {
		delete(f.functions, id)
		return nil
	}
	fn.versions = slices.DeleteFunc(fn.versions, func(v *faas.Version) bool { return v.ID.Number == qualifier })
	return nil
}

// page cuts a list; a marker is the index of the next item.
func page[T any](items []T, marker string, max int) registry.Page[T] {
	start := 0
	_, _ = fmt.Sscan(marker, &start)
	items = items[min(start, len(items)):]
	if len(items) <= max {
		return registry.Page[T]{Items: items}
	}
	return registry.Page[T]{Items: items[:max], Next: fmt.Sprint(start + max)}
}

func (f *fakeRegistry) List(_ context.Context, scope faas.Scope, all bool, marker string, max int) (registry.Page[*faas.Version], error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var items []*faas.Version
	for id, fn := range f.functions {
		if id.Scope == scope {
			items = append(items, fn.head)
			if all {
				items = append(items, fn.versions...)
			}
		}
	}
	slices.SortFunc(items, func(a, b *faas.Version) int { return cmp.Compare(a.ID.String(), b.ID.String()) })
	return page(items, marker, max), f.err
}

func (f *fakeRegistry) Publish(_ context.Context, in registry.PublishInput) (*faas.Version, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	fn, err := f.find(in.Function)
	if err != nil {
		return nil, err
	}
	if in.RevisionID != "" && in.RevisionID != fn.head.RevisionID {
		return nil, faas.Errorf(faas.CodePrecondition, in.Function.Name, "The Revision Id provided does not match the latest Revision Id.")
	}
	return f.publish(fn, in.Description), nil
}

func (f *fakeRegistry) ListVersions(_ context.Context, id faas.FunctionID, marker string, max int) (registry.Page[*faas.Version], error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	fn, err := f.find(id)
	if err != nil {
		return registry.Page[*faas.Version]{}, err
	}
	return page(append([]*faas.Version{fn.head}, fn.versions...), marker, max), nil
}

func (f *fakeRegistry) CreateAlias(_ context.Context, a faas.Alias) (*faas.Alias, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	fn, err := f.find(a.Function)
	if err != nil {
		return nil, err
	}
	if _, err := fn.resolve(a.Version); err != nil {
		return nil, err
	}
	if fn.aliases[a.Name] != nil {
		return nil, faas.Errorf(faas.CodeConflict, a.Name, "Alias already exists: %s", faas.FunctionARN(a.Function, a.Name))
	}
	a.RevisionID = f.revision()
	fn.aliases[a.Name] = &a
	return &a, nil
}

func (f *fakeRegistry) alias(id faas.FunctionID, name string) (*fakeFunction, *faas.Alias, error) {
	fn, err := f.find(id)
	if err != nil {
		return nil, nil, err
	}
	a, ok := fn.aliases[name]
	if !ok {
		return nil, nil, missing("Cannot find alias arn: ", id, name, faas.ErrNoQualifier)
	}
	return fn, a, nil
}

func (f *fakeRegistry) UpdateAlias(_ context.Context, id faas.FunctionID, name string, p registry.AliasPatch) (*faas.Alias, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	fn, old, err := f.alias(id, name)
	if err != nil {
		return nil, err
	}
	a := *old
	set(&a.Version, p.Version)
	set(&a.Description, p.Description)
	set(&a.Weights, p.Weights)
	a.RevisionID = f.revision()
	fn.aliases[name] = &a
	return &a, nil
}

func (f *fakeRegistry) GetAlias(_ context.Context, id faas.FunctionID, name string) (*faas.Alias, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	_, a, err := f.alias(id, name)
	return a, err
}

func (f *fakeRegistry) DeleteAlias(_ context.Context, id faas.FunctionID, name string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	fn, _, err := f.alias(id, name)
	if err == nil {
		delete(fn.aliases, name)
	}
	return err
}

func (f *fakeRegistry) ListAliases(_ context.Context, id faas.FunctionID, version, marker string, max int) (registry.Page[*faas.Alias], error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	fn, err := f.find(id)
	if err != nil {
		return registry.Page[*faas.Alias]{}, err
	}
	var items []*faas.Alias
	for _, name := range slices.Sorted(maps.Keys(fn.aliases)) {
		if a := fn.aliases[name]; version == "" || a.Version == version {
			items = append(items, a)
		}
	}
	return page(items, marker, max), nil
}

func (f *fakeRegistry) Tag(_ context.Context, id faas.FunctionID, tags map[string]string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	fn, err := f.find(id)
	if err != nil {
		return err
	}
	merged := maps.Clone(tags)
	for k, v := range fn.tags {
		if _, ok := merged[k]; !ok {
			merged[k] = v
		}
	}
	fn.tags = merged
	return nil
}

func (f *fakeRegistry) Untag(_ context.Context, id faas.FunctionID, keys []string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	fn, err := f.find(id)
	if err == nil {
		fn.tags = maps.Clone(fn.tags)
		for _, k := range keys {
			delete(fn.tags, k)
		}
	}
	return err
}

func (f *fakeRegistry) Usage(_ context.Context, scope faas.Scope) (registry.Usage, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var u registry.Usage
	for id, fn := range f.functions {
		if id.Scope == scope {
			u.Functions++
			u.CodeBytes += fn.head.Code.Size
		}
	}
	return u, f.err
}

func (f *fakeRegistry) OpenCode(_ context.Context, id faas.FunctionID, qualifier string) ([]byte, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	fn, err := f.find(id)
	if err != nil {
		return nil, err
	}
	v, err := fn.resolve(qualifier)
	if err != nil {
		return nil, err
	}
	return fn.zips[v.Code.SHA256], nil
}

func (f *fakeRegistry) PutRuntimeUpdates(context.Context, faas.FunctionID, string, registry.RuntimeUpdates) (*faas.Version, error) {
	return nil, errors.New("play this against the registry")
}

func (f *fakeRegistry) RuntimeUpdates(context.Context, faas.FunctionID, string) (registry.RuntimeUpdates, *faas.Version, error) {
	return registry.RuntimeUpdates{}, nil, errors.New("play this against the registry")
}

// fakeInvoker echoes the payload; what it does otherwise is in the payload's
// field "do" or in err.
type fakeInvoker struct {
	registry *fakeRegistry
	err      error

	mu   sync.Mutex
	last *invoke.Request
	keys map[string]string // request ids of events by function and idempotency key
}

func (f *fakeInvoker) Invoke(_ context.Context, req *invoke.Request) (*invoke.Result, error) {
	f.mu.Lock()
	f.last = req
	f.mu.Unlock()
	if f.err != nil {
		return nil, f.err
	}
	if req.Type == invoke.Event {
		return f.accept(req)
	}
	if err := invoke.Validate(req); err != nil {
		return nil, err
	}
	if f.registry == nil {
		return &invoke.Result{Outcome: faas.Outcome{Payload: req.Payload}, ExecutedVersion: faas.Latest}, nil
	}
	if len(req.Payload) == 0 {
		req.Payload = []byte("{}")
	}
	fn, err := f.registry.Get(context.Background(), req.Function, req.Qualifier)
	if err != nil {
		return nil, err
	}
	out := &invoke.Result{Outcome: faas.Outcome{Payload: req.Payload}, ExecutedVersion: fn.Version.ID.Number}
	if strings.Contains(string(req.Payload), `"do":"fail"`) {
		out.Outcome = faas.Outcome{
			Payload:       []byte(`{"errorMessage":"it failed","errorType":"Error","trace":[]}`),
			FunctionError: "Unhandled", ErrorType: "Error",
		}
	}
	if req.Stream != nil && req.Type == invoke.RequestResponse {
		stream(req, out)
	}
	if req.LogTail {
		out.LogTail = []byte("START RequestId: 1 Version: $LATEST\nEND RequestId: 1\n")
	}
	return out, nil
}

// stream hands the payload over in two parts; "do":"fail in the middle" fails between.
func stream(req *invoke.Request, out *invoke.Result) {
	if out.Outcome.FunctionError != "" {
		return
	}
	half := len(out.Outcome.Payload) / 2
	req.Stream.Begin(invoke.StreamHead{ExecutedVersion: out.ExecutedVersion, ContentType: "text/plain"})
	_ = req.Stream.Write(out.Outcome.Payload[:half])
	if strings.Contains(string(req.Payload), `"do":"break"`) {
		out.Outcome = faas.Outcome{Payload: []byte(`{"errorType":"Error"}`), FunctionError: "Unhandled", ErrorType: "Error"}
		return
	}
	_ = req.Stream.Write(out.Outcome.Payload[half:])
	out.Outcome.Payload = nil
}

func (f *fakeInvoker) request() *invoke.Request {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.last
}
