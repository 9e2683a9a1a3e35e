package native

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"hearth/faas"
	"hearth/logs"
	"hearth/metric"
)

// memory has the reports that are still in memory.
type memory map[string]faas.Report

func (m memory) Find(requestID string) (faas.Report, bool) {
	r, ok := m[requestID]
	return r, ok
}

func observed(b *backend, m memory, lines []logs.Line, metrics *metric.Registry) *API {
	o := newAPI(b).Options
	o.Invocations, o.Metrics = m, metrics
	if lines != nil {
		o.Logs = lineLogs{b, lines}
	}
	return New(o)
}

// lineLogs has these lines and no others.
type lineLogs struct {
	*backend
	lines []logs.Line
}

func (l lineLogs) Find(_ context.Context, q logs.Query) ([]logs.Line, error) {
	l.backend.query = q
	return l.lines, nil
}

func report() faas.Report {
	return faas.Report{RequestID: "id", Version: existing().ID, Instance: "i", Start: faas.StartWarm, Status: faas.StatusSuccess}
}

func TestExplain(t *testing.T) {
	for _, test := range []struct {
		name string
		edit func(*faas.Report)
		want []string
	}{
		{"warm", func(*faas.Report) {}, []string{"warm: an instance was there"}},
		{"waited", func(r *faas.Report) { r.Timeline.Queue = 20 * time.Millisecond }, []string{"became free after 20ms"}},
		{"frozen", func(r *faas.Report) { r.Timeline.Thaw = 120 * time.Microsecond }, []string{"a frozen instance was thawed", "120µs"}},
		{"timeout", func(r *faas.Report) { r.Status = faas.StatusTimeout }, []string{"time was up"}},
		{"memory", func(r *faas.Report) { r.Status, r.MemoryMB = faas.StatusOOM, 128 }, []string{"128 MB"}},
		{"exit", func(r *faas.Report) { r.Status = faas.StatusExit }, []string{"runtime ended"}},
		{"function error", func(r *faas.Report) { r.Status, r.ErrorType = faas.StatusError, "RangeError" }, []string{"RangeError"}},
		{"failed init", func(r *faas.Report) {
			r.Start, r.Cold, r.Status, r.ErrorType = faas.StartCold, faas.ColdFirst, faas.StatusError, "RangeError"
		}, []string{"Its init, the code outside the handler, failed with RangeError, so the handler did not run."}},
		{"function error of a cold call", func(r *faas.Report) {
			r.Start, r.Status, r.ErrorType, r.Duration = faas.StartCold, faas.StatusError, "RangeError", 1
		}, []string{"The function failed with RangeError."}},
		{"switched off", func(r *faas.Report) {
			r.Start, r.Instance, r.Status = "", "", faas.StatusRefused
			r.Refusal = &faas.Refusal{Limit: faas.LimitOff, Unit: faas.UnitExecutions, Raise: "switch it on so"}
		}, []string{"The limit switched-off refused it: the function's reserved concurrency was 0. Switch it on so."}},
		{"refused", func(r *faas.Report) {
			r.Start, r.Instance, r.Status = "", "", faas.StatusRefused
			r.Refusal = &faas.Refusal{Limit: faas.LimitFunction, Unit: faas.UnitInstances, Value: 300, Use: 299, Subject: r.Version.Function.String(), Raise: "raise it with so and so"}
		}, []string{"function-maximum of f refused", "299 of 300 instances", "Raise it with so and so."}},
		{"full machine", func(r *faas.Report) {
			r.Start, r.Instance, r.Status = "", "", faas.StatusRefused
			r.Refusal = &faas.Refusal{Limit: faas.LimitMachine, Raise: "It is full."}
		}, []string{"limit machine", "It is full."}},
		{"no place on the machine", func(r *faas.Report) {
			r.Start, r.Instance, r.Status = "", "", faas.StatusRefused
			r.Refusal = &faas.Refusal{Limit: faas.LimitMachine, Unit: faas.UnitInstances, Value: 2, Use: 2, Subject: "this machine"}
		}, []string{"The limit machine refused it: 2 of 2 instances were in use."}},
		{"stopping", func(r *faas.Report) {
			r.Start, r.Instance, r.Status, r.ErrorType = "", "", faas.StatusRefused, string(faas.CodeShuttingDown)
		}, []string{"stopping"}},
		{"left", func(r *faas.Report) { r.Start, r.Instance, r.Status = "", "", faas.StatusCanceled }, []string{"caller left"}},
		{"Hearth's fault", func(r *faas.Report) { r.Start, r.Instance, r.Status = "", "", faas.StatusError }, []string{"server's log"}},
		{"failing inits", func(r *faas.Report) { r.Start, r.Instance, r.Status = faas.StartCold, "", faas.StatusError }, []string{"fail to start"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := report()
			test.edit(&r)
			got := decode[Explanation](t, send(observed(&backend{}, memory{"id": r}, nil, nil), "GET", "invocations/id", ""), 200)
			if got.Source != SourceMemory || got.Status != r.Status {
				t.Errorf("explained %+v", got)
			}
			for _, words := range test.want {
				if !strings.Contains(got.Why, words) {
					t.Errorf("why is %q, want %q in it", got.Why, words)
				}
			}
		})
	}
	seen := map[string]faas.ColdReason{}
	for _, reason := range []faas.ColdReason{faas.ColdFirst, faas.ColdScaleOut, faas.ColdIdle, faas.ColdRoom, faas.ColdDeploy, faas.ColdRecycle, faas.ColdRestart, "", "new"} {
		words := coldWords(reason)
		if other, twice := seen[words]; twice || !strings.HasPrefix(words, "It was cold") {
			t.Errorf("%q is worded %q, as %q", reason, words, other)
		}
		seen[words] = reason
	}
}

