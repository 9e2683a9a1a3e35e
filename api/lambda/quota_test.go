package lambda

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"net/http"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/aws/smithy-go"

	"hearth/faas"
	"hearth/quota"
)

// What refuses decides the Reason, whatever the refusal is wrapped in; the machine
// has none, as it answers with another exception.
func TestThrottleReasons(t *testing.T) {
	want := map[faas.Limit]types.ThrottleReason{
		faas.LimitOff:         types.ThrottleReasonReservedFunctionConcurrentInvocationLimitExceeded,
		faas.LimitReserved:    types.ThrottleReasonReservedFunctionConcurrentInvocationLimitExceeded,
		faas.LimitFunction:    types.ThrottleReasonConcurrentInvocationLimitExceeded,
		faas.LimitExecutions:  types.ThrottleReasonConcurrentInvocationLimitExceeded,
		faas.LimitMemory:      types.ThrottleReasonConcurrentInvocationLimitExceeded,
		faas.LimitSynchronous: types.ThrottleReasonConcurrentInvocationLimitExceeded,
		faas.LimitExpansion:   types.ThrottleReasonFunctionInvocationRateLimitExceeded,
		faas.LimitBacklog:     types.ThrottleReasonCallerRateLimitExceeded,
	}
	for _, limit := range append(faas.RefusingLimits(), faas.LimitBacklog) {
		refusal := &faas.Refusal{Limit: limit, Unit: faas.UnitInstances, Value: 7, Use: 7, Subject: "f", Raise: "raise it"}
		if limit == faas.LimitMachine {
			w := invokeWith(t, &faas.Error{Code: faas.CodeNoCapacity, Subject: string(limit), Message: "no room", Cause: refusal})
			if w.Code != http.StatusInternalServerError || strings.Contains(w.Body.String(), "Reason") || w.Header().Get("Retry-After") == "" {
				t.Errorf("%s: %d %v %s", limit, w.Code, w.Header(), w.Body)
			}
			continue
		}
		if throttleReasons[limit] == "" {
			t.Errorf("%s has no reason", limit)
		}
		for name, err := range map[string]error{
			"refusal": &faas.Error{Code: faas.CodeThrottled, Message: "7 of 7 in use", Cause: errors.Join(errors.New("x"), refusal)},
			"subject": faas.Errorf(faas.CodeThrottled, string(limit), "7 of 7 in use"),
		} {
			w := invokeWith(t, err)
			var body struct{ Message, Reason string }
			if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil {
				t.Fatal(err)
			}
			if w.Code != http.StatusTooManyRequests || body.Reason != string(want[limit]) || w.Header().Get("Retry-After") == "" {
				t.Errorf("%s by its %s: %d %v %s, want Reason %s", limit, name, w.Code, w.Header(), w.Body, want[limit])
			}
			if !strings.HasSuffix(body.Message, "7 of 7 in use") {
				t.Errorf("%s: the message does not explain: %q", limit, body.Message)
			}
		}
	}
}

// The quotas' own refusal for lack of unreserved executions is worded as Lambda
// words it; other refusals of theirs are not.
func TestFloorIsWordedAsLambdaDoes(t *testing.T) {
	id := faas.FunctionID{Name: "f"}
	settings := quota.Settings{Limits: faas.DefaultAccountLimits(), Functions: map[faas.FunctionID]quota.FunctionSettings{
		id: {Reserved: &faas.Amount{Unit: faas.UnitExecutions, Value: 901}, MemoryMB: 128, Concurrency: 1}}}
	const sentence = "Specified ReservedConcurrentExecutions for function decreases account's UnreservedConcurrentExecution below its minimum value of [100]. "
	refusal := quota.Check(quota.Account{}, settings)
	worded := describe(wordFloor("ReservedConcurrentExecutions", refusal), "")
	if !strings.HasPrefix(worded.message, sentence) || !strings.Contains(worded.message, "1000 executions") || worded.name != "InvalidParameterValueException" {
		t.Errorf("901 of 1000 executions: %+v", worded)
	}
	settings.Limits.Executions = 10_000
	refusal = quota.Check(quota.Account{}, settings)
	if worded = describe(wordFloor("ReservedConcurrentExecutions", refusal), ""); refusal == nil || strings.Contains(worded.message, "Specified") {
		t.Errorf("too little memory: %v, worded %+v", refusal, worded)
	}
}

