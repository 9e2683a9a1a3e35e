package workload

import (
	"container/heap"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"iter"
	"math"
	"slices"
	"time"
)

// Marginals are what of a load can be held against the published numbers.
type Marginals struct {
	HourlyOrLess float64 // share of apps with at most a call an hour
	MinuteOrLess float64
	Triggers     [triggers]float64 // share of calls
	Duration     float64           // median over functions, seconds
	Peak         float64           // highest hour over the mean
	Top          float64           // share of calls of the first app
	Single       float64           // share of apps with one call
	Thinned      float64           // share of apps that were thinned
	Calls        int
}

// Measure takes the rates from the calls where all were made, and as drawn where
// the app was thinned.
func (l *Load) Measure() Marginals {
	var m Marginals
	var total, top float64
	var means []float64
	hours := make([]float64, l.Params.Days*24)
	for _, a := range l.Apps {
		rate := a.Rate
		if l.Params.Thin > 0 && a.Rate > l.Params.Thin {
			m.Thinned++
		} else {
			rate = float64(len(a.Calls)) / float64(l.Params.Days)
		}
		// One call more or less at the ends of the span moves no app over a bound.
		slack := 1.5 / float64(l.Params.Days)
		if rate <= 24+slack {
			m.HourlyOrLess++
		}
		if rate <= 1440+slack {
			m.MinuteOrLess++
		}
		if len(a.Calls) == 1 {
			m.Single++
		}
		m.Calls += len(a.Calls)
		total += a.Rate
		top = max(top, a.Rate)
		timed := 0.0
		for _, f := range a.Functions {
			m.Triggers[f.Trigger] += f.Share * a.Rate
			means = append(means, f.Mean)
			if f.Trigger == Timer {
				timed += f.Share
			}
		}
		for h := range hours {
			hours[h] += a.Rate * (timed + (1-timed)*a.tide[h])
		}
	}
	n := float64(len(l.Apps))
	m.HourlyOrLess /= n
	m.MinuteOrLess /= n
	m.Single /= n
	m.Thinned /= n
	m.Top = top / total
	for t := range m.Triggers {
		m.Triggers[t] /= total
	}
	slices.Sort(means)
	m.Duration = means[len(means)/2]
	m.Peak = slices.Max(hours) / total
	return m
}

// Check returns what of the load is not as published, by the bounds at which a
// seed is accepted; nil where it is.
func (m Marginals) Check() error {
	var wrong []error
	within := func(what string, got, want, by float64) {
		if math.Abs(got-want) > by {
			wrong = append(wrong, fmt.Errorf("%s is %.3f, published %.3f ± %.3f", what, got, want, by))
		}
	}
	within("the share of apps with at most a call an hour", m.HourlyOrLess, .45, .02)
	within("the share of apps with at most a call a minute", m.MinuteOrLess, .81, .02)
	for t, share := range m.Triggers {
		within("the share of calls by "+Trigger(t).String(), share, callShares[t], .05)
	}
	within("the median duration of functions", m.Duration, .93, .1)
	within("the highest hour over the mean", m.Peak, 1.35, .2)
	return errors.Join(wrong...)
}

// Arrival is one call in the load's stream.
type Arrival struct {
	App *App
	Call
}

// All yields every call of the apps, sorted by time.
func All(apps []*App) iter.Seq[Arrival] {
	return func(yield func(Arrival) bool) {
		var m merge
		for _, a := range apps {
			if len(a.Calls) > 0 {
				m = append(m, cursor{app: a})
			}
		}
		heap.Init(&m)
		for len(m) > 0 {
			c := &m[0]
			if !yield(Arrival{c.app, c.app.Calls[c.next]}) {
				return
			}
			if c.next++; c.next == len(c.app.Calls) {
				heap.Pop(&m)
			} else {
				heap.Fix(&m, 0)
			}
		}
	}
}

type cursor struct {
	app  *App
	next int
}

type merge []cursor

func (m merge) Len() int { return len(m) }
func (m merge) Less(i, j int) bool {
	return m[i].app.Calls[m[i].next].At < m[j].app.Calls[m[j].next].At
}
func (m merge) Swap(i, j int) { m[i], m[j] = m[j], m[i] }
func (m *merge) Push(x any)   { *m = append(*m, x.(cursor)) }
func (m *merge) Pop() any {
	last := (*m)[len(*m)-1]
	*m = (*m)[:len(*m)-1]
	return last
}

// Digest is a hash of everything that a policy could see.
func (l *Load) Digest() string {
	h := sha256.New()
	for _, a := range l.Apps {
		write(h, a.ID, int(a.MemoryMB*1e3), int(a.Cold/time.Microsecond), len(a.Functions))
		for _, c := range a.Calls {
			write(h, int(c.At/time.Microsecond), int(c.Took), int(c.Function), int(a.Functions[c.Function].Trigger))
		}
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}

func write(h hash.Hash, values ...int) {
	var b [8]byte
	for _, v := range values {
		binary.LittleEndian.PutUint64(b[:], uint64(v))
		h.Write(b[:])
	}
}

// HeldOut tells whether an app belongs to the fifth that is never tuned on.
func HeldOut(seed uint64, app int) bool { return mix(seed^mix(uint64(app)^0x5eed))%5 == 0 }
