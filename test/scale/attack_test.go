package scale

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// long says that the attacks are to last, HEARTH_LONG=1.
func long() bool { return os.Getenv("HEARTH_LONG") != "" }

// lasting is how long an attack goes on.
func lasting() time.Duration {
	if long() {
		return 60 * time.Second
	}
	return 5 * time.Second
}

// seeded returns the random numbers of an attack. HEARTH_SEED repeats them.
func seeded(t *testing.T) *random {
	t.Helper()
	seed := rand.Uint64() >> 1
	if text := os.Getenv("HEARTH_SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("seed %d", seed)
		}
	})
	return &random{rng: rand.New(rand.NewPCG(seed, 0))}
}

type random struct {
	mu  sync.Mutex
	rng *rand.Rand
}

func (r *random) upTo(d time.Duration) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	return time.Duration(r.rng.Int64N(int64(d)))
}

// attack is calls that go on until its time is over.
type attack struct {
	*world
	t      *testing.T
	random *random
	end    time.Time
	wg     sync.WaitGroup

	mu      sync.Mutex
	ran     map[string][]result // by function
	failed  map[string]int      // function errors, by function and type
	refused map[string]int      // by function and limit
	other   map[string]int      // any other answer
}

func (w *world) attack(t *testing.T, d time.Duration) *attack {
	return &attack{world: w, t: t, random: seeded(t), end: time.Now().Add(d),
		ran: map[string][]result{}, failed: map[string]int{}, refused: map[string]int{}, other: map[string]int{}}
}

func (a *attack) over() bool { return !time.Now().Before(a.end) }

// calmly is the pause of a caller who was refused.
const calmly = 20 * time.Millisecond

// callers has n callers call a function, or one of its aliases as name:alias, again
// and again. Of their calls the given part hang up, within half a second.
func (a *attack) callers(n int, function string, hold time.Duration, hangUp float64) {
	for range n {
		a.wg.Go(func() {
			for !a.over() {
				ctx, cancel := context.Background(), func() {}
				if hangUp > 0 && a.random.upTo(time.Second) < time.Duration(hangUp*float64(time.Second)) {
					ctx, cancel = context.WithTimeout(ctx, time.Millisecond+a.random.upTo(500*time.Millisecond))
				}
				got := a.post(ctx, function, fmt.Sprintf(`{"Hold":%d}`, hold.Milliseconds()))
				cancel()
				if a.note(function, got); got != nil && got.refusal.Limit != "" {
					<-time.After(calmly)
				}
			}
		})
	}
}

// post is an invocation by a caller who may hang up; nil where that one did.
func (a *attack) post(ctx context.Context, function, body string) *answer {
	name, qualifier, _ := strings.Cut(function, ":")
	url := a.URL + "/hearth/v1/functions/" + name + "/invoke?qualifier=" + qualifier
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		a.t.Error(err)
		return nil
	}
	res, err := a.client.Do(req)
	if err != nil {
		if ctx.Err() == nil {
			a.t.Errorf("%s: %v", function, err)
		}
		return nil
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		return nil
	}
	var doc struct {
		FunctionError string
		Payload       json.RawMessage
		Error         struct{ Refusal refusal }
	}
	if err := json.Unmarshal(raw, &doc); err != nil {
		a.t.Errorf("%v in %.300s", err, raw)
	}
	out := &answer{status: res.StatusCode, body: string(raw), refusal: doc.Error.Refusal}
	if doc.FunctionError != "" {
		var fault struct{ ErrorType string }
		_ = json.Unmarshal(doc.Payload, &fault) // "" where the document is the function's own
		out.failed = doc.FunctionError + " " + fault.ErrorType
	} else if res.StatusCode == http.StatusOK {
		_ = json.Unmarshal(doc.Payload, &out.result) // zero where no holder answered
	}
	return out
}

func (a *attack) note(function string, got *answer) {
	if got == nil {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case got.result.Instance != "":
		a.ran[function] = append(a.ran[function], got.result)
	case got.failed != "":
		a.failed[function+" "+got.failed]++
	case got.refusal.Limit != "":
		a.refused[function+" "+got.refusal.Limit]++
	default:
		a.other[fmt.Sprintf("%s %d %.200s", function, got.status, got.body)]++
	}
}

