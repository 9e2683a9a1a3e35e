package lambda

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws/protocol/eventstream"

	"hearth/auth"
	"hearth/invoke"
)

const (
	opInvokeStream = "InvokeWithResponseStream"
	// eventStreamType is the content type of its answer, whatever the function's is.
	eventStreamType = "application/vnd.amazon.eventstream"
	// clientPatience is how long a client may take nothing before it counts as gone.
	clientPatience = 2 * time.Minute
)

// serveInvokeStream answers one InvokeWithResponseStream: an event for each part of
// the response as it comes, and one at the end that says how it ended.
func (h *Handler) serveInvokeStream(w http.ResponseWriter, r *http.Request, who *auth.Identity, name, requestID string) {
	req, err := h.invokeRequest(r, who, name, requestID, shapeInvokeWithResponseStreamRequest)
	if err != nil {
		h.fail(w, r, requestID, err)
		return
	}
	events := &eventWriter{w: w, control: http.NewResponseController(w), encoder: eventstream.NewEncoder(), trace: req.TraceID}
	req.Stream = events
	defer events.end()
	result, err := h.invoker.Invoke(r.Context(), req)
	switch {
	case err != nil && !events.begun:
		h.fail(w, r, requestID, wordInvokeError(err, requestID))
	case err != nil:
		e := describe(err, requestID)
		_ = events.complete(invokeComplete{ErrorCode: e.name, ErrorDetails: e.message})
	case req.Type == invoke.DryRun:
		w.WriteHeader(http.StatusNoContent)
	default:
		events.Begin(invoke.StreamHead{ExecutedVersion: result.ExecutedVersion})
		_ = events.complete(completion(req, result)) // a client that went away is told nothing
	}
}

// invokeComplete is the model's InvokeWithResponseStreamCompleteEvent.
type invokeComplete struct {
	ErrorCode    string `json:",omitempty"`
	ErrorDetails string `json:",omitempty"`
	LogResult    string `json:",omitempty"`
}

func completion(req *invoke.Request, result *invoke.Result) invokeComplete {
	var done invokeComplete
	if result.Outcome.FunctionError != "" {
		done.ErrorCode, done.ErrorDetails = result.Outcome.ErrorType, string(result.Outcome.Payload)
	}
	if req.LogTail {
		done.LogResult = base64.StdEncoding.EncodeToString(result.LogTail)
	}
	return done
}

// eventWriter is the invoke.Stream of a client that speaks the event stream encoding.
type eventWriter struct {
	w       http.ResponseWriter
	control *http.ResponseController
	encoder *eventstream.Encoder
	message bytes.Buffer
	trace   string
	begun   bool
}

var _ invoke.Stream = (*eventWriter)(nil)

// Begin implements invoke.Stream.
func (s *eventWriter) Begin(head invoke.StreamHead) {
	if s.begun {
		return
	}
	s.begun = true
	header := s.w.Header()
	header["Content-Type"] = []string{eventStreamType}
	header["X-Amz-Executed-Version"] = []string{head.ExecutedVersion}
	if s.trace != "" {
		header["X-Amzn-Trace-Id"] = []string{s.trace}
	}
	s.w.WriteHeader(http.StatusOK)
}

// Write implements invoke.Stream.
func (s *eventWriter) Write(part []byte) error {
	return s.send("PayloadChunk", "application/octet-stream", part)
}

func (s *eventWriter) complete(done invokeComplete) error {
	body, err := json.Marshal(done)
	if err != nil { // strings always marshal
		return err
	}
	return s.send("InvokeComplete", "application/json", body)
}

// send writes one event and waits until the client's system has it.
func (s *eventWriter) send(kind, contentType string, payload []byte) error {
	message := eventstream.Message{Payload: payload}
	message.Headers.Set(":message-type", eventstream.StringValue("event"))
	message.Headers.Set(":event-type", eventstream.StringValue(kind))
	message.Headers.Set(":content-type", eventstream.StringValue(contentType))
	s.message.Reset()
	if err := s.encoder.Encode(&s.message, message); err != nil {
		return err
	}
	// A writer that knows no deadlines waits for its client without one.
	_ = s.control.SetWriteDeadline(time.Now().Add(clientPatience))
	if _, err := s.w.Write(s.message.Bytes()); err != nil {
		return err
	}
	return s.control.Flush()
}

// end leaves the connection to the next request.
func (s *eventWriter) end() { _ = s.control.SetWriteDeadline(time.Time{}) }
