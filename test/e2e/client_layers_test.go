package e2e

import (
	"context"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
)

// layerVersion is what the operations on layers answer.
type layerVersion struct {
	LayerVersionArn string
	Version         int64
	Content         struct {
		CodeSize             int64
		CodeSha256, Location string
	}
}

// TestLayersWithCLI publishes layers, has functions of two languages use them in
// order, and deletes what they use.
func TestLayersWithCLI(t *testing.T) {
	s := Start(t)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cli, sdk := newCLIClient(t, s).(*cliClient), newGoClient(t, s).(goClient)
	l := &life{t: t, ctx: ctx, client: sdk, name: "layered"}
	publish := func(word string) (v layerVersion) {
		zip, err := cli.file(word+".zip", pack(t, map[string][]byte{
			"nodejs/node_modules/word/index.js": []byte("module.exports = '" + word + "'"), "python/word.py": []byte("word = '" + word + "'"),
		}))
		l.ok("write", err)
		l.ok("publish", cli.run(ctx, &v, "publish-layer-version", "--layer-name", word, "--zip-file", "fileb://"+zip))
		return v
	}
	first, second := publish("first"), publish("second")
	var again layerVersion
	l.ok("get by ARN", cli.run(ctx, &again, "get-layer-version-by-arn", "--arn", first.LayerVersionArn))
	if again.Content.CodeSha256 != first.Content.CodeSha256 || again.Content.CodeSize == 0 || again.Version != 1 {
		t.Errorf("published %+v, read %+v", first, again)
	}
	for _, f := range []function{
		{name: "node", runtime: s.Newest(t, "nodejs"), handler: "index.handler",
			zip: pack(t, map[string][]byte{"index.js": []byte("exports.handler = async () => require('word')")})},
		{name: "python", runtime: s.Newest(t, "python"), handler: "index.handler",
			zip: pack(t, map[string][]byte{"index.py": []byte("import word\ndef handler(event, context):\n    return word.word")})},
	} {
		_, err := sdk.create(ctx, f)
		l.ok("create", err)
		l.ok("wait", sdk.waitActive(ctx, f.name))
		for want, layers := range map[string][]string{
			`"second"`: {first.LayerVersionArn, second.LayerVersionArn}, `"first"`: {second.LayerVersionArn, first.LayerVersionArn},
		} {
			out, err := sdk.sdk.UpdateFunctionConfiguration(ctx, &lambda.UpdateFunctionConfigurationInput{FunctionName: &f.name, Layers: layers})
			l.ok("configure", err)
			if len(out.Layers) != 2 || *out.Layers[0].Arn != layers[0] {
				t.Errorf("%s has layers %+v", f.name, out.Layers)
			}
			l.ok("wait", sdk.waitUpdated(ctx, f.name))
			if got, err := sdk.invoke(ctx, f.name, "", `{}`); err != nil || got.payload != want {
				t.Errorf("%s answers %s, %v; want %s", f.name, got.payload, err, want)
			}
		}
	}
	for _, v := range []layerVersion{first, second} {
		name := strings.Split(v.LayerVersionArn, ":")[6]
		_, err := sdk.sdk.DeleteLayerVersion(ctx, &lambda.DeleteLayerVersionInput{LayerName: &name, VersionNumber: &v.Version})
		l.ok("delete", err)
	}
	var left struct{ Layers []any }
	l.ok("list", cli.run(ctx, &left, "list-layers"))
	if len(left.Layers) != 0 {
		t.Errorf("deleted layers are listed: %v", left.Layers)
	}
	// A new instance still has them.
	_, err := sdk.sdk.UpdateFunctionConfiguration(ctx, &lambda.UpdateFunctionConfigurationInput{FunctionName: aws.String("node"), MemorySize: aws.Int32(640)})
	l.ok("configure", err)
	l.ok("wait", sdk.waitUpdated(ctx, "node"))
	if got, err := sdk.invoke(ctx, "node", "", `{}`); err != nil || len(got.payload) == 0 || got.functionError != "" {
		t.Errorf("without its layers' versions the function answers %s, %v", got.payload, err)
	}
}
