package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
)

const urlSource = `export const handler = async (event) => ({
  statusCode: 201, headers: { "content-type": "text/plain", "x-path": event.rawPath }, cookies: ["a=1", "b=2"],
  body: event.requestContext.http.method + " " + (event.isBase64Encoded ? atob(event.body) : event.body ?? ""),
});`

const flowSource = `exports.handler = awslambda.streamifyResponse(async (event, stream) => {
  stream = awslambda.HttpResponseStream.from(stream, { statusCode: 203, headers: { "content-type": "text/plain" }, cookies: ["a=1"] });
  for (const line of ["one", "two", event.rawPath]) stream.write(line + "\n");
  stream.end();
});`

// TestFunctionURLs makes URLs and a resource policy with the SDK and the AWS CLI, and
// calls the URLs by host name, by path and as a page in a browser would.
func TestFunctionURLs(t *testing.T) {
	s := Start(t)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cli, client := newCLIClient(t, s).(*cliClient), newGoClient(t, s).(goClient)
	u := &urlLife{&life{t: t, ctx: ctx, client: client, name: "web"}, s}
	_, err := client.create(ctx, function{name: u.name, runtime: s.Newest(t, "nodejs"), handler: "index.handler",
		zip: pack(t, map[string][]byte{"index.mjs": []byte(urlSource)})})
	u.ok("create", err)
	u.ok("wait", client.waitActive(ctx, u.name))
	_, err = client.publish(ctx, u.name)
	u.ok("publish", err)
	_, err = client.sdk.CreateAlias(ctx, &lambda.CreateAliasInput{FunctionName: &u.name, Name: aws.String("live"), FunctionVersion: aws.String("1")})
	u.ok("alias", err)

	made, err := client.sdk.CreateFunctionUrlConfig(ctx, &lambda.CreateFunctionUrlConfigInput{FunctionName: &u.name, AuthType: types.FunctionUrlAuthTypeNone,
		Cors: &types.Cors{AllowOrigins: []string{"https://app.example"}, AllowMethods: []string{"PUT"}, MaxAge: aws.Int32(60)}})
	u.ok("make a URL", err)
	var byCLI struct{ FunctionUrl, FunctionArn, AuthType string }
	u.ok("make a URL of the alias", cli.run(ctx, &byCLI, "create-function-url-config", "--function-name", u.name, "--qualifier", "live", "--auth-type", "AWS_IAM"))
	listed, err := client.sdk.ListFunctionUrlConfigs(ctx, &lambda.ListFunctionUrlConfigsInput{FunctionName: &u.name})
	u.ok("list", err)
	if len(listed.FunctionUrlConfigs) != 2 || *listed.FunctionUrlConfigs[1].FunctionUrl != byCLI.FunctionUrl || byCLI.AuthType != "AWS_IAM" {
		t.Errorf("listed %+v, made %+v", listed.FunctionUrlConfigs, byCLI)
	}

	for _, address := range []string{*made.FunctionUrl, byCLI.FunctionUrl} {
		got, body := u.send("PUT", address, "some/where?q=1", "hello", nil)
		if got.StatusCode != 201 || body != "PUT hello" || got.Header.Get("X-Path") != "/some/where" || len(got.Header["Set-Cookie"]) != 2 {
			t.Errorf("%s: %d %q %v", address, got.StatusCode, body, got.Header)
		}
	}
	id, _, _ := strings.Cut(strings.TrimPrefix(*made.FunctionUrl, "http://"), ".")
	if got, body := u.send("GET", s.URL+"/lambda-url/"+id+"/", "by/path", "", nil); got.StatusCode != 201 || body != "GET " || got.Header.Get("X-Path") != "/by/path" {
		t.Errorf("by path: %d %q", got.StatusCode, body)
	}
	page := http.Header{"Origin": {"https://app.example"}, "Access-Control-Request-Method": {"PUT"}, "Sec-Fetch-Site": {"cross-site"}}
	if got, _ := u.send("OPTIONS", *made.FunctionUrl, "", "", page); got.StatusCode != 200 || got.Header.Get("Access-Control-Allow-Origin") != "https://app.example" ||
		got.Header.Get("Access-Control-Max-Age") != "60" {
		t.Errorf("preflight: %d %v", got.StatusCode, got.Header)
	}
	u.policy(client.sdk)
	u.flow(client)
	_, err = client.sdk.DeleteFunctionUrlConfig(ctx, &lambda.DeleteFunctionUrlConfigInput{FunctionName: &u.name})
	u.ok("delete the URL", err)
	if got, _ := u.send("GET", *made.FunctionUrl, "", "", nil); got.StatusCode != 404 {
		t.Errorf("a deleted URL answers %d", got.StatusCode)
	}
}