// publish makes function f with a published version 1 and an alias to it.
func publish(t *testing.T, client *sdk.Client) {
	t.Helper()
	in := createInput("f")
	in.Publish = true
	must[*sdk.CreateFunctionOutput](t)(client.CreateFunction(context.Background(), in))
	must[*sdk.CreateAliasOutput](t)(client.CreateAlias(context.Background(), &sdk.CreateAliasInput{
		FunctionName: aws.String("f"), Name: aws.String("live"), FunctionVersion: aws.String("1")}))
}

func TestSDKReservedConcurrency(t *testing.T) {
	h, _, _ := newWorld()
	client, _ := newSDK(t, h, "us-east-1")
	ctx, name := context.Background(), aws.String("f")
	publish(t, client)

	put := must[*sdk.PutFunctionConcurrencyOutput](t)(client.PutFunctionConcurrency(ctx, &sdk.PutFunctionConcurrencyInput{
		FunctionName: name, ReservedConcurrentExecutions: aws.Int32(40)}))
	got := must[*sdk.GetFunctionConcurrencyOutput](t)(client.GetFunctionConcurrency(ctx, &sdk.GetFunctionConcurrencyInput{FunctionName: name}))
	function := must[*sdk.GetFunctionOutput](t)(client.GetFunction(ctx, &sdk.GetFunctionInput{FunctionName: name}))
	if *put.ReservedConcurrentExecutions != 40 || *got.ReservedConcurrentExecutions != 40 || *function.Concurrency.ReservedConcurrentExecutions != 40 {
		t.Errorf("reserved 40: %+v %+v %+v", put, got, function.Concurrency)
	}
	account := must[*sdk.GetAccountSettingsOutput](t)(client.GetAccountSettings(ctx, &sdk.GetAccountSettingsInput{})).AccountLimit
	if account.ConcurrentExecutions != 1000 || *account.UnreservedConcurrentExecutions != 960 {
		t.Errorf("the account shows %+v", account)
	}
	_, err := client.PutFunctionConcurrency(ctx, &sdk.PutFunctionConcurrencyInput{FunctionName: name, ReservedConcurrentExecutions: aws.Int32(math.MaxInt32)})
	var invalid *types.InvalidParameterValueException
	if !errors.As(err, &invalid) || !strings.HasPrefix(*invalid.Message, "Specified ReservedConcurrentExecutions for function decreases account's "+
		"UnreservedConcurrentExecution below its minimum value of [100].") {
		t.Errorf("beyond the account: %v", err)
	}
	must[*sdk.DeleteFunctionConcurrencyOutput](t)(client.DeleteFunctionConcurrency(ctx, &sdk.DeleteFunctionConcurrencyInput{FunctionName: name}))
	got = must[*sdk.GetFunctionConcurrencyOutput](t)(client.GetFunctionConcurrency(ctx, &sdk.GetFunctionConcurrencyInput{FunctionName: name}))
	if got.ReservedConcurrentExecutions != nil {
		t.Errorf("still reserved: %d", *got.ReservedConcurrentExecutions)
	}
}

