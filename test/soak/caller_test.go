package soak

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"time"
)

// callers is how many call at once: more than there may be instances.
const callers = 16

// event is what the functions of testdata take.
type event struct {
	Do    string `json:"do"`
	Nonce string `json:"nonce"`
	Ms    int    `json:"ms,omitempty"`
	Lines int    `json:"lines,omitempty"`
	Data  string `json:"data,omitempty"`
}

// answer is what they return.
type answer struct {
	Count, Together                                              int
	Nonce, Data, Code, Boot, Stream, Request, Name, Version, Tmp string
	Found                                                        []string
}

// crowd calls functions at random and checks each answer.
type crowd struct {
	api       *api
	functions []*function
	roster    *roster
	stopping  context.Context // ends when the server is told to stop

	mu     sync.Mutex
	tally  map[string]int
	faults []string
}

// maxFaults is how many are told; the first ones say the most.
const maxFaults = 10

func (c *crowd) fault(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.faults) < maxFaults {
		c.faults = append(c.faults, time.Now().Format("05.000000 ")+fmt.Sprintf(format, args...))
	}
}

func (c *crowd) count(what string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.tally[what]++
}

// never lists the ends that no call has had, of those that some must have.
func (c *crowd) never() (missing []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, what := range []string{"echo", "sleep", "log", "throw RuntimeError", "exit Runtime.ExitError", "hang Sandbox.Timedout"} {
		if c.tally[what] == 0 {
			missing = append(missing, what)
		}
	}
	return missing
}

func (c *crowd) failed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.faults) >= maxFaults
}

// run calls until ctx ends; every call that was begun is waited for.
func (c *crowd) run(ctx context.Context, seed uint64) {
	var all sync.WaitGroup
	for i := range callers {
		all.Go(func() {
			rng := rand.New(rand.NewPCG(seed, uint64(i)+1))
			for ctx.Err() == nil && !c.failed() {
				pause := 20
				if !c.once(rng) { // who is refused comes back later
					pause = 200
				}
				select {
				case <-ctx.Done():
				case <-time.After(time.Duration(rng.IntN(pause)) * time.Millisecond):
				}
			}
		})
	}
	all.Wait()
}

// once makes one call; false is that it was refused, or ended without an answer.
func (c *crowd) once(rng *rand.Rand) bool {
	// Some are called more than others, so that instances are reused as well as evicted.
	f := c.functions[min(rng.IntN(len(c.functions)), rng.IntN(len(c.functions)), rng.IntN(len(c.functions)))]
	in := &invocation{crowd: c, f: f, qualifier: f.history.pick(rng), event: choose(rng, f.wild)}
	ctx, cancel := context.Background(), context.CancelFunc(func() {})
	abandon := rng.IntN(50) == 0
	if abandon {
		ctx, cancel = context.WithTimeout(ctx, time.Duration(rng.IntN(30))*time.Millisecond)
	}
	defer cancel()
	kind := "RequestResponse"
	if rng.IntN(100) == 0 {
		kind = "DryRun"
	}
	in.start = time.Now()
	r, err := c.api.invoke(ctx, f.name, in.qualifier, kind, in.event)
	in.end = time.Now()
	switch {
	case err != nil && abandon && errors.Is(err, context.DeadlineExceeded):
		c.count("abandoned")
	case err != nil:
		if c.stopping.Err() == nil {
			in.fault("%v", err)
		}
	default:
		in.reply = r
		in.check(kind)
		return r.status < 300
	}
	return false
}

