package runtimeapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"
)

// Bounds of what one instance's telemetry holds.
const (
	maxRecorded      = 256 // events of init, kept for who subscribes during init
	maxSubscriptions = 2 * MaxExtensions
	backlogFactor    = 4                // times a subscription's own maxBytes are held for it, then events are dropped
	deliverTimeout   = 10 * time.Second // of one batch
)

// Kinds of telemetry that an extension may subscribe to.
var telemetryTypes = []string{"platform", "function", "extension"}

// Telemetry delivers what happens in one instance to the extensions that subscribed
// (2022-07-01), each batch to a port inside the sandbox. Safe for concurrent use.
type Telemetry struct {
	dial func(ctx context.Context, port int) (net.Conn, error)

	ctx   context.Context // ends with Close
	stop  context.CancelFunc
	tasks sync.WaitGroup

	mu       sync.Mutex
	closed   bool
	sealed   bool             // init is over: nobody subscribes any more
	recorded []telemetryEvent // platform events of init
	subs     []*subscription
	running  chan struct{} // closed while the instance runs; replaced while it is frozen
}

type telemetryEvent struct {
	kind string // platform, function or extension
	name string // such as platform.start
	json []byte
}

// NewTelemetry returns the telemetry of an instance, inside which dial connects to a
// port.
func NewTelemetry(dial func(ctx context.Context, port int) (net.Conn, error)) *Telemetry {
	t := &Telemetry{dial: dial, running: make(chan struct{})}
	close(t.running)
	t.ctx, t.stop = context.WithCancel(context.Background())
	return t
}

// Platform tells of an event of the platform, such as platform.start.
func (t *Telemetry) Platform(name string, record any) { t.emit("platform", name, record) }

// Lines tells of lines that the function or an extension has written; kind says
// which. Lines that are JSON objects stay objects.
func (t *Telemetry) Lines(kind string, lines []byte) {
	for line := range bytes.SplitSeq(bytes.TrimSuffix(lines, []byte("\n")), []byte("\n")) {
		line = bytes.TrimSuffix(line, []byte("\r"))
		if len(line) > 0 && line[0] == '{' && json.Valid(line) {
			t.emit(kind, kind, json.RawMessage(bytes.Clone(line)))
		} else {
			t.emit(kind, kind, string(line))
		}
	}
}

func (t *Telemetry) emit(kind, name string, record any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed || t.sealed && len(t.subs) == 0 {
		return
	}
	e := newTelemetryEvent(kind, name, record)
	if !t.sealed && kind == "platform" && len(t.recorded) < maxRecorded {
		t.recorded = append(t.recorded, e)
	}
	for _, s := range t.subs {
		s.addLocked(e)
	}
}

func newTelemetryEvent(kind, name string, record any) telemetryEvent {
	text, err := json.Marshal(struct {
		Time   string `json:"time"`
		Type   string `json:"type"`
		Record any    `json:"record"`
	}{time.Now().UTC().Format("2006-01-02T15:04:05.000Z"), name, record})
	if err != nil { // a record that cannot be written says nothing
		text = []byte(`{"type":"` + name + `"}`)
	}
	return telemetryEvent{kind, name, text}
}

// Seal says that init is over.
func (t *Telemetry) Seal() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.sealed, t.recorded = true, nil
}

// Pause stops delivering, while the instance is frozen, and Resume goes on.
func (t *Telemetry) Pause() {
	t.mu.Lock()
	defer t.mu.Unlock()
	select {
	case <-t.running:
		t.running = make(chan struct{})
	default:
	}
}

// Resume ends Pause.
func (t *Telemetry) Resume() {
	t.mu.Lock()
	defer t.mu.Unlock()
	closeOnce(t.running)
}

// Flush has all that waits delivered at once.
func (t *Telemetry) Flush() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, s := range t.subs {
		s.wakeLocked(true)
	}
}

// Close ends all deliveries and waits for them.
func (t *Telemetry) Close() {
	t.mu.Lock()
	t.closed = true
	t.mu.Unlock()
	t.stop()
	t.tasks.Wait()
}

// subscription is one extension's.
type subscription struct {
	of        *Telemetry
	name      string
	logs      bool // by the older API (2020-08-15)
	types     []string
	maxItems  int
	maxBytes  int
	timeout   time.Duration
	port      int
	tcp       bool
	path      string
	client    *http.Client
	conn      net.Conn      // of TCP, between batches
	full      chan struct{} // buffered by one: there is a batch, or all is to go
	waiting   []telemetryEvent
	bytes     int
	dropped   int // since the last batch
	droppedBy int // bytes
}

// What only one of the two APIs knows: the older one, of logs, has no events of init.
var (
	onlyTelemetry = []string{"platform.initStart", "platform.initRuntimeDone", "platform.initReport", "platform.telemetrySubscription"}
	onlyLogs      = []string{"platform.end", "platform.logsSubscription"}
)

