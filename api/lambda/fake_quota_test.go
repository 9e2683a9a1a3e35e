package lambda

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"hearth/faas"
	"hearth/registry"
)

// fakeQuotas keeps quotas in memory, for one account. A provisioned instance is
// ready as soon as somebody looks, but never more than ready of them.
type fakeQuotas struct {
	functions   *fakeRegistry
	limits      faas.AccountLimits
	reserved    map[faas.FunctionID]faas.Amount
	provisioned map[faas.FunctionID]map[string]*faas.Provisioned
	loops       map[faas.FunctionID]string
	ready       int
}

func newFakeQuotas(r *fakeRegistry) *fakeQuotas {
	return &fakeQuotas{
		functions: r, limits: faas.DefaultAccountLimits(), reserved: map[faas.FunctionID]faas.Amount{},
		provisioned: map[faas.FunctionID]map[string]*faas.Provisioned{}, loops: map[faas.FunctionID]string{}, ready: 1000,
	}
}

func (q *fakeQuotas) exists(id faas.FunctionID, qualifier string) (*faas.Version, error) {
	f, err := q.functions.Get(context.Background(), id, qualifier)
	if err != nil {
		return nil, err
	}
	return f.Version, nil
}

func (q *fakeQuotas) AccountLimits(context.Context, faas.Scope) (faas.AccountLimits, error) {
	return q.limits, q.functions.err
}

func (q *fakeQuotas) Unreserved(context.Context, faas.Scope) (memoryMB, executions int, err error) {
	executions = q.limits.Executions
	for _, amount := range q.reserved {
		executions -= amount.Value
	}
	return q.limits.MemoryMB, executions, q.functions.err
}

func (q *fakeQuotas) FunctionQuota(_ context.Context, id faas.FunctionID) (registry.FunctionQuota, error) {
	_, err := q.exists(id, "")
	if amount, ok := q.reserved[id]; ok {
		return registry.FunctionQuota{Reserved: &amount}, err
	}
	return registry.FunctionQuota{}, err
}

func (q *fakeQuotas) PutReserved(_ context.Context, id faas.FunctionID, amount faas.Amount) error {
	if _, err := q.exists(id, ""); err != nil {
		return err
	}
	_, unreserved, _ := q.Unreserved(context.Background(), id.Scope)
	if fit := unreserved + q.reserved[id].Value - faas.SharedExecutions; amount.Value > fit {
		return faas.Errorf(faas.CodeInvalid, "unreserved.executions", "Of the account's %d executions %d can be reserved for this function.",
			q.limits.Executions, fit)
	}
	q.reserved[id] = amount
	return nil
}

func (q *fakeQuotas) DeleteReserved(_ context.Context, id faas.FunctionID) error {
	_, err := q.exists(id, "")
	delete(q.reserved, id)
	return err
}

func (q *fakeQuotas) PutProvisioned(_ context.Context, id faas.FunctionID, p faas.Provisioned) (*faas.Provisioned, error) {
	v, err := q.exists(id, p.Qualifier)
	if err != nil {
		return nil, err
	}
	if v.ID.Number == faas.Latest {
		return nil, faas.Errorf(faas.CodeInvalid, "qualifier", "Provisioned Concurrency Configs cannot be applied to unpublished function versions.")
	}
	if _, unreserved, _ := q.Unreserved(context.Background(), id.Scope); p.Amount.Value > unreserved-faas.SharedExecutions {
		return nil, faas.Errorf(faas.CodeInvalid, "unreserved.executions", "%d executions are not reserved.", unreserved)
	}
	calls := max(v.Config.InstanceConcurrency, 1)
	p.Instances, p.Modified = (p.Amount.Value+calls-1)/calls, fakeNow
	if q.provisioned[id] == nil {
		q.provisioned[id] = map[string]*faas.Provisioned{}
	}
	q.provisioned[id][p.Qualifier] = &p
	return &p, nil
}

func (q *fakeQuotas) GetProvisioned(_ context.Context, id faas.FunctionID, qualifier string) (*faas.Provisioned, error) {
	if _, err := q.exists(id, qualifier); err != nil {
		return nil, err
	}
	p, ok := q.provisioned[id][qualifier]
	if !ok {
		return nil, &faas.Error{Code: faas.CodeNotFound, Subject: qualifier,
			Message: "No Provisioned Concurrency Config found for this function", Cause: faas.ErrNoProvisioned}
	}
	return p, nil
}

func (q *fakeQuotas) DeleteProvisioned(ctx context.Context, id faas.FunctionID, qualifier string) error {
	_, err := q.GetProvisioned(ctx, id, qualifier)
	delete(q.provisioned[id], qualifier)
	return err
}

func (q *fakeQuotas) ListProvisioned(_ context.Context, id faas.FunctionID, marker string, max int) (registry.Page[*faas.Provisioned], error) {
	if _, err := q.exists(id, ""); err != nil {
		return registry.Page[*faas.Provisioned]{}, err
	}
	var items []*faas.Provisioned
	for _, p := range q.provisioned[id] {
		items = append(items, p)
	}
	slices.SortFunc(items, func(a, b *faas.Provisioned) int { return cmp.Compare(a.Qualifier, b.Qualifier) })
	return page(items, marker, max), nil
}

func (q *fakeQuotas) RecursionLoop(_ context.Context, id faas.FunctionID) (string, error) {
	_, err := q.exists(id, "")
	return cmp.Or(q.loops[id], "Terminate"), err
}

func (q *fakeQuotas) PutRecursionLoop(_ context.Context, id faas.FunctionID, loop string) error {
	_, err := q.exists(id, "")
	q.loops[id] = loop
	return err
}

func (q *fakeQuotas) Status(id faas.FunctionID, qualifier string) faas.ProvisionedStatus {
	p := q.provisioned[id][qualifier]
	status := faas.ProvisionedStatus{Requested: p.Instances, Allocated: p.Instances, Available: min(p.Instances, q.ready), State: faas.ProvisionedReady}
	if status.Available < status.Requested {
		status.State, status.Reason = faas.ProvisionedFailed, fmt.Sprintf("only %d instances fit on this machine", q.ready)
	}
	return status
}
