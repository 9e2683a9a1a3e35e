package workload

import (
	"math"
	"math/rand/v2"
	"slices"
	"time"
)

// plan spreads rates, triggers and functions over the apps.
func plan(p Params) []App {
	r := stream(p.Seed, -1, forPlan)
	rates, timers := drawRates(r, p)
	apps := make([]App, p.Apps)
	for i := range apps {
		apps[i] = App{ID: i, Rate: rates[i]}
	}
	total := 0.0
	var rest []int // apps that are more than timers, the busiest first
	for i := range apps {
		total += rates[i]
		if !timers[i] {
			rest = append(rest, i)
		}
	}
	slices.SortFunc(rest, func(x, y int) int {
		if apps[x].Rate > apps[y].Rate {
			return -1
		}
		return 1
	})
	left := deal(r, len(rest))
	var calls [triggers]float64 // given out so far
	for i := range apps {
		if timers[i] {
			apps[i].equip(p, Timer, []Trigger{Timer})
			apps[i].count(&calls)
		}
	}
	for n, i := range rest {
		dominant := Trigger(triggers)
		// The first fifth has nearly all calls: it is what the shares hang on.
		if n < p.Apps/5 {
			dominant = needed(r, apps[i].Rate, total, calls, left)
		}
		var c combination
		c, left = take(r, left, dominant)
		if dominant == triggers {
			dominant = c.triggers[r.IntN(len(c.triggers))]
		}
		set := c.triggers
		if r.Float64() < p.Timers && !c.has(Timer) {
			set = append(slices.Clone(set), Timer)
		}
		apps[i].equip(p, dominant, set)
		apps[i].count(&calls)
	}
	return apps
}

// drawRates draws a rate for each app in strata, shuffled, with the largest
// capped; and which of them are timers'.
func drawRates(r *rand.Rand, p Params) (rates []float64, timers []bool) {
	rates, timers = make([]float64, p.Apps), make([]bool, p.Apps)
	for i, place := range r.Perm(p.Apps) {
		u := (float64(i) + r.Float64()) / float64(p.Apps)
		rates[place], timers[place] = appRate(u)
	}
	for range 20 { // a cap lowers the total, and so itself
		total := 0.0
		for _, rate := range rates {
			total += rate
		}
		for i := range rates {
			rates[i] = min(rates[i], p.Top*total)
		}
	}
	return rates, timers
}

// deal makes a stock of n combinations in the published proportions.
func deal(r *rand.Rand, n int) []combination {
	sum := 0.0
	for _, c := range combinations {
		sum += c.share
	}
	var stock []combination
	for i := range n {
		u := (float64(i) + r.Float64()) / float64(n) * sum
		for _, c := range combinations {
			if u -= c.share; u < 0 {
				stock = append(stock, c)
				break
			}
		}
	}
	for len(stock) < n { // rounding
		stock = append(stock, combinations[0])
	}
	r.Shuffle(len(stock), func(i, j int) { stock[i], stock[j] = stock[j], stock[i] })
	return stock
}

// needed draws the trigger of a busy app's dominant function, by how many calls
// each trigger still lacks. Timers do not make busy apps.
func needed(r *rand.Rand, rate, total float64, given [triggers]float64, left []combination) Trigger {
	var lack [triggers]float64
	most, sum := HTTP, 0.0
	for t := range triggers {
		if t == Timer || !slices.ContainsFunc(left, func(c combination) bool { return c.has(t) }) {
			continue
		}
		lack[t] = max(0, callShares[t]*total-given[t])
		if lack[t] > lack[most] {
			most = t
		}
	}
	for t := range lack {
		if lack[t] < rate/2 {
			lack[t] = 0
		}
		sum += lack[t]
	}
	u := r.Float64() * sum
	for t, l := range lack {
		if u -= l; u < 0 {
			return Trigger(t)
		}
	}
	return most
}