func TestSDKProvisionedConcurrency(t *testing.T) {
	h, r, _ := newWorld()
	client, _ := newSDK(t, h, "us-east-1")
	ctx, name, live := context.Background(), aws.String("f"), aws.String("live")
	publish(t, client)

	put := must[*sdk.PutProvisionedConcurrencyConfigOutput](t)(client.PutProvisionedConcurrencyConfig(ctx, &sdk.PutProvisionedConcurrencyConfigInput{
		FunctionName: name, Qualifier: live, ProvisionedConcurrentExecutions: aws.Int32(3)}))
	if put.Status != types.ProvisionedConcurrencyStatusEnumInProgress || *put.RequestedProvisionedConcurrentExecutions != 3 ||
		*put.AllocatedProvisionedConcurrentExecutions != 0 || *put.LastModified != "2026-11-20T19:30:15+0000" {
		t.Errorf("put answered %+v", put)
	}
	get := &sdk.GetProvisionedConcurrencyConfigInput{FunctionName: name, Qualifier: live}
	got := must[*sdk.GetProvisionedConcurrencyConfigOutput](t)(client.GetProvisionedConcurrencyConfig(ctx, get))
	if got.Status != types.ProvisionedConcurrencyStatusEnumReady || *got.AvailableProvisionedConcurrentExecutions != 3 || got.StatusReason != nil {
		t.Errorf("get answered %+v", got)
	}
	r.quotas.ready = 1
	got = must[*sdk.GetProvisionedConcurrencyConfigOutput](t)(client.GetProvisionedConcurrencyConfig(ctx, get))
	if got.Status != types.ProvisionedConcurrencyStatusEnumFailed || *got.AvailableProvisionedConcurrentExecutions != 1 ||
		*got.StatusReason != "only 1 instances fit on this machine" {
		t.Errorf("get of a failed one answered %+v", got)
	}
	var listed []string
	pages := sdk.NewListProvisionedConcurrencyConfigsPaginator(client, &sdk.ListProvisionedConcurrencyConfigsInput{FunctionName: name, MaxItems: aws.Int32(1)})
	for pages.HasMorePages() {
		for _, c := range must[*sdk.ListProvisionedConcurrencyConfigsOutput](t)(pages.NextPage(ctx)).ProvisionedConcurrencyConfigs {
			listed = append(listed, *c.FunctionArn)
		}
	}
	if len(listed) != 1 || !strings.HasSuffix(listed[0], ":function:f:live") {
		t.Errorf("listed %v", listed)
	}
	must[*sdk.DeleteProvisionedConcurrencyConfigOutput](t)(client.DeleteProvisionedConcurrencyConfig(ctx,
		&sdk.DeleteProvisionedConcurrencyConfigInput{FunctionName: name, Qualifier: live}))
	_, err := client.GetProvisionedConcurrencyConfig(ctx, get)
	var none *types.ProvisionedConcurrencyConfigNotFoundException
	if !errors.As(err, &none) || *none.Message != "No Provisioned Concurrency Config found for this function" {
		t.Errorf("get of a deleted one: %v", err)
	}
	_, err = client.GetProvisionedConcurrencyConfig(ctx, &sdk.GetProvisionedConcurrencyConfigInput{FunctionName: name, Qualifier: aws.String("gone")})
	var missing *types.ResourceNotFoundException
	if !errors.As(err, &missing) || *missing.Message != "Cannot find alias arn: arn:aws:lambda:us-east-1:123456789012:function:f:gone" {
		t.Errorf("get of a missing alias: %v", err)
	}
}

