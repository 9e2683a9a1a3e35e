// Command golambda is the function with which the tests prove that the
// unmodified aws-lambda-go runs on Hearth's Runtime API.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-lambda-go/lambdacontext"
)

type input struct {
	Do string `json:"do"`
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
	}
	lc, _ := lambdacontext.FromContext(ctx)
	deadline, _ := ctx.Deadline()
	return map[string]any{
		"id": lc.AwsRequestID, "client": lc.ClientContext.Custom["k"], "function": lambdacontext.FunctionName,
		"deadline": time.Until(deadline) > 2*time.Second,
	}, nil
}

func main() { lambda.Start(handle) }
