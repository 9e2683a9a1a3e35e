package registry

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"hearth/faas"
)

// EventConfig is what was set for the asynchronous invocations that name one
// qualifier of a function. It belongs to the name: invocations of an alias go by
// the alias's, whatever its version has.
type EventConfig struct {
	Qualifier string           `json:"qualifier"` // faas.Latest, a version number or an alias
	Config    faas.AsyncConfig `json:"config"`
	Modified  time.Time        `json:"modified"`
}

// EventConfigPatch changes the fields that are not nil; an empty destination
// removes the one that was set.
type EventConfigPatch struct {
	Retries        *int
	MaxAgeSeconds  *int
	Delay          *faas.RetryDelay
	TimeoutSeconds *int
	OnSuccess      *faas.Destination
	OnFailure      *faas.Destination
	DeadLetter     *faas.Destination
	// Create changes the defaults where nothing was set yet.
	Create bool
}

// Over returns what the patch makes of c.
func (p EventConfigPatch) Over(c faas.AsyncConfig) faas.AsyncConfig {
	if p.Retries != nil {
		c.Retries = copyOf(p.Retries)
	}
	patchField(&c.MaxAgeSeconds, p.MaxAgeSeconds)
	patchField(&c.Delay, p.Delay)
	patchField(&c.TimeoutSeconds, p.TimeoutSeconds)
	patchField(&c.OnSuccess, p.OnSuccess)
	patchField(&c.OnFailure, p.OnFailure)
	patchField(&c.DeadLetter, p.DeadLetter)
	return c
}

// AsyncConfig returns by what the asynchronous invocations of a qualifier go now:
// what was set for that name, else the defaults. Where it names no dead-letter
// target the version's holds, an alias's primary one. It waits for nothing. A
// function or a qualifier that is no more has the defaults.
func (r *Registry) AsyncConfig(id faas.FunctionID, qualifier string) faas.AsyncConfig {
	s := r.table.load(id)
	if s == nil {
		return faas.AsyncConfig{}
	}
	var c faas.AsyncConfig
	if at, found := s.record.eventConfigAt(qualifier); found {
		c = copyEventConfig(s.record.Events[at]).Config
	}
	if v := s.find(qualifier); v != nil && c.DeadLetter == "" {
		c.DeadLetter = v.Config.DeadLetter
	}
	return c
}

// PutEventConfig sets what holds for the asynchronous invocations of a qualifier,
// in place of what was there. Errors are faas.CodeInvalid for what is out of
// bounds and for a destination that is not there or is the function itself.
func (r *Registry) PutEventConfig(ctx context.Context, id faas.FunctionID, qualifier string, c faas.AsyncConfig) (*EventConfig, error) {
	c.Retries = copyOf(c.Retries)
	return r.changeEventConfig(ctx, id, qualifier, func(*record) (faas.AsyncConfig, error) { return c, nil })
}

// UpdateEventConfig is PutEventConfig for the fields that the patch has.
// faas.CodeNotFound wraps faas.ErrNoEventConfig where nothing was set.
func (r *Registry) UpdateEventConfig(ctx context.Context, id faas.FunctionID, qualifier string, patch EventConfigPatch) (*EventConfig, error) {
	return r.changeEventConfig(ctx, id, qualifier, func(rec *record) (faas.AsyncConfig, error) {
		at, found := rec.eventConfigAt(qualifier)
		switch {
		case found:
			return patch.Over(rec.Events[at].Config), nil
		case patch.Create:
			return patch.Over(faas.AsyncConfig{}), nil
		}
		return faas.AsyncConfig{}, noEventConfig(id, qualifier)
	})
}

// changeEventConfig makes what next makes of the record that of a qualifier.
func (r *Registry) changeEventConfig(ctx context.Context, id faas.FunctionID, qualifier string, next func(*record) (faas.AsyncConfig, error)) (*EventConfig, error) {
	leave, err := r.enter()
	if err != nil {
		return nil, err
	}
	defer leave()
	var made EventConfig
	err = r.change(ctx, id, func(_ context.Context, s *snapshot) (*record, error) {
		if s.find(qualifier) == nil {
			return nil, noEventQualifier(id, qualifier)
		}
		rec := s.record.clone()
		c, err := next(rec)
		if err == nil {
			err = r.checkAsync(id, c)
		}
		if err != nil {
			return nil, err
		}
		made = EventConfig{Qualifier: eventQualifier(qualifier), Config: c, Modified: r.clock().UTC().Round(0)}
		if at, found := rec.eventConfigAt(qualifier); found {
			rec.Events[at] = made
		} else {
			rec.Events = slices.Insert(rec.Events, at, made)
		}
		return rec, nil
	})
	if err != nil {
		return nil, err
	}
	made = copyEventConfig(made)
	return &made, nil
}

// GetEventConfig returns what was set for a qualifier; a copy, which the caller
// may change. faas.CodeNotFound wraps faas.ErrNoEventConfig where nothing was.
func (r *Registry) GetEventConfig(_ context.Context, id faas.FunctionID, qualifier string) (*EventConfig, error) {
	s := r.table.load(id)
	if s == nil {
		return nil, noFunction(id, qualifier)
	}
	at, found := s.record.eventConfigAt(qualifier)
	if !found {
		return nil, noEventConfig(id, qualifier)
	}
	c := copyEventConfig(s.record.Events[at])
	return &c, nil
}

