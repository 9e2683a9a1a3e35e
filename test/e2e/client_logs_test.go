package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs/types"
)

const loggingSource = `
import json, os
def handler(event, context):
    for i in range(event["lines"]):
        print(json.dumps({"n": i, "level": "ERROR" if i % 10 == 0 else "INFO", "said": event["say"]}))
    return os.environ["AWS_LAMBDA_LOG_GROUP_NAME"] + " " + os.environ["AWS_LAMBDA_LOG_STREAM_NAME"]
`

// TestLogClients has the clients of CloudWatch Logs read what a function printed.
func TestLogClients(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	s := Start(t)
	lambda := newGoClient(t, s)
	const name = "talker"
	python := function{name: name, runtime: s.Newest(t, "python"), handler: "app.handler", zip: pack(t, map[string][]byte{"app.py": []byte(loggingSource)})}
	if _, err := lambda.create(ctx, python); err != nil {
		t.Fatal(err)
	}
	if err := lambda.waitActive(ctx, name); err != nil {
		t.Fatal(err)
	}
	said := func(what string) string {
		a, err := lambda.invoke(ctx, name, "", fmt.Sprintf(`{"lines":30,"say":%q}`, what))
		if err != nil || a.functionError != "" {
			t.Fatalf("%v %+v", err, a)
		}
		return strings.Trim(a.payload, `"`)
	}
	group, stream, _ := strings.Cut(said("first"), " ")
	sdk := cloudwatchlogs.New(cloudwatchlogs.Options{BaseEndpoint: &s.URL, Region: testRegion, RetryMaxAttempts: 1,
		Credentials: credentials.NewStaticCredentialsProvider(s.KeyID, s.Secret, "")})

	groups, err := sdk.DescribeLogGroups(ctx, &cloudwatchlogs.DescribeLogGroupsInput{LogGroupNamePrefix: aws.String("/aws/lambda/t")})
	if err != nil || len(groups.LogGroups) != 1 || *groups.LogGroups[0].LogGroupName != group {
		t.Fatalf("groups: %+v, %v", groups, err)
	}
	streams, err := sdk.DescribeLogStreams(ctx, &cloudwatchlogs.DescribeLogStreamsInput{LogGroupName: &group, OrderBy: types.OrderByLastEventTime, Descending: aws.Bool(true)})
	if err != nil || len(streams.LogStreams) != 1 || *streams.LogStreams[0].LogStreamName != stream {
		t.Fatalf("streams: %+v, %v; the function was told %s", streams, err, stream)
	}

	// What 'aws logs tail --follow' of version 2 does: page through, and ask again from
	// the last time on, leaving out what was seen.
	seen := map[string]string{}
	start := time.Now().Add(-time.Hour).UnixMilli()
	tail := func() (fresh []string) {
		pages := cloudwatchlogs.NewFilterLogEventsPaginator(sdk, &cloudwatchlogs.FilterLogEventsInput{
			LogGroupName: &group, StartTime: &start, Interleaved: aws.Bool(true), Limit: aws.Int32(7)})
		for pages.HasMorePages() {
			page, err := pages.NextPage(ctx)
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range page.Events {
				if _, known := seen[*e.EventId]; !known {
					seen[*e.EventId] = *e.Message
					fresh = append(fresh, *e.Message)
				}
				start = *e.Timestamp
			}
		}
		return fresh
	}
	if lines := tail(); len(lines) != 33 || !strings.HasPrefix(lines[0], "START RequestId: ") || !strings.HasPrefix(lines[32], "REPORT RequestId: ") {
		t.Errorf("the tail has %d lines: %q", len(lines), lines)
	}
	said("second")
	if lines := tail(); len(lines) != 33 || !strings.Contains(lines[1], "second") {
		t.Errorf("what came after it: %d lines: %q", len(lines), lines)
	}

	page, err := sdk.FilterLogEvents(ctx, &cloudwatchlogs.FilterLogEventsInput{LogGroupName: &group, FilterPattern: aws.String(`{ $.level = "ERROR" && $.n >= 10 }`)})
	if err != nil || len(page.Events) != 4 || *page.Events[0].LogStreamName != stream {
		t.Errorf("a JSON pattern: %+v, %v", page, err)
	}
	first := 0
	for pages := cloudwatchlogs.NewGetLogEventsPaginator(sdk, &cloudwatchlogs.GetLogEventsInput{LogGroupName: &group, LogStreamName: &stream, StartFromHead: aws.Bool(true), Limit: aws.Int32(20)},
		func(o *cloudwatchlogs.GetLogEventsPaginatorOptions) { o.StopOnDuplicateToken = true }); pages.HasMorePages(); {
		page, err := pages.NextPage(ctx)
		if err != nil {
			t.Fatal(err)
		}
		first += len(page.Events)
	}
	if first != 66 {
		t.Errorf("GetLogEvents gave %d events", first)
	}
	_, err = sdk.FilterLogEvents(ctx, &cloudwatchlogs.FilterLogEventsInput{LogGroupName: aws.String("/aws/lambda/nobody")})
	var missing *types.ResourceNotFoundException
	if !errors.As(err, &missing) || missing.ErrorMessage() != "The specified log group does not exist." {
		t.Errorf("a group that is not there: %v", err)
	}
	askCLI(ctx, t, s, group, stream)

	// An operation of a service that is not here is an error of the same protocol.
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, s.URL+"/", strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("X-Amz-Target", "DynamoDB_20120810.ListTables")
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	var refused struct {
		Type string `json:"__type"`
	}
	if err := json.NewDecoder(answer.Body).Decode(&refused); err != nil || answer.StatusCode != 400 || refused.Type != "UnknownOperationException" {
		t.Errorf("another service: %s %+v, %v", answer.Status, refused, err)
	}
}

