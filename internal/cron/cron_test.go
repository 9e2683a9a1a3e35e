package cron_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"hearth/internal/cron"
	"hearth/internal/seeds"
)

var never = time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC)

func at(t *testing.T, text string) time.Time {
	t.Helper()
	parsed, err := time.Parse(time.RFC3339, text)
	if err != nil {
		t.Fatal(err)
	}
	return parsed
}

func TestNext(t *testing.T) {
	for _, c := range []struct{ expression, zone, after, want string }{
		{"*/5 * * * *", "", "2026-03-01T10:02:30Z", "2026-03-01T10:05:00Z"},
		{"5 * * * *", "", "2026-03-01T10:05:00Z", "2026-03-01T11:05:00Z"},
		{"30 5 * * * *", "", "2026-03-01T10:05:00Z", "2026-03-01T10:05:30Z"},
		{"0 0 9 * * MON-FRI *", "Asia/Shanghai", "2026-03-06T02:00:00Z", "2026-03-09T01:00:00Z"},
		{"0 0 12 29 2 * *", "", "2026-03-01T00:00:00Z", "2028-02-29T12:00:00Z"},
		{"0 0 12 29 2 * *", "", "2097-03-01T00:00:00Z", ""}, // 2100 is no leap year, and too late
		{"0 0 0 1 1 * 2026", "", "2026-01-01T00:00:00Z", ""},
		{"0 0 0 1 1 * 2030/5", "", "2026-01-01T00:00:00Z", "2030-01-01T00:00:00Z"},
		{"0 0 30 2 *", "", "2026-01-01T00:00:00Z", ""},
		{"0 0 13 * 5", "", "2026-02-01T00:00:00Z", "2026-02-06T00:00:00Z"},  // the 13th or a Friday
		{"0 0 */2 * 5", "", "2026-02-01T00:00:00Z", "2026-02-13T00:00:00Z"}, // an odd day and a Friday
		{"0 0 ? * 7", "", "2026-02-02T00:00:00Z", "2026-02-08T00:00:00Z"},
		{"0 0 1 jan,JUL ?", "", "2026-02-02T00:00:00Z", "2026-07-01T00:00:00Z"},
		{"20/15 * * * *", "", "2026-02-02T00:36:00Z", "2026-02-02T00:50:00Z"},
		{"10-40/20 * * * *", "", "2026-02-02T00:11:00Z", "2026-02-02T00:30:00Z"},
		// The wall clock of Berlin goes from 2 to 3 on 29 March, so that 2:30 is missing.
		{"30 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z", "2026-03-30T00:30:00Z"},
		// It goes from 3 back to 2 on 25 October, so that 2:30 is there twice.
		{"30 2 * * *", "Europe/Berlin", "2026-10-25T00:00:00Z", "2026-10-25T00:30:00Z"},
		{"30 2 * * *", "Europe/Berlin", "2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z"},
		{"30 2 * * *", "Europe/Berlin", "2026-10-25T01:30:00Z", "2026-10-26T01:30:00Z"},
		// Samoa had no 30 December 2011.
		{"0 12 30 * *", "Pacific/Apia", "2011-12-01T00:00:00Z", "2012-01-29T22:00:00Z"},
	} {
		s, err := cron.Parse(c.expression, c.zone)
		if err != nil {
			t.Errorf("%q: %v", c.expression, err)
			continue
		}
		next, ok := s.Next(at(t, c.after), never)
		if got := next.UTC().Format(time.RFC3339); ok != (c.want != "") || ok && got != c.want {
			t.Errorf("%q in %q after %s: %s, %t, want %q", c.expression, c.zone, c.after, got, ok, c.want)
		}
	}
}