// ListEventConfigs returns a page of what was set for a function, sorted by
// qualifier.
func (r *Registry) ListEventConfigs(_ context.Context, id faas.FunctionID, marker string, max int) (Page[*EventConfig], error) {
	from, err := parseMarker(marker)
	if err != nil {
		return Page[*EventConfig]{}, err
	}
	s := r.table.load(id)
	if s == nil {
		return Page[*EventConfig]{}, noFunction(id, "")
	}
	page := newPage[*EventConfig](max)
	at := 0
	if from.name != "" {
		at, _ = s.record.eventConfigAt(from.name)
	}
	for _, c := range s.record.Events[at:] {
		c = copyEventConfig(c)
		if !page.add(&c, position{name: c.Qualifier}) {
			break
		}
	}
	return page.Page, nil
}

// DeleteEventConfig removes what was set for a qualifier, so that the defaults
// hold. faas.CodeNotFound wraps faas.ErrNoEventConfig where nothing was.
func (r *Registry) DeleteEventConfig(ctx context.Context, id faas.FunctionID, qualifier string) error {
	leave, err := r.enter()
	if err != nil {
		return err
	}
	defer leave()
	return r.change(ctx, id, func(_ context.Context, s *snapshot) (*record, error) {
		if _, found := s.record.eventConfigAt(qualifier); !found {
			return nil, noEventConfig(id, qualifier)
		}
		next := s.record.clone()
		next.dropEventConfig(qualifier)
		return next, nil
	})
}

// checkAsync returns why an AsyncConfig of the function cannot be, or nil.
func (r *Registry) checkAsync(id faas.FunctionID, c faas.AsyncConfig) error {
	if err := c.Validate(); err != nil {
		return err
	}
	for _, d := range []struct {
		field string
		to    faas.Destination
	}{
		{"destinationConfig.onSuccess.destination", c.OnSuccess},
		{"destinationConfig.onFailure.destination", c.OnFailure},
		{fieldDeadLetter, c.DeadLetter},
	} {
		if err := r.checkDestination(id, d.field, d.to); err != nil {
			return err
		}
	}
	return nil
}

const fieldDeadLetter = "deadLetterConfig.targetArn"

// checkDestination returns why the function cannot send its outcomes to a valid
// destination, or nil. What it names may be deleted later: that is found when an
// outcome is to be sent.
func (r *Registry) checkDestination(id faas.FunctionID, field string, to faas.Destination) error {
	ref, ok := to.Function()
	if !ok {
		return nil
	}
	invalid := func(format string, args ...any) error {
		return faas.Errorf(faas.CodeInvalid, field, format, args...)
	}
	if ref.ID == id {
		return invalid("You can't specify the function as a destination for itself.")
	}
	if ref.ID.Account != id.Account || ref.ID.Region != id.Region {
		return invalid("The destination ARN %s is invalid. It must be a function of account %s and region %s.", to, id.Account, id.Region)
	}
	s := r.table.load(ref.ID)
	if s == nil {
		return invalid("The destination ARN %s is invalid. There is no function %s.", to, ref.ID.Name)
	}
	if s.find(ref.Qualifier) == nil {
		return invalid("The destination ARN %s is invalid. The function %s has no version or alias %s.", to, ref.ID.Name, ref.Qualifier)
	}
	return nil
}

// eventQualifier is the qualifier under which a configuration is kept.
func eventQualifier(qualifier string) string {
	if qualifier == "" {
		return faas.Latest
	}
	return qualifier
}

// eventConfigAt returns where a qualifier's configuration is in Events, or would be.
func (r *record) eventConfigAt(qualifier string) (at int, found bool) {
	return slices.BinarySearchFunc(r.Events, eventQualifier(qualifier), func(c EventConfig, qualifier string) int {
		return strings.Compare(c.Qualifier, qualifier)
	})
}

// dropEventConfig removes a qualifier's configuration, if any, from a clone.
func (r *record) dropEventConfig(qualifier string) {
	if at, found := r.eventConfigAt(qualifier); found {
		r.Events = slices.Delete(r.Events, at, at+1)
	}
}

func copyEventConfig(c EventConfig) EventConfig {
	c.Config.Retries = copyOf(c.Config.Retries)
	return c
}

func noEventQualifier(id faas.FunctionID, qualifier string) error {
	if _, number := faas.ParseVersionNumber(qualifier); number {
		return noQualifier(id, qualifier)
	}
	return noAlias(id, qualifier)
}

func noEventConfig(id faas.FunctionID, qualifier string) error {
	arn := faas.FunctionARN(id, eventQualifier(qualifier))
	return &faas.Error{Code: faas.CodeNotFound, Subject: arn, Cause: faas.ErrNoEventConfig,
		Message: fmt.Sprintf("The function %s doesn't have an EventInvokeConfig", arn)}
}
