package load

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// target is a server of the test's own and its request.
func target(t *testing.T, h http.HandlerFunc) Target {
	t.Helper()
	before := runtime.NumGoroutine()
	server := httptest.NewServer(h)
	t.Cleanup(func() {
		server.Close()
		goneAgain(t, before)
	})
	address := strings.TrimPrefix(server.URL, "http://")
	return Target{Address: address, Request: Post(address, "/p", []byte(`{"a":1}`)), Timeout: time.Minute}
}

// goneAgain waits until there are no more goroutines than there were.
func goneAgain(t *testing.T, before int) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for runtime.NumGoroutine() > before && time.Now().Before(deadline) {
		runtime.Gosched() // they were told; nothing says when the last is gone
	}
	if now := runtime.NumGoroutine(); now > before {
		t.Errorf("%d goroutines before, %d after", before, now)
	}
}

func TestCount(t *testing.T) {
	var calls atomic.Int64
	tg := target(t, func(w http.ResponseWriter, r *http.Request) {
		calls.Add(1)
		if r.URL.Path != "/p" || r.Method != http.MethodPost || r.ContentLength != 7 {
			t.Errorf("%s %s of %d bytes", r.Method, r.URL, r.ContentLength)
		}
		_, _ = w.Write([]byte("yes"))
	})
	tg.Check = func(body []byte) error {
		if string(body) != "yes" {
			t.Errorf("the body is %q", body)
		}
		return nil
	}
	r, err := Count(t.Context(), tg, 3, 20)
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Samples) != 20 || calls.Load() != 20 {
		t.Errorf("%d samples of %d calls", len(r.Samples), calls.Load())
	}
	for _, s := range r.Samples {
		if s.Scheduled > s.Sent || s.Sent > s.Done || s.Done > r.Elapsed {
			t.Errorf("sample %+v of a run of %v", s, r.Elapsed)
		}
	}
}

// TestClosed: as many requests are under way as there are connections.
func TestClosed(t *testing.T) {
	const connections = 4
	var under, peak atomic.Int64
	all := make(chan struct{})
	tg := target(t, func(w http.ResponseWriter, _ *http.Request) {
		if n := under.Add(1); n == connections {
			if peak.Swap(n) == 0 {
				close(all)
			}
		}
		<-all
		under.Add(-1)
		_, _ = w.Write([]byte("{}"))
	})
	r, err := Closed(t.Context(), tg, connections, 50*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Samples) < connections || r.Rate() <= 0 {
		t.Errorf("%d samples, %v/s", len(r.Samples), r.Rate())
	}
}

// TestOpenCountsFromTheSchedule: a server that stalls once has the wait of every
// request behind it in its numbers. A client that only looked at its own requests
// would report one slow answer.
func TestOpenCountsFromTheSchedule(t *testing.T) {
	began := time.Now()
	var stalled time.Duration
	var calls atomic.Int64
	tg := target(t, func(w http.ResponseWriter, _ *http.Request) {
		if calls.Add(1) == 1 {
			timer := time.NewTimer(100 * time.Millisecond)
			<-timer.C
			stalled = time.Since(began)
		}
		_, _ = w.Write([]byte("{}"))
	})
	r, err := Open(t.Context(), tg, 1, Burst(10))
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Samples) != 10 || stalled < 100*time.Millisecond {
		t.Fatalf("%d samples, stalled for %v", len(r.Samples), stalled)
	}
	for i, latency := range r.Latencies() {
		if latency < 100*time.Millisecond {
			t.Errorf("request %d behind the stall has a latency of %v", i, latency)
		}
		if late := r.Samples[i].Late(); i > 0 && late < 100*time.Millisecond {
			t.Errorf("request %d was sent %v late", i, late)
		}
	}
}

func TestOpenKeepsTheSchedule(t *testing.T) {
	tg := target(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("{}")) })
	schedule := Poisson(500, 100*time.Millisecond, 7)
	r, err := Open(t.Context(), tg, 4, schedule)
	if err != nil {
		t.Fatal(err)
	}
	due := map[time.Duration]bool{}
	for _, at := range schedule {
		due[at] = true
	}
	for _, s := range r.Samples {
		if !due[s.Scheduled] || s.Sent < s.Scheduled {
			t.Errorf("sample %+v: sent before its time, or at none", s)
		}
		delete(due, s.Scheduled)
	}
	if len(due) > 0 {
		t.Errorf("%d arrivals were never sent", len(due))
	}
}

// TestFailures: no rate and no latency comes out of a run with a wrong answer.
func TestFailures(t *testing.T) {
	for _, c := range []struct {
		name  string
		serve http.HandlerFunc
		want  string
	}{
		{"status", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "busy", http.StatusTooManyRequests) }, "429"},
		{"function error", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-Amz-Function-Error", "Unhandled")
			_, _ = w.Write([]byte("{}"))
		}, "function error true"},
		{"wrong body", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("no")) }, "refused"},
		{"chunked", func(w http.ResponseWriter, _ *http.Request) { w.(http.Flusher).Flush() }, "Content-Length"},
		{"hung up", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "EOF"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var calls atomic.Int64
			tg := target(t, func(w http.ResponseWriter, r *http.Request) {
				if calls.Add(1) == 3 {
					c.serve(w, r)
					return
				}
				_, _ = w.Write([]byte("yes"))
			})
			tg.Check = func(body []byte) error {
				if string(body) == "yes" {
					return nil
				}
				return errors.New("refused")
			}
			_, err := Count(t.Context(), tg, 2, 100)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("the error is %v", err)
			}
			if n := calls.Load(); n == 100 {
				t.Errorf("the run went on to its end")
			}
		})
	}
}

