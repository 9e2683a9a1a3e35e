package provision

import (
	"slices"

	"hearth/faas"
	"hearth/quota"
)

// Share is how many provisioned instances of a version a qualifier wants.
type Share struct {
	Qualifier string
	Version   *faas.Version
	Instances int
}

// Shares splits what each qualifier wants among the versions that its calls go
// to, in the order of the configurations and of their routes. The shares of a
// qualifier add up to what it wants, or to nothing where it names no version.
func Shares(p faas.Provisioning, wanted map[string]int) []Share {
	var all []Share
	for _, config := range p.Configs {
		routes := p.Routes[config.Qualifier]
		for i, n := range Split(wanted[config.Qualifier], routes) {
			all = append(all, Share{config.Qualifier, routes[i].Version, n})
		}
	}
	return all
}

// Split shares n instances out to routes in proportion to their weights: each gets
// the whole part of its due, and what is left over goes one by one to the largest
// remainders, of equal ones to the route that comes first.
func Split(n int, routes []faas.Route) []int {
	if len(routes) == 0 {
		return nil
	}
	shares := make([]int, len(routes))
	sum := 0.0
	for _, r := range routes {
		sum += max(0, r.Weight)
	}
	if n <= 0 {
		return shares
	}
	if !(sum > 0) {
		shares[0] = n
		return shares
	}
	left, remainders, order := n, make([]float64, len(routes)), make([]int, len(routes))
	for i, r := range routes {
		due := float64(n) * max(0, r.Weight) / sum
		// Weights such as 0.1 are not exact: what is a whole number is taken as one.
		shares[i] = max(0, min(int(due+tiny), left))
		remainders[i], order[i] = due-float64(shares[i]), i
		left -= shares[i]
	}
	slices.SortStableFunc(order, func(a, b int) int {
		switch d := remainders[b] - remainders[a]; {
		case d > tiny:
			return 1
		case d < -tiny:
			return -1
		}
		return a - b
	})
	for i := 0; left > 0; i++ {
		shares[order[i%len(order)]]++
		left--
	}
	return shares
}

// tiny is what separates numbers that differ by rounding only.
const tiny = 1e-9

// revision names the content of a version: a function that was deleted and made
// again has the same numbers with other revisions.
type revision struct {
	id   faas.VersionID
	name string
}

// target is how many provisioned instances a revision is to have.
type target struct {
	version   *faas.Version
	instances int
}

// targets adds up the shares of each revision.
func targets(shares []Share) map[revision]target {
	sums := map[revision]target{}
	for _, s := range shares {
		if s.Instances > 0 {
			key := revision{s.Version.ID, s.Version.Revision}
			sums[key] = target{s.Version, sums[key].instances + s.Instances}
		}
	}
	return sums
}

// charges are targets as the allocator counts them, by version number.
func charges(all map[revision]target) map[string]quota.Provision {
	sums := map[string]quota.Provision{}
	for key, t := range all {
		c := t.version.Config
		sums[key.id.Number] = quota.Provision{
			Instances: sums[key.id.Number].Instances + t.instances, MemoryMB: c.MemoryMB, Concurrency: c.InstanceConcurrency,
		}
	}
	return sums
}
