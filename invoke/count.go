package invoke

import (
	"hearth/faas"
	"hearth/metric"
)

// enter counts a call that an instance holds on the alias that it named; nil
// where it named none. An alias that resolves is one that exists.
func (s *Service) enter(req *Request, version *faas.Version) *metric.Series {
	if req.Qualifier == "" || req.Qualifier == version.ID.Number {
		return nil
	}
	alias := s.metrics.Alias(version.ID.Function, req.Qualifier)
	alias.Add(metric.InFlight, 1)
	return alias
}

func leave(alias *metric.Series) {
	alias.Add(metric.InFlight, -1)
	alias.Release()
}

// settled records and counts an invocation that reached its version.
func (s *Service) settled(report *faas.Report, series *metric.Series) {
	s.recent.add(report)
	cold := report.Cold
	if report.Instance == "" { // the error of an earlier start answered it
		cold = ""
	}
	series.Invoked(report.Status != faas.StatusSuccess, cold, report.Duration, report.ResponseBytes)
}