// TestStatus: another status may be the right one, and then 200 is wrong.
func TestStatus(t *testing.T) {
	tg := target(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Kind") != "Event" {
			t.Errorf("headers %v", r.Header)
		}
		w.WriteHeader(http.StatusAccepted)
	})
	tg.Request = Post(tg.Address, "/p", []byte("{}"), "X-Kind: Event")
	if _, err := Count(t.Context(), tg, 1, 1); err == nil || !strings.Contains(err.Error(), "202") {
		t.Errorf("the error is %v", err)
	}
	tg.Status = http.StatusAccepted
	if _, err := Count(t.Context(), tg, 1, 2); err != nil {
		t.Error(err)
	}
}

func TestNobodyListens(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	_ = listener.Close()
	before := runtime.NumGoroutine()
	if _, err := Open(t.Context(), Target{Address: address}, 2, Burst(2)); err == nil {
		t.Error("no error")
	}
	goneAgain(t, before)
}

func TestCancel(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	tg := target(t, func(w http.ResponseWriter, _ *http.Request) {
		cancel()
		_, _ = w.Write([]byte("{}"))
	})
	if _, err := Closed(ctx, tg, 2, time.Hour); !errors.Is(err, context.Canceled) {
		t.Errorf("closed loop: %v", err)
	}
	tg = target(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("{}")) })
	if _, err := Open(ctx, tg, 2, Schedule{time.Hour}); !errors.Is(err, context.Canceled) {
		t.Errorf("open loop: %v", err)
	}
}

func TestPoisson(t *testing.T) {
	s := Poisson(1000, 10*time.Second, 1)
	if n := len(s); math.Abs(float64(n)-10000) > 500 { // five standard deviations
		t.Errorf("%d arrivals in 10 s at 1,000/s", n)
	}
	gaps := 0.0
	for i := 1; i < len(s); i++ {
		if s[i] < s[i-1] {
			t.Fatalf("arrival %d is before the one before it", i)
		}
		if s[i]-s[i-1] > time.Millisecond {
			gaps++
		}
	}
	if share := gaps / float64(len(s)); math.Abs(share-1/math.E) > 0.03 {
		t.Errorf("%.3f of the gaps are longer than their mean, not 1/e", share)
	}
	again := Poisson(1000, 10*time.Second, 1)
	if len(again) != len(s) || again[17] != s[17] {
		t.Error("the same seed gives other arrivals")
	}
	if n := len(Poisson(0, time.Second, 1)); n != 0 {
		t.Errorf("%d arrivals at no rate", n)
	}
}

func TestSummaries(t *testing.T) {
	var d []time.Duration
	for i := 1000; i >= 1; i-- {
		d = append(d, time.Duration(i))
	}
	if got, want := Summarize(d), (Summary{1000, 1, 500, 900, 990, 999, 1000}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if got := Summarize([]time.Duration{7}); got != (Summary{1, 7, 7, 7, 7, 7, 7}) {
		t.Errorf("of one: %+v", got)
	}
	if Summarize(nil) != (Summary{}) || SpreadOf(nil) != (Spread{}) {
		t.Error("of none")
	}
	if got := SpreadOf([]float64{4, 1, 3, 2}); got != (Spread{2.5, 1, 4}) {
		t.Errorf("spread %+v", got)
	}
}

// TestKeepTime: arrivals that are overdue are passed on at once, and none after
// the end.
func TestKeepTime(t *testing.T) {
	due := make(chan time.Duration, 4)
	keepTime(t.Context(), time.Now().Add(-time.Hour), Schedule{0, time.Minute, 2 * time.Minute}, due)
	if len(due) != 3 {
		t.Errorf("%d arrivals", len(due))
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	keepTime(ctx, time.Now(), Schedule{0}, due)
	if len(due) != 3 {
		t.Error("an arrival after the end")
	}
}

func FuzzReadAnswer(f *testing.F) {
	f.Add([]byte("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"))
	f.Add([]byte("HTTP/1.1 200 OK\ncontent-length: 0\nX-AMZ-Function-error: Unhandled\n\n"))
	f.Add([]byte("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 999999999999\r\n\r\n"))
	f.Add([]byte("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"))
	f.Add([]byte("HTTP/1.0 200\r\n\r\n"))
	f.Fuzz(func(t *testing.T, wire []byte) {
		a, err := readAnswer(bufio.NewReaderSize(bytes.NewReader(wire), 256), nil)
		if err != nil {
			return
		}
		// What is accepted, Go's own client reads alike, if it accepts it at all.
		r, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(wire)), nil)
		if err != nil {
			return
		}
		defer r.Body.Close()
		if r.StatusCode != a.status {
			t.Errorf("status %d, net/http reads %d", a.status, r.StatusCode)
		}
		if len(a.body) > len(wire) || r.ContentLength >= 0 && r.StatusCode != 204 && r.StatusCode != 304 && r.ContentLength != int64(len(a.body)) {
			t.Errorf("%d bytes of body, net/http reads %d", len(a.body), r.ContentLength)
		}
	})
}
