package crash

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"hearth/engine"
	"hearth/engine/datadir"
	"hearth/engine/nats"
	"hearth/faas"
	"hearth/internal/seeds"
)

// points are where the server may be killed; "" is at a random moment.
var points = []string{"accept", "accepted", "fetched", "begun", "ran", "outcome", "settle", "settled", "destination", "delivered", ""}

const (
	callers = 4  // that send at once
	each    = 30 // events that a caller sends in one life
)

// world is what a run knows: what was accepted, and what was seen to happen.
type world struct {
	t      *testing.T
	binary string
	data   string
	file   string // where functions note what they do
	kills  int

	mu       sync.Mutex
	random   *rand.Rand
	accepted map[string]string // request id → function
	sent     int
	unknown  int            // sent, and the connection ended before an answer
	posted   map[string]int // records that the endpoint took, by request id
}

// TestNothingAcceptedIsLost kills the server again and again while it accepts and
// runs events, and its clock jumps. Then each event that was accepted ran, has one outcome, and its
// destination was told; and what ran twice was cut off by a kill.
func TestNothingAcceptedIsLost(t *testing.T) {
	w := newWorld(t, t.TempDir())
	lives := len(points)
	if seeds.Long() {
		lives *= 20
	}
	for n := range lives {
		w.live(points[n%len(points)])
	}
	w.finish()
	w.check()
}

// newWorld deploys the functions in a new data directory.
func newWorld(t *testing.T, data string) *world {
	binary, err := build()
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, binary: binary, data: data, file: filepath.Join(t.TempDir(), "notes"),
		random: rand.New(rand.NewPCG(seeds.One(t), 0)), accepted: map[string]string{}, posted: map[string]int{}}
	endpoint := httptest.NewServer(http.HandlerFunc(w.endpoint))
	t.Cleanup(endpoint.Close)
	deploy(t, w.binary, w.data, endpoint.URL)
	return w
}

// wrongClock is by how much a life's clock is wrong, and where it jumps to: less than
// the events' greatest age in all, beyond which they would rightly not run.
func (w *world) wrongClock() string {
	jump := func() time.Duration { return time.Duration(w.random.IntN(5*3600)-5*1800) * time.Second }
	return fmt.Sprintf("%v,%v,%v", jump(), jump(), jump())
}

