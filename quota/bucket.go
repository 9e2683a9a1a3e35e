package quota

import (
	"slices"

	"hearth/faas"
)

// unit is what an account counts in, always in both side by side.
type unit int

const (
	executions unit = iota
	memory          // MB
	units
)

func (u unit) name() faas.Unit {
	if u == executions {
		return faas.UnitExecutions
	}
	return faas.UnitMemoryMB
}

// amount is one number for each unit.
type amount [units]int

// bucket is a part of an account: what one function uses on demand, or what its
// provisioned concurrency does. What is not set aside for any is the shared pool.
type bucket struct {
	want   amount // what is to be set aside
	funded amount // what is set aside so far; at most want
	use    amount // what was granted; above funded it comes out of the shared pool
}

// held is what the bucket keeps from everybody else.
func (b *bucket) held(u unit) int { return max(b.funded[u], b.use[u]) }

// growth is what n more would take out of the shared pool.
func (b *bucket) growth(u unit, n int) int {
	return max(b.funded[u], b.use[u]+n) - b.held(u)
}

// free is what is left of the shared pool; below 0 where limits were lowered
// under load.
func (a *account) free(u unit) int { return a.limit[u] - a.held[u] }

// fits says whether n more of a bucket can be granted.
func (a *account) fits(b *bucket, u unit, n int) bool {
	growth := b.growth(u, n)
	return growth == 0 || growth <= a.free(u)
}

// charge adds to the use of a bucket, or with n < 0 takes from it.
func (a *account) charge(b *bucket, u unit, n int) {
	before := b.held(u)
	b.use[u] += n
	a.held[u] += b.held(u) - before
	free := a.free(u)
	if free < 0 || free > 0 && a.want[u] > a.funded[u] {
		a.settle(u)
	}
}

// fund sets what is set aside for a bucket.
func (a *account) fund(b *bucket, u unit, funded int) {
	before := b.held(u)
	a.funded[u] += funded - b.funded[u]
	b.funded[u] = funded
	a.held[u] += b.held(u) - before
}

// settle sets aside what is free for the buckets that want more, in their order.
// Where less than nothing is free, the last in order give back what they do not
// use: no grant may then add to what is in use.
func (a *account) settle(u unit) {
	for _, f := range a.guaranteed {
		for _, b := range f.buckets() { // what is in use is held already
			a.fund(b, u, max(b.funded[u], min(b.want[u], b.use[u])))
		}
	}
	for i := len(a.guaranteed) - 1; i >= 0 && a.free(u) < 0; i-- {
		for _, b := range slices.Backward(a.guaranteed[i].buckets()) {
			unused := max(0, b.funded[u]-b.use[u])
			a.fund(b, u, b.funded[u]-min(unused, max(0, -a.free(u))))
		}
	}
	for i := 0; i < len(a.guaranteed) && a.free(u) > 0; i++ {
		for _, b := range a.guaranteed[i].buckets() {
			a.fund(b, u, b.funded[u]+min(b.want[u]-b.funded[u], a.free(u)))
		}
	}
}
