package native

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"

	"hearth/faas"
)

// fieldNames are this API's names of what the domain calls otherwise: an error
// names the field that the caller sent.
var fieldNames = map[string]string{
	"functionName":          "name",
	"package":               "zip",
	"memorySize":            "memoryMB",
	"timeout":               "timeoutSeconds",
	"initTimeout":           "initTimeoutSeconds",
	"ephemeralStorage.size": "ephemeralMB",
	"environment.variables": "environment",
	"tracingConfig.mode":    "tracingMode",

	"maximumRetryAttempts":                    "retries",
	"maximumEventAgeInSeconds":                "maxAgeSeconds",
	"retryDelay":                              "delay",
	"destinationConfig.onSuccess.destination": "onSuccess",
	"destinationConfig.onFailure.destination": "onFailure",
	"deadLetterConfig.targetArn":              "deadLetter",

	"loggingConfig.logFormat":           "logging.format",
	"loggingConfig.logGroup":            "logging.group",
	"loggingConfig.applicationLogLevel": "logging.appLevel",
	"loggingConfig.systemLogLevel":      "logging.systemLevel",
}

func fieldName(name string) string {
	if ours, ok := fieldNames[name]; ok {
		return ours
	}
	return name
}

// inOurNames is the error with the fields named as this API names them.
func inOurNames(e *faas.Error) *faas.Error {
	var fields faas.FieldErrors
	if errors.As(e.Cause, &fields) && len(fields) > 0 {
		renamed := make(faas.FieldErrors, len(fields))
		for i, f := range fields {
			renamed[i] = faas.FieldError{Field: fieldName(f.Field), Value: f.Value, Constraint: f.Constraint}
		}
		return &faas.Error{Code: e.Code, Subject: renamed[0].Field, Message: renamed.Error(), Cause: renamed}
	}
	return &faas.Error{Code: e.Code, Subject: fieldName(e.Subject), Message: e.Message, Cause: e.Cause}
}

// decodeObject reads one JSON object, which errors call what ("a deployment"). A field
// that there is none of is refused: a misspelt name must not pass for a default.
func decodeObject(body []byte, what string, into any) error {
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return bodyError(err, what)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return faas.Errorf(faas.CodeInvalidBody, "body", "%s goes on after its end: send one JSON object", what)
	}
	return nil
}

func decodeDeploy(body []byte) (*DeployRequest, error) {
	req := &DeployRequest{}
	if err := decodeObject(body, "a deployment", req); err != nil {
		return nil, err
	}
	return req, req.checkNumbers()
}

// bodyError says what about a body is not as it should be, and where.
func bodyError(err error, what string) error {
	var kind *json.UnmarshalTypeError
	var corrupt base64.CorruptInputError
	switch unknown, isUnknown := strings.CutPrefix(err.Error(), "json: unknown field "); {
	case isUnknown:
		name := strings.Trim(unknown, `"`)
		return faas.Errorf(faas.CodeInvalidBody, name, "%s has no field %s: see docs/guide/native-api.md for those that it has", what, name)
	case errors.As(err, &kind) && kind.Field != "":
		return faas.Errorf(faas.CodeInvalidBody, kind.Field, "%s must be %s, not %s", kind.Field, jsonKind(kind.Type), kind.Value)
	case errors.As(err, &corrupt): // there is one such field
		return faas.Errorf(faas.CodeInvalidBody, "zip", "zip must be the package in base64: %w", corrupt)
	}
	return faas.Errorf(faas.CodeInvalidBody, "body", "%s is not the JSON it should be: %w", what, err)
}

// jsonKind is what JSON calls the values of a type.
func jsonKind(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Int, reflect.Int64:
		return "a whole number"
	case reflect.Float64:
		return "a number"
	case reflect.String:
		return "a string"
	case reflect.Bool:
		return "true or false"
	case reflect.Slice:
		return "an array"
	}
	return "an object"
}

// checkNumbers refuses numbers below 1: the domain takes zero for "not set".
func (req *DeployRequest) checkNumbers() error {
	var wrong faas.FieldErrors
	for _, field := range []struct {
		name  string
		value *int
	}{
		{"memoryMB", req.MemoryMB},
		{"timeoutSeconds", req.TimeoutSeconds},
		{"initTimeoutSeconds", req.InitTimeoutSeconds},
		{"ephemeralMB", req.EphemeralMB},
		{"instanceConcurrency", req.InstanceConcurrency},
	} {
		if field.value != nil && *field.value < 1 {
			wrong = append(wrong, faas.FieldError{Field: field.name, Value: fmt.Sprint(*field.value),
				Constraint: "must have value greater than or equal to 1"})
		}
	}
	return wrong.Err()
}