func (s *subscription) wants(e telemetryEvent) bool {
	other := onlyLogs
	if s.logs {
		other = onlyTelemetry
	}
	return slices.Contains(s.types, e.kind) && !slices.Contains(other, e.name)
}

// addLocked keeps an event for the next batch, or drops it where too much waits.
func (s *subscription) addLocked(e telemetryEvent) {
	if !s.wants(e) {
		return
	}
	if s.bytes+len(e.json) > backlogFactor*s.maxBytes || len(s.waiting) >= backlogFactor*s.maxItems {
		s.dropped++
		s.droppedBy += len(e.json)
		return
	}
	s.waiting = append(s.waiting, e)
	s.bytes += len(e.json)
	s.wakeLocked(len(s.waiting) >= s.maxItems || s.bytes >= s.maxBytes)
}

func (s *subscription) wakeLocked(now bool) {
	if now {
		select {
		case s.full <- struct{}{}:
		default:
		}
	}
}

// run delivers batches until the telemetry is closed.
func (s *subscription) run() {
	defer func() {
		if s.conn != nil {
			_ = s.conn.Close() // what it has not taken is lost anyway
		}
		s.client.CloseIdleConnections()
	}()
	timer := time.NewTicker(s.timeout)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case <-s.full:
		case <-s.of.ctx.Done():
			return
		}
		for s.deliver() {
		}
	}
}

// deliver sends one batch and reports whether there is another whole one.
func (s *subscription) deliver() (more bool) {
	s.of.mu.Lock()
	running := s.of.running
	s.of.mu.Unlock()
	select {
	case <-running:
	case <-s.of.ctx.Done():
		return false
	}
	batch, more := s.take()
	if len(batch) == 0 {
		return false
	}
	ctx, cancel := context.WithTimeout(s.of.ctx, deliverTimeout)
	defer cancel()
	if err := s.send(ctx, batch); err != nil && ctx.Err() == nil {
		err = s.send(ctx, batch) // the receiver may just have been restarted
		if err != nil {
			s.lost(batch)
		}
	} else if err != nil {
		s.lost(batch)
	}
	return more
}

// lost counts a batch that nobody took.
func (s *subscription) lost(batch []telemetryEvent) {
	s.of.mu.Lock()
	defer s.of.mu.Unlock()
	for _, e := range batch {
		s.dropped++
		s.droppedBy += len(e.json)
	}
}

// take returns the next batch; what was dropped before it is told in it.
func (s *subscription) take() (batch []telemetryEvent, more bool) {
	s.of.mu.Lock()
	defer s.of.mu.Unlock()
	size, n := 0, 0
	for n < len(s.waiting) && n < s.maxItems && (n == 0 || size+len(s.waiting[n].json) <= s.maxBytes) {
		size += len(s.waiting[n].json)
		n++
	}
	batch = slices.Clone(s.waiting[:n])
	s.waiting = slices.Delete(s.waiting, 0, n)
	s.bytes -= size
	if n > 0 && s.dropped > 0 {
		batch = append(batch, newTelemetryEvent("platform", "platform.logsDropped", map[string]any{
			"reason":         "Consumer seems to have fallen behind as it has not acknowledged receipt of logs.",
			"droppedRecords": s.dropped, "droppedBytes": s.droppedBy,
		}))
		s.dropped, s.droppedBy = 0, 0
	}
	return batch, len(s.waiting) >= s.maxItems || s.bytes >= s.maxBytes
}

func (s *subscription) send(ctx context.Context, batch []telemetryEvent) error {
	if s.tcp {
		return s.sendLines(ctx, batch)
	}
	var body bytes.Buffer
	body.WriteByte('[')
	for i, e := range batch {
		if i > 0 {
			body.WriteByte(',')
		}
		body.Write(e.json)
	}
	body.WriteByte(']')
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, fmt.Sprintf("http://sandbox.localdomain:%d%s", s.port, s.path), &body)
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", typeJSON)
	response, err := s.client.Do(request)
	if err != nil {
		return err
	}
	_ = response.Body.Close() // nothing in it matters
	if response.StatusCode >= 300 {
		return fmt.Errorf("runtimeapi: a telemetry receiver answered %d", response.StatusCode)
	}
	return nil
}

// sendLines writes a batch as lines of JSON to the subscriber's connection.
func (s *subscription) sendLines(ctx context.Context, batch []telemetryEvent) (err error) {
	if s.conn == nil {
		if s.conn, err = s.of.dial(ctx, s.port); err != nil {
			s.conn = nil
			return err
		}
	}
	var lines bytes.Buffer
	for _, e := range batch {
		lines.Write(e.json)
		lines.WriteByte('\n')
	}
	deadline, _ := ctx.Deadline()
	err = s.conn.SetWriteDeadline(deadline)
	if err == nil {
		_, err = s.conn.Write(lines.Bytes())
	}
	if err != nil {
		err = errors.Join(err, s.conn.Close())
		s.conn = nil
	}
	return err
}
