// Command golambda is the function with which the tests prove that the
// unmodified aws-lambda-go runs on Hearth's Runtime API.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-lambda-go/lambdacontext"
)

type input struct {
	Do     string `json:"do"`
	Number int    `json:"number"`
}

var arrived atomic.Int64

// released ends every "hold".
var (
	released = make(chan struct{})
	release  = sync.OnceFunc(func() { close(released) })
)

// meet returns the process's id when so many invocations are in it at once.
func meet(ctx context.Context, number int) (any, error) {
	for arrived.Add(1); arrived.Load() < int64(number); {
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("%d came", arrived.Load())
		case <-time.After(time.Millisecond):
		}
	}
	return os.Getpid(), nil
}

// parts is a response that comes in two parts, and then ends in its way.
type parts struct {
	sent int
	end  error
	exit bool
}

func (p *parts) Read(b []byte) (int, error) {
	p.sent++
	switch p.sent {
	case 1:
		return copy(b, "one "), nil
	case 2:
		return copy(b, "two"), nil
	}
	if p.exit {
		time.Sleep(20 * time.Millisecond) // what it sent is on its way
		os.Exit(4)
	}
	if p.end == nil {
		return 0, io.EOF
	}
	return 0, p.end
}

func handle(ctx context.Context, in input) (any, error) {
	fmt.Println("doing", in.Do)
	switch in.Do {
	case "fail":
		return nil, errors.New("failed as told")
	case "panic":
		panic("panicked as told")
	case "exit":
		os.Exit(3)
	case "stream":
		return &parts{}, nil
	case "break":
		return &parts{end: errors.New("broke as told")}, nil
	case "leave":
		return &parts{exit: true}, nil
	case "url":
		return &events.LambdaFunctionURLStreamingResponse{StatusCode: 201, Headers: map[string]string{"a": "b"}, Cookies: []string{"k=v"}, Body: &parts{}}, nil
	case "meet":
		return meet(ctx, in.Number)
	case "hold":
		<-released
	case "release":
		release()
	}
	lc, _ := lambdacontext.FromContext(ctx)
	deadline, _ := ctx.Deadline()
	return map[string]any{
		"id": lc.AwsRequestID, "client": lc.ClientContext.Custom["k"], "function": lambdacontext.FunctionName,
		"deadline": time.Until(deadline) > 2*time.Second,
	}, nil
}

func main() { lambda.Start(handle) }
