package workload

import (
	"math"
	"time"
)

// tide is an app's intensity in each hour; its mean is 1.
type tide []float64

const burstsPerWeek = 3 // at most

// burst is a time at which the whole fleet is called more.
type burst struct {
	from, to int     // hours
	level    float64 // of the fleet's mean
}

// fleetBursts draws one to three bursts a week of one to three hours.
func fleetBursts(p Params) []burst {
	r := stream(p.Seed, -1, forFleet)
	var all []burst
	for week := 0; week*7 < p.Days; week++ {
		for range 1 + r.IntN(burstsPerWeek) {
			from := week*168 + r.IntN(168)
			all = append(all, burst{from, from + 1 + r.IntN(3), 1.3 + .2*r.Float64()})
		}
	}
	return all
}

// newTide draws an app's day: half of it flat, the rest a cosine with its peak at
// 14:00; weekends are lower. Day 0 is a Monday.
func newTide(p Params, app int, bursts []burst) tide {
	amplitude := min(1, p.Tide*.8*stream(p.Seed, app, forTide).Float64())
	t := make(tide, p.Days*24)
	sum := 0.0
	for h := range t {
		wave := math.Cos(2 * math.Pi * (float64(h%24) + .5 - 14) / 24)
		t[h] = .5 + .5*(1+amplitude*wave)
		fleet := 1 + .5*.4*wave
		if p.Tide > 1 { // no flat floor: the deep tides of other fleets
			t[h] = 1 + amplitude*wave
		}
		if h/24%7 >= 5 {
			t[h] *= .85
			fleet *= .85
		}
		for _, b := range bursts {
			if h >= b.from && h < b.to {
				t[h] *= max(1, b.level/fleet)
				break
			}
		}
		sum += t[h]
	}
	for h := range t {
		t[h] *= float64(len(t)) / sum
	}
	return t
}

// warp returns a function from days of volume to time. Calls that rise are cheap.
func (t tide) warp() func(days float64) time.Duration {
	h, before := 0, 0.0
	return func(days float64) time.Duration {
		volume := days * 24
		if volume < before {
			h, before = 0, 0
		}
		for h < len(t)-1 && before+t[h] <= volume {
			before += t[h]
			h++
		}
		return time.Duration((float64(h) + (volume-before)/t[h]) * float64(time.Hour))
	}
}
