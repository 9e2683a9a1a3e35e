// Command bootstrap is the measured function on the unmodified aws-lambda-go.
package main

import (
	"github.com/aws/aws-lambda-go/lambda"

	"hearth-bench/function/greet"
)

func main() { lambda.Start(greet.Handle) }
