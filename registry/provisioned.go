package registry

import (
	"context"
	"fmt"
	"slices"

	"hearth/faas"
	"hearth/quota"
)

const (
	notPublished   = "The function resource provided must be an alias or a published version."
	unpublished    = "Provisioned Concurrency Configs cannot be applied to unpublished function versions."
	aliasOfVersion = "Alias can't be used for Provisioned Concurrency configuration on an already Provisioned version"
	versionOfAlias = "Version is pointed by a Provisioned Concurrency alias"
)

// PutProvisioned sets the provisioned concurrency of a published version or an
// alias, in place of what was there, and returns it as stored: Instances comes
// from Amount. Nothing is changed where it is refused: faas.CodeInvalid for
// $LATEST, for an amount that is not a whole number of instances, and for more
// than the function's reservation or the account has room for;
// faas.CodeConflict where both a version and an alias that points at it would
// have one.
func (r *Registry) PutProvisioned(ctx context.Context, id faas.FunctionID, p faas.Provisioned) (*faas.Provisioned, error) {
	p = copyProvisioned(p)
	if err := r.checkProvisioned(p); err != nil {
		return nil, err
	}
	err := r.changeFunctionQuota(ctx, id, true, func(s *snapshot, q *functionQuota) error {
		if p.Qualifier == "" || p.Qualifier == faas.Latest {
			return faas.Errorf(faas.CodeInvalid, "qualifier", unpublished)
		}
		if err := s.checkQualifier(id, p.Qualifier); err != nil {
			return err
		}
		at, found := q.find(p.Qualifier)
		p.Modified = r.clock().UTC().Round(0)
		if found {
			q.Provisioned[at] = p
		} else {
			q.Provisioned = slices.Insert(q.Provisioned, at, p)
		}
		if err := s.checkProvisionedOf(id, q, p.Qualifier); err != nil {
			return err
		}
		p.Instances = instancesOf(p.Amount, s.targets(p.Qualifier))
		q.Provisioned[at].Instances = p.Instances
		return checkReserved(s.quotaSettings(q))
	})
	if err != nil {
		return nil, err
	}
	p = copyProvisioned(p)
	return &p, nil
}

// GetProvisioned returns the provisioned concurrency of a version or an alias; a
// copy, which the caller may change. faas.CodeNotFound wraps ErrNoProvisioned
// where it has none.
func (r *Registry) GetProvisioned(_ context.Context, id faas.FunctionID, qualifier string) (*faas.Provisioned, error) {
	s := r.table.load(id)
	if s == nil {
		return nil, noFunction(id, "")
	}
	if err := s.checkQualifier(id, qualifier); err != nil {
		return nil, err
	}
	for _, p := range r.provisionedOf(id, s) {
		if p.Qualifier == qualifier {
			return &p, nil
		}
	}
	return nil, noProvisioned(id, qualifier)
}

// ListProvisioned returns a page of a function's provisioned concurrency, sorted
// by qualifier.
func (r *Registry) ListProvisioned(_ context.Context, id faas.FunctionID, marker string, max int) (Page[*faas.Provisioned], error) {
	from, err := parseMarker(marker)
	if err != nil {
		return Page[*faas.Provisioned]{}, err
	}
	s := r.table.load(id)
	if s == nil {
		return Page[*faas.Provisioned]{}, noFunction(id, "")
	}
	page := newPage[*faas.Provisioned](max)
	for _, p := range r.provisionedOf(id, s) {
		if p.Qualifier >= from.name && !page.add(&p, position{name: p.Qualifier}) {
			break
		}
	}
	return page.Page, nil
}

// DeleteProvisioned removes the provisioned concurrency of a version or an
// alias. faas.CodeNotFound wraps ErrNoProvisioned where it has none.
func (r *Registry) DeleteProvisioned(ctx context.Context, id faas.FunctionID, qualifier string) error {
	return r.changeFunctionQuota(ctx, id, false, func(s *snapshot, q *functionQuota) error {
		if err := s.checkQualifier(id, qualifier); err != nil {
			return err
		}
		at, found := q.find(qualifier)
		if !found {
			return noProvisioned(id, qualifier)
		}
		q.Provisioned = slices.Delete(q.Provisioned, at, at+1)
		return nil
	})
}

