package registry

import (
	"fmt"
	"strings"
	"time"
	"unicode"

	"hearth/faas"
)

// Bounds of what can be set. They keep the account's record small and sums far
// from overflowing; quota.Check has narrower ones for some.
const (
	maxAmount       = 1 << 30
	maxSchedules    = 20
	maxScheduleName = 60
	maxCron         = 128
)

// checkProvisioned names every wrong field of a provisioned concurrency, the
// function apart.
func (r *Registry) checkProvisioned(p faas.Provisioned) error {
	var errs faas.FieldErrors
	wrong := func(field string, value any, format string, args ...any) {
		errs = append(errs, faas.FieldError{Field: field, Value: fmt.Sprintf("%.200s", fmt.Sprint(value)), Constraint: fmt.Sprintf(format, args...)})
	}
	switch p.Amount.Unit {
	case faas.UnitInstances, faas.UnitExecutions, faas.UnitMemoryMB:
	default:
		wrong("amount.unit", p.Amount.Unit, "must satisfy enum value set: [instances, executions, MB]")
	}
	least := 1
	if p.Tracking != nil || len(p.Schedules) > 0 {
		least = 0
	}
	if p.Amount.Value < least || p.Amount.Value > maxAmount {
		wrong("amount.value", p.Amount.Value, "must have value between %d and %d", least, maxAmount)
	}
	errs = checkTracking(errs, "tracking", p.Tracking)
	if len(p.Schedules) > maxSchedules {
		wrong("schedules", len(p.Schedules), "must have at most %d members", maxSchedules)
		return errs.Err()
	}
	names := make(map[string]bool)
	for i, s := range p.Schedules {
		field := fmt.Sprintf("schedules.%d.", i+1)
		if n := len([]rune(s.Name)); n < 1 || n > maxScheduleName || strings.ContainsFunc(s.Name, unicode.IsControl) {
			wrong(field+"name", s.Name, "must have length between 1 and %d and no control characters", maxScheduleName)
		} else if names[s.Name] {
			wrong(field+"name", s.Name, "must not be the name of another schedule")
		}
		names[s.Name] = true
		if err := r.checkCron(s.Cron); err != nil {
			wrong(field+"cron", s.Cron, "must be a cron expression: %s", messageOf(err))
		}
		if !validTimeZone(s.TimeZone) {
			wrong(field+"timeZone", s.TimeZone, "must be the IANA name of a time zone, such as Europe/Berlin")
		}
		if s.Instances < 0 || s.Instances > maxAmount {
			wrong(field+"instances", s.Instances, "must have value between 0 and %d", maxAmount)
		}
		errs = checkTracking(errs, field+"tracking", s.Tracking)
	}
	return errs.Err()
}

func (r *Registry) checkCron(expression string) error {
	if expression == "" || len(expression) > maxCron {
		return fmt.Errorf("it has 1 to %d characters", maxCron)
	}
	return r.cron(expression)
}

func checkTracking(errs faas.FieldErrors, field string, t *faas.Tracking) faas.FieldErrors {
	if t == nil {
		return errs
	}
	if !(t.Target > 0 && t.Target < 1) { // NaN is neither
		errs = append(errs, faas.FieldError{Field: field + ".target", Value: fmt.Sprint(t.Target), Constraint: "must have value above 0 and below 1"})
	}
	if t.Min < 1 || t.Min > t.Max {
		errs = append(errs, faas.FieldError{Field: field + ".min", Value: fmt.Sprint(t.Min), Constraint: fmt.Sprintf("must have value between 1 and max, which is %d", t.Max)})
	}
	if t.Max > maxAmount {
		errs = append(errs, faas.FieldError{Field: field + ".max", Value: fmt.Sprint(t.Max), Constraint: fmt.Sprintf("must have value less than or equal to %d", maxAmount)})
	}
	return errs
}

// validTimeZone reports whether a schedule may name the zone. Local is none: it
// would be another one on another machine.
func validTimeZone(name string) bool {
	if name == "Local" || len(name) > 64 {
		return false
	}
	_, err := time.LoadLocation(name)
	return err == nil
}
