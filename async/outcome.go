package async

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"hearth/engine"
	"hearth/faas"
	"hearth/invoke"
	"hearth/metric"
)

// lastResult is what the last try of an event left; the zero value where none ran.
type lastResult struct {
	status  int    // as HTTP has it: 200 also where the function failed
	version string // that ran it
	failed  string // Unhandled or Handled; "" on success
	payload []byte // nil where there is none
	message string // of the error
}

func resultOf(res *invoke.Result, err error) lastResult {
	if res != nil {
		return lastResult{status: http.StatusOK, version: res.ExecutedVersion, failed: res.Outcome.FunctionError,
			payload: res.Outcome.Payload, message: messageOf(res.Outcome)}
	}
	r := lastResult{status: http.StatusInternalServerError, message: publicMessage(err)}
	switch faas.CodeOf(err) {
	case faas.CodeThrottled:
		r.status = http.StatusTooManyRequests
	case faas.CodeNotFound:
		r.status = http.StatusNotFound
	case faas.CodeInvalid, faas.CodeInvalidBody:
		r.status = http.StatusBadRequest
	case faas.CodeTooLarge:
		r.status = http.StatusRequestEntityTooLarge
	}
	return r
}

// details is what the history keeps of an event beside what the queue knows.
type details struct {
	Qualifier  string          `json:"q,omitempty"`
	Attempts   []faas.Attempt  `json:"a,omitempty"`
	Reason     faas.DropReason `json:"r,omitempty"`
	Dropped    bool            `json:"x,omitempty"`
	Deliveries []faas.Delivery `json:"to,omitempty"`
	Payload    int             `json:"b,omitempty"` // bytes
	Trace      string          `json:"t,omitempty"`
	Origin     *faas.Origin    `json:"o,omitempty"`
}

// settle tells the destinations of an outcome, records it and removes the event from
// its queue. What a destination is told is durable first, under an id that the event
// gives it: where a crash comes between, it is told again.
func (d *dispatcher) settle(f *flight, v verdict, last lastResult) error {
	d.trap("outcome")
	told, err := d.tellDestinations(f, v, last)
	if err != nil {
		return err // this server ends: the event runs again
	}
	failed := v.status == faas.EventFailed || v.status == faas.EventExpired
	o := details{Qualifier: f.header.Qualifier, Attempts: f.header.Attempts, Reason: v.reason, Dropped: failed && len(told) == 0,
		Deliveries: told, Payload: len(f.event.Body), Trace: f.header.Trace, Origin: f.header.Origin}
	encoded, err := json.Marshal(o)
	if err != nil {
		return faas.Errorf(faas.CodeInternal, f.event.ID, "an outcome cannot be encoded: %w", err)
	}
	d.trap("settle")
	err = d.insist(f.event.ID, func(ctx context.Context) error {
		return d.queue.Settle(ctx, f.event.ID, engine.Outcome{Status: string(v.status), Details: encoded, Keep: true, Patient: true})
	})
	if err != nil {
		return err
	}
	d.trap("settled")
	d.countOutcome(f.line.id, v, o)
	return nil
}

func (d *dispatcher) countOutcome(id faas.FunctionID, v verdict, o details) {
	if o.Dropped {
		d.count(id, metric.EventsDropped)
	}
	if v.status == faas.EventExpired {
		d.count(id, metric.EventsExpired)
	}
	for _, to := range o.Deliveries {
		if to.Kind != faas.DeliverSuccess {
			d.count(id, metric.EventsDeadLettered)
			return
		}
	}
}

// tellDestinations makes durable what the destinations of an outcome are to be told.
func (d *dispatcher) tellDestinations(f *flight, v verdict, last lastResult) ([]faas.Delivery, error) {
	var told []faas.Delivery
	for _, to := range destinationsOf(f.config, f.header, v) {
		body, client := message(to.Kind, f, v, last, time.Now())
		o := outgoing{Delivery: to, From: f.event.ID, Function: f.line.id, Hops: f.header.Hops + 1, Trace: f.header.Trace,
			Client: client, Invoked: len(f.header.Attempts)}
		delivery, err := d.deliverNow(f.event.ID, o, body)
		if err != nil {
			return nil, err
		}
		told = append(told, delivery)
	}
	return told, nil
}

// destinationsOf says who is told of an outcome. What its user ended is told to
// nobody. Of a deleted function only the header knows a destination.
func destinationsOf(c faas.AsyncConfig, h header, v verdict) []faas.Delivery {
	var to []faas.Delivery
	add := func(kind faas.DeliveryKind, d faas.Destination) {
		if d != "" {
			to = append(to, faas.Delivery{Kind: kind, Destination: d})
		}
	}
	switch v.status {
	case faas.EventDone:
		add(faas.DeliverSuccess, c.OnSuccess)
	case faas.EventFailed, faas.EventExpired:
		add(faas.DeliverFailure, c.OnFailure)
		add(faas.DeliverDeadLetter, c.DeadLetter)
		if gone := v.reason == faas.DropFunction || v.reason == faas.DropQualifier; gone && len(to) == 0 {
			add(faas.DeliverDeadLetter, h.DeadLetter)
		}
	}
	return to
}