func TestExplainFromTheLog(t *testing.T) {
	v := existing().ID
	line := logs.Line{Time: noon, Function: v.Function, Version: v.Number, Instance: "i", RequestID: "id"}
	end, reported, forged := line, line, line
	end.Text = "END RequestId: id"
	reported.Text = "REPORT RequestId: id\tDuration: 1.50 ms\tBilled Duration: 2 ms\tMemory Size: 128 MB\tMax Memory Used: 30 MB\tInit Duration: 80.00 ms\tQueue: 0.00 ms\tSandbox: 2.00 ms\tRuntime: 30.00 ms\tCode: 0.10 ms\tCold: scale-out\t"
	forged.Text = strings.Replace(reported.Text, "1.50", "0.01", 1)
	b := &backend{}
	got := decode[Explanation](t, send(observed(b, memory{}, []logs.Line{forged, end, reported}, nil), "GET", "invocations/id?function=f", ""), 200)
	if got.Source != SourceLog || got.Cold != faas.ColdScaleOut || got.Duration != 1500*time.Microsecond || got.Timeline.Init != 80*time.Millisecond ||
		!strings.Contains(got.Why, "every instance was busy") {
		t.Errorf("explained %+v", got)
	}
	if b.query.RequestID != "id" || b.query.Function != (faas.FunctionID{Scope: faas.Scope{Account: v.Function.Account}, Name: "f"}) {
		t.Errorf("the query was %+v", b.query)
	}
	for name, test := range map[string]struct {
		lines []logs.Line
		words string
	}{
		"no REPORT line": {[]logs.Line{end}, "hearth logs f --request-id id"},
		"nothing":        {[]logs.Line{}, "Check the id"},
	} {
		out := decode[Error](t, send(observed(&backend{}, memory{}, test.lines, nil), "GET", "invocations/id", ""), http.StatusNotFound)
		if out.Error.Code != faas.CodeNotFound || !strings.Contains(out.Error.Message, test.words) {
			t.Errorf("%s: %+v", name, out.Error)
		}
	}
	foreign := report()
	foreign.Version.Function.Account = "111111111111"
	decode[Error](t, send(observed(&backend{}, memory{"id": foreign}, []logs.Line{}, nil), "GET", "invocations/id", ""), http.StatusNotFound)
	decode[Error](t, send(observed(&backend{}, memory{}, []logs.Line{}, nil), "GET", "invocations/"+strings.Repeat("x", 200), ""), http.StatusBadRequest)
}

