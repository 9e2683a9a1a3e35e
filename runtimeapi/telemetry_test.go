package runtimeapi

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// receiver is an HTTP server of an extension, whatever port it is told to have.
type receiver struct {
	listener net.Listener
	batches  chan []map[string]any
	status   int
	block    chan struct{} // not nil: an answer waits until it is closed
}

func newReceiver(t *testing.T, status int, block chan struct{}) *receiver {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &receiver{listener: l, batches: make(chan []map[string]any, 1000), status: status, block: block}
	server := &http.Server{Handler: r}
	go server.Serve(l)
	t.Cleanup(func() { server.Close() })
	return r
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	body, _ := io.ReadAll(q.Body)
	var batch []map[string]any
	if json.Unmarshal(body, &batch) == nil {
		r.batches <- batch
	}
	if r.block != nil {
		select {
		case <-r.block:
		case <-q.Context().Done():
		}
	}
	w.Header().Set("Location", "http://192.0.2.1/")
	w.WriteHeader(r.status)
}

func (r *receiver) dial(ctx context.Context, _ int) (net.Conn, error) {
	return new(net.Dialer).DialContext(ctx, "tcp", r.listener.Addr().String())
}

func newTelemetryServer(t *testing.T, r *receiver) (*Telemetry, *client, string) {
	t.Helper()
	tel := NewTelemetry(r.dial)
	_, c := newExtensionServer(t, ExtensionOptions{External: []string{"x"}, Telemetry: tel})
	t.Cleanup(tel.Close)
	id, _ := c.register("x", ``)
	return tel, c, id
}

func (c *client) subscribe(path, id, body string) (int, string) {
	c.t.Helper()
	resp, answer := c.do("PUT", path, http.Header{headerExtensionID: {id}}, strings.NewReader(body))
	return resp.StatusCode, answer
}

const subscribeAll = `{"types":["platform","function"],"buffering":{"timeoutMs":25},"destination":{"protocol":"HTTP","URI":"http://sandbox.localdomain:8080/x"}}`

func (r *receiver) next(t *testing.T) []map[string]any {
	t.Helper()
	select {
	case b := <-r.batches:
		return b
	case <-soon(t).Done():
		t.Fatal("nothing was delivered")
		return nil
	}
}

func TestSubscribeRefuses(t *testing.T) {
	r := newReceiver(t, 200, nil)
	tel, c, id := newTelemetryServer(t, r)
	const to = `"destination":{"protocol":"HTTP","URI":"http://sandbox.localdomain:8080"}`
	for _, refused := range []struct{ body, why string }{
		{`{`, "JSON"},
		{`{` + to + `}`, "types should not be empty"},
		{`{"types":["coffee"],` + to + `}`, "coffee"},
		{`{"types":["platform"]}`, "protocol must be"},
		{`{"types":["platform"],"destination":{"protocol":"HTTP","URI":"http://sandbox.localdomain"}}`, "URI port is not provided"},
		{`{"types":["platform"],"destination":{"protocol":"HTTP","URI":"http://10.0.0.1:80"}}`, "URI host"},
		{`{"types":["platform"],"destination":{"protocol":"HTTP","URI":"ftp://sandbox:80"}}`, "http URL"},
		{`{"types":["platform"],"destination":{"protocol":"HTTP","URI":"http://sandbox:9001"}}`, "reserved"},
		{`{"types":["platform"],"destination":{"protocol":"TCP","port":0}}`, "port must be"},
		{`{"types":["platform"],"destination":{"protocol":"TCP","port":70000}}`, "port must be"},
		{`{"types":["platform"],"buffering":{"maxItems":999},` + to + `}`, "maxItems must be from 1000 to 10000"},
		{`{"types":["platform"],"buffering":{"maxBytes":1048577},` + to + `}`, "maxBytes must be from 262144 to 1048576"},
		{`{"types":["platform"],"buffering":{"timeoutMs":24},` + to + `}`, "timeoutMs must be from 25 to 30000"},
		{`{"types":["platform"],"x":"` + strings.Repeat("x", maxTelemetryBody) + `",` + to + `}`, "JSON"},
	} {
		if status, answer := c.subscribe(telemetryPath, id, refused.body); status != 400 || !strings.Contains(answer, "ValidationError") || !strings.Contains(answer, refused.why) {
			t.Errorf("%.120s: %d %s; want %q", refused.body, status, answer, refused.why)
		}
	}
	if status, answer := c.subscribe(telemetryPath, "", subscribeAll); status != 403 {
		t.Errorf("nobody's subscription: %d %s", status, answer)
	}
	tel.Seal()
	if status, answer := c.subscribe(logsPath, id, subscribeAll); status != 403 || !strings.Contains(answer, "Logs.SubscriptionClosed") {
		t.Errorf("after init: %d %s", status, answer)
	}
	_, c = newExtensionServer(t, ExtensionOptions{External: []string{"x"}})
	id, _ = c.register("x", ``)
	if status, answer := c.subscribe(telemetryPath, id, subscribeAll); status != 202 || !strings.Contains(answer, "Telemetry.NotSupported") {
		t.Errorf("where there is none: %d %s", status, answer)
	}
}

