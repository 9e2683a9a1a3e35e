package async_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"hearth/async"
	"hearth/faas"
	"hearth/metric"
)

func to(id faas.FunctionID) faas.Destination { return faas.Destination(faas.FunctionARN(id, "")) }

func TestDestinationsGetLambdasRecord(t *testing.T) {
	play(t, nil, func(s *scene) {
		good, bad, sink := s.deploy("good", nil), s.deploy("bad", failing), s.deploy("sink", nil)
		none := 0
		s.shelf.configure(good, faas.AsyncConfig{OnSuccess: to(sink)})
		s.shelf.configure(bad, faas.AsyncConfig{Retries: &none, OnFailure: to(sink), DeadLetter: to(sink)})
		first := s.send(good, `{"order": [1, "<2>"]}`)
		s.pass(time.Second)
		second := s.send(bad, `"x"`)
		s.pass(time.Second)
		var got []string
		for _, r := range s.ran() {
			if r.function == "sink" {
				got = append(got, r.payload+r.client)
			}
		}
		want := []string{
			`{"version":"1.0","timestamp":"2000-01-01T00:00:00.000Z","requestContext":{"requestId":"` + first + `",` +
				`"functionArn":"arn:aws:lambda:us-east-1:000000000000:function:good:$LATEST","condition":"Success","approximateInvokeCount":1},` +
				`"requestPayload":{"order":[1,"<2>"]},"responseContext":{"statusCode":200,"executedVersion":"$LATEST"},"responsePayload":"ok"}`,
			`{"version":"1.0","timestamp":"2000-01-01T00:00:01.000Z","requestContext":{"requestId":"` + second + `",` +
				`"functionArn":"arn:aws:lambda:us-east-1:000000000000:function:bad:$LATEST","condition":"RetriesExhausted","approximateInvokeCount":1},` +
				`"requestPayload":"x","responseContext":{"statusCode":200,"executedVersion":"$LATEST","functionError":"Unhandled"},` +
				`"responsePayload":{"errorType":"Error","errorMessage":"no luck"}}`,
			`"x"{"custom":{"RequestID":"` + second + `","ErrorCode":"200","ErrorMessage":"no luck"}}`,
		}
		if len(got) != len(want) {
			s.t.Fatalf("the destination got %q", got)
		}
		for _, w := range want {
			if !contains(got, w) {
				s.t.Errorf("the destination got\n%s\nand not\n%s", strings.Join(got, "\n"), w)
			}
		}
		r := s.get(second)
		if r.Dropped || len(r.Deliveries) != 2 || r.Deliveries[0].Delivered.IsZero() || r.Deliveries[0].RequestID == "" {
			s.t.Errorf("%+v", r)
		}
		if d := s.get(r.Deliveries[0].RequestID); d.Origin == nil || d.Origin.Kind != faas.OriginDestination || d.Origin.RequestID != second || d.Function != sink {
			s.t.Errorf("the destination's event: %+v", d)
		}
		if n := s.events(bad); n[metric.EventsDeadLettered] != 1 || n[metric.EventsDropped] != 0 {
			s.t.Errorf("counted %v", n)
		}
	})
}

func contains(all []string, one string) bool {
	for _, s := range all {
		if s == one {
			return true
		}
	}
	return false
}

func TestWhatExpiredHasNoResponse(t *testing.T) {
	play(t, nil, func(s *scene) {
		f, sink := s.deploy("f", nil), s.deploy("sink", nil)
		s.shelf.configure(f, faas.AsyncConfig{OnFailure: to(sink), MaxAgeSeconds: 60})
		s.reserve(f, 0)
		s.send(f, "{}")
		s.pass(2 * time.Minute)
		var record struct {
			RequestContext struct {
				Condition string
				Count     int `json:"approximateInvokeCount"`
			}
			ResponseContext, ResponsePayload json.RawMessage
		}
		runs := s.ran()
		if len(runs) != 1 || json.Unmarshal([]byte(runs[0].payload), &record) != nil {
			s.t.Fatalf("ran %+v", runs)
		}
		if record.RequestContext.Condition != "EventAgeExceeded" || record.RequestContext.Count != 0 || record.ResponseContext != nil || record.ResponsePayload != nil {
			s.t.Errorf("record %s", runs[0].payload)
		}
	})
}

