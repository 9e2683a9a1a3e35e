package e2e

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/aws/smithy-go"
)

// TestQuotasWithCLI sets and meets quotas the way users of Lambda do.
func TestQuotasWithCLI(t *testing.T) {
	t.Setenv("AWS_MAX_ATTEMPTS", "1") // a throttle is what is looked for
	s := Start(t)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	q := &quotaLife{life{t: t, ctx: ctx, client: newCLIClient(t, s), name: "quota", lang: languages[1]}, newCLIClient(t, s).(*cliClient)}
	q.create(q.lang.runtime(t, s))
	if _, err := q.client.publish(ctx, q.name); err != nil {
		t.Fatal(err)
	}
	q.reserve()
	q.switchOff(newGoClient(t, s).(goClient))
	q.provision()
}

// quotaLife is one function with its quotas, and the command that sets them.
type quotaLife struct {
	life
	cli *cliClient
}

// aws calls an operation on the function and decodes its answer.
func (q *quotaLife) aws(out any, operation string, args ...string) {
	q.t.Helper()
	q.ok(operation, q.cli.run(q.ctx, out, append([]string{operation, "--function-name", q.name}, args...)...))
}

// refused calls an operation that must fail with the error and this in its text.
func (q *quotaLife) refused(code, text, operation string, args ...string) {
	q.t.Helper()
	err := q.cli.run(q.ctx, nil, append([]string{operation, "--function-name", q.name}, args...)...)
	if got := q.cli.errorCode(err); got != code || !strings.Contains(err.Error(), text) {
		q.t.Errorf("%s %v: %v, want %s: %s", operation, args, err, code, text)
	}
}

func (q *quotaLife) account() (limit, unreserved int) {
	q.t.Helper()
	var out struct {
		AccountLimit struct{ ConcurrentExecutions, UnreservedConcurrentExecutions int }
	}
	q.ok("get-account-settings", q.cli.run(q.ctx, &out, "get-account-settings"))
	return out.AccountLimit.ConcurrentExecutions, out.AccountLimit.UnreservedConcurrentExecutions
}

func (q *quotaLife) reserve() {
	q.t.Helper()
	if limit, unreserved := q.account(); limit != 1000 || unreserved != 1000 {
		q.t.Errorf("a new account has %d executions, %d unreserved", limit, unreserved)
	}
	type concurrency struct{ ReservedConcurrentExecutions *int }
	var got concurrency
	q.aws(&got, "put-function-concurrency", "--reserved-concurrent-executions", "5")
	q.aws(&got, "get-function-concurrency")
	var function struct{ Concurrency concurrency }
	q.aws(&function, "get-function")
	if *got.ReservedConcurrentExecutions != 5 || *function.Concurrency.ReservedConcurrentExecutions != 5 {
		q.t.Errorf("reserved 5: %+v, %+v", got, function)
	}
	if _, unreserved := q.account(); unreserved != 995 {
		q.t.Errorf("with 5 reserved, %d are unreserved", unreserved)
	}
	q.refused("InvalidParameterValueException", "Specified ReservedConcurrentExecutions for function decreases account's "+
		"UnreservedConcurrentExecution below its minimum value of [100].", "put-function-concurrency", "--reserved-concurrent-executions", "901")
	q.invoke("")
}

func (q *quotaLife) switchOff(sdk goClient) {
	q.t.Helper()
	q.aws(nil, "put-function-concurrency", "--reserved-concurrent-executions", "0")
	_, err := q.client.invoke(q.ctx, q.name, "", "{}")
	if code := q.client.errorCode(err); code != "TooManyRequestsException" {
		q.t.Errorf("invoking a function that is switched off: %v", err)
	}
	_, err = sdk.sdk.Invoke(q.ctx, &lambda.InvokeInput{FunctionName: &q.name})
	var throttled *types.TooManyRequestsException
	if !errors.As(err, &throttled) || throttled.Reason != types.ThrottleReasonReservedFunctionConcurrentInvocationLimitExceeded ||
		aws.ToString(throttled.RetryAfterSeconds) == "" || !strings.Contains(throttled.ErrorMessage(), "hearth quota") {
		q.t.Errorf("the SDK got %+v, %v", throttled, err)
	}
	q.aws(nil, "delete-function-concurrency")
	q.aws(nil, "delete-function-concurrency")
	q.invoke("")

	recursion, err := sdk.sdk.PutFunctionRecursionConfig(q.ctx, &lambda.PutFunctionRecursionConfigInput{FunctionName: &q.name, RecursiveLoop: types.RecursiveLoopAllow})
	if q.ok("recursion", err); recursion.RecursiveLoop != types.RecursiveLoopAllow {
		q.t.Errorf("the recursion configuration is %s", recursion.RecursiveLoop)
	}
	_, err = sdk.sdk.GetFunctionScalingConfig(q.ctx, &lambda.GetFunctionScalingConfigInput{FunctionName: &q.name, Qualifier: aws.String("1")})
	var denied smithy.APIError
	if !errors.As(err, &denied) || denied.ErrorCode() != "AccessDeniedException" {
		q.t.Errorf("scaling configuration without a capacity provider: %v", err)
	}
}

// provisionedConfig is what the operations on provisioned concurrency answer.
type provisionedConfig struct {
	FunctionArn                              string
	RequestedProvisionedConcurrentExecutions int
	AvailableProvisionedConcurrentExecutions int
	Status, StatusReason                     string
}

func (q *quotaLife) provision() {
	q.t.Helper()
	version := []string{"--qualifier", "1"}
	q.refused("ProvisionedConcurrencyConfigNotFoundException", "No Provisioned Concurrency Config found for this function",
		"get-provisioned-concurrency-config", version...)
	q.refused("InvalidParameterValueException", "Provisioned Concurrency Configs cannot be applied to unpublished function versions.",
		"put-provisioned-concurrency-config", "--qualifier", "$LATEST", "--provisioned-concurrent-executions", "1")
	var got provisionedConfig
	q.aws(&got, "put-provisioned-concurrency-config", append(version, "--provisioned-concurrent-executions", "2")...)
	if got.Status != "IN_PROGRESS" || got.RequestedProvisionedConcurrentExecutions != 2 {
		q.t.Errorf("put answered %+v", got)
	}
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for got.Status == "IN_PROGRESS" {
		select {
		case <-tick.C:
		case <-q.ctx.Done():
			q.t.Fatalf("the instances are not ready: %+v", got)
		}
		q.aws(&got, "get-provisioned-concurrency-config", version...)
	}
	if got.Status != "READY" || got.AvailableProvisionedConcurrentExecutions != 2 {
		q.t.Errorf("the instances are %+v", got)
	}
	// An instance that was started in advance costs its first caller no init.
	if a, _ := q.invoke("1"); strings.Contains(a.log, "Init Duration: ") {
		q.t.Errorf("the call waited for init: %s", a.log)
	}
	var list struct{ ProvisionedConcurrencyConfigs []provisionedConfig }
	q.aws(&list, "list-provisioned-concurrency-configs")
	if len(list.ProvisionedConcurrencyConfigs) != 1 || !strings.HasSuffix(list.ProvisionedConcurrencyConfigs[0].FunctionArn, ":quota:1") {
		q.t.Errorf("listed %+v", list)
	}
	q.aws(nil, "delete-provisioned-concurrency-config", version...)
	q.refused("ProvisionedConcurrencyConfigNotFoundException", "", "get-provisioned-concurrency-config", version...)
}