// Who subscribes hears what was before, of what it asked for and no more; frozen, it
// hears nothing.
func TestTelemetryDelivers(t *testing.T) {
	r := newReceiver(t, 200, nil)
	tel, c, id := newTelemetryServer(t, r)
	tel.Platform("platform.initStart", map[string]any{"phase": "init"})
	if status, answer := c.subscribe(telemetryPath, id, subscribeAll); status != 200 || answer != `"OK"` {
		t.Fatalf("%d %s", status, answer)
	}
	tel.Lines("function", []byte("plain\r\n{\"a\":1}\n"))
	tel.Lines("extension", []byte("not asked for\n"))
	tel.Platform("platform.end", map[string]any{})
	tel.Seal()
	var got []string
	for len(got) < 4 {
		for _, e := range r.next(t) {
			got = append(got, fmt.Sprint(e["type"], " ", e["record"]))
		}
	}
	want := "platform.initStart map[phase:init]|platform.telemetrySubscription map[name:x state:Subscribed types:[function platform]]|function plain|function map[a:1]"
	if strings.Join(got, "|") != want {
		t.Errorf("heard %s\nwant  %s", strings.Join(got, "|"), want)
	}
	tel.Pause()
	tel.Lines("function", []byte("later\n"))
	tel.Flush()
	select {
	case b := <-r.batches:
		t.Errorf("heard while it is frozen: %v", b)
	case <-time.After(100 * time.Millisecond):
	}
	tel.Resume()
	if b := r.next(t); b[0]["record"] != "later" {
		t.Errorf("heard %v", b)
	}
}

func TestTelemetryOfTheLogsAPI(t *testing.T) {
	r := newReceiver(t, 200, nil)
	tel, c, id := newTelemetryServer(t, r)
	tel.Platform("platform.initStart", map[string]any{})
	c.subscribe(logsPath, id, subscribeAll)
	tel.Platform("platform.end", map[string]any{"requestId": "r"})
	var got []string
	for len(got) < 2 {
		for _, e := range r.next(t) {
			got = append(got, fmt.Sprint(e["type"]))
		}
	}
	if strings.Join(got, " ") != "platform.logsSubscription platform.end" {
		t.Errorf("heard %v", got)
	}
}

// A receiver that does not take what it asked for costs a bounded amount of memory, is
// told what it missed, and does not keep anything from ending.
func TestTelemetryDrops(t *testing.T) {
	block := make(chan struct{})
	r := newReceiver(t, 200, block)
	tel, c, id := newTelemetryServer(t, r)
	c.subscribe(telemetryPath, id, subscribeAll)
	r.next(t) // it holds the first batch now
	line := []byte(strings.Repeat("x", 64<<10) + "\n")
	for range 100 {
		tel.Lines("function", line)
	}
	tel.mu.Lock()
	held, dropped := tel.subs[0].bytes, tel.subs[0].dropped
	tel.mu.Unlock()
	if held > backlogFactor*262144 || dropped == 0 {
		t.Errorf("%d bytes wait, %d events were dropped", held, dropped)
	}
	close(block)
	told := false
	for !told {
		for _, e := range r.next(t) {
			told = told || e["type"] == "platform.logsDropped" && e["record"].(map[string]any)["droppedRecords"].(float64) > 0
		}
	}
	refusing := newReceiver(t, 307, nil)
	tel, c, id = newTelemetryServer(t, refusing)
	c.subscribe(telemetryPath, id, subscribeAll)
	refusing.next(t)
	refusing.next(t) // twice, and then it is dropped
	stuck := newReceiver(t, 200, make(chan struct{}))
	tel, c, id = newTelemetryServer(t, stuck)
	c.subscribe(telemetryPath, id, subscribeAll)
	stuck.next(t)
	tel.Close() // does not wait for it
}

func TestTelemetryOverTCP(t *testing.T) {
	r := newReceiver(t, 200, nil)
	r.listener.Close()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	r.listener = l
	lines := make(chan string, 10)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			in := bufio.NewReader(conn)
			if line, err := in.ReadString('\n'); err == nil {
				lines <- line
			}
			conn.Close() // the next batch needs another connection
		}
	}()
	tel, c, id := newTelemetryServer(t, r)
	if status, answer := c.subscribe(telemetryPath, id, `{"types":["function"],"buffering":{"timeoutMs":25},"destination":{"protocol":"TCP","port":80}}`); status != 200 {
		t.Fatalf("%d %s", status, answer)
	}
	for heard, deadline := 0, soon(t); ; {
		tel.Lines("function", []byte("again\n"))
		select {
		case line := <-lines:
			if !strings.HasSuffix(line, `"type":"function","record":"again"}`+"\n") {
				t.Errorf("line %s", line)
			}
			if heard++; heard == 2 {
				return
			}
		case <-time.After(20 * time.Millisecond):
		case <-deadline.Done():
			t.Fatal("nothing came")
		}
	}
}