func TestTop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := metric.New()
		defer m.Close()
		id := func(name, region string) faas.FunctionID {
			return faas.FunctionID{Scope: faas.Scope{Account: "000000000000", Region: region, Namespace: "default"}, Name: name}
		}
		hold := func(v faas.VersionID, busy, gone int) *metric.Series {
			s := m.Version(v)
			s.Add(metric.Busy, busy+gone)
			s.Add(metric.InFlight, busy+gone)
			s.Add(metric.Busy, -gone)
			s.Add(metric.InFlight, -gone)
			return s
		}
		held := []*metric.Series{
			hold(faas.VersionID{Function: id("a", "us-east-1"), Number: "1"}, 1, 4),
			hold(faas.VersionID{Function: id("b", "us-east-1"), Number: "2"}, 3, 0),
			hold(faas.VersionID{Function: id("b", "us-east-1"), Number: "10"}, 2, 0),
			hold(faas.VersionID{Function: id("b", "us-east-1"), Number: faas.Latest}, 1, 0),
			hold(faas.VersionID{Function: id("c", "eu-west-1"), Number: "1"}, 9, 0),
			m.Version(faas.VersionID{Function: id("asleep", "us-east-1"), Number: "1"}),
		}
		alias := m.Alias(id("b", "us-east-1"), "live")
		alias.Add(metric.InFlight, 2)
		f := m.Function(id("b", "us-east-1"))
		f.Refused(faas.LimitReserved)
		api := observed(&backend{version: existing()}, nil, nil, m)
		got := decode[Top](t, send(api, "GET", "top", ""), 200)
		names := ""
		for _, f := range got.Functions {
			names += f.Name
		}
		if names != "ba" || got.Left != 0 {
			t.Fatalf("the functions are %q, %d left", names, got.Left)
		}
		if l := got.Load.InFlight; l.Now != 7 || l.Minute != 10 && l.Minute != 7 {
			t.Errorf("the account has %+v", l)
		}
		b := got.Functions[0]
		if b.Load.InFlight.Now != 6 || b.Minute.Refused != 1 || len(b.Versions) != 3 || b.Versions[0].Number != faas.Latest || b.Versions[1].Number != "10" ||
			len(b.Aliases) != 1 || b.Aliases[0].InFlight.Now != 2 {
			t.Errorf("b is %+v", b)
		}
		if a := got.Functions[1]; a.Load.InFlight.Now != 1 || a.Load.InFlight.Minute != 5 {
			t.Errorf("a is %+v", a)
		}
		if got := decode[Top](t, send(api, "GET", "top?max=1", ""), 200); len(got.Functions) != 1 || got.Left != 1 {
			t.Errorf("%d functions, %d left", len(got.Functions), got.Left)
		}
		time.Sleep(time.Minute + time.Second)
		history := decode[History](t, send(api, "GET", "metrics?function=a&version=1&last=2", ""), 200)
		if n := len(history.Points); n != 2 || history.Interval != "minute" || history.Points[1].Maximum["inFlight"] != 5 && history.Points[0].Maximum["inFlight"] != 5 {
			t.Errorf("the history is %+v", history)
		}
		if account := decode[History](t, send(api, "GET", "metrics?interval=second&last=1", ""), 200); account.Points[0].Maximum["busy"] != 7 {
			t.Errorf("the account's last second is %+v", account)
		}
		for path, subject := range map[string]string{
			"top?max=0": "max", "top?max=x": "max", "metrics?interval=hour": "interval", "metrics?last=61": "last",
			"metrics?version=1": "function", "metrics?function=a&version=1&alias=x": "alias",
		} {
			if out := decode[Error](t, send(api, "GET", path, ""), 400); out.Error.Subject != subject {
				t.Errorf("%s: %+v", path, out.Error)
			}
		}
		for i, v := range []int{1, 3, 2, 1, 9} {
			held[i].Add(metric.Busy, -v)
			held[i].Add(metric.InFlight, -v)
		}
		alias.Add(metric.InFlight, -2)
		for _, s := range append(held, alias, f) {
			s.Release()
		}
	})
	m := metric.New()
	defer m.Close()
	decode[Error](t, send(observed(&backend{}, nil, nil, m), "GET", "metrics?function=nobody", ""), 404)
}

func TestMedian(t *testing.T) {
	for want, durations := range map[time.Duration][]time.Duration{0: nil, 3: {3}, 5: {9, 1, 5}, 7: {7, 1, 9, 5}, 4: {0, 0, 0, 4}} {
		var reports []faas.Report
		for _, d := range durations {
			reports = append(reports, faas.Report{Duration: d})
		}
		if got := median(reports); got != want {
			t.Errorf("the median of %v is %v, want %v", fmt.Sprint(durations), got, want)
		}
	}
}
