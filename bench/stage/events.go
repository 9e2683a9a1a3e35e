package stage

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"hearth/bench/load"
)

// SmallEvent is an event of 256 bytes, which the measured function takes too.
var SmallEvent = fmt.Appendf(nil, `{"name":"Ada","items":[3,1,4,1,5,9,2,6,5,3,5,8,9,7,9,3],"note":"%s"}`, strings.Repeat("x", 256-66))

// EventTarget is the Lambda API's Invoke of a function with an event, which is
// answered when the event is on disk.
func (h *Hearth) EventTarget(function string) load.Target {
	return load.Target{
		Address: h.Address(), Status: http.StatusAccepted,
		Request: load.Post(h.Address(), InvokePath(function), SmallEvent, "X-Amz-Invocation-Type: Event"),
	}
}

// Reserve sets how many invocations of a function run at once, and for it alone.
func (h *Hearth) Reserve(ctx context.Context, function string, executions int) error {
	amount := struct {
		Unit  string `json:"unit"`
		Value int    `json:"value"`
	}{"executions", executions}
	return h.Control(ctx, http.MethodPut, "functions/"+function+"/quota/reserved", amount, nil)
}

// Hold keeps the events of a function in its queue: with a reservation of nothing
// it is switched off. Free lets them go.
func (h *Hearth) Hold(ctx context.Context, function string) error { return h.Reserve(ctx, function, 0) }

// Free ends Hold.
func (h *Hearth) Free(ctx context.Context, function string) error {
	return h.Control(ctx, http.MethodDelete, "functions/"+function+"/quota/reserved", nil, nil)
}

// Queued counts the events of all functions that have no outcome yet, and of how
// many functions they are.
func (h *Hearth) Queued(ctx context.Context) (events, functions int, err error) {
	var queues []struct {
		Waiting int `json:"waiting"`
		Running int `json:"running"`
	}
	err = h.Control(ctx, http.MethodGet, "queues", nil, &queues)
	for _, q := range queues {
		if n := q.Waiting + q.Running; n > 0 {
			events, functions = events+n, functions+1
		}
	}
	return events, functions, err
}

// EventRecord is what Hearth tells of one event.
type EventRecord struct {
	RequestID string    `json:"requestId"`
	Status    string    `json:"status"`
	Accepted  time.Time `json:"accepted"`
	Ended     time.Time `json:"ended"`
	Attempts  []struct {
		Began time.Time `json:"began"`
		Ended time.Time `json:"ended"`
	} `json:"attempts"`
}

// Send sends one event and returns its record when it is done.
func (h *Hearth) Send(ctx context.Context, function string) (r EventRecord, err error) {
	id, err := h.Accept(ctx, function)
	if err != nil {
		return r, err
	}
	return h.Outcome(ctx, id)
}

// Accept sends one event and returns its id when it is on disk.
func (h *Hearth) Accept(ctx context.Context, function string) (id string, err error) {
	var accepted EventRecord
	err = h.Control(ctx, http.MethodPost, "functions/"+function+"/events", rawJSON(SmallEvent), &accepted)
	return accepted.RequestID, err
}

// Outcome waits until an event is done and returns its record. One that failed, or
// was tried twice, is an error.
func (h *Hearth) Outcome(ctx context.Context, id string) (r EventRecord, err error) {
	err = Until(ctx, "the outcome of event "+id, func() (bool, error) {
		r = EventRecord{}
		err := h.Control(ctx, http.MethodGet, "events/"+id, nil, &r)
		return !r.Ended.IsZero(), err
	})
	if err == nil && (r.Status != "done" || len(r.Attempts) != 1) {
		err = fmt.Errorf("event %s is %s after %d attempts", r.RequestID, r.Status, len(r.Attempts))
	}
	return r, err
}

// rawJSON is sent as it is.
type rawJSON []byte

// MarshalJSON implements json.Marshaler.
func (r rawJSON) MarshalJSON() ([]byte, error) { return r, nil }

// Unsuccessful says whether some event of a function ended otherwise than well.
func (h *Hearth) Unsuccessful(ctx context.Context, function string) (bool, error) {
	for _, status := range []string{"failed", "aborted", "expired"} {
		var page struct {
			Events []EventRecord `json:"events"`
		}
		if err := h.Control(ctx, http.MethodGet, "functions/"+function+"/events?max=1&status="+status, nil, &page); err != nil {
			return false, err
		}
		if len(page.Events) > 0 {
			return true, nil
		}
	}
	return false, nil
}

// Echo starts a bare HTTP server that answers 202 with what it got.
func (s *Stage) Echo(ctx context.Context) (*Bare, error) {
	binary := filepath.Join(s.Dir, "echo")
	if err := build(ctx, filepath.Join(s.Source, "peers", "go", "echo"), binary); err != nil {
		return nil, err
	}
	c, err := Spawn(ctx, Command{Path: binary})
	if err != nil {
		return nil, err
	}
	s.onClose(c.Kill)
	address := net.JoinHostPort("127.0.0.1", c.Line)
	return &Bare{c, load.Target{Address: address, Request: load.Post(address, "/", SmallEvent), Status: http.StatusAccepted}}, nil
}

// EngineBench runs a benchmark of the engine's own test code and returns the
// numbers that it reports, by unit.
func (s *Stage) EngineBench(ctx context.Context, pattern string, d time.Duration) (map[string]float64, error) {
	test := exec.CommandContext(ctx, "go", "test", "-run", "^$", "-bench", pattern, "-benchtime", d.String(), "./engine/nats")
	test.Dir = filepath.Dir(filepath.Clean(s.Source))
	test.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := test.CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("go test -bench %s: %w\n%s", pattern, err, out)
	}
	return benchLine(string(out))
}

var errNoBench = errors.New("there is no such benchmark")

// benchLine reads the first line of go test -bench: a name, a count, and numbers
// each with its unit.
func benchLine(text string) (map[string]float64, error) {
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) < 4 || !strings.HasPrefix(fields[0], "Benchmark") {
			continue
		}
		numbers := map[string]float64{}
		for i := 2; i+1 < len(fields); i += 2 {
			v, err := strconv.ParseFloat(fields[i], 64)
			if err != nil {
				return nil, fmt.Errorf("a benchmark says %.200q: %w", line, err)
			}
			numbers[fields[i+1]] = v
		}
		return numbers, nil
	}
	return nil, errNoBench
}