// Provisioning returns what the function's provisioned concurrency rests on now;
// false where it has none. It waits for nothing. The versions are those that
// Resolve returns: read them only.
func (r *Registry) Provisioning(id faas.FunctionID) (faas.Provisioning, bool) {
	s := r.table.load(id)
	p := faas.Provisioning{Function: id, Configs: r.provisionedOf(id, s)}
	if len(p.Configs) == 0 {
		return faas.Provisioning{}, false
	}
	p.Routes = make(map[string][]faas.Route, len(p.Configs))
	for _, c := range p.Configs {
		if routes := s.routes(c.Qualifier); len(routes) > 0 {
			p.Routes[c.Qualifier] = routes
		}
	}
	return p, true
}

// AllProvisioning returns Provisioning of every function that has any, in no order.
func (r *Registry) AllProvisioning() []faas.Provisioning {
	var all []faas.Provisioning
	for _, account := range r.quotas.all() {
		for _, id := range r.quotas.load(account).record.ids(account) {
			if p, ok := r.Provisioning(id); ok {
				all = append(all, p)
			}
		}
	}
	return all
}

// provisionedOf returns copies of what is configured, by qualifier, with the
// instances that they come to now. s may be nil.
func (r *Registry) provisionedOf(id faas.FunctionID, s *snapshot) []faas.Provisioned {
	q, _ := r.quotas.load(quota.AccountOf(id.Scope)).record.live(id, s)
	if q == nil {
		return nil
	}
	var all []faas.Provisioned
	for _, p := range q.Provisioned {
		p = copyProvisioned(p)
		if targets := s.targets(p.Qualifier); len(targets) > 0 {
			p.Instances = instancesOf(p.Amount, targets)
		}
		all = append(all, p)
	}
	return all
}

func copyProvisioned(p faas.Provisioned) faas.Provisioned {
	p.Tracking = copyOf(p.Tracking)
	p.Schedules = slices.Clone(p.Schedules)
	for i := range p.Schedules {
		p.Schedules[i].Tracking = copyOf(p.Schedules[i].Tracking)
	}
	return p
}

// routes returns the versions that calls with a qualifier go to now, those that
// can be called. A version without a share of the calls is none of them.
func (s *snapshot) routes(qualifier string) []faas.Route {
	shares := map[string]float64{qualifier: 1}
	if a := s.aliases[qualifier]; a != nil {
		shares = a.Shares()
	}
	var routes []faas.Route
	for _, v := range s.targets(qualifier) {
		if share := shares[v.ID.Number]; share > 0 && v.State == faas.StateActive {
			routes = append(routes, faas.Route{Version: v, Weight: share})
		}
	}
	return routes
}

// instancesOf returns the instances of the versions that an amount comes to:
// enough for the executions, no more than the MB.
func instancesOf(a faas.Amount, versions []*faas.Version) int {
	switch a.Unit {
	case faas.UnitExecutions:
		fewest := versions[0].Config.InstanceConcurrency
		for _, v := range versions[1:] {
			fewest = min(fewest, v.Config.InstanceConcurrency)
		}
		return (a.Value + max(fewest, 1) - 1) / max(fewest, 1)
	case faas.UnitMemoryMB:
		return a.Value / max(provisionOf(faas.Provisioned{}, versions).MemoryMB, 1)
	}
	return a.Value
}

// provisionOf returns the most that a provisioned concurrency of the versions can want.
func provisionOf(p faas.Provisioned, versions []*faas.Version) quota.Provision {
	var of quota.Provision
	for _, v := range versions {
		of.MemoryMB = max(of.MemoryMB, v.Config.MemoryMB)
		of.Concurrency = max(of.Concurrency, v.Config.InstanceConcurrency)
	}
	if p.Amount.Unit != "" {
		p.Instances = instancesOf(p.Amount, versions)
	}
	of.Instances = p.Peak()
	return of
}

// provisionedIn sums a function's provisioned concurrency in a unit.
func provisionedIn(unit faas.Unit, s quota.FunctionSettings) int {
	sum := 0
	for _, p := range s.Provisioned {
		if unit == faas.UnitMemoryMB {
			sum += p.Instances * p.MemoryMB
		} else {
			sum += p.Instances * max(p.Concurrency, 1)
		}
	}
	return sum
}

// checkReserved returns why provisioned concurrency does not fit in the
// function's reservation, or nil.
func checkReserved(s quota.FunctionSettings) error {
	if s.Reserved == nil {
		return nil
	}
	if n := provisionedIn(s.Reserved.Unit, s); n > s.Reserved.Value {
		return faas.Errorf(faas.CodeInvalid, "provisioned",
			"Requested Provisioned Concurrency should not be greater than the reservedConcurrentExecution for function: it comes to %d %s in all, and %s are reserved. Raise the reservation first.",
			n, s.Reserved.Unit, *s.Reserved)
	}
	return nil
}