func TestLast(t *testing.T) {
	s, err := cron.Parse("0 9,17 * * *", "")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ after, until, want string }{
		{"2026-03-01T00:00:00Z", "2026-03-01T12:00:00Z", "2026-03-01T09:00:00Z"},
		{"2026-03-01T00:00:00Z", "2026-03-01T09:00:00Z", "2026-03-01T09:00:00Z"},
		{"2026-03-01T09:00:00Z", "2026-03-01T16:59:59Z", ""},
		{"2026-03-01T00:00:00Z", "2026-03-02T08:00:00Z", "2026-03-01T17:00:00Z"},
	} {
		last, ok := s.Last(at(t, c.after), at(t, c.until))
		if got := last.UTC().Format(time.RFC3339); ok != (c.want != "") || ok && got != c.want {
			t.Errorf("after %s until %s: %s, %t, want %q", c.after, c.until, got, ok, c.want)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for _, c := range []struct{ expression, zone, want string }{
		{"", "", "has 0 fields"},
		{"* * * *", "", "has 4 fields"},
		{"* * * * * * * *", "", "has 8 fields"},
		{"60 * * * *", "", "minute: \"60\""},
		{"* 24 * * *", "", "hour"},
		{"* * 0 * *", "", "day"},
		{"* * * 13 *", "", "month"},
		{"* * * * 8", "", "weekday"},
		{"* * * * * * 2100", "", "year"},
		{"* * * * * * 1-2147483647", "", "year"},
		{"? * * * *", "", "minute"},
		{"5-1 * * * *", "", "ends before it begins"},
		{"*/0 * * * *", "", "step"},
		{"*/ * * * *", "", "step"},
		{"1,,2 * * * *", "", "minute"},
		{"-1 * * * *", "", "minute"},
		{"+1 * * * *", "", "minute"},
		{"1--2 * * * *", "", "minute"},
		{"* * * FEB-XYZ *", "", "month"},
		{"@daily", "", "has 1 fields"},
		{"* * * * *", "Mars/Olympus", "time zone"},
		{"* * * * *", "Local", "time zone"},
		{"* * * * *", "../../etc/passwd", "time zone"},
		{strings.Repeat("1,", 200) + "1 * * * *", "", "bytes long"},
	} {
		if _, err := cron.Parse(c.expression, c.zone); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q in %q: %v, want %q in it", c.expression, c.zone, err, c.want)
		}
	}
}

// changes are moments at which wall clocks were moved, by one hour, by half an
// hour, over midnight and by a whole day.
var changes = []struct{ zone, instant string }{
	{"America/New_York", "2026-03-08T07:00:00Z"}, {"America/New_York", "2026-11-01T06:00:00Z"},
	{"Europe/Berlin", "2026-03-29T01:00:00Z"}, {"Europe/Berlin", "2026-10-25T01:00:00Z"},
	{"America/Sao_Paulo", "2018-11-04T03:00:00Z"}, {"America/Sao_Paulo", "2019-02-17T02:00:00Z"},
	{"Australia/Lord_Howe", "2026-04-04T15:00:00Z"}, {"Australia/Lord_Howe", "2026-10-03T15:30:00Z"},
	{"Pacific/Apia", "2011-12-30T10:00:00Z"}, {"Asia/Kathmandu", "2026-01-31T18:15:00Z"}, {"UTC", "2028-02-29T00:00:00Z"},
}

// TestAgainstEverySecond compares both searches with looking at every second
// around the changes of wall clocks. HEARTH_SEED repeats one run.
func TestAgainstEverySecond(t *testing.T) {
	seed := seeds.One(t)
	rng := rand.New(rand.NewPCG(seed, 0))
	const reach = 60 * time.Hour
	for i := range 400 {
		change := changes[i%len(changes)]
		zone, err := time.LoadLocation(change.zone)
		if err != nil {
			t.Fatal(err)
		}
		e := newExpression(rng)
		s, err := cron.Parse(e.String(), change.zone)
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		from := at(t, change.instant).Add(time.Duration(rng.IntN(40*3600)-20*3600) * time.Second)
		var next, last time.Time
		// Every expression names seconds that are multiples of ten.
		for u := from.Truncate(10 * time.Second).Add(10 * time.Second); next.IsZero() && u.Sub(from) <= reach; u = u.Add(10 * time.Second) {
			if e.names(u.In(zone)) {
				next = u
			}
		}
		for u := from.Truncate(10 * time.Second); last.IsZero() && from.Sub(u) < reach; u = u.Add(-10 * time.Second) {
			if e.names(u.In(zone)) {
				last = u
			}
		}
		if got, ok := s.Next(from, from.Add(reach)); ok != !next.IsZero() || ok && !got.Equal(next) {
			t.Fatalf("seed %d: %q in %s: next after %s is %s, want %s", seed, e, change.zone, from.In(zone), got, next.In(zone))
		}
		if got, ok := s.Last(from.Add(-reach), from); ok != !last.IsZero() || ok && !got.Equal(last) {
			t.Fatalf("seed %d: %q in %s: last until %s is %s, want %s", seed, e, change.zone, from.In(zone), got, last.In(zone))
		}
	}
}

