package cell

import (
	"math/rand/v2"
	"testing"
	"time"

	"hearth/internal/seeds"
)

var epoch = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

func TestMoves(t *testing.T) {
	legal := map[[2]State]bool{{Booting, Parked}: true, {Booting, Dead}: true, {Parked, Claimed}: true, {Parked, Dead}: true, {Claimed, Dead}: true}
	for from := Booting; from <= Dead; from++ {
		for to := Booting; to <= Dead; to++ {
			s := from
			err := s.move(to)
			if (err == nil) != legal[[2]State{from, to}] || (err == nil) != (s == to && from != to) {
				t.Errorf("%v to %v: %v, is %v", from, to, err, s)
			}
		}
	}
}

func TestStock(t *testing.T) {
	const refill = 100 * time.Millisecond // five are made in a second, with half of the time
	for _, c := range []struct {
		name     string
		requests map[int]int // by second before now
		want     int
	}{
		{"none", nil, 0},
		{"one", map[int]int{3: 1}, 1},
		{"a burst", map[int]int{10: 12}, 12},
		{"as fast as refills", map[int]int{3: 5, 2: 5, 1: 5}, 5},
		{"faster", map[int]int{3: 7, 2: 7, 1: 7}, 7 + 2 + 2},
		{"two bursts far apart", map[int]int{100: 9, 20: 8}, 9},
		{"forgotten", map[int]int{remembered: 20, 1: 1}, 1},
		{"the oldest that counts", map[int]int{remembered - 1: 20}, 20},
	} {
		var d demand
		for second := remembered; second >= 0; second-- {
			for range c.requests[second] {
				d.add(epoch.Add(-time.Duration(second) * time.Second))
			}
		}
		if got := d.stock(refill, epoch); got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
}

func TestStockIsForgotten(t *testing.T) {
	var d demand
	d.add(epoch)
	d.add(epoch.Add(-time.Hour)) // the clock was set back
	if got := d.stock(time.Second, epoch); got != 2 {
		t.Errorf("%d, want 2", got)
	}
	if got := d.stock(time.Second, epoch.Add(24*time.Hour)); got != 0 {
		t.Errorf("a day later: %d", got)
	}
}

func TestTargets(t *testing.T) {
	policy := Policy{Floor: 2, Most: 8, Total: 10}
	ago := func(d time.Duration) time.Time { return epoch.Add(-d) }
	for _, c := range []struct {
		name     string
		all      []observation
		pressure float64
		want     []int
	}{
		{"two of a kind", []observation{{deployed: 1, used: epoch}}, 0, []int{2}},
		{"one where nobody asked for long", []observation{{deployed: 1, used: ago(2 * time.Hour)}}, 0, []int{1}},
		{"none for what nobody has", []observation{{used: ago(time.Hour)}}, 0, []int{0}},
		{"a minute for who is gone", []observation{{used: ago(lastUse / 2)}}, 0, []int{2}},
		{"by demand", []observation{{deployed: 3, used: epoch, stock: 5}}, 0, []int{5}},
		{"at most", []observation{{deployed: 3, used: epoch, stock: 50}}, 0, []int{8}},
		{"in all", []observation{{deployed: 1, used: ago(time.Second), stock: 8}, {deployed: 1, used: epoch, stock: 8}}, 0, []int{2, 8}},
		{"memory half short", []observation{{deployed: 1, used: epoch, stock: 8}}, (calm + tight) / 2, []int{5}},
		{"memory short", []observation{{deployed: 1, used: epoch, stock: 8}}, tight, []int{0}},
		{"memory full", []observation{{deployed: 1, used: epoch}}, 1, []int{0}},
	} {
		got := targets(c.all, policy, c.pressure, epoch)
		for i := range c.want {
			// Half of the memory is a floating point number.
			if d := got[i] - c.want[i]; d > 0 || d < -1 || d != 0 && c.pressure == 0 {
				t.Errorf("%s: %v, want %v", c.name, got, c.want)
			}
		}
	}
}

func TestNext(t *testing.T) {
	for _, c := range []struct {
		name string
		all  []observation
		want []int
		do   action
		of   int
	}{
		{"all is there", []observation{{parked: 2}, {parked: 1, booting: 1}}, []int{2, 2}, nothing, 0},
		{"too many first", []observation{{parked: 0}, {parked: 2}}, []int{2, 1}, end, 1},
		{"who has none first", []observation{{parked: 1, used: epoch}, {parked: 0}}, []int{2, 2}, boot, 1},
		{"who has least of its share", []observation{{parked: 2}, {parked: 2}}, []int{4, 8}, boot, 1},
		{"who was used last", []observation{{}, {used: epoch}}, []int{2, 2}, boot, 1},
		{"not who backs off", []observation{{retry: epoch.Add(time.Second)}, {parked: 1}}, []int{2, 2}, boot, 1},
		{"nobody", []observation{{retry: epoch.Add(time.Second)}}, []int{2}, nothing, 0},
	} {
		if do, of := next(c.all, c.want, epoch); do != c.do || do != nothing && of != c.of {
			t.Errorf("%s: %v of %d, want %v of %d", c.name, do, of, c.do, c.of)
		}
	}
}

// Whatever is observed, the bounds hold, and what next says brings the cells
// nearer to their targets.
func TestTargetsHoldTheBounds(t *testing.T) {
	seeds.Run(t, 200, func(seed uint64) {
		r := rand.New(rand.NewPCG(seed, 0))
		policy := Policy{Floor: r.IntN(4), Most: r.IntN(20), Total: r.IntN(40)}
		all := make([]observation, r.IntN(12))
		for i := range all {
			all[i] = observation{deployed: r.IntN(3), used: epoch.Add(-time.Duration(r.IntN(7200)) * time.Second),
				stock: r.IntN(30), parked: r.IntN(10), booting: r.IntN(2)}
		}
		want := targets(all, policy, r.Float64(), epoch)
		sum := 0
		for i, n := range want {
			if sum += n; n < 0 || n > max(policy.Most, 0) {
				t.Fatalf("%d cells wanted of %+v by %+v", n, all[i], policy)
			}
		}
		if sum > policy.Total {
			t.Fatalf("%d cells wanted in all, by %+v", sum, policy)
		}
		for range 500 {
			do, i := next(all, want, epoch)
			switch do {
			case nothing:
				for i, o := range all {
					if o.parked+o.booting < want[i] || o.parked > 0 && o.parked+o.booting > want[i] {
						t.Fatalf("nothing to do with %+v, of which %d are wanted", o, want[i])
					}
				}
				return
			case boot:
				all[i].parked++
			case end:
				all[i].parked--
			}
		}
		t.Fatal("it does not come to rest")
	})
}