// condition is Lambda's word for an outcome; those that Lambda has no word for are
// Hearth's own.
func condition(v verdict) string {
	switch {
	case v.status == faas.EventDone:
		return "Success"
	case v.reason == faas.DropRetries:
		return "RetriesExhausted"
	case v.reason == faas.DropAge:
		return "EventAgeExceeded"
	case v.reason == faas.DropFunction:
		return "FunctionDeleted"
	case v.reason == faas.DropQualifier:
		return "QualifierDeleted"
	case v.reason == faas.DropDamaged:
		return "EventDamaged"
	}
	return "BadRequest"
}

// record is Lambda's invocation record, version 1.0.
type record struct {
	Version   string `json:"version"`
	Timestamp string `json:"timestamp"`
	Request   struct {
		RequestID   string `json:"requestId"`
		FunctionARN string `json:"functionArn"`
		Condition   string `json:"condition"`
		Count       int    `json:"approximateInvokeCount"`
	} `json:"requestContext"`
	Payload  json.RawMessage  `json:"requestPayload"`
	Response *responseContext `json:"responseContext,omitempty"`
	Result   json.RawMessage  `json:"responsePayload,omitempty"`
}

type responseContext struct {
	StatusCode      int    `json:"statusCode"`
	ExecutedVersion string `json:"executedVersion,omitempty"`
	FunctionError   string `json:"functionError,omitempty"`
}

const recordTime = "2006-01-02T15:04:05.000Z"

// message is what a destination gets: a record, or for a dead-letter target the
// payload, whose attributes are in the client context.
func message(kind faas.DeliveryKind, f *flight, v verdict, last lastResult, now time.Time) (body []byte, client json.RawMessage) {
	if kind == faas.DeliverDeadLetter {
		return payloadOf(f.event.Body), deadLetterContext(f, v, last)
	}
	var r record
	r.Version, r.Timestamp = "1.0", now.UTC().Format(recordTime)
	qualifier := f.header.Qualifier
	if qualifier == "" {
		qualifier = faas.Latest
	}
	r.Request.RequestID, r.Request.FunctionARN = f.event.ID, faas.FunctionARN(f.line.id, qualifier)
	r.Request.Condition, r.Request.Count = condition(v), len(f.header.Attempts)
	r.Payload = payloadOf(f.event.Body)
	if last.status != 0 {
		r.Response = &responseContext{last.status, last.version, last.failed}
		r.Result = jsonOf(last.payload)
	}
	// A destination takes what an event may have: of a larger record the result is
	// left out, then the payload; both are in the history.
	for _, leave := range []func(){func() {}, func() { r.Result = nil }, func() { r.Payload = json.RawMessage("null") }} {
		leave()
		body = encodeRecord(r)
		if len(body) <= engine.MaxBody {
			break
		}
	}
	return body, nil
}

func encodeRecord(r record) []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(r); err != nil { // its raw parts are valid JSON
		panic("async: a record cannot be encoded: " + err.Error())
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

func payloadOf(body []byte) []byte {
	if len(body) == 0 {
		return []byte("{}")
	}
	return body
}

// jsonOf is a function's result, as a string where it is not JSON.
func jsonOf(payload []byte) json.RawMessage {
	if len(payload) == 0 {
		return nil
	}
	if json.Valid(payload) {
		return payload
	}
	text, err := json.Marshal(string(payload))
	if err != nil {
		return nil
	}
	return text
}

// deadLetter is the attributes of a dead letter on Lambda.
type deadLetter struct {
	RequestID    string `json:"RequestID"`
	ErrorCode    string `json:"ErrorCode"`    // an HTTP status
	ErrorMessage string `json:"ErrorMessage"` // at most 1 KiB
}

func deadLetterContext(f *flight, v verdict, last lastResult) json.RawMessage {
	a := deadLetter{RequestID: f.event.ID, ErrorCode: strconv.Itoa(last.status), ErrorMessage: clip(last.message, 1024)}
	if last.status == 0 {
		a.ErrorCode, a.ErrorMessage = strconv.Itoa(http.StatusInternalServerError), string(v.reason)
	}
	b, err := json.Marshal(struct {
		Custom deadLetter `json:"custom"`
	}{a})
	if err != nil {
		return nil
	}
	return b
}
