package provision

import (
	"errors"
	"fmt"
	"time"

	"hearth/faas"
)

// Status returns how far the provisioned concurrency of a qualifier is, as it is
// configured at this moment. The instances of a version that several qualifiers
// want are counted for the first of them first, in the order of the
// configurations. Zero and in progress for a qualifier that has none.
func (r *Reconciler) Status(id faas.FunctionID, qualifier string) faas.ProvisionedStatus {
	p, _ := r.o.Source.Provisioning(id)
	r.mu.Lock()
	tracks := r.tracks[id]
	r.mu.Unlock()
	now := time.Now()
	wanted, unread := map[string]int{}, error(nil)
	for _, config := range p.Configs {
		rule, err := ruleAt(config, now)
		wanted[config.Qualifier] = tracks[config.Qualifier].follow(config, rule).Instances
		if config.Qualifier == qualifier {
			unread = err
		}
	}
	counts := map[revision]faas.ProvisionedCounts{}
	shares := Shares(p, wanted)
	for _, s := range shares {
		key := revision{s.Version.ID, s.Version.Revision}
		if _, ok := counts[key]; !ok {
			counts[key] = r.o.Pools.Provisioned(s.Version)
		}
	}
	status := statusOf(qualifier, wanted[qualifier], shares, counts)
	if unread != nil {
		status.State, status.Reason = faas.ProvisionedFailed, sentence(unread)
	}
	return status
}

// statusOf shares the counts of the revisions out to their qualifiers and says
// what became of one of them.
func statusOf(qualifier string, wanted int, shares []Share, counts map[revision]faas.ProvisionedCounts) faas.ProvisionedStatus {
	status := faas.ProvisionedStatus{Requested: wanted, State: faas.ProvisionedReady}
	taken := map[revision]int{}
	routed := false
	for _, s := range shares {
		key := revision{s.Version.ID, s.Version.Revision}
		c := counts[key]
		before := taken[key]
		taken[key] += s.Instances
		if s.Qualifier != qualifier {
			continue
		}
		routed = true
		ready := between(c.Ready-before, s.Instances)
		status.Allocated += between(c.Allocated-before, s.Instances)
		status.Available += ready
		if ready == s.Instances {
			continue
		}
		switch {
		case expands(c.Failure):
			// Time alone mends it, so that whoever waits for READY goes on waiting.
			status.Reason = fmt.Sprintf("version %s: %s", s.Version.ID.Number, sentence(c.Failure))
			if status.State == faas.ProvisionedReady {
				status.State = faas.ProvisionedInProgress
			}
		case c.Failure != nil:
			status.State, status.Reason = faas.ProvisionedFailed, fmt.Sprintf("version %s: %s", s.Version.ID.Number, sentence(c.Failure))
		case status.State == faas.ProvisionedReady:
			status.State = faas.ProvisionedInProgress
		}
	}
	if !routed {
		status.State = faas.ProvisionedInProgress
		status.Reason = "no version that can be called is behind this qualifier yet"
	}
	return status
}

func between(n, most int) int { return max(0, min(n, most)) }

// expands reports whether starts wait for their place in the window of expansion.
func expands(err error) bool {
	var refusal *faas.Refusal
	return errors.As(err, &refusal) && refusal.Limit == faas.LimitExpansion
}

// sentence words an error for a person. What a limit refuses goes on being tried.
func sentence(err error) string {
	text := err.Error()
	var e *faas.Error
	if errors.As(err, &e) && e.Message != "" {
		text = e.Message
	}
	var refusal *faas.Refusal
	if errors.As(err, &refusal) {
		return fmt.Sprintf("the limit %s refuses to start them, and they are tried again: %s", refusal.Limit, text)
	}
	return text
}
