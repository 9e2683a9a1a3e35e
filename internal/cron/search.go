package cron

import "time"

// Next returns the first instant of the schedule after `after` and at or before
// `until`; false when there is none. A year takes at most about 0.2 ms.
func (s *Schedule) Next(after, until time.Time) (time.Time, bool) {
	t := after.In(s.zone).Truncate(time.Second).Add(time.Second)
	for !t.After(until) && t.Year() <= LastYear {
		unit := s.coarsest(t)
		if unit < 0 {
			return t, true
		}
		t = forward(t, unit)
	}
	return time.Time{}, false
}

// Last returns the last instant of the schedule after `after` and at or before
// `until`; false when there is none. It takes as long as Next.
func (s *Schedule) Last(after, until time.Time) (time.Time, bool) {
	t := until.In(s.zone).Truncate(time.Second)
	for t.After(after) && t.Year() >= FirstYear {
		unit := s.coarsest(t)
		if unit < 0 {
			return t, true
		}
		t = backward(t, unit)
	}
	return time.Time{}, false
}

// forward returns an instant after t such that all between them are of the same
// month, day, hour, minute or second as t.
func forward(t time.Time, unit int) time.Time {
	if unit == month && t.Day() < 27 {
		// Its end is left to the days: in some zones a month begins without a midnight.
		return time.Date(t.Year(), t.Month(), 27, 12, 0, 0, 0, t.Location())
	}
	past := elapsed(t)
	return leap(t, unit, [...]int{day: 86400 - past[day], hour: 3600 - past[hour], minute: 60 - past[minute], second: 1})
}

// backward is forward in the other direction.
func backward(t time.Time, unit int) time.Time {
	if unit == month && t.Day() > 3 {
		return time.Date(t.Year(), t.Month(), 3, 12, 0, 0, 0, t.Location())
	}
	past := elapsed(t)
	return leap(t, unit, [...]int{day: -past[day] - 1, hour: -past[hour] - 1, minute: -past[minute] - 1, second: -1})
}

// elapsed returns how many seconds of the day, the hour and the minute are past
// on the wall clock.
func elapsed(t time.Time) (past [day + 1]int) {
	h, m, s := t.Clock()
	past[minute] = s
	past[hour] = m*60 + s
	past[day] = h*3600 + m*60 + s
	return past
}

// leap moves t by the width of the unit, or of a smaller one where the wall clock
// is changed on the way: only between two changes are its seconds as long as ours.
// Zones are changed at whole minutes.
func leap(t time.Time, unit int, width [day + 1]int) time.Time {
	_, offset := t.Zone()
	for u := min(unit, day); ; u-- {
		to := t.Add(time.Duration(width[u]) * time.Second)
		if _, after := to.Zone(); after == offset || u <= minute {
			return to
		}
	}
}
