package lambda

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/protocol/eventstream"
	sdk "github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"

	"hearth/faas"
	"hearth/invoke"
)

// AWS's own client reads the stream and its end.
func TestSDKInvokeWithResponseStream(t *testing.T) {
	h, _, _ := newWorld()
	client, _ := newSDK(t, h, "us-east-1")
	ctx := t.Context()
	must[*sdk.CreateFunctionOutput](t)(client.CreateFunction(ctx, createInput("f")))
	for _, test := range []struct{ payload, want string }{
		{`{"a":1}`, `$LATEST application/vnd.amazon.eventstream {"a|":1}| log true`},
		{`{"do":"break"}`, `$LATEST application/vnd.amazon.eventstream {"do":"|Error {"errorType":"Error"} log true`},
	} {
		out := must[*sdk.InvokeWithResponseStreamOutput](t)(client.InvokeWithResponseStream(ctx, &sdk.InvokeWithResponseStreamInput{
			FunctionName: aws.String("f"), Payload: []byte(test.payload), LogType: types.LogTypeTail}))
		got := *out.ExecutedVersion + " " + *out.ResponseStreamContentType + " "
		for e := range out.GetStream().Events() {
			switch e := e.(type) {
			case *types.InvokeWithResponseStreamResponseEventMemberPayloadChunk:
				got += string(e.Value.Payload) + "|"
			case *types.InvokeWithResponseStreamResponseEventMemberInvokeComplete:
				got += strings.TrimSpace(aws.ToString(e.Value.ErrorCode)+" "+aws.ToString(e.Value.ErrorDetails)) + fmt.Sprintf(" log %v", e.Value.LogResult != nil)
			}
		}
		if err := out.GetStream().Close(); err != nil || got != test.want {
			t.Errorf("%s: got %s, %v", test.payload, got, err)
		}
	}
}

// invokerFunc is an Invoker of one function.
type invokerFunc func(ctx context.Context, req *invoke.Request) (*invoke.Result, error)

func (f invokerFunc) Invoke(ctx context.Context, req *invoke.Request) (*invoke.Result, error) {
	return f(ctx, req)
}

func streamServer(t *testing.T, f invokerFunc) string {
	h := newHandler(Options{Registry: newFakeRegistry(), Invoker: f})
	_, server := newSDK(t, h, "us-east-1")
	return server.URL + "/2021-11-15/functions/f/response-streaming-invocations"
}

// Each part is with the client before the next one is made, and an error of the
// platform in the middle is told as the end.
func TestInvokeStreamFlushes(t *testing.T) {
	next := make(chan struct{})
	url := streamServer(t, func(_ context.Context, req *invoke.Request) (*invoke.Result, error) {
		req.Stream.Begin(invoke.StreamHead{ExecutedVersion: "7"})
		for range 2 {
			if err := req.Stream.Write([]byte("part")); err != nil {
				t.Error(err)
			}
			<-next
		}
		return nil, &faas.Error{Code: faas.CodeShuttingDown, Message: "later"}
	})
	resp, err := http.Post(url, "application/json", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	decoder := eventstream.NewDecoder()
	for range 2 {
		if message, err := decoder.Decode(resp.Body, nil); err != nil || string(message.Payload) != "part" {
			t.Fatalf("%s, %v", message.Payload, err)
		}
		next <- struct{}{}
	}
	last, err := decoder.Decode(resp.Body, nil)
	if err != nil || string(last.Payload) != `{"ErrorCode":"ServiceException","ErrorDetails":"later"}` || resp.Header.Get("X-Amz-Executed-Version") != "7" {
		t.Errorf("%s, %v, %v", last.Payload, err, resp.Header)
	}
	if _, err := decoder.Decode(resp.Body, nil); err != io.EOF {
		t.Errorf("after the end: %v", err)
	}
}

// A client that hangs up is an error of Write, sooner or later.
func TestInvokeStreamHangUp(t *testing.T) {
	failed := make(chan error, 1)
	url := streamServer(t, func(ctx context.Context, req *invoke.Request) (*invoke.Result, error) {
		req.Stream.Begin(invoke.StreamHead{ExecutedVersion: "7"})
		var err error
		for err == nil {
			err = req.Stream.Write(make([]byte, 64<<10))
		}
		failed <- err
		return nil, errors.Join(err, ctx.Err())
	})
	resp, err := http.Post(url, "application/json", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if err := <-failed; err == nil {
		t.Error("all was written")
	}
}