// choose makes an event. What ends an instance is rare, since starts are slow.
func choose(rng *rand.Rand, wild bool) event {
	e := event{Do: "echo", Nonce: fmt.Sprintf("nonce-%016x", rng.Uint64())}
	switch n := rng.IntN(200); {
	case n < 40:
		e.Do, e.Ms = "sleep", 1+rng.IntN(100)
	case n < 60:
		e.Do, e.Lines = "log", 1+rng.IntN(30)
	case n < 62:
		e.Do, e.Lines = "log", 2000
	case n < 70:
		e.Do = "throw"
	case n < 74:
		e.Do = "spawn"
	case n < 77:
		e.Do = "exit"
	case n < 78:
		e.Do = "oom"
	case n < 82 && wild:
		e.Do = "hang"
	case n < 90:
		e.Data = strings.Repeat(e.Nonce, rng.IntN(20000))
	}
	return e
}

// invocation is one call and its answer.
type invocation struct {
	*crowd
	f          *function
	qualifier  string
	event      event
	start, end time.Time
	reply      *reply
	request    string // the request's id
	lines      []string
}

func (in *invocation) fault(format string, args ...any) {
	in.crowd.fault("%s %q %s %s from %s to %s: %s", in.f.name, in.qualifier, in.event.Do, in.event.Nonce,
		clock(in.start), clock(in.end), fmt.Sprintf(format, args...))
}

func (in *invocation) check(kind string) {
	r := in.reply
	in.request = r.header.Get("X-Amzn-Requestid")
	if in.request == "" {
		in.fault("no request id: %v", r)
	}
	if r.status >= 300 {
		in.checkRefusal()
		return
	}
	if kind == "DryRun" {
		in.count("dry run")
		if r.status != http.StatusNoContent || len(r.body) > 0 {
			in.fault("a dry run: %v", r)
		}
		return
	}
	if wrong := in.f.history.check(in.qualifier, r.header.Get("X-Amz-Executed-Version"), "", in.start, in.end); wrong != "" {
		in.fault("%s", wrong)
	}
	in.checkTail()
	if r.header.Get("X-Amz-Function-Error") != "" {
		in.checkError()
		return
	}
	in.checkAnswer()
}

// checkRefusal: the platform may refuse where there is no room, and where what was
// called was not there.
func (in *invocation) checkRefusal() {
	r := in.reply
	kind, body := r.header.Get("X-Amzn-Errortype"), string(r.body)
	in.count(fmt.Sprintf("%d %s", r.status, kind))
	switch {
	case !json.Valid(r.body):
	case r.status == 500 && kind == "ServiceException" && strings.Contains(body, "no room for another instance") && r.header.Get("Retry-After") != "":
		return
	case r.status == 404 && kind == "ResourceNotFoundException", r.status == 409 && kind == "ResourceConflictException" && strings.Contains(body, "Pending"):
		if in.f.history.mayLack(in.qualifier, in.start, in.end) {
			return
		}
	case r.status == 503 && kind == "ServiceException" && in.stopping.Err() != nil:
		return
	}
	in.fault("%v", r)
}

// ids finds what may tell whose a line is.
var ids = regexp.MustCompile(`nonce-[0-9a-f]{16}|RequestId: [-0-9a-f]{36}`)

// checkTail: the log's tail has this call's lines and no other's.
func (in *invocation) checkTail() {
	var err error
	if in.lines, err = in.reply.tail(); err != nil || len(in.lines) == 0 {
		in.fault("log tail %v, %v", in.lines, err)
		return
	}
	own := 0
	for _, line := range in.lines {
		for _, id := range ids.FindAllString(line, -1) {
			if id != in.event.Nonce && id != "RequestId: "+in.request {
				in.fault("a line of another call: %s\nin %s", line, strings.Join(in.lines, "\n"))
				return
			}
		}
		if strings.Contains(line, "line "+in.event.Nonce) {
			own++
		}
		in.checkMark(line)
	}
	if last := in.lines[len(in.lines)-1]; !strings.HasPrefix(last, "REPORT RequestId: "+in.request) {
		in.fault("the last line is %s", last)
	}
	if in.event.Do == "log" && in.event.Lines < 40 && len(in.lines) > 1 && strings.HasPrefix(in.lines[0], "START") && !in.overran() {
		if want := in.event.Lines; own != want {
			in.fault("%d lines of %d in %s", own, want, strings.Join(in.lines, "\n"))
		}
	}
}