// expression is a cron expression and, apart from its text, what it names.
type expression struct {
	text   [6]string
	values [6]map[int]bool
}

func newExpression(rng *rand.Rand) (e expression) {
	low, high := [6]int{0, 0, 0, 1, 1, 0}, [6]int{59, 59, 23, 31, 12, 6}
	for i := range e.text {
		a := low[i] + rng.IntN(high[i]-low[i]+1)
		b := a + rng.IntN(high[i]-a+1)
		step := 1
		switch kind := rng.IntN(6); {
		case i == 0:
			a, b, step = 10*rng.IntN(6), 59, []int{10, 20, 60}[rng.IntN(3)]
			e.text[i] = fmt.Sprintf("%d/%d", a, step)
		case i == 4 || kind < 2:
			a, b = low[i], high[i]
			e.text[i] = "*"
		case kind == 2:
			b = a
			e.text[i] = fmt.Sprint(a)
		case kind == 3:
			e.text[i] = fmt.Sprintf("%d-%d", a, b)
		case kind == 4:
			step = 1 + rng.IntN(9)
			e.text[i] = fmt.Sprintf("%d-%d/%d", a, b, step)
		default:
			a, b, step = low[i], high[i], 1+rng.IntN(5)
			e.text[i] = fmt.Sprintf("*/%d", step)
		}
		e.values[i] = map[int]bool{}
		for v := a; v <= b; v += step {
			e.values[i][v] = true
		}
	}
	return e
}

func (e expression) String() string { return strings.Join(e.text[:], " ") }

func (e expression) names(t time.Time) bool {
	byDay, byWeek := e.values[3][t.Day()], e.values[5][int(t.Weekday())]
	if e.text[3][0] != '*' && e.text[5][0] != '*' {
		byDay = byDay || byWeek
		byWeek = byDay
	}
	return byDay && byWeek && e.values[0][t.Second()] && e.values[1][t.Minute()] && e.values[2][t.Hour()] && e.values[4][int(t.Month())]
}

// FuzzParse: whatever is accepted can be searched, in bounded time, and what is
// found is found from both sides.
func FuzzParse(f *testing.F) {
	f.Add("*/5 * * * *", "")
	f.Add("0 0 12 29 2 ? 2096", "Europe/Berlin")
	f.Add("0 30 2 30 2 * 1999-2099/3", "Pacific/Apia")
	f.Add("59 59 23 31 DEC SUN-SAT", "America/Sao_Paulo")
	f.Fuzz(func(t *testing.T, expression, zone string) {
		s, err := cron.Parse(expression, zone)
		if err != nil {
			return
		}
		from := time.Date(2026, 10, 24, 20, 0, 0, 0, time.UTC)
		next, ok := s.Next(from, never)
		if !ok {
			return
		}
		if last, ok := s.Last(from, next); !ok || !last.Equal(next) {
			t.Errorf("%q in %q: next is %s, last until then is %s", expression, zone, next, last)
		}
		if before, ok := s.Last(from, next.Add(-time.Second)); ok {
			t.Errorf("%q in %q: next is %s, but %s is before it", expression, zone, next, before)
		}
	})
}

func BenchmarkYearWithout(b *testing.B) {
	s, err := cron.Parse("0 0 30 2 *", "Europe/Berlin")
	if err != nil {
		b.Fatal(err)
	}
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for b.Loop() {
		if _, ok := s.Next(now, now.AddDate(1, 0, 0)); ok {
			b.Fatal("found 30 February")
		}
	}
}
