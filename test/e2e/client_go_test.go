package e2e

import (
	"context"
	"encoding/base64"
	"errors"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/aws/smithy-go"
)

// goClient is aws-sdk-go-v2.
type goClient struct{ sdk *lambda.Client }

const waitTimeout = patience

func newGoClient(_ *testing.T, s *Server) client {
	return goClient{lambda.New(lambda.Options{
		BaseEndpoint: &s.URL, Region: testRegion, RetryMaxAttempts: 1,
		Credentials: credentials.NewStaticCredentialsProvider(s.KeyID, s.Secret, ""),
	})}
}

func (c goClient) create(ctx context.Context, f function) (string, error) {
	out, err := c.sdk.CreateFunction(ctx, &lambda.CreateFunctionInput{
		FunctionName: &f.name, Runtime: types.Runtime(f.runtime), Handler: &f.handler, Role: aws.String(testRole),
		Timeout: aws.Int32(20), MemorySize: aws.Int32(512), Code: &types.FunctionCode{ZipFile: f.zip},
	})
	if err != nil {
		return "", err
	}
	return string(out.State), nil
}

func (c goClient) waitActive(ctx context.Context, name string) error {
	return lambda.NewFunctionActiveV2Waiter(c.sdk, quickWait).Wait(ctx, &lambda.GetFunctionInput{FunctionName: &name}, waitTimeout)
}

// quickWait asks again sooner than the waiter's default of one second.
func quickWait(o *lambda.FunctionActiveV2WaiterOptions) { o.MinDelay = 20 * time.Millisecond }

func (c goClient) waitUpdated(ctx context.Context, name string) error {
	return lambda.NewFunctionUpdatedV2Waiter(c.sdk, func(o *lambda.FunctionUpdatedV2WaiterOptions) { o.MinDelay = 20 * time.Millisecond }).
		Wait(ctx, &lambda.GetFunctionInput{FunctionName: &name}, waitTimeout)
}

func (c goClient) invoke(ctx context.Context, name, qualifier, payload string) (answer, error) {
	in := &lambda.InvokeInput{FunctionName: &name, Payload: []byte(payload), LogType: types.LogTypeTail}
	if qualifier != "" {
		in.Qualifier = &qualifier
	}
	out, err := c.sdk.Invoke(ctx, in)
	if err != nil {
		return answer{}, err
	}
	log, err := base64.StdEncoding.DecodeString(aws.ToString(out.LogResult))
	return answer{
		payload: string(out.Payload), functionError: aws.ToString(out.FunctionError),
		version: aws.ToString(out.ExecutedVersion), log: string(log),
	}, err
}

func (c goClient) updateCode(ctx context.Context, name string, zip []byte) error {
	_, err := c.sdk.UpdateFunctionCode(ctx, &lambda.UpdateFunctionCodeInput{FunctionName: &name, ZipFile: zip})
	return err
}

func (c goClient) setEnvironment(ctx context.Context, name string, variables map[string]string) error {
	_, err := c.sdk.UpdateFunctionConfiguration(ctx, &lambda.UpdateFunctionConfigurationInput{
		FunctionName: &name, Environment: &types.Environment{Variables: variables}})
	return err
}

func (c goClient) publish(ctx context.Context, name string) (string, error) {
	out, err := c.sdk.PublishVersion(ctx, &lambda.PublishVersionInput{FunctionName: &name})
	if err != nil {
		return "", err
	}
	return aws.ToString(out.Version), nil
}

func (c goClient) createAlias(ctx context.Context, name, alias, version string, weights map[string]float64) error {
	_, err := c.sdk.CreateAlias(ctx, &lambda.CreateAliasInput{FunctionName: &name, Name: &alias, FunctionVersion: &version,
		RoutingConfig: &types.AliasRoutingConfiguration{AdditionalVersionWeights: weights}})
	return err
}

func (c goClient) updateAlias(ctx context.Context, name, alias string, weights map[string]float64) error {
	_, err := c.sdk.UpdateAlias(ctx, &lambda.UpdateAliasInput{FunctionName: &name, Name: &alias,
		RoutingConfig: &types.AliasRoutingConfiguration{AdditionalVersionWeights: weights}})
	return err
}

func (c goClient) list(ctx context.Context) ([]string, error) {
	var names []string
	for pages := lambda.NewListFunctionsPaginator(c.sdk, &lambda.ListFunctionsInput{}); pages.HasMorePages(); {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		for _, f := range page.Functions {
			names = append(names, aws.ToString(f.FunctionName))
		}
	}
	return names, nil
}

func (c goClient) remove(ctx context.Context, name string) error {
	_, err := c.sdk.DeleteFunction(ctx, &lambda.DeleteFunctionInput{FunctionName: &name})
	return err
}

func (c goClient) errorCode(err error) string {
	var api smithy.APIError
	if errors.As(err, &api) {
		return api.ErrorCode()
	}
	return ""
}
