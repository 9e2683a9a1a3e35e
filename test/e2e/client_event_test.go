package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
	transport "github.com/aws/smithy-go/transport/http"
)

// The function fails when it is told to; the one that records keeps what it gets as
// an event, and returns it to who asks.
const (
	eventSource  = `export const handler = async (event) => { if (event.fail) throw new RangeError("as you wish"); return { did: event.n } };`
	recordSource = `const got = []; export const handler = async (event) => event.ask ? got : void got.push(event);`
)

// eventLife is a function that is invoked asynchronously, and one that records what
// becomes of it.
type eventLife struct {
	*life
	cli      *cliClient
	sdk      *lambda.Client
	recorder string
}

// TestEventsWithCLI configures and makes asynchronous invocations the way users of
// Lambda do, with the command and the SDK.
func TestEventsWithCLI(t *testing.T) {
	s := Start(t)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cli, sdk := newCLIClient(t, s).(*cliClient), newGoClient(t, s).(goClient)
	e := &eventLife{&life{t: t, ctx: ctx, client: sdk, name: "event"}, cli, sdk.sdk, "recorder"}
	for name, source := range map[string]string{e.name: eventSource, e.recorder: recordSource} {
		_, err := sdk.create(ctx, function{name: name, runtime: s.Newest(t, "nodejs"), handler: "index.handler",
			zip: pack(t, map[string][]byte{"index.mjs": []byte(source)})})
		e.ok("create", err)
		e.ok("wait", sdk.waitActive(ctx, name))
	}
	// One instance has all that was recorded.
	_, err := e.sdk.PutFunctionConcurrency(ctx, &lambda.PutFunctionConcurrencyInput{FunctionName: &e.recorder, ReservedConcurrentExecutions: aws.Int32(1)})
	e.ok("reserve", err)
	e.configure()
	e.send(`{"n":1}`)
	e.send(`{"n":2,"fail":true}`)
	e.outcomes()
	e.deadLetter()
	e.duplicates()
}

func (e *eventLife) arn(name string) string {
	return "arn:aws:lambda:" + testRegion + ":000000000000:function:" + name
}

// eventConfig is what the operations on the settings answer.
type eventConfig struct {
	FunctionArn          string
	LastModified         json.RawMessage // a number or a text, as the command is set up
	MaximumRetryAttempts *int
	DestinationConfig    struct{ OnSuccess, OnFailure struct{ Destination string } }
}

func (e *eventLife) configure() {
	e.t.Helper()
	destinations := `{"OnSuccess":{"Destination":"` + e.arn(e.recorder) + `"},"OnFailure":{"Destination":"` + e.arn(e.recorder) + `:$LATEST"}}`
	var got eventConfig
	e.ok("put", e.cli.run(e.ctx, &got, "put-function-event-invoke-config", "--function-name", e.name,
		"--maximum-retry-attempts", "0", "--destination-config", destinations))
	if got.FunctionArn != e.arn(e.name)+":$LATEST" || *got.MaximumRetryAttempts != 0 || got.DestinationConfig.OnSuccess.Destination != e.arn(e.recorder) {
		e.t.Errorf("put answered %+v", got)
	}
	read, err := e.sdk.GetFunctionEventInvokeConfig(e.ctx, &lambda.GetFunctionEventInvokeConfigInput{FunctionName: &e.name})
	if e.ok("get", err); len(got.LastModified) == 0 || read.LastModified == nil || time.Since(*read.LastModified).Abs() > time.Hour {
		e.t.Errorf("modified at %s, %v", got.LastModified, read.LastModified)
	}
	var list struct{ FunctionEventInvokeConfigs []eventConfig }
	e.ok("list", e.cli.run(e.ctx, &list, "list-function-event-invoke-configs", "--function-name", e.name))
	if len(list.FunctionEventInvokeConfigs) != 1 || list.FunctionEventInvokeConfigs[0].FunctionArn != got.FunctionArn {
		e.t.Errorf("listed %+v", list)
	}
	err = e.cli.run(e.ctx, nil, "put-function-event-invoke-config", "--function-name", e.name, "--destination-config",
		`{"OnFailure":{"Destination":"`+e.arn(e.name)+`"}}`)
	if e.cli.errorCode(err) != "InvalidParameterValueException" || !strings.Contains(err.Error(), "You can't specify the function as a destination for itself.") {
		e.t.Errorf("a destination of its own: %v", err)
	}
}

// send invokes the function asynchronously with the command.
func (e *eventLife) send(payload string) {
	e.t.Helper()
	event, err := e.cli.file("event.json", []byte(payload))
	e.ok("write", err)
	var out struct {
		StatusCode      int
		ExecutedVersion string
	}
	result := filepath.Join(e.cli.dir, "result.json")
	e.ok("invoke", e.cli.run(e.ctx, &out, "invoke", "--function-name", e.name, "--invocation-type", "Event", "--payload", "fileb://"+event, result))
	body, err := os.ReadFile(result)
	if e.ok("read", err); out.StatusCode != 202 || out.ExecutedVersion != "" || len(body) > 0 {
		e.t.Errorf("the answer is %+v with %q", out, body)
	}
}

