package e2e

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
)

// telemetrySource is an external extension that subscribes to the telemetry of its
// function and writes it to its own output, which is in the function's log.
const telemetrySource = `#!/usr/bin/env node
const http = require('http');
const [host, port] = process.env.AWS_LAMBDA_RUNTIME_API.split(':');
const call = (method, path, headers, body) => new Promise((resolve, reject) => {
  const request = http.request({ host, port, path, method, headers }, (answer) => {
    let text = '';
    answer.on('data', (part) => { text += part; }).on('end', () => resolve({ headers: answer.headers, text }));
  });
  request.on('error', reject).end(body);
});
let reported = false, ending = false;
const endIfDone = () => { if (reported && ending) process.exit(0); };
const server = http.createServer((request, answer) => {
  let text = '';
  request.on('data', (part) => { text += part; }).on('end', () => {
    for (const event of JSON.parse(text)) {
      console.log('TELEMETRY ' + JSON.stringify(event));
      reported = reported || event.type === 'platform.report';
    }
    answer.end(endIfDone);
  });
});
server.listen(4243, async () => {
  const registered = await call('POST', '/2020-01-01/extension/register', { 'Lambda-Extension-Name': 'telemetry' }, '{"events":["INVOKE","SHUTDOWN"]}');
  const headers = { 'Lambda-Extension-Identifier': registered.headers['lambda-extension-identifier'] };
  await call('PUT', '/2022-07-01/telemetry', headers, JSON.stringify({ schemaVersion: '2022-12-13', types: ['platform', 'function'],
    buffering: { timeoutMs: 25, maxBytes: 262144, maxItems: 1000 }, destination: { protocol: 'HTTP', URI: 'http://sandbox.localdomain:4243' } }));
  for (;;) {
    const event = JSON.parse((await call('GET', '/2020-01-01/extension/event/next', headers)).text);
    if (event.eventType === 'SHUTDOWN') { ending = true; endIfDone(); }
  }
});
`

// TestExtensionLogsTelemetry has a layer bring an extension, and finds in the
// function's log what the extension heard of it.
func TestExtensionLogsTelemetry(t *testing.T) {
	s := Start(t)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	sdk := newGoClient(t, s).(goClient)
	l := &life{t: t, ctx: ctx, client: sdk, name: "watched"}
	layer, err := sdk.sdk.PublishLayerVersion(ctx, &lambda.PublishLayerVersionInput{LayerName: aws.String("telemetry"),
		Content: &types.LayerVersionContentInput{ZipFile: pack(t, map[string][]byte{"extensions/telemetry": []byte(telemetrySource)})}})
	l.ok("publish", err)
	f := function{name: l.name, runtime: s.Newest(t, "nodejs"), handler: "index.handler",
		zip: pack(t, map[string][]byte{"index.js": []byte("exports.handler = async (e) => { console.log('the function says ' + e.word); return 1 }")})}
	_, err = sdk.create(ctx, f)
	l.ok("create", err)
	l.ok("wait", sdk.waitActive(ctx, f.name))
	_, err = sdk.sdk.UpdateFunctionConfiguration(ctx, &lambda.UpdateFunctionConfigurationInput{FunctionName: &f.name, Layers: []string{*layer.LayerVersionArn}})
	l.ok("configure", err)
	l.ok("wait", sdk.waitUpdated(ctx, f.name))
	if got, err := sdk.invoke(ctx, f.name, "", `{"word":"hello"}`); err != nil || got.payload != "1" {
		t.Fatalf("answered %+v, %v", got, err)
	}
	// The instance ends with its function, and says then what it had not yet.
	_, err = sdk.sdk.DeleteFunction(ctx, &lambda.DeleteFunctionInput{FunctionName: &f.name})
	l.ok("delete", err)
	for heard := map[string]bool{}; ; {
		for _, line := range logLines(t, ctx, s, f.name) {
			if text, ok := strings.CutPrefix(line, "TELEMETRY "); ok {
				var event struct {
					Type   string
					Record json.RawMessage
				}
				l.ok("read an event", json.Unmarshal([]byte(text), &event))
				heard[event.Type] = heard[event.Type] || event.Type != "function" || strings.Contains(string(event.Record), "the function says hello")
			}
		}
		if heard["platform.initStart"] && heard["platform.runtimeDone"] && heard["platform.report"] && heard["function"] {
			return
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			t.Fatalf("heard %v only", heard)
		}
	}
}

// logLines are the texts of a function's log.
func logLines(t *testing.T, ctx context.Context, s *Server, name string) (texts []string) {
	t.Helper()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL+"/hearth/v1/logs?region="+testRegion+"&function="+name, nil)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	for lines := json.NewDecoder(answer.Body); ; {
		var line struct{ Text string }
		if err := lines.Decode(&line); err == io.EOF {
			return texts
		} else if err != nil {
			t.Fatal(err)
		}
		texts = append(texts, line.Text)
	}
}
