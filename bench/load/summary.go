package load

import (
	"slices"
	"time"
)

// Summary describes a set of durations. All of them are samples that happened:
// no histogram rounds them.
type Summary struct {
	N    int           `json:"n"`
	Min  time.Duration `json:"min"`
	P50  time.Duration `json:"p50"`
	P90  time.Duration `json:"p90"`
	P99  time.Duration `json:"p99"`
	P999 time.Duration `json:"p999"`
	Max  time.Duration `json:"max"`
}

// Summarize sorts d and describes it; the zero Summary where it is empty.
func Summarize(d []time.Duration) Summary {
	if len(d) == 0 {
		return Summary{}
	}
	slices.Sort(d)
	return Summary{
		N: len(d), Min: d[0], Max: d[len(d)-1],
		P50: Quantile(d, 0.5), P90: Quantile(d, 0.9), P99: Quantile(d, 0.99), P999: Quantile(d, 0.999),
	}
}

// Quantile returns the smallest element of the sorted, non-empty values that at
// least the share q of them does not exceed (nearest rank).
func Quantile[T any](sorted []T, q float64) T {
	rank := int(q*float64(len(sorted))+0.999999) - 1
	return sorted[min(max(rank, 0), len(sorted)-1)]
}

// Latencies returns the latency of every sample.
func (r *Result) Latencies() []time.Duration { return r.each(Sample.Latency) }

// Lateness returns how late every sample was sent.
func (r *Result) Lateness() []time.Duration { return r.each(Sample.Late) }

func (r *Result) each(f func(Sample) time.Duration) []time.Duration {
	out := make([]time.Duration, len(r.Samples))
	for i, s := range r.Samples {
		out[i] = f(s)
	}
	return out
}

// Spread is the middle and the ends of one number over several runs.
type Spread struct {
	Median float64 `json:"median"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
}

// SpreadOf sorts values and describes them; the zero Spread where there is none.
// The median of an even number is the mean of the two in the middle.
func SpreadOf(values []float64) Spread {
	if len(values) == 0 {
		return Spread{}
	}
	slices.Sort(values)
	n := len(values)
	return Spread{Median: (values[(n-1)/2] + values[n/2]) / 2, Min: values[0], Max: values[n-1]}
}

// QuantileOf sorts d, which must not be empty, and returns its quantile.
func QuantileOf(d []time.Duration, q float64) time.Duration {
	slices.Sort(d)
	return Quantile(d, q)
}
