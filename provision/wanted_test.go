package provision

import (
	"strings"
	"testing"
	"time"

	"hearth/faas"
)

func TestRuleAt(t *testing.T) {
	made := time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC) // a Monday
	tracking := &faas.Tracking{Target: 0.7, Min: 1, Max: 9}
	office := []faas.Schedule{
		{Name: "open", Cron: "0 0 8 * * MON-FRI *", TimeZone: "Asia/Shanghai", Instances: 50},
		{Name: "close", Cron: "0 0 18 * * MON-FRI *", TimeZone: "Asia/Shanghai", Instances: 0},
	}
	noon := func(name string, n int) faas.Schedule {
		return faas.Schedule{Name: name, Cron: "0 12 * * *", Instances: n}
	}
	for _, c := range []struct {
		name      string
		schedules []faas.Schedule
		after     time.Duration // since it was made
		want      int
		tracking  bool
	}{
		{"no schedule", nil, time.Hour, 3, false},
		{"none has fired since it was made", office, time.Hour, 3, false},
		{"the window has begun", office, 12 * time.Hour, 50, false},
		{"a second task with 0 ends the window", office, 22 * time.Hour, 0, false},
		{"nobody works on Sunday", office, 6 * 24 * time.Hour, 0, false},
		{"what fired when it was made does not count", []faas.Schedule{noon("a", 8)}, time.Hour, 3, false},
		{"it counts at its very second", []faas.Schedule{noon("a", 8)}, 24 * time.Hour, 8, false},
		{"but no second earlier", []faas.Schedule{noon("a", 8)}, 24*time.Hour - time.Second, 3, false},
		{"of the same instant the later in the list", []faas.Schedule{noon("a", 8), noon("b", 5)}, 25 * time.Hour, 5, false},
		{"also when it is the smaller in the other order", []faas.Schedule{noon("b", 5), noon("a", 8)}, 25 * time.Hour, 8, false},
		{"a schedule may begin tracking", []faas.Schedule{{Name: "t", Cron: "0 13 * * *", Tracking: tracking}}, time.Hour, 0, true},
		{"and another end it", []faas.Schedule{{Name: "t", Cron: "0 13 * * *", Tracking: tracking}, {Name: "u", Cron: "0 14 * * *", Instances: 2}}, 2 * time.Hour, 2, false},
		{"the other zone's noon", []faas.Schedule{{Name: "a", Cron: "0 12 * * *", TimeZone: "America/New_York", Instances: 6}}, 5 * time.Hour, 6, false},
	} {
		p := faas.Provisioned{Instances: 3, Modified: made, Schedules: c.schedules}
		got, err := ruleAt(p, made.Add(c.after))
		if err != nil || got.instances != c.want || (got.tracking != nil) != c.tracking {
			t.Errorf("%s: %+v, %v, want %d, tracking %t", c.name, got, err, c.want, c.tracking)
		}
	}
}