type urlLife struct {
	*life
	server *Server
}

// send sends a request to the server under the host name of an address, which this
// machine need not resolve.
func (u *urlLife) send(method, address, path, body string, header http.Header) (*http.Response, string) {
	u.t.Helper()
	at, err := url.Parse(address + path)
	u.ok("parse "+address, err)
	r, err := http.NewRequestWithContext(u.ctx, method, u.server.URL+at.RequestURI(), strings.NewReader(body))
	u.ok("request", err)
	if header != nil {
		r.Header = header
	}
	r.Host = at.Host
	got, err := http.DefaultClient.Do(r)
	u.ok("send", err)
	defer got.Body.Close()
	text, err := io.ReadAll(got.Body)
	u.ok("read", err)
	return got, string(text)
}

// flow calls a URL of a function that streams its response.
func (u *urlLife) flow(client goClient) {
	u.t.Helper()
	name := "flow"
	_, err := client.create(u.ctx, function{name: name, runtime: u.server.Newest(u.t, "nodejs"), handler: "index.handler",
		zip: pack(u.t, map[string][]byte{"index.js": []byte(flowSource)})})
	u.ok("create", err)
	u.ok("wait", client.waitActive(u.ctx, name))
	made, err := client.sdk.CreateFunctionUrlConfig(u.ctx, &lambda.CreateFunctionUrlConfigInput{FunctionName: &name,
		AuthType: types.FunctionUrlAuthTypeNone, InvokeMode: types.InvokeModeResponseStream})
	u.ok("make a URL that streams", err)
	got, body := u.send("GET", *made.FunctionUrl, "end", "", nil)
	if got.StatusCode != 203 || body != "one\ntwo\n/end\n" || got.Header.Get("Set-Cookie") != "a=1" || got.Header.Get("Content-Type") != "text/plain" {
		u.t.Errorf("streamed: %d %q %v", got.StatusCode, body, got.Header)
	}
}

func (u *urlLife) policy(sdk *lambda.Client) {
	u.t.Helper()
	_, err := sdk.AddPermission(u.ctx, &lambda.AddPermissionInput{FunctionName: &u.name, StatementId: aws.String("public"),
		Action: aws.String("lambda:InvokeFunctionUrl"), Principal: aws.String("*"), FunctionUrlAuthType: types.FunctionUrlAuthTypeNone})
	u.ok("permit", err)
	policy, err := sdk.GetPolicy(u.ctx, &lambda.GetPolicyInput{FunctionName: &u.name})
	u.ok("policy", err)
	var document struct {
		Statement []struct{ Sid, Action string }
	}
	u.ok("decode", json.Unmarshal([]byte(*policy.Policy), &document))
	if len(document.Statement) != 1 || document.Statement[0].Sid != "public" {
		u.t.Errorf("policy: %s", *policy.Policy)
	}
	_, err = sdk.RemovePermission(u.ctx, &lambda.RemovePermissionInput{FunctionName: &u.name, StatementId: aws.String("public"), RevisionId: aws.String("stale")})
	var stale *types.PreconditionFailedException
	if !errors.As(err, &stale) {
		u.t.Errorf("a stale revision: %v", err)
	}
	_, err = sdk.RemovePermission(u.ctx, &lambda.RemovePermissionInput{FunctionName: &u.name, StatementId: aws.String("public"), RevisionId: policy.RevisionId})
	u.ok("remove", err)
	_, err = sdk.GetPolicy(u.ctx, &lambda.GetPolicyInput{FunctionName: &u.name})
	var none *types.ResourceNotFoundException
	if !errors.As(err, &none) {
		u.t.Errorf("a policy without statements: %v", err)
	}
}
