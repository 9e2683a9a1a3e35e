package runtimes

import (
	"errors"
	"testing"

	"hearth/pool"
)

// shellLoop is a custom runtime as Lambda's own tutorial shows it.
const shellLoop = `#!/bin/bash
api="http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime"
while true; do
  headers=$(mktemp)
  event=$(curl -sS -D "$headers" "$api/invocation/next") || exit 1
  id=$(grep -i '^lambda-runtime-aws-request-id' "$headers" | tr -d '\r' | cut -d' ' -f2)
  rm "$headers"
`

var providedRows = []row{
	{name: "echo", files: sh(shellLoop + `  curl -sS -o /dev/null "$api/invocation/$id/response" -d "$event"; done`), event: `{"a":1}`, want: `{"a":1}`},
	{name: "error", files: sh(shellLoop + `  curl -sS -o /dev/null -H 'Lambda-Runtime-Function-Error-Type: My.Error' "$api/invocation/$id/error" -d '{"errorMessage":"m","errorType":"x"}'; done`),
		error: "My.Error", want: `{"errorMessage":"m","errorType":"x"}`},
	{name: "answers and exits", files: sh(shellLoop + `  curl -sS -o /dev/null "$api/invocation/$id/response" -d '"last"'; exit 0; done`), want: `"last"`},
	{name: "exits", files: sh(shellLoop + `  echo bye; exit 9; done`), exit: true, error: "Runtime.ExitError", want: "exit status 9", log: "bye\n"},
	{name: "too large", files: sh(shellLoop + `  head -c 7000000 /dev/zero | tr '\0' x | curl -sS -o /dev/null "$api/invocation/$id/response" --data-binary @-; done`),
		error: "Function.ResponseSizeTooLarge", want: "exceeded maximum allowed payload size"},
}

var providedInitRows = []row{
	{name: "no bootstrap", files: map[string]string{"other": "x"}, error: "Runtime.InvalidEntrypoint", want: "Couldn't find valid bootstrap(s)", exit: true},
	{name: "not executable", files: map[string]string{"bootstrap": "x"}, error: "Runtime.InvalidEntrypoint", want: "permission denied", exit: true},
	{name: "no interpreter", files: sh("#!/no/such/shell\n"), error: "Runtime.InvalidEntrypoint", want: "no such file", exit: true},
	{name: "init error", files: sh("#!/bin/bash\n" + `curl -sS -o /dev/null -H 'Lambda-Runtime-Function-Error-Type: Runtime.Bad' "http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime/init/error" -d '{"errorMessage":"bad"}'; exit 1`),
		error: "Runtime.Bad", want: `{"errorMessage":"bad"}`},
	{name: "exits", files: sh("#!/bin/bash\nexit 7\n"), exit: true, error: "Runtime.ExitError", want: "exit status 7"},
}

func sh(source string) map[string]string { return map[string]string{"bootstrap": source} }

func TestProvided(t *testing.T) { runRows(t, "provided.al2023", providedRows) }

func TestProvidedInit(t *testing.T) { runInitRows(t, "provided.al2", providedInitRows) }

// A package that has nothing to start fails as init does, so that the pool does not
// start it again at once; a runtime that exits gets its second try.
func TestEntrypointFailureIsOfInit(t *testing.T) {
	b := newBench(t, drivers(t)["none"]())
	for _, r := range providedInitRows {
		want := pool.FailedInit
		if r.name == "exits" {
			want = pool.FailedExit
		}
		i := b.start(b.version("provided.al2023", "x", r.files))
		var failure *pool.Failure
		if err := i.init(); !errors.As(err, &failure) || failure.Kind != want {
			t.Errorf("%s: %v, want a failure of kind %q", r.name, err, want)
		}
		i.kill()
	}
}