// endpoint is the destination of failures; now and then it is out of order.
func (w *world) endpoint(res http.ResponseWriter, req *http.Request) {
	var record struct {
		RequestContext struct{ RequestID, Condition string }
	}
	body, err := io.ReadAll(req.Body)
	if err == nil {
		err = json.Unmarshal(body, &record)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.random.IntN(8) == 0 {
		res.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	if err != nil || record.RequestContext.Condition != "RetriesExhausted" {
		w.t.Errorf("a record that is none: %s", body)
	}
	w.posted[record.RequestContext.RequestID]++
}

// live is one life of the server, which ends at a point.
func (w *world) live(point string) {
	w.mu.Lock()
	trap, patience := "", time.Duration(50+w.random.IntN(1000))*time.Millisecond
	if point != "" {
		trap, patience = fmt.Sprintf("%s:%d", point, 1+w.random.IntN(callers*each/2)), 3*time.Second
	}
	wrong := w.wrongClock()
	w.mu.Unlock()
	s := start(w.t, w.binary, w.data, trap, wrong)
	if url := s.ready(w.t); url != "" {
		w.load(s, url, patience)
	}
	s.kill()
	w.kills++
}

// load sends events until the server is dead or patience ends.
func (w *world) load(s *server, url string, patience time.Duration) {
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	w.burst(ctx, url)
	select {
	case <-s.exited:
	case <-ctx.Done():
	}
}

// burst sends events until all are answered, the server is dead or ctx ends.
func (w *world) burst(ctx context.Context, url string) {
	client := &http.Client{Timeout: bounded, Transport: &http.Transport{MaxIdleConnsPerHost: callers}}
	defer client.CloseIdleConnections()
	var sending sync.WaitGroup
	for range callers {
		sending.Go(func() {
			for range each {
				if !w.send(ctx, client, url) {
					return
				}
			}
		})
	}
	sending.Wait()
}

// send sends one event; false where the server does not answer any more.
func (w *world) send(ctx context.Context, client *http.Client, url string) bool {
	w.mu.Lock()
	w.sent++
	n, name := w.sent, "ok"
	switch w.random.IntN(16) {
	case 0, 1, 2:
		name = "bad"
	case 3:
		name = "poison"
	}
	w.mu.Unlock()
	payload, err := json.Marshal(map[string]any{"n": n, "file": w.file})
	if err != nil {
		w.t.Error(err)
		return false
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url+"/2015-03-31/functions/"+name+"/invocations", bytes.NewReader(payload))
	if err != nil {
		w.t.Error(err)
		return false
	}
	req.Header.Set("X-Amz-Invocation-Type", "Event")
	res, err := client.Do(req)
	w.mu.Lock()
	defer w.mu.Unlock()
	if err != nil {
		w.unknown++
		return false
	}
	_ = res.Body.Close()
	id := res.Header.Get("X-Amzn-Requestid")
	if res.StatusCode != http.StatusAccepted || id == "" {
		w.t.Errorf("answered %d, request %q", res.StatusCode, id)
		return false
	}
	w.accepted[id] = name
	return true
}

// call invokes a function and waits for its answer, at most for so long.
func (w *world) call(url string, limit time.Duration) {
	payload := strings.NewReader(`{"n":"called","file":"` + os.DevNull + `"}`)
	client := &http.Client{Timeout: limit}
	defer client.CloseIdleConnections()
	res, err := client.Post(url+"/2015-03-31/functions/ok/invocations", "application/json", payload)
	if err != nil {
		w.t.Errorf("a call: %v", err)
		return
	}
	defer res.Body.Close()
	if body, err := io.ReadAll(res.Body); err != nil || string(body) != `"called"` {
		w.t.Errorf("a call is answered %s %s, %v", res.Status, body, err)
	}
}

// finish lets a server live until everything that was accepted has happened.
func (w *world) finish() {
	s := start(w.t, w.binary, w.data, "", "")
	url := s.ready(w.t)
	if url == "" {
		w.t.Fatalf("the last server died\n%s", &s.log)
	}
	deadline := time.Now().Add(bounded)
	for time.Now().Before(deadline) && (w.missing(nil) > 0 || w.waiting(url)) {
		select {
		case <-time.After(50 * time.Millisecond): // of another process, which has a clock of its own
		case <-s.exited:
			w.t.Fatalf("the last server died\n%s", &s.log)
		}
	}
	s.stop(w.t)
}

// waiting reports whether a server has something in its queues: events that were
// accepted without an answer, and outcomes that the endpoint has not taken yet, too.
func (w *world) waiting(url string) bool {
	res, err := http.Get(url + "/hearth/v1/queues")
	if err != nil {
		return true // the loop sees the server's end
	}
	defer res.Body.Close()
	var queues []json.RawMessage
	err = json.NewDecoder(res.Body).Decode(&queues)
	return err != nil || len(queues) > 0
}

// notes are what the functions wrote.
type notes struct {
	ran  map[string]int  // runs of an event
	once map[string]bool // a run of an attempt by one server
	told map[string]int  // successes that the destination heard of
	more int             // attempts that one server ran twice
}

func (w *world) notes() notes {
	n := notes{ran: map[string]int{}, once: map[string]bool{}, told: map[string]int{}}
	text, err := os.ReadFile(w.file)
	if err != nil {
		return n
	}
	lines := bufio.NewScanner(bytes.NewReader(text))
	for lines.Scan() {
		words := strings.Fields(lines.Text())
		if len(words) != 4 {
			w.t.Fatalf("a note that is none: %q", lines.Text())
		}
		if words[0] == "told" {
			n.told[words[1]]++
			continue
		}
		n.ran[words[1]]++
		key := strings.Join(words[1:], " ")
		if n.once[key] {
			n.more++
		}
		n.once[key] = true
	}
	return n
}

// missing counts what has not happened yet, and tells report of each.
func (w *world) missing(report func(id, what string)) int {
	n := w.notes()
	w.mu.Lock()
	defer w.mu.Unlock()
	count := 0
	miss := func(id, what string) {
		count++
		if report != nil {
			report(id, what)
		}
	}
	for id, name := range w.accepted {
		if n.ran[id] == 0 {
			miss(id, "did not run")
		}
		if name == "ok" && n.told[id] == 0 || name != "ok" && w.posted[id] == 0 {
			miss(id, "of "+name+": nobody was told of its outcome")
		}
	}
	return count
}

// check compares what was accepted with what happened and with what is on disk.
func (w *world) check() {
	w.missing(func(id, what string) { w.t.Errorf("%s %s", id, what) })
	n := w.notes()
	if n.more > 0 {
		w.t.Errorf("%d attempts were run twice by one server: no kill explains that", n.more)
	}
	settled := w.settled()
	for id, name := range w.accepted {
		want := faas.EventDone
		if name != "ok" {
			want = faas.EventFailed
		}
		if got := settled[id]; len(got) != 1 || got[0] != string(want) {
			w.t.Errorf("%s of %s has the outcomes %q", id, name, got)
		}
	}
	twice, toldTwice := 0, 0
	for _, count := range n.ran {
		twice += count - 1
	}
	for _, count := range n.told {
		toldTwice += count - 1
	}
	for _, count := range w.posted {
		toldTwice += count - 1
	}
	w.t.Logf("%d kills; %d events accepted, %d sent without an answer, %d of these ran; %d runs were cut off and made again; %d records came again",
		w.kills, len(w.accepted), w.unknown, len(n.ran)-len(w.accepted), twice, toldTwice)
}

// settled reads the outcomes of all events from the data directory of a server that
// has stopped. Nothing may wait in it.
func (w *world) settled() map[string][]string {
	dir, err := datadir.Open(w.data)
	if err != nil {
		w.t.Fatal(err)
	}
	defer dir.Close()
	e, err := nats.Open(w.t.Context(), nats.Options{Dir: dir})
	if err != nil {
		w.t.Fatal(err)
	}
	defer e.Close(context.Background())
	for _, b := range e.Queue().Backlogs() {
		w.t.Errorf("left in the queue: %+v", b)
	}
	if lost := e.Queue().Losses(); len(lost) > 0 {
		w.t.Errorf("the queue says that it lost %+v", lost)
	}
	outcomes := map[string][]string{}
	for q := (engine.Query{Limit: engine.MaxListed}); ; {
		records, err := e.History().List(w.t.Context(), q)
		if err != nil {
			w.t.Fatal(err)
		}
		for _, r := range records {
			outcomes[r.ID] = append(outcomes[r.ID], r.Status)
			q.Before = r.Cursor
		}
		if len(records) < q.Limit {
			return outcomes
		}
	}
}
