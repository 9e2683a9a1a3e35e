package async

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/http"
	"sync"
	"time"

	"hearth/engine"
	"hearth/faas"
	"hearth/metric"
)

const (
	// deliveriesAtOnce bounds the HTTP requests to destinations, in all and of one
	// function's events.
	deliveriesAtOnce   = 64
	deliveriesOfOne    = 8
	statusDelivered    = "delivered"
	statusGivenUp      = "given-up"
	maxDeliveryFailure = 256 // bytes of the text
)

// outgoing is what is stored with a message for a destination, beside its body.
type outgoing struct {
	faas.Delivery
	From     string          `json:"from"`     // the request id of the event
	Function faas.FunctionID `json:"function"` // whose outcome it is
	Hops     int             `json:"hops"`
	Trace    string          `json:"trace,omitempty"`
	Client   json.RawMessage `json:"client,omitempty"` // of a dead letter its attributes
	Invoked  int             `json:"invoked"`          // how many attempts the event had
}

func (o outgoing) encode() []byte {
	b, err := json.Marshal(o)
	if err != nil {
		panic("async: a delivery cannot be encoded: " + err.Error())
	}
	return b
}

// derivedID is the one id that an event gives to something: a second try after a
// crash finds the first.
func derivedID(requestID, what string) string {
	sum := sha256.Sum256([]byte("hearth/async/" + requestID + "/" + what))
	sum[6] = sum[6]&0x0f | 0x80 // version 8: made by a rule of our own
	sum[8] = sum[8]&0x3f | 0x80
	h := hex.EncodeToString(sum[:16])
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}

func deliveryID(requestID string, kind faas.DeliveryKind) string {
	return derivedID(requestID, "deliver/"+string(kind))
}

// errLoop is why a chain of destinations ends.
var errLoop = &faas.Error{Code: faas.CodeInvalid, Subject: string(faas.DropLoop),
	Message: "the event is the result of 16 destinations one after the other: the chain ends here"}

// deliverNow makes durable what a destination is to be told. A function is told at
// once where its queue takes the event, all others a little later.
func (d *dispatcher) deliverNow(id string, o outgoing, body []byte) (faas.Delivery, error) {
	if o.Hops > maxHops {
		o.Error, o.Attempts = errLoop.Message, 1
		d.count(o.Function, metric.EventsUndelivered)
		return o.Delivery, nil
	}
	if _, isFunction := o.Destination.Function(); isFunction {
		told, err := d.tellFunction(d.ctx, id, o, body)
		if err == nil {
			return told, nil
		}
		o.Attempts, o.Error = 1, clip(publicMessage(err), maxDeliveryFailure)
	}
	at := time.Now()
	if o.Attempts > 0 {
		at = at.Add(d.policy.delay(o.Attempts))
	}
	o.Next = at
	m := engine.Message{ID: deliveryID(id, o.Kind), Key: deliveryKey(o.Function), Header: o.encode(), Body: body}
	err := d.insist(id, func(ctx context.Context) error {
		_, err := d.queue.Schedule(ctx, m, at, engine.Caps{})
		return err
	})
	return o.Delivery, err
}

// tellFunction puts an event into the queue of the function that is the destination.
func (s *Service) tellFunction(ctx context.Context, id string, o outgoing, body []byte) (faas.Delivery, error) {
	ref, _ := o.Destination.Function()
	if ref.ID.Account != o.Function.Account || ref.ID.Region != o.Function.Region {
		return o.Delivery, faas.Errorf(faas.CodeDenied, string(o.Destination), "the function is of another account or region")
	}
	h := header{Qualifier: ref.Qualifier, Trace: o.Trace, Client: o.Client, Hops: o.Hops,
		Origin: &faas.Origin{Kind: faas.OriginDestination, RequestID: o.From}}
	m := engine.Message{ID: derivedID(id, string(o.Kind)), Body: body}
	if _, err := s.enqueue(ctx, ref.ID, h, m); err != nil {
		return o.Delivery, err
	}
	told := o.Delivery
	told.Delivered, told.RequestID, told.Next, told.Error = time.Now(), m.ID, time.Time{}, ""
	return told, nil
}

// deliverer tells destinations what they have not taken at once.
type deliverer struct {
	*dispatcher
	client *http.Client
	slots  chan struct{} // of the requests of all functions

	mu      sync.Mutex
	running map[string]int // deliveries under way, by key
}

