package registry_test

import (
	"fmt"
	"maps"
	"slices"

	"hearth/faas"
)

// reserve sets or removes a reservation.
func (d *driver) reserve(name string, f *modelFunction) {
	n := d.rnd.IntN(25) - 5
	d.note("reserve %s %d", name, n)
	var err error
	if n < 0 {
		err = d.r.DeleteReserved(d.t.Context(), fn(name))
	} else {
		err = d.r.PutReserved(d.t.Context(), fn(name), executions(n))
	}
	switch {
	case f == nil:
		d.expect(err, faas.CodeNotFound)
	case n < 0:
		d.expect(err, "")
		f.reserved = nil
	case n < f.allProvisioned():
		d.expect(err, faas.CodeInvalid)
	default:
		d.expect(err, "")
		f.reserved = &n
	}
}

func (f *modelFunction) allProvisioned() (sum int) {
	for _, n := range f.provisioned {
		sum += n
	}
	return sum
}

// qualifier is a version or an alias, of those that can be mostly.
func (d *driver) qualifier(f *modelFunction) string {
	if d.rnd.IntN(2) == 0 {
		return d.alias()
	}
	return d.version(f)
}

func (d *driver) provision(name string, f *modelFunction) {
	qualifier, n := d.qualifier(f), 1+d.rnd.IntN(8)
	d.note("provision %s:%s %d", name, qualifier, n)
	_, err := d.r.PutProvisioned(d.t.Context(), fn(name), provisioned(qualifier, instances(n)))
	if f == nil || !f.has(qualifier) && f.aliases[qualifier] == (modelAlias{}) {
		d.expect(err, faas.CodeNotFound)
		return
	}
	a, isAlias := f.aliases[qualifier]
	switch {
	case isAlias && a.version == faas.Latest:
		d.expect(err, faas.CodeInvalid)
	case isAlias && f.targetsProvisioned(a), !isAlias && f.provisionedAlias(qualifier):
		d.expect(err, faas.CodeConflict)
	case f.reserved != nil && f.allProvisioned()-f.provisioned[qualifier]+n > *f.reserved:
		d.expect(err, faas.CodeInvalid)
	default:
		d.expect(err, "")
		f.provisioned[qualifier] = n
	}
}

// targetsProvisioned reports whether an alias points at a version that has
// provisioned concurrency itself.
func (f *modelFunction) targetsProvisioned(a modelAlias) bool {
	return f.provisioned[a.version] > 0 || a.other != "" && f.provisioned[a.other] > 0
}

// provisionedAlias reports whether an alias with provisioned concurrency points
// at the version.
func (f *modelFunction) provisionedAlias(version string) bool {
	for name, a := range f.aliases {
		if f.provisioned[name] > 0 && (a.version == version || a.other == version) {
			return true
		}
	}
	return false
}

func (d *driver) unprovision(name string, f *modelFunction) {
	qualifier := d.qualifier(f)
	d.note("unprovision %s:%s", name, qualifier)
	err := d.r.DeleteProvisioned(d.t.Context(), fn(name), qualifier)
	if f == nil || f.provisioned[qualifier] == 0 {
		d.expect(err, faas.CodeNotFound)
		return
	}
	d.expect(err, "")
	delete(f.provisioned, qualifier)
}

// checkQuotas compares the quotas of a function with the model's, as they are
// asked for and as the allocator was told.
func (d *driver) checkQuotas(name string, f *modelFunction) {
	d.t.Helper()
	q, err := d.r.FunctionQuota(d.t.Context(), fn(name))
	if err != nil || (q.Reserved == nil) != (f.reserved == nil) || q.Reserved != nil && q.Reserved.Value != *f.reserved {
		d.failf("quota of %s: %+v, %v, the model says %v", name, q, err, f.reserved)
	}
	told := d.w.quota.of(account()).Functions[fn(name)]
	if (told.Reserved == nil) != (f.reserved == nil) || told.Reserved != nil && *told.Reserved != *q.Reserved {
		d.failf("reservation of %s in force: %+v, the model says %v", name, told.Reserved, f.reserved)
	}
	page, err := d.r.ListProvisioned(d.t.Context(), fn(name), "", 0)
	d.expect(err, "")
	var listed, modelled, inForce, routed []string
	for _, p := range page.Items {
		listed = append(listed, fmt.Sprint(p.Qualifier, "=", p.Instances))
	}
	for _, qualifier := range slices.Sorted(maps.Keys(f.provisioned)) {
		modelled = append(modelled, fmt.Sprint(qualifier, "=", f.provisioned[qualifier]))
	}
	for _, qualifier := range slices.Sorted(maps.Keys(told.Provisioned)) {
		inForce = append(inForce, fmt.Sprint(qualifier, "=", told.Provisioned[qualifier].Instances))
	}
	p, _ := d.r.Provisioning(fn(name))
	for _, c := range p.Configs {
		if len(p.Routes[c.Qualifier]) > 0 {
			routed = append(routed, fmt.Sprint(c.Qualifier, "=", c.Instances))
		}
	}
	if !slices.Equal(listed, modelled) || !slices.Equal(inForce, modelled) || !slices.Equal(routed, modelled) {
		d.failf("provisioned of %s: listed %v, in force %v, routed %v, the model says %v", name, listed, inForce, routed, modelled)
	}
}