// take removes a combination that has the trigger from the stock; any where the
// trigger is none or there is no such.
func take(r *rand.Rand, left []combination, t Trigger) (combination, []combination) {
	from := 0
	if t < triggers {
		from = r.IntN(len(left))
		for n := 0; n < len(left) && !left[from].has(t); n++ {
			from = (from + 1) % len(left)
		}
	}
	c := left[from]
	left[from] = left[len(left)-1]
	return c, left[:len(left)-1]
}

// equip gives the app its functions.
func (a *App) equip(p Params, dominant Trigger, set []Trigger) {
	r := stream(p.Seed, a.ID, forPlan)
	n := len(set)
	if n > 1 || r.Float64() >= singles {
		n = max(n, int(math.Ceil(moreFunctions.at(r.Float64()))))
	}
	if !slices.Contains(set, dominant) {
		dominant = set[0]
	}
	a.Functions = append(a.Functions, Function{Trigger: dominant})
	for _, t := range set {
		if t != dominant {
			a.Functions = append(a.Functions, Function{Trigger: t})
		}
	}
	for len(a.Functions) < n {
		a.Functions = append(a.Functions, Function{Trigger: pick(r, set)})
	}
	a.timers(r, len(set) == 1 && set[0] == Timer)
	a.share(p.Dominant)
}

// pick draws a trigger of the set by how many functions have it.
func pick(r *rand.Rand, set []Trigger) Trigger {
	sum := 0.0
	for _, t := range set {
		sum += functionShares[t]
	}
	u := r.Float64() * sum
	for _, t := range set {
		if u -= functionShares[t]; u < 0 {
			return t
		}
	}
	return set[0]
}

// timers draws the periods of the app's timers. Together they make at most 90 %
// of a mixed app's calls; an app of timers only has its rate from the first.
func (a *App) timers(r *rand.Rand, only bool) {
	budget := .9 * a.Rate
	for i := range a.Functions {
		f := &a.Functions[i]
		if f.Trigger != Timer {
			continue
		}
		if only && i == 0 {
			f.period = time.Duration(float64(day) / a.Rate)
		} else {
			f.period = drawPeriod(r, budget)
		}
		f.Share = float64(day) / float64(f.period) / a.Rate
		budget = max(.01, budget-f.Share*a.Rate)
	}
	if only {
		a.Rate = 0
		for _, f := range a.Functions {
			a.Rate += float64(day) / float64(f.period)
		}
		for i := range a.Functions {
			f := &a.Functions[i]
			f.Share = float64(day) / float64(f.period) / a.Rate
		}
	}
}

// drawPeriod draws a period that makes at most so many calls a day; where that is
// less than one, whole days.
func drawPeriod(r *rand.Rand, budget float64) time.Duration {
	sum := 0.0
	for _, p := range timerPeriods {
		if 1440/p.u <= budget {
			sum += p.v
		}
	}
	u := r.Float64() * sum
	for _, p := range timerPeriods {
		if 1440/p.u > budget {
			continue
		}
		if u -= p.v; u < 0 {
			return time.Duration(p.u * float64(time.Minute))
		}
	}
	return time.Duration(math.Ceil(1/budget)) * day
}

// share splits what timers leave of the calls: most to the first function that is
// none, half of the rest to the next, and so on.
func (a *App) share(dominant float64) {
	left, others := 1.0, 0
	for _, f := range a.Functions {
		if f.Trigger == Timer {
			left -= f.Share
		} else {
			others++
		}
	}
	next := left * dominant
	for i := range a.Functions {
		f := &a.Functions[i]
		if f.Trigger == Timer {
			continue
		}
		if others--; others == 0 {
			next = left
		}
		f.Share = next
		left -= next
		next = left / 2
	}
}

// count adds the app's calls per day to those of their triggers.
func (a *App) count(calls *[triggers]float64) {
	for _, f := range a.Functions {
		calls[f.Trigger] += f.Share * a.Rate
	}
}
