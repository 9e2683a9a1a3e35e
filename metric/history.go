package metric

import "slices"

// How long the maxima of a series are kept.
const (
	keptSeconds = 121 // two minutes: the one before the present is always whole
	keptMinutes = 60
)

// sample is an interval in which something changed: of one second, of one
// minute, or longer where the clock was looked at late.
type sample struct {
	first, last int64 // seconds or minutes of Unix time
	top         [states]int32
	end         [states]int32 // the values at its end
}

// samples are intervals, oldest first. In the time between two of them nothing
// changed: the values are those at the end of the one before.
type samples []sample

// maximum returns the highest values from first to last, both included.
func (s samples) maximum(first, last int64) (top [states]int32) {
	from := 0
	for from < len(s) && s[from].last < first {
		from++
	}
	if from > 0 {
		top = s[from-1].end
	}
	for _, one := range s[from:] {
		if one.first > last {
			break
		}
		for i := range top {
			top[i] = max(top[i], one.top[i])
		}
	}
	return top
}

// since returns s without the samples that ended before first, but for the last
// of those: it says what the values were.
func (s samples) since(first int64) samples {
	from := 0
	for from+1 < len(s) && s[from+1].last < first {
		from++
	}
	if from == 0 {
		return s
	}
	return slices.Delete(s, 0, from)
}

// changed reports whether a sample is in the interval.
func (s samples) changed(first, last int64) bool {
	for _, one := range slices.Backward(s) {
		if one.last < first {
			return false
		}
		if one.first <= last {
			return true
		}
	}
	return false
}