func newDeliverer(d *dispatcher, client *http.Client) *deliverer {
	return &deliverer{dispatcher: d, client: client, slots: make(chan struct{}, deliveriesAtOnce), running: make(map[string]int)}
}

// notify is engine.Queue's, for the keys of deliveries.
func (v *deliverer) notify(key string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.running[key] < deliveriesOfOne && v.open() && v.spawn(func() { v.pump(key) }) {
		v.running[key]++
	}
}

// pump delivers what a key holds, one after the other, and has others beside it do
// so too.
func (v *deliverer) pump(key string) {
	for v.open() {
		events, err := v.queue.Fetch(v.ctx, key, 1)
		if err != nil && v.ctx.Err() == nil && !errors.Is(err, engine.ErrClosed) {
			v.log.Error("deliveries cannot be fetched", "queue", key, "err", err)
		}
		if len(events) == 0 {
			break
		}
		v.notify(key) // another one, for what may come behind
		select {
		case v.slots <- struct{}{}:
			v.deliver(&events[0])
			<-v.slots
		case <-v.ctx.Done():
		}
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.running[key]--; v.running[key] == 0 {
		delete(v.running, key)
	}
}

// open says whether something may still begin.
func (v *deliverer) open() bool { return v.ctx.Err() == nil && !v.stopped.Load() }

// deliver tries to tell one destination once.
func (v *deliverer) deliver(e *engine.Event) {
	var o outgoing
	if err := json.Unmarshal(e.Header, &o); err != nil {
		v.log.Error("a stored delivery cannot be read", "delivery", e.ID, "err", err)
		o.Error = "damaged"
		_ = v.conclude(e, o, statusGivenUp)
		return
	}
	told, err := v.attempt(e, o)
	if err == nil {
		o.Delivery = told
		_ = v.conclude(e, o, statusDelivered)
		return
	}
	if v.ctx.Err() != nil {
		return // it is tried again after the restart
	}
	o.Attempts++
	o.Error = clip(publicMessage(err), maxDeliveryFailure)
	o.Next = time.Now().Add(v.policy.delay(o.Attempts))
	if o.Next.Sub(e.Accepted) > v.policy.DeliverFor {
		o.Next = time.Time{}
		v.count(o.Function, metric.EventsUndelivered)
		v.log.Warn("a destination did not take an outcome and is given up", "request", o.From,
			"destination", string(o.Destination), "tries", o.Attempts, "err", err)
		_ = v.conclude(e, o, statusGivenUp)
		return
	}
	encoded := o.encode()
	_ = v.insist(o.From, func(ctx context.Context) error { return v.queue.Retry(ctx, e.ID, o.Next, encoded) })
}

func (v *deliverer) attempt(e *engine.Event, o outgoing) (faas.Delivery, error) {
	if _, isFunction := o.Destination.Function(); isFunction {
		return v.tellFunction(v.ctx, o.From, o, e.Body)
	}
	v.trap("destination")
	if err := v.post(v.ctx, e.ID, o, e.Body); err != nil {
		return o.Delivery, err
	}
	v.trap("delivered")
	told := o.Delivery
	told.Delivered, told.Next, told.Error = time.Now(), time.Time{}, ""
	return told, nil
}

// conclude records what became of a delivery. Where this server ends before, it is
// made once more.
func (v *deliverer) conclude(e *engine.Event, o outgoing, status string) error {
	encoded, err := json.Marshal(o.Delivery)
	if err != nil {
		return err
	}
	return v.insist(e.ID, func(ctx context.Context) error {
		return v.queue.Settle(ctx, e.ID, engine.Outcome{Status: status, Details: encoded})
	})
}

// progress is what has become of a delivery that was not made at once.
func (s *Service) progress(ctx context.Context, requestID string, d faas.Delivery) faas.Delivery {
	if !d.Delivered.IsZero() || d.Next.IsZero() {
		return d
	}
	id := deliveryID(requestID, d.Kind)
	if e, err := s.queue.Find(ctx, id); err == nil {
		var o outgoing
		if json.Unmarshal(e.Header, &o) == nil {
			return o.Delivery
		}
		return d
	}
	if r, err := s.history.Get(ctx, id); err == nil {
		var now faas.Delivery
		if json.Unmarshal(r.Details, &now) == nil {
			return now
		}
	}
	return d
}
