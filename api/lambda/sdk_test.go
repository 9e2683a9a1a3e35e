package lambda

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	sdk "github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/aws/smithy-go"
)

// newSDK returns AWS's own client, which signs its requests, against a server.
func newSDK(t *testing.T, h http.Handler, region string) (*sdk.Client, *httptest.Server) {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	return sdk.New(sdk.Options{
		BaseEndpoint: &server.URL, Region: region, RetryMaxAttempts: 1,
		Credentials: credentials.NewStaticCredentialsProvider("key", "secret", ""),
	}), server
}

var emptyZip, _ = base64.StdEncoding.DecodeString("UEsFBgAAAAAAAAAAAAAAAAAAAAAAAA==")

func createInput(name string) *sdk.CreateFunctionInput {
	return &sdk.CreateFunctionInput{
		FunctionName: &name, Runtime: types.RuntimeNodejs22x, Handler: aws.String("index.handler"),
		Role: aws.String("arn:aws:iam::123456789012:role/r"), Code: &types.FunctionCode{ZipFile: emptyZip},
	}
}

func must[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func TestSDKFunctions(t *testing.T) {
	h, _, _ := newWorld()
	client, _ := newSDK(t, h, "eu-central-1")
	ctx := context.Background()

	in := createInput("f")
	in.Environment = &types.Environment{Variables: map[string]string{"AB": "c"}}
	in.Tags = map[string]string{"team": "x"}
	in.MemorySize, in.Timeout = aws.Int32(512), aws.Int32(9)
	made := must[*sdk.CreateFunctionOutput](t)(client.CreateFunction(ctx, in))
	if made.State != types.StatePending || *made.FunctionArn != "arn:aws:lambda:eu-central-1:123456789012:function:f" {
		t.Errorf("created %s in state %s", *made.FunctionArn, made.State)
	}
	if err := sdk.NewFunctionActiveV2Waiter(client).Wait(ctx, &sdk.GetFunctionInput{FunctionName: in.FunctionName}, 1e9); err != nil {
		t.Errorf("the SDK's waiter: %v", err)
	}
	got := must[*sdk.GetFunctionOutput](t)(client.GetFunction(ctx, &sdk.GetFunctionInput{FunctionName: made.FunctionArn}))
	c := got.Configuration
	if *c.MemorySize != 512 || *c.Timeout != 9 || c.Environment.Variables["AB"] != "c" || got.Tags["team"] != "x" ||
		c.EphemeralStorage == nil || c.LoggingConfig.LogFormat != types.LogFormatText || c.CodeSize != int64(len(emptyZip)) {
		t.Errorf("configuration came back as %+v", c)
	}
	response := must[*http.Response](t)(http.Get(*got.Code.Location))
	defer response.Body.Close()
	if zip, err := io.ReadAll(response.Body); err != nil || response.StatusCode != 200 || !bytes.Equal(zip, emptyZip) {
		t.Errorf("Code.Location: status %d, %d bytes, %v", response.StatusCode, len(zip), err)
	}
	updated := must[*sdk.UpdateFunctionConfigurationOutput](t)(client.UpdateFunctionConfiguration(ctx, &sdk.UpdateFunctionConfigurationInput{
		FunctionName: in.FunctionName, Description: aws.String("d"), EphemeralStorage: &types.EphemeralStorage{Size: aws.Int32(1024)},
		LoggingConfig: &types.LoggingConfig{LogFormat: types.LogFormatJson, ApplicationLogLevel: types.ApplicationLogLevelDebug},
	}))
	if *updated.Description != "d" || *updated.EphemeralStorage.Size != 1024 || *updated.MemorySize != 512 ||
		updated.LoggingConfig.ApplicationLogLevel != types.ApplicationLogLevelDebug || *updated.LoggingConfig.LogGroup != "/aws/lambda/f" {
		t.Errorf("updated to %+v", updated)
	}
	must[*sdk.DeleteFunctionOutput](t)(client.DeleteFunction(ctx, &sdk.DeleteFunctionInput{FunctionName: in.FunctionName}))
}

func TestSDKErrorsAreTyped(t *testing.T) {
	h, _, _ := newWorld()
	client, _ := newSDK(t, h, "us-east-1")
	ctx := context.Background()
	must[*sdk.CreateFunctionOutput](t)(client.CreateFunction(ctx, createInput("f")))

	_, err := client.GetFunction(ctx, &sdk.GetFunctionInput{FunctionName: aws.String("gone")})
	var missing *types.ResourceNotFoundException
	if !errors.As(err, &missing) || *missing.Message != "Function not found: arn:aws:lambda:us-east-1:123456789012:function:gone" {
		t.Errorf("missing function: %v", err)
	}
	_, err = client.CreateFunction(ctx, createInput("f"))
	var conflict *types.ResourceConflictException
	if !errors.As(err, &conflict) || *conflict.Type != "User" {
		t.Errorf("second create: %v", err)
	}
	_, err = client.UpdateFunctionCode(ctx, &sdk.UpdateFunctionCodeInput{FunctionName: aws.String("f"), ZipFile: emptyZip, RevisionId: aws.String("old")})
	var stale *types.PreconditionFailedException
	if !errors.As(err, &stale) {
		t.Errorf("old revision: %v", err)
	}
	in := createInput("g")
	in.VpcConfig = &types.VpcConfig{SubnetIds: []string{"subnet-1"}}
	_, err = client.CreateFunction(ctx, in)
	var invalid *types.InvalidParameterValueException
	if !errors.As(err, &invalid) {
		t.Errorf("VpcConfig: %v", err)
	}
	in = createInput("g")
	in.MemorySize = aws.Int32(1)
	_, err = client.CreateFunction(ctx, in)
	var api smithy.APIError
	if !errors.As(err, &api) || api.ErrorCode() != "ValidationException" {
		t.Errorf("memory of 1 MB: %v", err)
	}
	_, err = client.CreateCodeSigningConfig(ctx, &sdk.CreateCodeSigningConfigInput{AllowedPublishers: &types.AllowedPublishers{
		SigningProfileVersionArns: []string{"arn:aws:signer:us-east-1:123456789012:/signing-profiles/p/0123456789"}}})
	if !errors.As(err, &api) || api.ErrorCode() != "UnsupportedOperationException" {
		t.Errorf("code signing: %v", err)
	}
}

func TestSDKVersionsAndAliases(t *testing.T) {
	h, _, _ := newWorld()
	client, _ := newSDK(t, h, "us-east-1")
	ctx := context.Background()
	name := aws.String("f")
	must[*sdk.CreateFunctionOutput](t)(client.CreateFunction(ctx, createInput("f")))
	v1 := must[*sdk.PublishVersionOutput](t)(client.PublishVersion(ctx, &sdk.PublishVersionInput{FunctionName: name}))
	v2 := must[*sdk.PublishVersionOutput](t)(client.PublishVersion(ctx, &sdk.PublishVersionInput{
		FunctionName: name, Description: aws.String("two"), CodeSha256: v1.CodeSha256}))
	if *v1.Version != "1" || *v2.Version != "2" || *v2.Description != "two" {
		t.Errorf("published %s and %s", *v1.Version, *v2.Version)
	}
	alias := must[*sdk.CreateAliasOutput](t)(client.CreateAlias(ctx, &sdk.CreateAliasInput{
		FunctionName: name, Name: aws.String("live"), FunctionVersion: aws.String("1"),
		RoutingConfig: &types.AliasRoutingConfiguration{AdditionalVersionWeights: map[string]float64{"2": 0.1}}}))
	if alias.RoutingConfig.AdditionalVersionWeights["2"] != 0.1 {
		t.Errorf("alias %+v", alias)
	}
	moved := must[*sdk.UpdateAliasOutput](t)(client.UpdateAlias(ctx, &sdk.UpdateAliasInput{
		FunctionName: name, Name: aws.String("live"), FunctionVersion: aws.String("2"),
		RoutingConfig: &types.AliasRoutingConfiguration{AdditionalVersionWeights: map[string]float64{}}}))
	if *moved.FunctionVersion != "2" || moved.RoutingConfig != nil {
		t.Errorf("moved to %+v", moved)
	}
	var versions []string
	pages := sdk.NewListVersionsByFunctionPaginator(client, &sdk.ListVersionsByFunctionInput{FunctionName: name, MaxItems: aws.Int32(1)})
	for pages.HasMorePages() {
		for _, v := range must[*sdk.ListVersionsByFunctionOutput](t)(pages.NextPage(ctx)).Versions {
			versions = append(versions, *v.Version)
		}
	}
	if !slices.Equal(versions, []string{"$LATEST", "1", "2"}) {
		t.Errorf("the paginator found %v", versions)
	}
	must[*sdk.DeleteAliasOutput](t)(client.DeleteAlias(ctx, &sdk.DeleteAliasInput{FunctionName: name, Name: aws.String("live")}))
	must[*sdk.DeleteAliasOutput](t)(client.DeleteAlias(ctx, &sdk.DeleteAliasInput{FunctionName: name, Name: aws.String("live")}))
	if left := must[*sdk.ListAliasesOutput](t)(client.ListAliases(ctx, &sdk.ListAliasesInput{FunctionName: name})); len(left.Aliases) != 0 {
		t.Errorf("aliases left: %+v", left.Aliases)
	}
}

func TestSDKTagsAndAccount(t *testing.T) {
	h, _, _ := newWorld()
	client, _ := newSDK(t, h, "us-east-1")
	ctx := context.Background()
	arn := must[*sdk.CreateFunctionOutput](t)(client.CreateFunction(ctx, createInput("f"))).FunctionArn
	must[*sdk.TagResourceOutput](t)(client.TagResource(ctx, &sdk.TagResourceInput{Resource: arn, Tags: map[string]string{"a b": "ä", "c": ""}}))
	must[*sdk.UntagResourceOutput](t)(client.UntagResource(ctx, &sdk.UntagResourceInput{Resource: arn, TagKeys: []string{"c"}}))
	tags := must[*sdk.ListTagsOutput](t)(client.ListTags(ctx, &sdk.ListTagsInput{Resource: arn})).Tags
	if len(tags) != 1 || tags["a b"] != "ä" {
		t.Errorf("tags are %v", tags)
	}
	account := must[*sdk.GetAccountSettingsOutput](t)(client.GetAccountSettings(ctx, &sdk.GetAccountSettingsInput{}))
	if account.AccountLimit.ConcurrentExecutions != 1000 || account.AccountUsage.FunctionCount != 1 {
		t.Errorf("account %+v %+v", account.AccountLimit, account.AccountUsage)
	}
	if page := must[*sdk.ListFunctionsOutput](t)(client.ListFunctions(ctx, &sdk.ListFunctionsInput{})); len(page.Functions) != 1 {
		t.Errorf("%d functions", len(page.Functions))
	}
}

func TestSDKInvoke(t *testing.T) {
	h, _, invoker := newWorld()
	client, _ := newSDK(t, h, "us-east-1")
	ctx := context.Background()
	must[*sdk.CreateFunctionOutput](t)(client.CreateFunction(ctx, createInput("f")))
	out := must[*sdk.InvokeOutput](t)(client.Invoke(ctx, &sdk.InvokeInput{
		FunctionName: aws.String("f"), Payload: []byte(`{"n":1}`), LogType: types.LogTypeTail,
		ClientContext: aws.String(base64.StdEncoding.EncodeToString([]byte(`{"custom":{"k":"v"}}`))), Qualifier: aws.String("$LATEST"),
	}))
	if out.StatusCode != 200 || string(out.Payload) != `{"n":1}` || *out.ExecutedVersion != "$LATEST" || out.FunctionError != nil || out.LogResult == nil {
		t.Errorf("answer %+v", out)
	}
	req := invoker.request()
	if string(req.ClientContext) != `{"custom":{"k":"v"}}` || req.Qualifier != "$LATEST" || !req.LogTail ||
		req.InvokedARN != "arn:aws:lambda:us-east-1:123456789012:function:f:$LATEST" || !oneUUID.MatchString(req.RequestID) {
		t.Errorf("the invoker got %+v", req)
	}
	failed := must[*sdk.InvokeOutput](t)(client.Invoke(ctx, &sdk.InvokeInput{FunctionName: aws.String("f"), Payload: []byte(`{"do":"fail"}`)}))
	if failed.StatusCode != 200 || aws.ToString(failed.FunctionError) != "Unhandled" {
		t.Errorf("a function's error: %+v", failed)
	}
	dry := must[*sdk.InvokeOutput](t)(client.Invoke(ctx, &sdk.InvokeInput{FunctionName: aws.String("f"), InvocationType: types.InvocationTypeDryRun}))
	if dry.StatusCode != 204 {
		t.Errorf("dry run: %d", dry.StatusCode)
	}
	_, err := client.Invoke(ctx, &sdk.InvokeInput{FunctionName: aws.String("f"), Payload: []byte(`{`)})
	var content *types.InvalidRequestContentException
	if !errors.As(err, &content) {
		t.Errorf("payload that is not JSON: %v", err)
	}
}

func TestSDKLayers(t *testing.T) {
	h := newRealWorld(t)
	client, _ := newSDK(t, h, "us-east-1")
	ctx := context.Background()
	name := aws.String("tools")
	made := must[*sdk.PublishLayerVersionOutput](t)(client.PublishLayerVersion(ctx, &sdk.PublishLayerVersionInput{
		LayerName: name, Content: &types.LayerVersionContentInput{ZipFile: emptyZip}, CompatibleRuntimes: []types.Runtime{types.RuntimeNodejs22x},
	}))
	got := must[*sdk.GetLayerVersionByArnOutput](t)(client.GetLayerVersionByArn(ctx, &sdk.GetLayerVersionByArnInput{Arn: made.LayerVersionArn}))
	answer := must[*http.Response](t)(http.Get(*got.Content.Location))
	defer answer.Body.Close()
	if zip := must[[]byte](t)(io.ReadAll(answer.Body)); answer.StatusCode != 200 || !bytes.Equal(zip, emptyZip) {
		t.Errorf("the location answers %d, %d bytes", answer.StatusCode, len(zip))
	}
	permitted := must[*sdk.AddLayerVersionPermissionOutput](t)(client.AddLayerVersionPermission(ctx, &sdk.AddLayerVersionPermissionInput{
		LayerName: name, VersionNumber: aws.Int64(made.Version), StatementId: aws.String("all"), Action: aws.String("lambda:GetLayerVersion"), Principal: aws.String("*"),
	}))
	policy := must[*sdk.GetLayerVersionPolicyOutput](t)(client.GetLayerVersionPolicy(ctx, &sdk.GetLayerVersionPolicyInput{LayerName: name, VersionNumber: &made.Version}))
	if *policy.RevisionId != *permitted.RevisionId {
		t.Error("the policy has another revision than its change")
	}
	in := createInput("f")
	in.Layers = []string{*made.LayerVersionArn}
	if f := must[*sdk.CreateFunctionOutput](t)(client.CreateFunction(ctx, in)); len(f.Layers) != 1 || *f.Layers[0].Arn != *made.LayerVersionArn || f.Layers[0].CodeSize != int64(len(emptyZip)) {
		t.Errorf("the function has layers %+v", f.Layers)
	}
	var listed []string
	for pages := sdk.NewListLayersPaginator(client, &sdk.ListLayersInput{CompatibleRuntime: types.RuntimeNodejs22x}); pages.HasMorePages(); {
		for _, l := range must[*sdk.ListLayersOutput](t)(pages.NextPage(ctx)).Layers {
			listed = append(listed, *l.LayerName)
		}
	}
	if !slices.Equal(listed, []string{"tools"}) {
		t.Errorf("listed %v", listed)
	}
	if _, err := client.DeleteLayerVersion(ctx, &sdk.DeleteLayerVersionInput{LayerName: name, VersionNumber: &made.Version}); err != nil {
		t.Error(err)
	}
	_, err := client.GetLayerVersion(ctx, &sdk.GetLayerVersionInput{LayerName: name, VersionNumber: &made.Version})
	var missing *types.ResourceNotFoundException
	if !errors.As(err, &missing) {
		t.Errorf("a deleted version: %v", err)
	}
}
