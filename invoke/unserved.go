package invoke

import (
	"errors"
	"sync"
	"time"

	"hearth/faas"
)

// maxUnserved bounds the memory of invocations that no instance ran, of all
// functions together.
const maxUnserved = 1024

// unserved remembers the last invocations that no instance ran. They have a place
// of their own, so that a flood of refusals pushes out no report.
type unserved struct {
	mu      sync.Mutex
	reports []faas.Report // grows to maxUnserved, then next is overwritten
	next    int
}

func (u *unserved) add(report faas.Report) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(u.reports) < maxUnserved {
		u.reports = append(u.reports, report)
		return
	}
	u.reports[u.next] = report
	u.next = (u.next + 1) % maxUnserved
}

func (u *unserved) find(requestID string) (faas.Report, bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	return findIn(u.reports, requestID)
}

// unserve records that an error of the platform kept an invocation from an
// instance, and returns the error.
func (s *Service) unserve(req *Request, version *faas.Version, began time.Time, err error) error {
	report := newReport(req, version, began)
	report.Start = ""
	report.Timeline.Queue = time.Since(began)
	report.Status, report.ErrorType = unservedStatus(err)
	if report.Refusal = refusal(err); report.Refusal != nil {
		function := s.metrics.Function(version.ID.Function)
		function.Refused(report.Refusal.Limit)
		function.Release()
	}
	s.unserved.add(report)
	return err
}

func unservedStatus(err error) (status, errorType string) {
	code := faas.CodeOf(err)
	switch code {
	case faas.CodeThrottled, faas.CodeNoCapacity, faas.CodeShuttingDown:
		return faas.StatusRefused, string(code)
	case faas.CodeCanceled:
		return faas.StatusCanceled, string(code)
	}
	return faas.StatusError, string(code)
}

// refusal is which limit an error names, nil where none refused. What the machine
// lacks is one too, wherever it was found out.
func refusal(err error) *faas.Refusal {
	var found *faas.Refusal
	var known *faas.Error
	switch {
	case errors.As(err, &found):
		return found
	case errors.As(err, &known) && known.Code == faas.CodeNoCapacity:
		return &faas.Refusal{Limit: faas.LimitMachine, Unit: faas.UnitInstances, Subject: "this machine", Raise: known.Message}
	}
	return nil
}