func TestADestinationThatIsDownIsTriedAgainAndBlocksNothing(t *testing.T) {
	play(t, nil, func(s *scene) {
		f, sink := s.deploy("f", nil), s.deploy("sink", nil)
		s.shelf.configure(f, faas.AsyncConfig{OnSuccess: to(sink)})
		s.shelf.remove(sink)
		var ids []string
		for range 20 {
			ids = append(ids, s.send(f, "{}"))
		}
		s.pass(10 * time.Second)
		for _, id := range ids {
			r := s.get(id)
			if r.Status != faas.EventDone || len(r.Deliveries) != 1 || r.Deliveries[0].Next.IsZero() || r.Deliveries[0].Error == "" {
				s.t.Fatalf("%+v", r)
			}
		}
		if q := s.async.Queues(scope); len(q) != 1 || q[0].Deliveries != 20 || q[0].Waiting != 0 {
			s.t.Errorf("queues %+v", q)
		}
		s.close()
		s.deploy("sink", nil)
		s.open(nil)
		s.pass(time.Minute)
		told := 0
		for _, r := range s.ran() {
			if r.function == "sink" {
				told++
			}
		}
		if r := s.get(ids[3]); told != 20 || r.Deliveries[0].Delivered.IsZero() || r.Deliveries[0].Attempts == 0 {
			s.t.Errorf("told %d times; %+v", told, r)
		}
	})
}

func TestADestinationThatStaysDownIsGivenUp(t *testing.T) {
	play(t, nil, func(s *scene) {
		f := s.deploy("f", nil)
		s.shelf.configure(f, faas.AsyncConfig{OnSuccess: to(function("nobody"))})
		id := s.send(f, "{}")
		s.pass(7 * time.Hour)
		r := s.get(id)
		if d := r.Deliveries[0]; !d.Next.IsZero() || !d.Delivered.IsZero() || d.Attempts < 50 {
			s.t.Errorf("%+v", r)
		}
		if n := s.events(f); n[metric.EventsUndelivered] != 1 {
			s.t.Errorf("counted %v", n)
		}
		if q := s.async.Queues(scope); len(q) != 0 {
			s.t.Errorf("queues %+v", q)
		}
	})
}

func TestAChainOfDestinationsEnds(t *testing.T) {
	play(t, nil, func(s *scene) {
		f := s.deploy("f", nil)
		s.shelf.configure(f, faas.AsyncConfig{OnSuccess: to(f)})
		s.send(f, "{}")
		s.pass(time.Hour)
		if n := len(s.ran()); n != 17 {
			s.t.Errorf("ran %d times", n)
		}
		if n := s.events(f); n[metric.EventsUndelivered] != 1 {
			s.t.Errorf("counted %v", n)
		}
	})
}

func TestFaultsOfThePlatformDoNotCountAsRetries(t *testing.T) {
	play(t, nil, func(s *scene) {
		broken := errors.New("a fault")
		n := 0
		f := s.deploy("f", func(_ context.Context, e *faas.Event) (faas.Outcome, error) {
			if n++; n <= 5 {
				return faas.Outcome{}, broken
			}
			return faas.Outcome{Payload: []byte("1")}, nil
		})
		none := 0
		s.shelf.configure(f, faas.AsyncConfig{Retries: &none})
		id := s.send(f, "{}")
		s.pass(time.Hour)
		r := s.get(id)
		if r.Status != faas.EventDone || len(r.Attempts) != 6 || strings.Contains(r.Attempts[0].ErrorMessage, "a fault") {
			s.t.Errorf("%+v", r)
		}
		runs := s.ran()
		for i, want := range []time.Duration{0, 1, 3, 7, 15, 31} {
			if runs[i].at.Sub(s.began) != want*time.Second || runs[i].attempt != 1 {
				s.t.Errorf("run %d: attempt %d after %v", i, runs[i].attempt, runs[i].at.Sub(s.began))
			}
		}
	})
}