// askCLI reads the log with 'aws logs'.
func askCLI(ctx context.Context, t *testing.T, s *Server, group, stream string) {
	t.Helper()
	c := newCLIClient(t, s).(*cliClient)
	run := func(out any, args ...string) {
		t.Helper()
		cmd := exec.CommandContext(ctx, c.path, append([]string{"logs", "--endpoint-url", s.URL, "--output", "json"}, args...)...)
		cmd.Env = append(append(os.Environ(), "PATH=/usr/bin:/bin"), c.environment...)
		var stdout, stderr bytes.Buffer
		cmd.Stdout, cmd.Stderr = &stdout, &stderr
		if err := cmd.Run(); err != nil {
			t.Fatalf("aws logs %s: %v: %s", strings.Join(args, " "), err, stderr.String())
		}
		if err := json.Unmarshal(stdout.Bytes(), out); err != nil {
			t.Fatalf("aws logs %s: %v in %s", strings.Join(args, " "), err, stdout.String())
		}
	}
	var groups struct {
		LogGroups []struct{ LogGroupName string }
	}
	run(&groups, "describe-log-groups")
	if len(groups.LogGroups) != 1 || groups.LogGroups[0].LogGroupName != group {
		t.Errorf("aws logs describe-log-groups: %+v", groups)
	}
	var events struct {
		Events []struct{ Message, LogStreamName string }
	}
	run(&events, "filter-log-events", "--log-group-name", group, "--filter-pattern", `second -INFO -START`, "--page-size", "2")
	if len(events.Events) != 3 || events.Events[0].LogStreamName != stream || !strings.Contains(events.Events[0].Message, "second") {
		t.Errorf("aws logs filter-log-events: %+v", events)
	}
	run(&events, "get-log-events", "--log-group-name", group, "--log-stream-name", stream, "--limit", "5")
	if len(events.Events) != 5 || !strings.HasPrefix(events.Events[4].Message, "REPORT") {
		t.Errorf("aws logs get-log-events: %+v", events)
	}
}