// checkQualifier returns why a qualifier names nothing that can have provisioned
// concurrency, or nil.
func (s *snapshot) checkQualifier(id faas.FunctionID, qualifier string) error {
	if qualifier == "" || qualifier == faas.Latest {
		return faas.Errorf(faas.CodeInvalid, "qualifier", notPublished)
	}
	if s.has(qualifier) {
		return nil
	}
	if _, ok := faas.ParseVersionNumber(qualifier); ok {
		return noQualifier(id, qualifier)
	}
	return noAlias(id, qualifier)
}

// checkProvisionedOf returns why the provisioned concurrency in q of a qualifier
// cannot be, the account's sums apart, or nil.
func (s *snapshot) checkProvisionedOf(id faas.FunctionID, q *functionQuota, qualifier string) error {
	at, found := q.find(qualifier)
	if !found {
		return nil
	}
	if a := s.aliases[qualifier]; a != nil {
		for target := range a.Targets() {
			if target == faas.Latest {
				return faas.Errorf(faas.CodeInvalid, "qualifier", unpublished)
			}
			if _, both := q.find(target); both {
				return faas.Errorf(faas.CodeConflict, faas.FunctionARN(id, qualifier), "%s: delete that of version %s first.", aliasOfVersion, target)
			}
		}
	}
	for _, p := range q.Provisioned {
		if a := s.aliases[p.Qualifier]; a != nil && pointsAt(*a, qualifier) {
			return faas.Errorf(faas.CodeConflict, faas.FunctionARN(id, qualifier), "%s: delete that of alias %s first.", versionOfAlias, p.Qualifier)
		}
	}
	targets := s.targets(qualifier)
	if len(targets) == 0 {
		return noQualifier(id, qualifier)
	}
	return wholeInstances(q.Provisioned[at].Amount, targets)
}

// wholeInstances returns an error where an amount of memory is not a number of
// instances of each of the versions, the same of all.
func wholeInstances(a faas.Amount, versions []*faas.Version) error {
	if a.Unit != faas.UnitMemoryMB {
		return nil
	}
	memory := max(versions[0].Config.MemoryMB, 1)
	for _, v := range versions[1:] {
		if v.Config.MemoryMB != memory {
			return faas.Errorf(faas.CodeInvalid, "provisioned",
				"%s are not the same number of instances of both versions of the alias, which have %d MB and %d MB of memory. Set the provisioned concurrency in instances.",
				a, memory, v.Config.MemoryMB)
		}
	}
	if a.Value%memory != 0 {
		return faas.Errorf(faas.CodeInvalid, "provisioned",
			"Provisioned concurrency of %s is no multiple of the version's memory of %d MB. Set a multiple, such as %d MB.",
			a, memory, (a.Value/memory+1)*memory)
	}
	return nil
}

// checkMove returns why an alias cannot move to where next has it, or nil.
func (r *Registry) checkMove(id faas.FunctionID, s *snapshot, next *record, alias string) error {
	q := r.quotas.load(quota.AccountOf(id.Scope)).record.of(id, s)
	if q == nil {
		return nil
	}
	if err := s.with(id, next).checkProvisionedOf(id, q, alias); err != nil {
		return err
	}
	return r.checkFits(id, s, next)
}

// checkSize returns why the quotas forbid the configuration of next's head, or
// nil: while it takes over, and afterwards.
func (r *Registry) checkSize(id faas.FunctionID, s *snapshot, next *record) error {
	err := r.checkFits(id, s, next)
	if err == nil {
		err = r.checkFits(id, s, next.settle(nil))
	}
	if err == nil {
		return nil
	}
	was, is := s.record.Head.Config, next.Head.Config
	field, change := "memorySize", fmt.Sprintf("Memory of %d MB in place of %d MB", is.MemoryMB, was.MemoryMB)
	if is.MemoryMB == was.MemoryMB {
		field, change = "instanceConcurrency", fmt.Sprintf("Concurrency of %d for each instance in place of %d", is.InstanceConcurrency, was.InstanceConcurrency)
	}
	return &faas.Error{Code: faas.CodeInvalid, Subject: field, Cause: err,
		Message: fmt.Sprintf("%s does not fit the quotas: %s", change, messageOf(err))}
}
