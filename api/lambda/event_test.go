package lambda

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"

	"hearth/faas"
	"hearth/invoke"
)

func TestSDKEvent(t *testing.T) {
	h, _, invoker := newWorld()
	client, _ := newSDK(t, h, "us-east-1")
	ctx := context.Background()
	must[*sdk.CreateFunctionOutput](t)(client.CreateFunction(ctx, createInput("f")))
	out := must[*sdk.InvokeOutput](t)(client.Invoke(ctx, &sdk.InvokeInput{
		FunctionName: aws.String("f"), InvocationType: types.InvocationTypeEvent, Payload: []byte(`{"n":1}`), Qualifier: aws.String("$LATEST"),
	}))
	if out.StatusCode != 202 || len(out.Payload) > 0 || out.ExecutedVersion != nil || out.FunctionError != nil || out.LogResult != nil {
		t.Errorf("answer %+v", out)
	}
	req := invoker.request()
	if req.Type != invoke.Event || string(req.Payload) != `{"n":1}` || req.Qualifier != "$LATEST" ||
		req.InvokedARN != "arn:aws:lambda:us-east-1:123456789012:function:f:$LATEST" || req.IdempotencyKey != "" {
		t.Errorf("the invoker got %+v", req)
	}
	old := must[*sdk.InvokeAsyncOutput](t)(client.InvokeAsync(ctx, &sdk.InvokeAsyncInput{FunctionName: aws.String("f"), InvokeArgs: strings.NewReader(`{"n":2}`)}))
	if req := invoker.request(); old.Status != 202 || req.Type != invoke.Event || string(req.Payload) != `{"n":2}` {
		t.Errorf("InvokeAsync: %d, %+v", old.Status, req)
	}
	large := `"` + strings.Repeat("x", faas.MaxAsyncPayload) + `"`
	_, err := client.Invoke(ctx, &sdk.InvokeInput{FunctionName: aws.String("f"), InvocationType: types.InvocationTypeEvent, Payload: []byte(large)})
	if err == nil || !strings.Contains(err.Error(), "1048578 byte payload is too large for the Event invocation type (limit 1048576 bytes)") {
		t.Errorf("a large event: %v", err)
	}
	_, err = client.Invoke(ctx, &sdk.InvokeInput{FunctionName: aws.String("f"), InvocationType: types.InvocationTypeEvent, Payload: []byte(`{"do":"full"}`)},
		func(o *sdk.Options) { o.RetryMaxAttempts = 1 })
	var full *types.TooManyRequestsException
	if !errors.As(err, &full) || full.Reason != types.ThrottleReasonCallerRateLimitExceeded || aws.ToString(full.RetryAfterSeconds) == "" {
		t.Errorf("a full backlog: %v", err)
	}
}

func TestSDKEventConfigs(t *testing.T) {
	h, _, _ := newWorld()
	client, _ := newSDK(t, h, "us-east-1")
	ctx := context.Background()
	must[*sdk.CreateFunctionOutput](t)(client.CreateFunction(ctx, createInput("f")))
	in := createInput("g")
	in.DeadLetterConfig = &types.DeadLetterConfig{TargetArn: aws.String("arn:aws:lambda:us-east-1:123456789012:function:f")}
	made := must[*sdk.CreateFunctionOutput](t)(client.CreateFunction(ctx, in))
	if made.DeadLetterConfig == nil || *made.DeadLetterConfig.TargetArn != *in.DeadLetterConfig.TargetArn {
		t.Errorf("created with %+v", made.DeadLetterConfig)
	}
	changed := must[*sdk.UpdateFunctionConfigurationOutput](t)(client.UpdateFunctionConfiguration(ctx, &sdk.UpdateFunctionConfigurationInput{
		FunctionName: aws.String("g"), DeadLetterConfig: &types.DeadLetterConfig{TargetArn: aws.String("")}}))
	if changed.DeadLetterConfig != nil {
		t.Errorf("removed, and there is %+v", changed.DeadLetterConfig)
	}

	name, arn := aws.String("f"), aws.String("arn:aws:lambda:us-east-1:123456789012:function:g")
	put := must[*sdk.PutFunctionEventInvokeConfigOutput](t)(client.PutFunctionEventInvokeConfig(ctx, &sdk.PutFunctionEventInvokeConfigInput{
		FunctionName: name, MaximumRetryAttempts: aws.Int32(0),
		DestinationConfig: &types.DestinationConfig{OnFailure: &types.OnFailure{Destination: arn}}}))
	if *put.MaximumRetryAttempts != 0 || put.MaximumEventAgeInSeconds != nil || !put.LastModified.Equal(fakeNow.Truncate(time.Millisecond)) ||
		*put.FunctionArn != "arn:aws:lambda:us-east-1:123456789012:function:f:$LATEST" ||
		*put.DestinationConfig.OnFailure.Destination != *arn || put.DestinationConfig.OnSuccess.Destination != nil {
		t.Errorf("put: %+v", put)
	}
	updated := must[*sdk.UpdateFunctionEventInvokeConfigOutput](t)(client.UpdateFunctionEventInvokeConfig(ctx, &sdk.UpdateFunctionEventInvokeConfigInput{
		FunctionName: name, MaximumEventAgeInSeconds: aws.Int32(90)}))
	if *updated.MaximumRetryAttempts != 0 || *updated.MaximumEventAgeInSeconds != 90 || *updated.DestinationConfig.OnFailure.Destination != *arn {
		t.Errorf("update: %+v", updated)
	}
	listed := must[*sdk.ListFunctionEventInvokeConfigsOutput](t)(client.ListFunctionEventInvokeConfigs(ctx, &sdk.ListFunctionEventInvokeConfigsInput{FunctionName: name}))
	if len(listed.FunctionEventInvokeConfigs) != 1 || *listed.FunctionEventInvokeConfigs[0].MaximumEventAgeInSeconds != 90 {
		t.Errorf("list: %+v", listed.FunctionEventInvokeConfigs)
	}
	must[*sdk.DeleteFunctionEventInvokeConfigOutput](t)(client.DeleteFunctionEventInvokeConfig(ctx, &sdk.DeleteFunctionEventInvokeConfigInput{FunctionName: name}))
	_, err := client.GetFunctionEventInvokeConfig(ctx, &sdk.GetFunctionEventInvokeConfigInput{FunctionName: name})
	var missing *types.ResourceNotFoundException
	if !errors.As(err, &missing) {
		t.Errorf("deleted: %v", err)
	}
}