func TestSDKRecursionAndScaling(t *testing.T) {
	h, _, _ := newWorld()
	client, _ := newSDK(t, h, "us-east-1")
	ctx, name := context.Background(), aws.String("f")
	publish(t, client)

	if got := must[*sdk.GetFunctionRecursionConfigOutput](t)(client.GetFunctionRecursionConfig(ctx, &sdk.GetFunctionRecursionConfigInput{FunctionName: name})); got.RecursiveLoop != types.RecursiveLoopTerminate {
		t.Errorf("by default %s", got.RecursiveLoop)
	}
	put := must[*sdk.PutFunctionRecursionConfigOutput](t)(client.PutFunctionRecursionConfig(ctx, &sdk.PutFunctionRecursionConfigInput{
		FunctionName: name, RecursiveLoop: types.RecursiveLoopAllow}))
	got := must[*sdk.GetFunctionRecursionConfigOutput](t)(client.GetFunctionRecursionConfig(ctx, &sdk.GetFunctionRecursionConfigInput{FunctionName: name}))
	if put.RecursiveLoop != types.RecursiveLoopAllow || got.RecursiveLoop != types.RecursiveLoopAllow {
		t.Errorf("put %s, then it is %s", put.RecursiveLoop, got.RecursiveLoop)
	}

	_, putErr := client.PutFunctionScalingConfig(ctx, &sdk.PutFunctionScalingConfigInput{FunctionName: name, Qualifier: aws.String("1"),
		FunctionScalingConfig: &types.FunctionScalingConfig{MinExecutionEnvironments: aws.Int32(1)}})
	_, getErr := client.GetFunctionScalingConfig(ctx, &sdk.GetFunctionScalingConfigInput{FunctionName: name, Qualifier: aws.String("1")})
	for _, err := range []error{putErr, getErr} {
		var denied smithy.APIError
		if !errors.As(err, &denied) || denied.ErrorCode() != "AccessDeniedException" ||
			!strings.Contains(denied.ErrorMessage(), "PutProvisionedConcurrencyConfig") {
			t.Errorf("scaling configuration without a capacity provider: %v", err)
		}
	}
}

// Lambda counts executions; what was set in other units, or holds several calls in
// an instance, is converted for display and kept as it was set.
func TestOtherUnitsAreShownInExecutions(t *testing.T) {
	h, r, _ := newWorld()
	client, _ := newSDK(t, h, "us-east-1")
	ctx, name := context.Background(), aws.String("f")
	publish(t, client)
	id := faas.FunctionID{Scope: faas.Scope{Account: "123456789012", Region: "us-east-1", Namespace: faas.DefaultNamespace}, Name: "f"}
	version := r.functions[id].versions[0]
	version.Config.MemoryMB, version.Config.InstanceConcurrency = 512, 4 // $LATEST has 128 MB, 1

	r.quotas.reserved[id] = faas.Amount{Unit: faas.UnitMemoryMB, Value: 1400}
	got := must[*sdk.GetFunctionConcurrencyOutput](t)(client.GetFunctionConcurrency(ctx, &sdk.GetFunctionConcurrencyInput{FunctionName: name}))
	if *got.ReservedConcurrentExecutions != 8 { // 2 instances of the largest version, 4 calls each
		t.Errorf("1400 MB are shown as %d executions", *got.ReservedConcurrentExecutions)
	}
	for _, c := range []struct {
		p    faas.Provisioned
		want int32
	}{
		{faas.Provisioned{Amount: faas.Amount{Unit: faas.UnitExecutions, Value: 5}, Instances: 2}, 5},
		{faas.Provisioned{Amount: faas.Amount{Unit: faas.UnitInstances, Value: 2}, Instances: 2}, 8},
		{faas.Provisioned{Amount: faas.Amount{Unit: faas.UnitMemoryMB, Value: 1536}, Instances: 3}, 12},
		{faas.Provisioned{Amount: faas.Amount{Unit: faas.UnitExecutions, Value: 5}, Instances: 2, Tracking: &faas.Tracking{Target: 0.5, Min: 1, Max: 3}}, 8},
	} {
		c.p.Qualifier, c.p.Modified = "1", fakeNow
		r.quotas.provisioned[id] = map[string]*faas.Provisioned{"1": &c.p}
		got := must[*sdk.GetProvisionedConcurrencyConfigOutput](t)(client.GetProvisionedConcurrencyConfig(ctx,
			&sdk.GetProvisionedConcurrencyConfigInput{FunctionName: name, Qualifier: aws.String("1")}))
		if *got.RequestedProvisionedConcurrentExecutions != c.want || *got.AvailableProvisionedConcurrentExecutions != c.want {
			t.Errorf("%v of 4 calls each: requested %d, available %d, want %d", c.p.Amount,
				*got.RequestedProvisionedConcurrentExecutions, *got.AvailableProvisionedConcurrentExecutions, c.want)
		}
	}
}
