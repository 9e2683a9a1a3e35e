package provision_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/quick"

	"hearth/faas"
	"hearth/provision"
)

func version(function, number, rev string, memoryMB, concurrency int) *faas.Version {
	return &faas.Version{
		ID:       faas.VersionID{Function: faas.FunctionID{Name: function}, Number: number},
		Revision: rev, Config: faas.Config{MemoryMB: memoryMB, InstanceConcurrency: concurrency},
	}
}

func TestSplit(t *testing.T) {
	for _, c := range []struct {
		n       int
		weights []float64
		want    []int
	}{
		{3, nil, nil},
		{3, []float64{1}, []int{3}},
		{0, []float64{0.5, 0.5}, []int{0, 0}},
		{-1, []float64{1}, []int{0}},
		{10, []float64{0.9, 0.1}, []int{9, 1}},
		{10, []float64{0.7, 0.3}, []int{7, 3}},
		{3, []float64{0.9, 0.1}, []int{3, 0}},
		{1, []float64{0.5, 0.5}, []int{1, 0}}, // equal remainders: the first
		{5, []float64{0.5, 0.5}, []int{3, 2}},
		{1, []float64{0.4, 0.6}, []int{0, 1}},
		{100, []float64{0.335, 0.665}, []int{34, 66}},
		{2, []float64{0, 0}, []int{2, 0}},
		{2, []float64{math.NaN(), 1}, []int{2, 0}},
		{2, []float64{math.Inf(1), 1}, []int{1, 1}},
	} {
		var routes []faas.Route
		for i, w := range c.weights {
			routes = append(routes, faas.Route{Version: version("f", fmt.Sprint(i+1), "", 128, 1), Weight: w})
		}
		if got := provision.Split(c.n, routes); !slices.Equal(got, c.want) {
			t.Errorf("%d by %v: %v, want %v", c.n, c.weights, got, c.want)
		}
	}
}

// TestSplitIsExact: shares add up, and none is a whole instance or more away from
// its due.
func TestSplitIsExact(t *testing.T) {
	exact := func(n uint16, seed uint64, routesLess1 uint8) bool {
		rng := rand.New(rand.NewPCG(seed, 0))
		routes := make([]faas.Route, 1+routesLess1%3)
		sum := 0.0
		for i := range routes {
			routes[i].Weight = 0.001 + rng.Float64()
			sum += routes[i].Weight
		}
		total := 0
		for i, share := range provision.Split(int(n), routes) {
			if due := float64(n) * routes[i].Weight / sum; float64(share) <= due-1 || float64(share) >= due+1 {
				return false
			}
			total += share
		}
		return total == int(n)
	}
	if err := quick.Check(exact, &quick.Config{MaxCount: 5000}); err != nil {
		t.Error(err)
	}
}

// TestAliasMovesKeepTheSum: whatever an alias points at, its shares add up to what
// it wants, and so do those of all qualifiers together.
func TestAliasMovesKeepTheSum(t *testing.T) {
	v1, v2, v3 := version("f", "1", "a", 128, 1), version("f", "2", "b", 128, 1), version("f", "3", "c", 128, 1)
	p := faas.Provisioning{Configs: []faas.Provisioned{{Qualifier: "live"}, {Qualifier: "3"}, {Qualifier: "gone"}}}
	wanted := map[string]int{"live": 7, "3": 4, "gone": 5}
	for _, live := range [][]faas.Route{
		{{Version: v1, Weight: 1}},
		{{Version: v1, Weight: 0.9}, {Version: v2, Weight: 0.1}},
		{{Version: v1, Weight: 0.5}, {Version: v2, Weight: 0.5}},
		{{Version: v2, Weight: 1}},
		{{Version: v3, Weight: 1}},
	} {
		p.Routes = map[string][]faas.Route{"live": live, "3": {{Version: v3, Weight: 1}}}
		sums, total := map[string]int{}, 0
		for _, s := range provision.Shares(p, wanted) {
			sums[s.Qualifier] += s.Instances
			total += s.Instances
		}
		if sums["live"] != 7 || sums["3"] != 4 || total != 11 {
			t.Errorf("%v: shares %v, in all %d", live, sums, total)
		}
	}
}