func TestAllowDestinations(t *testing.T) {
	public := async.AllowDestinations(nil)
	own := async.AllowDestinations([]netip.Prefix{netip.MustParsePrefix("10.1.0.0/16"), netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("0.0.0.0/0")})
	for address, want := range map[string][2]bool{
		"93.184.216.34": {true, true}, "2606:4700::1111": {true, true},
		"127.0.0.1": {false, true}, "10.1.2.3": {false, true}, "192.168.0.1": {false, true}, "100.64.0.1": {false, true},
		"169.254.169.254": {false, false}, "fe80::1": {false, false}, "::1": {false, false}, "fd00::1": {false, false},
		"0.0.0.0": {false, true}, "224.0.0.1": {false, true}, "64:ff9b::7f00:1": {false, false},
	} {
		a := netip.MustParseAddr(address)
		if public(a) != want[0] || own(a) != want[1] {
			t.Errorf("%s: public %t, own %t, want %v", address, public(a), own(a), want)
		}
	}
}

func TestRedriveAndReplay(t *testing.T) {
	play(t, nil, func(s *scene) {
		none := 0
		bad, good := s.deploy("bad", failing), s.deploy("good", nil)
		s.shelf.configure(bad, faas.AsyncConfig{Retries: &none})
		var ids []string
		for range 3 {
			ids = append(ids, s.send(bad, `{"n":1}`))
			s.pass(time.Second)
		}
		done := s.send(good, `"old"`)
		s.pass(time.Second)
		ctx := s.t.Context()
		_, err := s.async.Redrive(ctx, async.Redrive{Scope: scope, RequestIDs: ids, Payload: []byte("1")})
		if !faas.IsCode(err, faas.CodeInvalid) {
			s.t.Errorf("one payload for three: %v", err)
		}
		one, err := s.async.Redrive(ctx, async.Redrive{Scope: scope, RequestIDs: ids[:1], To: faas.FunctionRef{ID: good}, Payload: []byte(`"new"`)})
		if err != nil || len(one) != 1 || one[0].Err != nil {
			s.t.Fatalf("%+v, %v", one, err)
		}
		s.pass(time.Second)
		if r := s.get(one[0].RequestID); r.Status != faas.EventDone || r.Function != good || r.Origin == nil || r.Origin.Kind != faas.OriginRedrive || r.Origin.RequestID != ids[0] {
			s.t.Errorf("%+v", r)
		}
		if r := s.get(ids[0]); r.Redriven != one[0].RequestID {
			s.t.Errorf("%+v", r)
		}
		if p, err := s.async.Payload(ctx, scope, one[0].RequestID); err != nil || string(p) != `"new"` {
			s.t.Errorf("payload %s, %v", p, err)
		}
		all, err := s.async.Redrive(ctx, async.Redrive{Scope: scope, Filter: async.Filter{Function: bad}})
		if err != nil || len(all) != 2 || all[0].From != ids[1] || all[0].Err != nil || all[1].Err != nil {
			s.t.Errorf("%+v, %v", all, err)
		}
		if r, err := s.async.Redrive(ctx, async.Redrive{Scope: scope, RequestIDs: []string{done}}); err != nil || !faas.IsCode(r[0].Err, faas.CodeConflict) {
			s.t.Errorf("%+v, %v", r, err)
		}
		again, err := s.async.Replay(ctx, async.Replay{Scope: scope, RequestID: done})
		if err != nil {
			s.t.Fatal(err)
		}
		s.pass(time.Second)
		if r := s.get(again); r.Status != faas.EventDone || r.Origin.Kind != faas.OriginReplay {
			s.t.Errorf("%+v", r)
		}
		if _, err := s.async.Replay(ctx, async.Replay{Scope: scope, RequestID: done, Payload: []byte("{")}); !faas.IsCode(err, faas.CodeInvalidBody) {
			s.t.Errorf("error %v", err)
		}
	})
}

