package e2e

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
)

const streamSource = `export const handler = awslambda.streamifyResponse(async (event, stream, context) => {
  stream.write("one ");
  if (event.do === "fail") throw new RangeError("out of bounds");
  if (event.do === "hang") await new Promise(() => setTimeout(() => {}, 60000));
  console.log("between");
  stream.end("two");
});`

// streamed is what a client got of a streamed invocation.
type streamed struct {
	text, errorCode, details, log string
	chunks                        int
}

// TestResponseStreaming streams responses to AWS's own clients: whole, broken by an
// error, cut by the function's limit, and of a function that does not stream.
func TestResponseStreaming(t *testing.T) {
	s := Start(t)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	client, js := newGoClient(t, s).(goClient), newJSClient(t, s).(*jsClient)
	f := &life{t: t, ctx: ctx, client: client, name: "stream"}
	_, err := client.sdk.CreateFunction(ctx, &lambda.CreateFunctionInput{FunctionName: &f.name, Runtime: types.Runtime(s.Newest(t, "nodejs")),
		Handler: aws.String("index.handler"), Role: aws.String(testRole), Timeout: aws.Int32(2), MemorySize: aws.Int32(512),
		Code: &types.FunctionCode{ZipFile: pack(t, map[string][]byte{"index.mjs": []byte(streamSource)})}})
	f.ok("create", err)
	f.ok("wait", client.waitActive(ctx, f.name))
	for name, invoke := range map[string]func(context.Context, string, string) (streamed, error){"go": client.stream, "javascript": js.stream} {
		if got, err := invoke(ctx, f.name, "{}"); err != nil || got.text != "one two" || got.errorCode != "" || !strings.Contains(got.log, "between\n") {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
		if got, err := invoke(ctx, f.name, `{"do":"fail"}`); err != nil || got.text != "one " || got.errorCode != "RangeError" ||
			!strings.Contains(got.details, `"errorMessage":"out of bounds"`) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	if got, err := js.stream(ctx, f.name, `{"do":"hang"}`); err != nil || got.text != "one " || got.errorCode != "Sandbox.Timedout" ||
		!strings.Contains(got.details, "Task timed out after 2.00 seconds") {
		t.Errorf("beyond its limit: %+v, %v", got, err)
	}
	if got, err := client.invoke(ctx, f.name, "", "{}"); err != nil || got.payload != "one two" {
		t.Errorf("collected: %+v, %v", got, err)
	}
	f.ok("update", client.updateCode(ctx, f.name, pack(t, map[string][]byte{"index.mjs": []byte("export const handler = async () => ({ whole: true });")})))
	f.ok("wait", client.waitUpdated(ctx, f.name))
	if got, err := client.stream(ctx, f.name, "{}"); err != nil || got.text != `{"whole":true}` || got.chunks != 1 {
		t.Errorf("of a function that does not stream: %+v, %v", got, err)
	}
}

func (c goClient) stream(ctx context.Context, name, payload string) (got streamed, err error) {
	out, err := c.sdk.InvokeWithResponseStream(ctx, &lambda.InvokeWithResponseStreamInput{FunctionName: &name, Payload: []byte(payload), LogType: types.LogTypeTail})
	if err != nil {
		return got, err
	}
	events := out.GetStream()
	defer events.Close()
	for e := range events.Events() {
		switch e := e.(type) {
		case *types.InvokeWithResponseStreamResponseEventMemberPayloadChunk:
			got.text += string(e.Value.Payload)
			got.chunks++
		case *types.InvokeWithResponseStreamResponseEventMemberInvokeComplete:
			log, err := base64.StdEncoding.DecodeString(aws.ToString(e.Value.LogResult))
			if err != nil {
				return got, err
			}
			got.errorCode, got.details, got.log = aws.ToString(e.Value.ErrorCode), aws.ToString(e.Value.ErrorDetails), string(log)
		}
	}
	return got, events.Err()
}

func (c *jsClient) stream(ctx context.Context, name, payload string) (got streamed, err error) {
	var out struct{ EventStream []map[string]json.RawMessage }
	err = c.call(ctx, "invokeWithResponseStream", map[string]any{"FunctionName": name, "Payload": []byte(payload), "LogType": "Tail"}, &out)
	if err != nil {
		return got, err
	}
	for _, e := range out.EventStream {
		var chunk struct{ Payload []byte }
		var end struct{ ErrorCode, ErrorDetails, LogResult string }
		if part := e["PayloadChunk"]; part != nil {
			err = json.Unmarshal(part, &chunk)
			got.text += string(chunk.Payload)
			got.chunks++
		} else if err = json.Unmarshal(e["InvokeComplete"], &end); err == nil {
			var log []byte
			log, err = base64.StdEncoding.DecodeString(end.LogResult)
			got.errorCode, got.details, got.log = end.ErrorCode, end.ErrorDetails, string(log)
		}
		if err != nil {
			return got, err
		}
	}
	return got, nil
}
