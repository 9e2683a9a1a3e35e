// Package cron reads cron expressions and finds the instants that they name. It
// owns their grammar and their rules for time zones; it knows no clock and starts
// nothing. docs/design/0007-cron.md says why it is our own.
package cron

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	_ "time/tzdata" // the zones, also where the machine has none
)

// Bounds of what is read.
const (
	FirstYear = 1970
	LastYear  = 2099
	maxLength = 256 // of an expression, in bytes
)

// Schedule is a set of instants, one second apart or more. It is immutable and
// safe for concurrent use.
//
// An instant belongs to it when the clock on the wall of its zone shows a time
// that all fields name. So a time that the wall clock skips when summer begins is
// not there that day, and one that it shows twice when summer ends is there twice.
// Where both the day and the weekday are restricted, either of them suffices.
type Schedule struct {
	fields [fieldCount]set
	either bool // day and weekday are both restricted
	zone   *time.Location
}

// The fields of an expression, in order.
const (
	second = iota
	minute
	hour
	day
	month
	weekday
	year
	fieldCount
)

// set has the values of a field, from the least that it may have on.
type set []bool

type grammar struct {
	name     string
	min, max int
	names    []string // of the values from min on, besides their numbers
}

var grammars = [fieldCount]grammar{
	second: {"second", 0, 59, nil},
	minute: {"minute", 0, 59, nil},
	hour:   {"hour", 0, 23, nil},
	day:    {"day", 1, 31, nil},
	month:  {"month", 1, 12, []string{"JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"}},
	// 7 is Sunday too.
	weekday: {"weekday", 0, 7, []string{"SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"}},
	year:    {"year", FirstYear, LastYear, nil},
}

// Parse reads an expression of 5 fields (minute hour day month weekday), of 6
// (second first) or of 7 (year last), in the zone with that IANA name; "" is UTC.
// A field is a list of *, n, a-b, and of these with a step: */s, a-b/s, and n/s
// from n on. Months and weekdays may be named. The error is a sentence that names
// the field.
func Parse(expression, zone string) (*Schedule, error) {
	location, err := time.LoadLocation(zone)
	if err != nil || zone == "Local" {
		return nil, fmt.Errorf("time zone %.64q is not known: use an IANA name such as Europe/Berlin, or none for UTC", zone)
	}
	if len(expression) > maxLength {
		return nil, fmt.Errorf("the cron expression is %d bytes long: %d are allowed", len(expression), maxLength)
	}
	texts := strings.Fields(expression)
	switch len(texts) {
	case 5:
		texts = append([]string{"0"}, append(texts, "*")...)
	case 6:
		texts = append(texts, "*")
	case 7:
	default:
		return nil, fmt.Errorf("the cron expression %q has %d fields: it needs 5 (minute hour day month weekday), 6 (second first) or 7 (year last)", expression, len(texts))
	}
	s := &Schedule{zone: location}
	for i, text := range texts {
		if s.fields[i], err = grammars[i].parse(text, i == day || i == weekday); err != nil {
			return nil, fmt.Errorf("the cron expression %q: %w", expression, err)
		}
	}
	week := s.fields[weekday]
	week[0] = week[0] || week[7]
	s.either = restricted(texts[day]) && restricted(texts[weekday])
	return s, nil
}

// restricted follows Vixie's cron: a field that begins with * is not.
func restricted(text string) bool { return text[0] != '*' && text[0] != '?' }

func (g grammar) parse(text string, mayAsk bool) (set, error) {
	values := make(set, g.max-g.min+1)
	if text == "?" && mayAsk {
		text = "*"
	}
	for item := range strings.SplitSeq(text, ",") {
		span, step, stepped := strings.Cut(item, "/")
		from, to := g.min, g.max
		if span != "*" {
			low, high, isRange := strings.Cut(span, "-")
			var err error
			if from, err = g.value(low); err != nil {
				return nil, err
			}
			switch {
			case isRange:
				if to, err = g.value(high); err != nil {
					return nil, err
				}
			case !stepped:
				to = from
			}
			if from > to {
				return nil, fmt.Errorf("%s: the range %q ends before it begins", g.name, span)
			}
		}
		every := 1
		if stepped {
			var err error
			if every, err = strconv.Atoi(step); err != nil || every < 1 || every > LastYear {
				return nil, fmt.Errorf("%s: the step %q is no number from 1 to %d", g.name, step, LastYear)
			}
		}
		for v := from; v <= to; v += every {
			values[v-g.min] = true
		}
	}
	return values, nil
}

func (g grammar) value(text string) (int, error) {
	for i, name := range g.names {
		if strings.EqualFold(text, name) {
			return g.min + i, nil
		}
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < g.min || n > g.max || text[0] == '+' || text[0] == '-' {
		return 0, fmt.Errorf("%s: %q is no value from %d to %d", g.name, text, g.min, g.max)
	}
	return n, nil
}

func (s *Schedule) has(field, value int) bool {
	i := value - grammars[field].min
	return i >= 0 && i < len(s.fields[field]) && s.fields[field][i]
}

// coarsest returns the coarsest unit of t that is not in the schedule: month (for
// the year too), day, hour, minute or second; -1 when t is in it.
func (s *Schedule) coarsest(t time.Time) int {
	d, w := s.has(day, t.Day()), s.has(weekday, int(t.Weekday()))
	switch {
	case !s.has(month, int(t.Month())) || !s.has(year, t.Year()):
		return month
	case s.either && !d && !w, !s.either && !(d && w):
		return day
	case !s.has(hour, t.Hour()):
		return hour
	case !s.has(minute, t.Minute()):
		return minute
	case !s.has(second, t.Second()):
		return second
	}
	return -1
}