func TestUnreadableScheduleNeverFires(t *testing.T) {
	p := faas.Provisioned{Instances: 3, Schedules: []faas.Schedule{{Name: "bad", Cron: "61 * * * *", Instances: 9}, {Name: "good", Cron: "* * * * *", Instances: 4}}}
	got, err := ruleAt(p, time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
	if got.instances != 4 || err == nil || !strings.Contains(err.Error(), "schedule bad") {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestNextFiring(t *testing.T) {
	now := time.Date(2026, 3, 2, 12, 0, 30, 0, time.UTC)
	p := faas.Provisioned{Schedules: []faas.Schedule{{Cron: "0 13 * * *"}, {Cron: "1 12 * * *"}, {Cron: "broken"}}}
	if got := nextFiring(p, now, now.Add(time.Hour)); !got.Equal(now.Add(30 * time.Second)) {
		t.Errorf("next is %s", got)
	}
	if got := nextFiring(p, now, now.Add(20*time.Second)); !got.Equal(now.Add(20 * time.Second)) {
		t.Errorf("next is %s, nothing is so soon", got)
	}
}

// TestStep follows one configuration through a day, look by look.
func TestStep(t *testing.T) {
	rule := faas.Tracking{Target: 0.7, Min: 2, Max: 20}
	start := time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)
	track := Track{}.follow(faas.Provisioned{Instances: 6, Modified: start}, ruleOf(rule))
	for _, c := range []struct {
		at   time.Duration
		busy float64
		want int
		why  string
	}{
		{10 * time.Second, 2, 3, "fewer after ten seconds: nothing was changed before"},
		{20 * time.Second, 7, 10, "more at once; 7 / 0.7 is 10, not 11"},
		{30 * time.Second, 7.1, 11, "more again, without a window"},
		{40 * time.Second, 0, 11, "fewer must wait"},
		{10*time.Minute + 20*time.Second, 0, 11, "until ten minutes after the last change"},
		{10*time.Minute + 30*time.Second, 4.3, 7, "then it goes to what is needed"},
		{10*time.Minute + 40*time.Second, 1000, 20, "never above Max"},
		{20*time.Minute + 30*time.Second, 0, 20, "the cooldown counts from any change"},
		{20*time.Minute + 40*time.Second, 0, 2, "never below Min"},
		{24 * time.Hour, 1.4, 2, "exactly enough"},
	} {
		track = track.Step(rule, c.busy, start.Add(c.at))
		if track.Instances != c.want {
			t.Fatalf("after %s with %v busy: %d instances, want %d: %s", c.at, c.busy, track.Instances, c.want, c.why)
		}
	}
}

func TestStepWithAbsurdDemand(t *testing.T) {
	rule := faas.Tracking{Target: 1e-300, Min: 1, Max: 5}
	if got := (Track{Instances: 1}).Step(rule, 1e300, time.Now()); got.Instances != 5 {
		t.Errorf("%d instances, want Max", got.Instances)
	}
}

func TestFollow(t *testing.T) {
	tracking := ruleOf(faas.Tracking{Target: 0.5, Min: 2, Max: 10})
	static := func(n int) rule { return rule{instances: n} }
	first := faas.Provisioned{Instances: 5, Modified: time.Unix(1, 0)}
	again := faas.Provisioned{Instances: 0, Modified: time.Unix(2, 0)}
	scaled := time.Unix(7, 0)
	for _, c := range []struct {
		name string
		from Track
		p    faas.Provisioned
		rule rule
		want int
	}{
		{"new and static", Track{}, first, static(5), 5},
		{"new and tracked begins with what is configured", Track{}, first, tracking, 5},
		{"within the bounds", Track{}, again, tracking, 2},
		{"a schedule begins to track: from where it was", Track{Instances: 8, configured: first.Modified}, first, tracking, 8},
		{"a schedule ends it", Track{Instances: 8, Scaled: scaled, configured: first.Modified}, first, static(3), 3},
		{"configured again: what is warm stays", Track{Instances: 8, Scaled: scaled, configured: first.Modified}, again, tracking, 8},
		{"configured again with less", Track{Instances: 30, configured: first.Modified}, again, tracking, 10},
		{"never negative", Track{}, first, static(-1), 0},
	} {
		if got := c.from.follow(c.p, c.rule); got.Instances != c.want {
			t.Errorf("%s: %d, want %d", c.name, got.Instances, c.want)
		}
	}
}

func ruleOf(t faas.Tracking) rule { return rule{tracking: &t} }

func TestCheckCron(t *testing.T) {
	now := time.Date(2026, time.March, 1, 0, 0, 0, 0, time.UTC)
	for _, good := range []string{"0 9 * * *", "0 0 9 * * MON-FRI", "0 0 9 * * * 2026-2030", "0 0 29 2 *", "0 0 0 1 1 * 2099"} {
		if err := CheckCron(good, now); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
	for expression, want := range map[string]string{
		"every day": "2 fields", "0 8 30 2 *": "no time from now", "0 0 9 * * * 2020-2025": "no time from now",
	} {
		if err := CheckCron(expression, now); !faas.IsCode(err, faas.CodeInvalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v, want %q", expression, err, want)
		}
	}
}