// Of more dead letters than one redrive sends, those that ended first go first and the
// rest the next time.
func TestRedriveOfVeryMany(t *testing.T) {
	const most, more = 20, 3
	play(t, func(o *async.Options) { o.Policy.Redriven = most }, func(s *scene) {
		none := 0
		bad, good := s.deploy("bad", failing), s.deploy("good", nil)
		s.shelf.configure(bad, faas.AsyncConfig{Retries: &none})
		for range most + more {
			s.send(bad, "")
			s.pass(time.Second)
		}
		for _, want := range []struct{ first, count int }{{1, most}, {most + 1, more}, {0, 0}} {
			sent, err := s.async.Redrive(s.t.Context(), async.Redrive{Scope: scope, Filter: async.Filter{Function: bad}, To: faas.FunctionRef{ID: good}})
			if err != nil || len(sent) != want.count {
				s.t.Errorf("%d redriven, not %d: %v", len(sent), want.count, err)
			}
			for i, r := range sent {
				if r.Err != nil || r.From != requestID(want.first+i) {
					s.t.Errorf("number %d is %s: %v", i, r.From, r.Err)
				}
			}
			s.pass(time.Second)
		}
	})
}

func TestListPagesThroughAll(t *testing.T) {
	play(t, nil, func(s *scene) {
		none := 0
		f, g, bad := s.deploy("f", nil), s.deploy("g", nil), s.deploy("bad", failing)
		s.shelf.configure(bad, faas.AsyncConfig{Retries: &none})
		s.quota.Configure(accountOf(g), off(g))
		for range 20 {
			s.send(f, "")
			s.send(g, "")
			s.send(bad, "")
		}
		s.pass(time.Minute)
		list := func(filter async.Filter) (all []faas.EventRecord) {
			filter.Function.Scope, filter.Max = scope, 7
			for {
				page, err := s.async.List(s.t.Context(), filter)
				if err != nil {
					s.t.Fatal(err)
				}
				all = append(all, page.Events...)
				if filter.Marker = page.Next; filter.Marker == "" {
					return all
				}
			}
		}
		for name, tt := range map[string]struct {
			filter async.Filter
			want   int
		}{
			"all":       {async.Filter{}, 60},
			"one":       {async.Filter{Function: faas.FunctionID{Name: "f"}}, 20},
			"waiting":   {async.Filter{Statuses: []faas.EventStatus{faas.EventQueued}}, 20},
			"failed":    {async.Filter{Statuses: []faas.EventStatus{faas.EventFailed}}, 20},
			"ended":     {async.Filter{Statuses: []faas.EventStatus{faas.EventFailed, faas.EventDone}}, 40},
			"reason":    {async.Filter{Reason: faas.DropRetries}, 20},
			"too early": {async.Filter{Until: s.began}, 0},
			"since":     {async.Filter{From: s.began}, 60},
			"too late":  {async.Filter{From: time.Now()}, 0},
		} {
			got := list(tt.filter)
			seen := map[string]bool{}
			for _, r := range got {
				seen[r.RequestID] = true
			}
			if len(got) != tt.want || len(seen) != tt.want {
				s.t.Errorf("%s: %d events, %d different ones, want %d", name, len(got), len(seen), tt.want)
			}
		}
		if _, err := s.async.List(s.t.Context(), async.Filter{Marker: "nonsense"}); !faas.IsCode(err, faas.CodeInvalid) {
			s.t.Errorf("error %v", err)
		}
		other := scope
		other.Region = "eu-central-1"
		if page, err := s.async.List(s.t.Context(), async.Filter{Function: faas.FunctionID{Scope: other}}); err != nil || len(page.Events) != 0 {
			s.t.Errorf("of another region: %+v, %v", page, err)
		}
	})
}