var mark = regexp.MustCompile(`mark (\S+) (\S+) (\d+)$`)

// checkMark reads who got the call from the line that every call writes first.
func (in *invocation) checkMark(line string) {
	m := mark.FindStringSubmatch(line)
	if m == nil {
		return
	}
	stream := m[2]
	c := served{start: in.start, end: in.end}
	fmt.Sscan(m[3], &c.count)
	if wrong := in.roster.call(stream, c); wrong != "" {
		in.fault("%s", wrong)
	}
	if in.overran() || in.event.Do == "exit" || in.event.Do == "oom" {
		in.roster.end(stream, in.end)
	}
}

// overran says whether the answer is that of a timeout.
func (in *invocation) overran() bool {
	return bytes.Contains(in.reply.body, []byte(`"Sandbox.Timedout"`))
}

// checkError: the document is the one of what the call asked for.
func (in *invocation) checkError() {
	var doc struct{ ErrorType, ErrorMessage string }
	if err := json.Unmarshal(in.reply.body, &doc); err != nil {
		in.fault("%v in %v", err, in.reply)
		return
	}
	in.count(in.event.Do + " " + doc.ErrorType)
	var wantType, wantText string
	switch {
	case in.f.wild && doc.ErrorType == "Sandbox.Timedout": // a second may be too short for anything here
		wantType, wantText = doc.ErrorType, "Task timed out after 1.00 seconds"
		if took := in.end.Sub(in.start); took < time.Second {
			in.fault("timed out after %v", took)
		}
	case in.event.Do == "throw":
		if doc.ErrorMessage != "thrown "+in.event.Nonce {
			in.fault("threw %v", in.reply)
		}
		return
	case in.event.Do == "exit":
		wantType, wantText = "Runtime.ExitError", "Runtime exited with error: exit status 7"
	case in.event.Do == "oom":
		wantType, wantText = "Runtime.OutOfMemory", "Runtime exited with error: signal: killed"
	}
	if text := "RequestId: " + in.request + " Error: " + wantText; doc.ErrorType != wantType || doc.ErrorMessage != text {
		in.fault("failed with %v\n%s", in.reply, strings.Join(in.lines, "\n"))
	}
}

// checkAnswer: it is that of this call, by one instance of what was called.
func (in *invocation) checkAnswer() {
	in.count(in.event.Do)
	var a answer
	if err := json.Unmarshal(in.reply.body, &a); err != nil {
		in.fault("%v in %v", err, in.reply)
		return
	}
	executed := in.reply.header.Get("X-Amz-Executed-Version")
	switch {
	case in.event.Do == "throw" || in.event.Do == "exit" || in.event.Do == "oom" || in.event.Do == "hang":
		in.fault("answered %v", in.reply)
	case a.Nonce != in.event.Nonce || a.Data != in.event.Data || a.Request != in.request:
		in.fault("the answer of another call: %v", in.reply)
	case a.Name != in.f.name || a.Version != executed || !strings.HasPrefix(a.Code, a.Name+"/"):
		in.fault("the answer of another function or version than %s: %v", executed, in.reply)
	case a.Together != 1:
		in.fault("%d calls at once: %v", a.Together, in.reply)
	case len(a.Found) > 0 || a.Tmp != a.Boot:
		in.fault("a /tmp of another: %v", in.reply)
	}
	if wrong := in.f.history.check(in.qualifier, executed, a.Code, in.start, in.end); wrong != "" {
		in.fault("%s", wrong)
	}
	if wrong := in.roster.identify(a.Stream, a.Boot, a.Name+" "+a.Version+" "+a.Code+" "+a.Boot); wrong != "" {
		in.fault("%s", wrong)
	}
}
