package e2e

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/smithy-go"
)

// step is one call of testdata/operations.json. The table of compatibility in the
// docs is made from it too.
type step struct {
	Op    string
	Input map[string]any
	Want  map[string]any    // members of the output
	Error string            // or the code of the error
	Save  map[string]string // output members to be put into later inputs, by name
	// Settle repeats the call until the function that it reads is ready.
	Settle bool
}

// caller is a client that calls operations by the model's names, with inputs and
// outputs as JSON. known is false for one that the client is too old for.
type caller func(ctx context.Context, op string, input map[string]any) (output map[string]any, known bool, err error)

// TestRoundTrips calls every operation with three vendors' clients, whose decoders
// have to take every answer. (The fourth, the AWS CLI, is TestSAMFlow's.)
func TestRoundTrips(t *testing.T) {
	raw, err := os.ReadFile("testdata/operations.json")
	if err != nil {
		t.Fatal(err)
	}
	var steps []step
	if err := json.Unmarshal(raw, &steps); err != nil {
		t.Fatal(err)
	}
	s := Start(t)
	vars := map[string]string{
		"$runtime": s.Newest(t, "nodejs"),
		"$zip": base64.StdEncoding.EncodeToString(pack(t, map[string][]byte{
			"index.mjs": []byte(strings.ReplaceAll(nodeSource, "VERSION", "1"))})),
	}
	for _, c := range []struct {
		name  string
		call  caller
		least int // of the steps, what the oldest version of the client knows
	}{
		{"aws-sdk-go-v2", newGoClient(t, s).(goClient).callByName, len(steps)},
		{"client-lambda", newJSClient(t, s).(*jsClient).callByName, len(steps)},
		{"boto3", newBotoClient(t, s).callByName, len(steps) - 20},
	} {
		t.Run(c.name, func(t *testing.T) {
			vars := maps.Clone(vars)
			vars["$name"] = "trip-" + c.name
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			known := 0
			for _, step := range steps {
				if step.run(ctx, t, c.call, vars) {
					known++
				}
			}
			if known < c.least {
				t.Errorf("the client knows %d of %d steps", known, len(steps))
			}
		})
	}
}

// run calls the step and reports whether the client knows how.
func (s step) run(ctx context.Context, t *testing.T, call caller, vars map[string]string) bool {
	t.Helper()
	input := fill(s.Input, vars).(map[string]any)
	output, known, err := call(ctx, s.Op, input)
	for known && err == nil && s.Settle && (output["State"] != "Active" || output["LastUpdateStatus"] == "InProgress") && ctx.Err() == nil {
		output, known, err = call(ctx, s.Op, input)
	}
	switch code := errorName(err); {
	case !known:
		return false
	case s.Error != code:
		t.Errorf("%s %v: error %q (%v), want %q", s.Op, input, code, err, s.Error)
		return true
	}
	for member, want := range fill(s.Want, vars).(map[string]any) {
		if got := output[member]; !reflect.DeepEqual(present(got), want) {
			t.Errorf("%s: %s is %v, want %v", s.Op, member, got, want)
		}
	}
	for name, member := range s.Save {
		vars["$"+name] = fmt.Sprint(output[member])
	}
	return true
}

// present returns v without the members that are null: what an SDK's structure has
// and the answer had not.
func present(v any) any {
	object, ok := v.(map[string]any)
	if !ok {
		return v
	}
	out := map[string]any{}
	for name, member := range object {
		if member != nil {
			out[name] = present(member)
		}
	}
	return out
}

// fill returns v with the variables replaced in its texts.
func fill(v any, vars map[string]string) any {
	switch v := v.(type) {
	case map[string]any:
		out := map[string]any{}
		for name, member := range v {
			out[name] = fill(member, vars)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = fill(v[i], vars)
		}
		return out
	case string:
		if strings.HasPrefix(v, "$LATEST") {
			return v
		}
		for _, name := range slices.SortedFunc(maps.Keys(vars), func(a, b string) int { return len(b) - len(a) }) {
			v = strings.ReplaceAll(v, name, vars[name])
		}
		return v
	default:
		return v
	}
}

// errorName is the code of the service's error, "" for none.
func errorName(err error) string {
	var api smithy.APIError
	var thrown *jsError
	switch {
	case err == nil:
		return ""
	case errors.As(err, &api):
		return api.ErrorCode()
	case errors.As(err, &thrown):
		return thrown.Name
	default:
		return err.Error()
	}
}

func (c *jsClient) callByName(ctx context.Context, op string, input map[string]any) (output map[string]any, known bool, err error) {
	return output, true, c.call(ctx, strings.ToLower(op[:1])+op[1:], input, &output)
}

// callByName calls the method of the SDK's client that has the operation's name.
func (c goClient) callByName(ctx context.Context, op string, input map[string]any) (map[string]any, bool, error) {
	method := reflect.ValueOf(c.sdk).MethodByName(op)
	if !method.IsValid() {
		return nil, false, nil
	}
	in := reflect.New(method.Type().In(1).Elem())
	if err := intoSDK(input, in); err != nil {
		return nil, true, err
	}
	results := method.Call([]reflect.Value{reflect.ValueOf(ctx), in})
	if err, _ := results[1].Interface().(error); err != nil {
		return nil, true, err
	}
	if out, ok := results[0].Interface().(*lambda.InvokeWithResponseStreamOutput); ok {
		defer out.GetStream().Close()
	}
	text, err := json.Marshal(results[0].Interface())
	if err != nil {
		return nil, true, err
	}
	var output map[string]any
	err = json.Unmarshal(text, &output)
	return output, true, err
}

// intoSDK fills an SDK's input from JSON. A body that is a stream is base64.
func intoSDK(input map[string]any, in reflect.Value) error {
	rest := maps.Clone(input)
	for name, v := range input {
		field := in.Elem().FieldByName(name)
		if field.IsValid() && field.Type() == reflect.TypeFor[io.Reader]() {
			raw, err := base64.StdEncoding.DecodeString(fmt.Sprint(v))
			if err != nil {
				return err
			}
			field.Set(reflect.ValueOf(strings.NewReader(string(raw))))
			delete(rest, name)
		}
	}
	text, err := json.Marshal(rest)
	if err != nil {
		return err
	}
	return json.Unmarshal(text, in.Interface())
}

// botoClient is boto3 of Debian's package python3-boto3, in a process that speaks
// as jsClient's does.
type botoClient struct{ jsClient }

func newBotoClient(t *testing.T, s *Server) *botoClient {
	cmd := exec.Command("/usr/bin/python3", "client.py")
	cmd.Dir = "testdata/py"
	c := &botoClient{}
	c.start(t, cmd, s)
	return c
}

func (c *botoClient) callByName(ctx context.Context, op string, input map[string]any) (map[string]any, bool, error) {
	var reply struct {
		Output  map[string]any
		Unknown bool
		Error   *jsError
	}
	err := c.exchange(ctx, jsRequest{Call: op, Input: input}, &reply)
	if err == nil && reply.Error != nil {
		err = reply.Error
	}
	return reply.Output, !reply.Unknown, err
}
