package provision

import (
	"math"
	"time"

	"hearth/faas"
	"hearth/internal/cron"
)

// The pace of utilisation tracking.
const (
	// TrackingInterval is how often utilisation is looked at, and the time whose
	// peak of calls in flight counts.
	TrackingInterval = 10 * time.Second
	// TrackingCooldown is how long after any change the instances are not reduced.
	TrackingCooldown = 10 * time.Minute
)

// CheckCron refuses a cron expression that Schedule.Cron cannot have: one that
// cannot be read, and one that has no instant after now.
func CheckCron(expression string, now time.Time) error {
	instants, err := cron.Parse(expression, "")
	if err != nil {
		return faas.Errorf(faas.CodeInvalid, "schedules", "%w", err)
	}
	if _, ok := instants.Next(now, time.Date(cron.LastYear+1, time.January, 1, 0, 0, 0, 0, time.UTC)); !ok {
		return faas.Errorf(faas.CodeInvalid, "schedules", "it names no time from now to the end of %d", cron.LastYear)
	}
	return nil
}

// rule is what sets the provisioned instances of a configuration at a moment.
type rule struct {
	instances int
	tracking  *faas.Tracking // where it is not nil, in place of instances
}

// ruleAt returns the rule in force: the schedule that fired last since the
// configuration was made, of those at the same instant the one that is listed
// last; before any has fired, the configuration itself. A schedule that cannot be
// read never fires; the error names it.
func ruleAt(p faas.Provisioned, now time.Time) (rule, error) {
	current, since := rule{p.Instances, p.Tracking}, p.Modified
	var unread error
	for _, s := range p.Schedules {
		instants, err := cron.Parse(s.Cron, s.TimeZone)
		if err != nil {
			unread = faas.Errorf(faas.CodeInvalid, "schedules", "schedule %s never fires: %w", s.Name, err)
			continue
		}
		if fired, ok := instants.Last(p.Modified, now); ok && !fired.Before(since) {
			current, since = rule{s.Instances, s.Tracking}, fired
		}
	}
	return current, unread
}

// nextFiring returns the first instant after now and until `until` at which a
// schedule fires; `until` when none does.
func nextFiring(p faas.Provisioned, now, until time.Time) time.Time {
	for _, s := range p.Schedules {
		if instants, err := cron.Parse(s.Cron, s.TimeZone); err == nil {
			if next, ok := instants.Next(now, until); ok {
				until = next
			}
		}
	}
	return until
}

// Track is how many instances a configuration wants, and what utilisation tracking
// must remember of it.
type Track struct {
	Instances int
	// Scaled is when tracking last changed Instances; zero is never.
	Scaled     time.Time
	configured time.Time // when the configuration that it follows was made
}

// follow returns what a configuration wants under the rule in force. Tracking goes
// on from what was wanted before it, and at least from what is configured.
func (t Track) follow(p faas.Provisioned, r rule) Track {
	if r.tracking == nil {
		return Track{Instances: max(0, r.instances), configured: p.Modified}
	}
	if !t.configured.Equal(p.Modified) {
		t.Instances, t.configured = max(t.Instances, p.Instances), p.Modified
	}
	t.Instances = within(t.Instances, *r.tracking)
	return t
}

func within(n int, t faas.Tracking) int { return max(t.Min, min(n, t.Max)) }

// Step is one look of utilisation tracking: busy is the peak, since the last look,
// of the instances that the calls in flight fill. More instances are wanted at
// once; fewer only when nothing was changed for TrackingCooldown.
func (t Track) Step(tracking faas.Tracking, busy float64, now time.Time) Track {
	need := busy / tracking.Target
	if !(need < math.MaxInt32) {
		need = math.MaxInt32
	}
	wanted := within(int(math.Ceil(need-tiny)), tracking)
	cool := t.Scaled.IsZero() || now.Sub(t.Scaled) >= TrackingCooldown
	if wanted > t.Instances || wanted < t.Instances && cool {
		t.Instances, t.Scaled = wanted, now
	}
	return t
}
