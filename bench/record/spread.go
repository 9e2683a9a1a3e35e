package record

import (
	"math"
	"time"

	"hearth/bench/load"
)

// Number takes one number out of a series.
type Number func(*Series) float64

// P returns a quantile of the latency, in seconds.
func P(q float64) Number {
	return func(s *Series) float64 {
		d := s.Latencies()
		if len(d) == 0 {
			return math.NaN()
		}
		return load.QuantileOf(d, q).Seconds()
	}
}

// Value returns a number that was read beside the samples; NaN where none was.
func Value(name string) Number {
	return func(s *Series) float64 {
		if v, ok := s.Values[name]; ok {
			return v
		}
		return math.NaN()
	}
}

// Rate is samples per second.
func Rate(s *Series) float64 { return s.Rate() }

// Over is the spread of a number over the rounds of one side of a case.
func (r *Record) Over(of, side string, number Number) load.Spread {
	var values []float64
	for _, s := range r.Of(of, side) {
		values = append(values, number(s))
	}
	return spread(values)
}

// Compare is the spread over the rounds of what f makes of one number of two
// sides, each time within a round: machines drift between rounds.
func (r *Record) Compare(of, a, b string, number Number, f func(a, b float64) float64) load.Spread {
	return r.CompareCases(of, a, of, b, number, f)
}

// CompareCases is Compare for sides of two cases.
func (r *Record) CompareCases(caseA, a, caseB, b string, number Number, f func(a, b float64) float64) load.Spread {
	others := map[int]*Series{}
	for _, s := range r.Of(caseB, b) {
		others[s.Round] = s
	}
	var values []float64
	for _, s := range r.Of(caseA, a) {
		if other := others[s.Round]; other != nil {
			values = append(values, f(number(s), number(other)))
		}
	}
	return spread(values)
}

// Minus and Ratio are what Compare is mostly asked for.
func Minus(a, b float64) float64 { return a - b }

// Ratio is a divided by b; NaN where b is 0.
func Ratio(a, b float64) float64 {
	if b == 0 {
		return math.NaN()
	}
	return a / b
}

// spread leaves out what is no number.
func spread(values []float64) load.Spread {
	kept := values[:0]
	for _, v := range values {
		if !math.IsNaN(v) && !math.IsInf(v, 0) {
			kept = append(kept, v)
		}
	}
	if len(kept) == 0 {
		return load.Spread{Median: math.NaN(), Min: math.NaN(), Max: math.NaN()}
	}
	return load.SpreadOf(kept)
}

// All returns the latencies of one side of a case over all rounds.
func (r *Record) All(of, side string) (all []time.Duration) {
	for _, s := range r.Of(of, side) {
		all = append(all, s.Latencies()...)
	}
	return all
}

// Pooled is a quantile over all rounds together, in seconds, for what happens too
// seldom in one round; its ends are the smallest and the largest round's own.
func (r *Record) Pooled(of, side string, q float64) load.Spread {
	all := r.All(of, side)
	if len(all) == 0 {
		return spread(nil)
	}
	ends := r.Over(of, side, P(q))
	middle := load.QuantileOf(all, q).Seconds()
	return load.Spread{Median: middle, Min: min(ends.Min, middle), Max: max(ends.Max, middle)}
}

// N is how many samples one side of a case has.
func (r *Record) N(of, side string) (n int) {
	for _, s := range r.Of(of, side) {
		n += len(s.Samples)
	}
	return n
}

// P50 is the median latency of a series.
func P50(s *Series) time.Duration {
	if len(s.Samples) == 0 {
		return 0
	}
	return load.QuantileOf(s.Latencies(), 0.5)
}
