// A function on the unmodified github.com/aws/aws-lambda-go, built statically and
// deployed as the bootstrap of a provided runtime.
package main

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-lambda-go/lambdacontext"
)

type result struct {
	Version  string          `json:"version"`
	Count    int             `json:"count"`
	Greeting string          `json:"greeting"`
	Name     string          `json:"name"`
	Event    json.RawMessage `json:"event"`
}

var count int

func handle(_ context.Context, event json.RawMessage) (result, error) {
	version, err := os.ReadFile(filepath.Join(os.Getenv("LAMBDA_TASK_ROOT"), "version"))
	count++
	return result{Version: string(version), Count: count, Greeting: os.Getenv("GREETING"), Name: lambdacontext.FunctionName, Event: event}, err
}

func main() { lambda.Start(handle) }
