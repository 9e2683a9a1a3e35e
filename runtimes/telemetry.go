package runtimes

import (
	"context"
	"errors"
	"net"
	"strconv"
	"time"

	"hearth/faas"
	"hearth/pool"
	"hearth/runtimeapi"
)

// What happens to an instance with external extensions, in the records of Lambda's
// Telemetry API (schema 2022-12-13).

// newTelemetry delivers to the sandbox's own ports.
func newTelemetry(r *process) *runtimeapi.Telemetry {
	return runtimeapi.NewTelemetry(func(ctx context.Context, port int) (net.Conn, error) {
		return r.box.Dial(ctx, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	})
}

// tapped has telemetry see what a stream reads, where the stream can show it.
func tapped(stream LogStream, t *runtimeapi.Telemetry, kind string) LogStream {
	if s, ok := stream.(interface {
		Tap(func(request string, lines []byte))
	}); ok && t != nil {
		s.Tap(func(_ string, lines []byte) { t.Lines(kind, lines) })
	}
	return stream
}

// tell emits a record of the platform, where anybody could want it.
func (p *process) tell(name string, record func() map[string]any) {
	if p.extensions != nil && p.extensions.telemetry != nil {
		p.extensions.telemetry.Platform("platform."+name, record())
	}
}

const (
	initPhase = "init"
	onDemand  = "on-demand"
)

func (p *process) tellInitStart(v *faas.Version, instance string) {
	p.tell("initStart", func() map[string]any {
		return map[string]any{"initializationType": onDemand, "phase": initPhase, "functionName": v.ID.Function.Name,
			"functionVersion": v.ID.Number, "instanceId": instance, "instanceMaxMemory": int64(v.Config.MemoryMB) << 20}
	})
}

// tellInit tells how init went, for the runtime and, at its end, for all.
func (p *process) tellInit(name string, err error) {
	p.tell(name, func() map[string]any {
		record := map[string]any{"initializationType": onDemand, "phase": initPhase, "status": "success"}
		if err != nil {
			record["status"] = statusOf(err)
			if errorType := errorTypeOf(err); errorType != "" {
				record["errorType"] = errorType
			}
		}
		if name == "initReport" {
			record["metrics"] = map[string]any{"durationMs": milliseconds(time.Since(p.began))}
		}
		return record
	})
}

func (p *process) tellStart(event *faas.Event, version string) {
	p.tell("start", func() map[string]any {
		return map[string]any{"requestId": event.RequestID, "version": version, "tracing": tracingOf(event)}
	})
}

func tracingOf(event *faas.Event) map[string]any {
	return map[string]any{"type": "X-Amzn-Trace-Id", "value": event.TraceID}
}

// tellDone tells how the runtime ended an invocation.
func (p *process) tellDone(event *faas.Event, began time.Time, out faas.Outcome, err error) {
	p.tell("runtimeDone", func() map[string]any {
		record := map[string]any{"requestId": event.RequestID, "status": "success", "tracing": tracingOf(event),
			"metrics": map[string]any{"durationMs": milliseconds(time.Since(began)), "producedBytes": len(out.Payload)}}
		switch {
		case err != nil:
			record["status"] = statusOf(err)
			if errorType := errorTypeOf(err); errorType != "" {
				record["errorType"] = errorType
			}
		case out.FunctionError != "":
			record["status"], record["errorType"] = "error", out.ErrorType
		}
		return record
	})
}

func (p *process) tellReport(r *faas.Report) {
	p.tell("end", func() map[string]any { return map[string]any{"requestId": r.RequestID} })
	p.tell("report", func() map[string]any {
		metrics := map[string]any{"durationMs": milliseconds(r.Duration), "billedDurationMs": billedMillis(r.Billed),
			"memorySizeMB": r.MemoryMB, "maxMemoryUsedMB": megabytes(r.MaxMemory)}
		if r.Start == faas.StartCold {
			metrics["initDurationMs"] = milliseconds(r.Init)
		}
		status := r.Status
		if status != faas.StatusSuccess && status != faas.StatusError && status != "timeout" {
			status = "failure"
		}
		record := map[string]any{"requestId": r.RequestID, "status": status, "metrics": metrics}
		if r.ErrorType != "" {
			record["errorType"] = r.ErrorType
		}
		return record
	})
}

// statusOf is Lambda's word for an error.
func statusOf(err error) string {
	var failure *pool.Failure
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return "timeout"
	case errors.As(err, &failure) && failure.Kind == pool.FailedInit:
		return "error"
	}
	return "failure"
}

func errorTypeOf(err error) string {
	var failure *pool.Failure
	if errors.As(err, &failure) {
		return failure.Outcome.ErrorType
	}
	return ""
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