// again runs an operation until the time is over, with a pause after each.
func (a *attack) again(pause time.Duration, do func(round int)) {
	a.wg.Go(func() {
		tick := time.NewTicker(pause)
		defer tick.Stop()
		for round := 0; !a.over(); round++ {
			do(round)
			<-tick.C
		}
	})
}

// watchAPI measures the answers of the API itself while the attack goes on.
func (a *attack) watchAPI() *atomic.Int64 {
	var slowest atomic.Int64
	a.again(100*time.Millisecond, func(int) {
		began := time.Now()
		a.get("/hearth/v1/quotas", &struct{}{})
		slowest.Store(max(slowest.Load(), int64(time.Since(began))))
	})
	return &slowest
}

func (w *attack) get(path string, into any) {
	if err := w.world.get(path, into); err != nil {
		w.t.Error(err)
	}
}

func (w *world) get(path string, into any) error {
	res, err := w.client.Get(w.URL + path)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", path, res.Status)
	}
	return json.NewDecoder(res.Body).Decode(into)
}

// most is the most calls that were inside their handlers at one moment.
func most(ran []result) int {
	type edge struct {
		at   int64
		step int
	}
	var edges []edge
	for _, r := range ran {
		edges = append(edges, edge{r.Begun, 1}, edge{r.Ended, -1})
	}
	slices.SortFunc(edges, func(a, b edge) int {
		if a.at != b.at {
			return int(a.at - b.at)
		}
		return a.step - b.step // both are cut to the millisecond: ends come first
	})
	now, peak := 0, 0
	for _, e := range edges {
		now += e.step
		peak = max(peak, now)
	}
	return peak
}

// levels are one gauge as 'hearth top' has it.
type levels struct{ Now, Minute, LastMinute int }

type load struct{ Starting, Idle, Busy, Draining, Provisioned, InFlight, Waiting levels }

type topDocument struct {
	Load      load
	Functions []struct {
		Name string
		Load load
	}
}

type quotaDocument struct {
	Use       struct{ MemoryMB, Executions, Misuses int }
	Functions []struct {
		Name string
		Use  struct{ Executions, Instances, MemoryMB, Provisioned int }
	}
}

// settled waits until nothing is in use by the quotas nor in flight by the gauges,
// and fails the test where that does not come about.
func (w *world) settled(t *testing.T) {
	t.Helper()
	deadline := time.Now().Add(60 * time.Second)
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for ; ; <-tick.C {
		var quotas quotaDocument
		var top topDocument
		if err := w.get("/hearth/v1/quotas", &quotas); err != nil {
			t.Fatal(err)
		}
		if err := w.get("/hearth/v1/top", &top); err != nil {
			t.Fatal(err)
		}
		if quotas.Use.Misuses != 0 {
			t.Fatalf("%d permits were given back twice", quotas.Use.Misuses)
		}
		rest := quotas.Use.Executions == 0 && quotas.Use.MemoryMB == 0
		for _, f := range quotas.Functions {
			rest = rest && f.Use.Executions == 0 && f.Use.Instances == 0 && f.Use.MemoryMB == 0
		}
		l := top.Load
		if rest && l.Starting.Now == 0 && l.Busy.Now == 0 && l.Draining.Now == 0 && l.InFlight.Now == 0 && l.Waiting.Now == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("not at rest: quotas %+v, load %+v", quotas, l)
		}
	}
}

// maxima returns the most of a function's gauge in this minute and the one before.
func (w *world) maxima(t *testing.T, function string, of func(load) levels) int {
	t.Helper()
	var top topDocument
	if err := w.get("/hearth/v1/top", &top); err != nil {
		t.Fatal(err)
	}
	for _, f := range top.Functions {
		if f.Name == function {
			l := of(f.Load)
			return max(l.Minute, l.LastMinute)
		}
	}
	t.Errorf("top does not show %s", function)
	return 0
}