// record is what a destination gets, as AWS documents it.
type record struct {
	Version        string
	Timestamp      time.Time
	RequestContext struct {
		RequestID, FunctionArn, Condition string
		ApproximateInvokeCount            int
	}
	RequestPayload  json.RawMessage
	ResponseContext struct {
		StatusCode                     int
		ExecutedVersion, FunctionError string
	}
	ResponsePayload json.RawMessage
}

// recorded asks the recorder until it has so many events.
func (e *eventLife) recorded(n int) []json.RawMessage {
	e.t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		a, err := e.client.invoke(e.ctx, e.recorder, "", `{"ask":true}`)
		var got []json.RawMessage
		if err == nil { // else an event has the one instance
			e.ok("read what was recorded", json.Unmarshal([]byte(a.payload), &got))
		} else if e.client.errorCode(err) != "TooManyRequestsException" {
			e.t.Fatal(err)
		}
		if len(got) >= n {
			return got
		}
		select {
		case <-tick.C:
		case <-e.ctx.Done():
			e.t.Fatalf("of %d events, %d were recorded: %s", n, len(got), got)
		}
	}
}

func (e *eventLife) outcomes() {
	e.t.Helper()
	byCondition := map[string]record{}
	for _, raw := range e.recorded(2) {
		var r record
		e.ok("read the record", json.Unmarshal(raw, &r))
		if r.Version != "1.0" || r.Timestamp.IsZero() || r.RequestContext.RequestID == "" || r.RequestContext.ApproximateInvokeCount != 1 ||
			r.RequestContext.FunctionArn != e.arn(e.name)+":$LATEST" || r.ResponseContext.StatusCode != 200 || r.ResponseContext.ExecutedVersion != "$LATEST" {
			e.t.Errorf("the record is %s", raw)
		}
		byCondition[r.RequestContext.Condition] = r
	}
	if r := byCondition["Success"]; string(r.RequestPayload) != `{"n":1}` || string(r.ResponsePayload) != `{"did":1}` || r.ResponseContext.FunctionError != "" {
		e.t.Errorf("the success is %+v", r)
	}
	r := byCondition["RetriesExhausted"]
	if string(r.RequestPayload) != `{"n":2,"fail":true}` || !bytes.Contains(r.ResponsePayload, []byte(`"errorType":"RangeError"`)) || r.ResponseContext.FunctionError != "Unhandled" {
		e.t.Errorf("the failure is %+v", r)
	}
}

// deadLetter sends the payload alone of what failed, by the legacy operation.
func (e *eventLife) deadLetter() {
	e.t.Helper()
	_, err := e.sdk.UpdateFunctionConfiguration(e.ctx, &lambda.UpdateFunctionConfigurationInput{FunctionName: &e.name,
		DeadLetterConfig: &types.DeadLetterConfig{TargetArn: aws.String(e.arn(e.recorder))}})
	e.ok("set the dead-letter target", err)
	e.ok("wait", e.client.waitUpdated(e.ctx, e.name))
	_, err = e.sdk.UpdateFunctionEventInvokeConfig(e.ctx, &lambda.UpdateFunctionEventInvokeConfigInput{FunctionName: &e.name, DestinationConfig: &types.DestinationConfig{}})
	e.ok("remove the destinations", err)
	args, err := e.cli.file("args.json", []byte(`{"n":3,"fail":true}`))
	e.ok("write", err)
	var out struct{ Status int }
	e.ok("invoke-async", e.cli.run(e.ctx, &out, "invoke-async", "--function-name", e.name, "--invoke-args", args))
	if out.Status != 202 {
		e.t.Errorf("invoke-async answered %+v", out)
	}
	if got := e.recorded(3); string(got[2]) != `{"n":3,"fail":true}` {
		e.t.Errorf("the dead letter is %s", got[2])
	}
}

// duplicates sends two events with one key through the SDK.
func (e *eventLife) duplicates() {
	e.t.Helper()
	var ids []string
	for range 2 {
		out, err := e.sdk.Invoke(e.ctx, &lambda.InvokeInput{FunctionName: &e.name, InvocationType: types.InvocationTypeEvent, Payload: []byte(`{"n":4,"fail":true}`)},
			lambda.WithAPIOptions(transport.AddHeaderValue("X-Hearth-Idempotency-Key", "once")))
		if e.ok("invoke", err); out.StatusCode != http.StatusAccepted {
			e.t.Errorf("the answer is %d", out.StatusCode)
		}
		id, _ := awsmiddleware.GetRequestIDMetadata(out.ResultMetadata)
		ids = append(ids, id)
	}
	if ids[0] == "" || ids[0] != ids[1] {
		e.t.Errorf("two events with one key have the request ids %q", ids)
	}
	if got := e.recorded(4); string(got[3]) != `{"n":4,"fail":true}` {
		e.t.Errorf("recorded %s", got)
	}
}
