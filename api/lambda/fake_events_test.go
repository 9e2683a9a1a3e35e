package lambda

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"
	"strings"

	"hearth/faas"
	"hearth/invoke"
	"hearth/registry"
)

// fakeEvents keeps the settings of asynchronous invocations in memory. Of what a
// destination may be it knows what package faas says.
type fakeEvents struct {
	functions *fakeRegistry
	configs   map[faas.FunctionID]map[string]*registry.EventConfig
}

func newFakeEvents(r *fakeRegistry) *fakeEvents {
	return &fakeEvents{functions: r, configs: map[faas.FunctionID]map[string]*registry.EventConfig{}}
}

func (e *fakeEvents) PutEventConfig(_ context.Context, id faas.FunctionID, qualifier string, c faas.AsyncConfig) (*registry.EventConfig, error) {
	if _, err := e.functions.Get(context.Background(), id, qualifier); err != nil {
		return nil, err
	}
	if err := c.Validate(); err != nil {
		return nil, err
	}
	for _, to := range []faas.Destination{c.OnSuccess, c.OnFailure} {
		if ref, ok := to.Function(); ok && ref.ID == id {
			return nil, faas.Errorf(faas.CodeInvalid, "destination", "You can't specify the function as a destination for itself.")
		}
	}
	made := &registry.EventConfig{Qualifier: cmp.Or(qualifier, faas.Latest), Config: c, Modified: fakeNow}
	if e.configs[id] == nil {
		e.configs[id] = map[string]*registry.EventConfig{}
	}
	e.configs[id][made.Qualifier] = made
	return made, nil
}

func (e *fakeEvents) UpdateEventConfig(ctx context.Context, id faas.FunctionID, qualifier string, p registry.EventConfigPatch) (*registry.EventConfig, error) {
	if _, err := e.functions.Get(ctx, id, qualifier); err != nil {
		return nil, err
	}
	old, err := e.GetEventConfig(ctx, id, qualifier)
	if err != nil {
		return nil, err
	}
	c := old.Config
	if p.Retries != nil {
		c.Retries = p.Retries
	}
	set(&c.MaxAgeSeconds, p.MaxAgeSeconds)
	set(&c.OnSuccess, p.OnSuccess)
	set(&c.OnFailure, p.OnFailure)
	return e.PutEventConfig(ctx, id, qualifier, c)
}

func (e *fakeEvents) GetEventConfig(ctx context.Context, id faas.FunctionID, qualifier string) (*registry.EventConfig, error) {
	if _, err := e.functions.Get(ctx, id, ""); err != nil {
		return nil, err
	}
	if c, ok := e.configs[id][cmp.Or(qualifier, faas.Latest)]; ok {
		return c, nil
	}
	return nil, &faas.Error{Code: faas.CodeNotFound, Cause: faas.ErrNoEventConfig,
		Message: "The function " + faas.FunctionARN(id, cmp.Or(qualifier, faas.Latest)) + " doesn't have an EventInvokeConfig"}
}

func (e *fakeEvents) ListEventConfigs(ctx context.Context, id faas.FunctionID, marker string, max int) (registry.Page[*registry.EventConfig], error) {
	if _, err := e.functions.Get(ctx, id, ""); err != nil {
		return registry.Page[*registry.EventConfig]{}, err
	}
	var items []*registry.EventConfig
	for _, c := range e.configs[id] {
		items = append(items, c)
	}
	slices.SortFunc(items, func(a, b *registry.EventConfig) int { return strings.Compare(a.Qualifier, b.Qualifier) })
	return page(items, marker, max), nil
}

func (e *fakeEvents) DeleteEventConfig(ctx context.Context, id faas.FunctionID, qualifier string) error {
	_, err := e.GetEventConfig(ctx, id, qualifier)
	if err == nil {
		delete(e.configs[id], cmp.Or(qualifier, faas.Latest))
	}
	return err
}

// accept is what the fake invoker does with an event: the key of one that it had
// before answers the request id of that one. "full" in the payload's field "do" is
// a backlog that is full.
func (f *fakeInvoker) accept(req *invoke.Request) (*invoke.Result, error) {
	if len(req.Payload) > 0 && !json.Valid(req.Payload) {
		return nil, faas.Errorf(faas.CodeInvalidBody, "payload", "Could not parse request body into json: it is none")
	}
	if strings.Contains(string(req.Payload), `"do":"full"`) {
		refusal := &faas.Refusal{Limit: faas.LimitBacklog, Unit: faas.UnitEvents, Value: 5, Use: 5}
		return nil, faas.Errorf(faas.CodeThrottled, string(refusal.Limit), "5 of 5 events wait (%w).", refusal)
	}
	if f.registry != nil {
		if _, err := f.registry.Get(context.Background(), req.Function, req.Qualifier); err != nil {
			return nil, err
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	key := req.Function.String() + " " + req.IdempotencyKey
	if first, had := f.keys[key]; had && req.IdempotencyKey != "" {
		return &invoke.Result{Accepted: &invoke.Accepted{RequestID: first, Duplicate: true}}, nil
	}
	if f.keys == nil {
		f.keys = map[string]string{}
	}
	f.keys[key] = req.RequestID
	return &invoke.Result{Accepted: &invoke.Accepted{RequestID: req.RequestID}}, nil
}
