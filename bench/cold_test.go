package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"hearth/bench/record"
	"hearth/bench/report"
	"hearth/bench/stage"
)

// told is a server that answers as Hearth does and tells of each call that it went
// the next of the ways.
func told(t *testing.T, start string, ways ...string) *stage.Hearth {
	t.Helper()
	calls := 0
	mux := http.NewServeMux()
	mux.HandleFunc("POST /2015-03-31/functions/{name}/invocations", func(w http.ResponseWriter, _ *http.Request) {
		calls++
		fmt.Fprint(w, `{"greeting":"hello, Ada","count":16,"sum":80}`)
	})
	mux.HandleFunc("GET /hearth/v1/functions/{name}", func(w http.ResponseWriter, _ *http.Request) {
		var d stage.Description
		if calls > 0 {
			d.Recent = []stage.Report{{RequestID: fmt.Sprint(calls), Start: start,
				Timeline: stage.Timeline{Init: time.Duration(calls), Way: ways[(calls-1)%len(ways)]}}}
		}
		_ = json.NewEncoder(w).Encode(d)
	})
	mux.HandleFunc("GET /hearth/v1/top", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `{"cells":[{"parked":2,"wanted":2}]}`)
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return stage.At(server.URL)
}

func coldStarter(h *stage.Hearth) *starter {
	r := &run{Options: Options{Progress: lines(func(string) {})}}
	return &starter{m: &measurement{run: r, record: &record.Record{}}, server: h, names: []string{"f"}, last: map[string]string{}}
}

// TestColdCountsItsWayOnly: a start that went another way than the side is about is
// shown, and not counted.
func TestColdCountsItsWayOnly(t *testing.T) {
	c := coldStarter(told(t, "cold", stage.WayCell, stage.WayEmpty, stage.WayCell))
	if err := c.coldCell(t.Context(), "node", poolHit, 1, 6, hitWays, c.atLevel); err != nil {
		t.Fatal(err)
	}
	r := c.m.record
	if n := r.N("node", poolHit); n != 4 {
		t.Errorf("%d starts count", n)
	}
	if n := r.N("node", poolHit+", but went the way 'empty'"); n != 2 {
		t.Errorf("%d starts are shown", n)
	}
	for _, s := range r.Of("node", poolHit) {
		if len(s.Timelines) != len(s.Samples) || s.Timelines[0].Way != stage.WayCell || s.Samples[0].Latency() <= 0 {
			t.Errorf("%+v", s)
		}
	}
	text := (&report.Report{Sections: []report.Section{coldSection(r)}}).Markdown()
	if !strings.Contains(text, "but went the way 'empty'") {
		t.Errorf("the table does not show them:\n%s", text)
	}
}

func TestColdRefusesWarm(t *testing.T) {
	c := coldStarter(told(t, "warm", ""))
	if err := c.coldCell(t.Context(), "node", poolHit, 1, 1, anyWay, c.atLevel); err == nil || !strings.Contains(err.Error(), errWarm.Error()) {
		t.Errorf("the error is %v", err)
	}
}

func TestParts(t *testing.T) {
	s := &record.Series{Samples: []record.Sample{record.Lasting(100 * time.Millisecond)},
		Timelines: []stage.Timeline{{Sandbox: 10 * time.Millisecond, Runtime: 20 * time.Millisecond, Init: 30 * time.Millisecond, Handler: 5 * time.Millisecond}}}
	want := []string{"0.00", "10.00", "20.00", "0.00", "30.00", "5.00", "0.00", "35.00"}
	if got := partsOf([]*record.Series{s}); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%v, not %v", got, want)
	}
	if partsOf([]*record.Series{{Samples: s.Samples}}) != nil {
		t.Error("parts of a side that tells none")
	}
}

// TestRowEnds: a row that does not end is ended at its limit and reported as
// failed; what is absent is not a failure.
func TestRowEnds(t *testing.T) {
	r := &run{Options: Options{Out: t.TempDir(), Progress: lines(func(string) {})}}
	hangs := row{name: "hangs", limit: time.Millisecond, measure: func(ctx context.Context, _ *measurement) error {
		<-ctx.Done()
		return context.Cause(ctx)
	}}
	if whole, err := r.row(t.Context(), hangs); whole || err != nil {
		t.Errorf("whole %t, error %v", whole, err)
	}
	if whole, err := r.row(t.Context(), row{name: "needs", limit: time.Minute, needs: []string{"a-setting"}}); !whole || err != nil {
		t.Errorf("whole %t, error %v", whole, err)
	}
	all, err := record.ReadAll(r.Out + "/raw")
	if err != nil || !strings.Contains(all["hangs"].Failure, errLimit.Error()) || !strings.Contains(all["needs"].Absent, "--a-setting") {
		t.Errorf("%+v, %v", all, err)
	}
}
