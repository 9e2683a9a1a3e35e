// Command bootstrap is the measured function on the unmodified aws-lambda-go. Where
// TAKES is set to a duration it waits for so long first, without using a processor.
package main

import (
	"context"
	"log"
	"os"
	"time"

	"github.com/aws/aws-lambda-go/lambda"

	"hearth-bench/function/greet"
)

func main() {
	handle := greet.Handle
	if text := os.Getenv("TAKES"); text != "" {
		takes, err := time.ParseDuration(text)
		if err != nil {
			log.Fatal(err)
		}
		handle = func(ctx context.Context, e greet.Event) (greet.Result, error) {
			time.Sleep(takes)
			return greet.Handle(ctx, e)
		}
	}
	lambda.Start(handle)
}
