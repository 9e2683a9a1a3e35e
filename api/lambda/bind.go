package lambda

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"reflect"
	"strconv"
	"strings"
	"time"
)

const (
	// maxRequest is Lambda's bound on a control-plane request: 50 MB of zip in
	// base64, and the rest.
	maxRequest = 70167211
	// maxSmallRequest is what is read without asking for one of the places for
	// large requests.
	maxSmallRequest = 1 << 20
	// uploadWait is how long a large request waits for such a place.
	uploadWait = 30 * time.Second
)

// endpoint serves one operation. A nil answer is an empty body with status 204.
type endpoint func(h *Handler, c *call) (answer any, err error)

// typed makes an endpoint of a function of a validated input. Input is a struct
// with a field for each member of the operation's input shape: pointers, slices
// and maps, nil where absent.
func typed[Input any](run func(h *Handler, c *call, in *Input) (any, error)) endpoint {
	return func(h *Handler, c *call) (any, error) {
		in := new(Input)
		release, err := h.bind(c, in)
		defer release()
		if err != nil {
			return nil, err
		}
		return run(h, c, in)
	}
}

// bind fills in from body, path and query, and validates it. Release gives back
// the place that a large body has taken, and is never nil.
func (h *Handler) bind(c *call, in any) (release func(), err error) {
	release = func() {}
	if hasBody(c.op) {
		var body []byte
		body, release, err = h.readBody(c)
		if err != nil {
			return release, err
		}
		if err := decodeBody(body, in); err != nil {
			return release, err
		}
	}
	query, err := url.ParseQuery(c.r.URL.RawQuery)
	if err != nil {
		return release, parameterError("The query cannot be parsed: " + clip(err.Error()) + ".")
	}
	fields := reflect.ValueOf(in).Elem()
	for _, m := range c.op.input.members {
		var values []string
		switch m.in {
		case inPath:
			if value, ok := c.vars[m.wire]; ok {
				values = []string{value}
			}
		case inQuery:
			values = query[m.wire]
		case inBody, inHeader:
			continue
		}
		if err := setField(fields.FieldByName(m.name), m, values); err != nil {
			return release, err
		}
	}
	return release, validate(in, c.op.input)
}

func hasBody(op *operation) bool {
	for _, m := range op.input.members {
		if m.in == inBody {
			return op.method == http.MethodPost || op.method == http.MethodPut
		}
	}
	return false
}

// setField puts the texts of a path or query into a field; one that was filled
// from the body is emptied, as the member does not travel there.
func setField(field reflect.Value, m member, values []string) error {
	if !field.IsValid() {
		return nil
	}
	field.SetZero()
	if len(values) == 0 {
		return nil
	}
	switch target := field.Addr().Interface().(type) {
	case **string:
		*target = &values[0]
	case *[]string:
		*target = values
	case **int:
		n, err := strconv.Atoi(values[0])
		if err != nil {
			return &apiError{wire: wireSerialization, message: "STRING_VALUE can not be converted to an Integer: '" +
				clip(values[0]) + "' at '" + m.path + "'"}
		}
		*target = &n
	default:
		return fmt.Errorf("member %s: no way to set a %s from a text", m.name, field.Type())
	}
	return nil
}

// readBody reads the whole body into a buffer of its size, bounded by maxRequest.
func (h *Handler) readBody(c *call) (body []byte, release func(), err error) {
	release = func() {}
	size := c.r.ContentLength
	if size > maxRequest {
		return nil, release, tooLarge(maxRequest, c.op.name)
	}
	if size < 0 || size > maxSmallRequest {
		if release, err = h.acquireUpload(c); err != nil {
			return nil, release, err
		}
	}
	body, err = readAll(c.r.Body, size, maxRequest, c.op.name)
	return body, release, err
}

// acquireUpload takes one of the places for large requests.
func (h *Handler) acquireUpload(c *call) (release func(), err error) {
	timer := time.NewTimer(uploadWait)
	defer timer.Stop()
	select {
	case h.uploads <- struct{}{}:
		return func() { <-h.uploads }, nil
	case <-c.ctx().Done():
		err = &apiError{wire: wireUploadTimeout, message: "The request was given up before its body was read."}
	case <-timer.C:
		err = &apiError{wire: wireBusy, message: "Rate Exceeded. Too many large requests are being served; try again."}
	}
	return func() {}, err
}

func tooLarge(limit int64, operation string) error {
	return &apiError{wire: wireTooLarge, message: fmt.Sprintf("Request must be smaller than %d bytes for the %s operation", limit, operation)}
}

// readAll reads a body of the announced size (-1 is unknown), at most limit bytes.
func readAll(body io.Reader, size, limit int64, operation string) ([]byte, error) {
	if size > limit {
		return nil, tooLarge(limit, operation)
	}
	if size == 0 {
		return nil, nil
	}
	var data []byte
	var err error
	if size > 0 {
		data = make([]byte, size)
		_, err = io.ReadFull(body, data)
	} else {
		data, err = io.ReadAll(io.LimitReader(body, limit+1))
	}
	if err != nil {
		return nil, &apiError{wire: wireContent, message: "The request's body could not be read to its end: " + clip(err.Error())}
	}
	if int64(len(data)) > limit {
		return nil, tooLarge(limit, operation)
	}
	return data, nil
}

// decodeBody parses a JSON object; an empty body is an empty object. The content
// type is not looked at: clients differ.
func decodeBody(body []byte, in any) error {
	if len(body) == 0 {
		return nil
	}
	err := json.Unmarshal(body, in)
	var wrongType *json.UnmarshalTypeError
	var badBase64 base64.CorruptInputError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &wrongType):
		at := ""
		if wrongType.Field != "" {
			at = " at '" + errorPath(wrongType.Field) + "'"
		}
		return &apiError{wire: wireSerialization, message: fmt.Sprintf("%s_VALUE can not be converted to %s%s",
			strings.ToUpper(firstWord(wrongType.Value)), jsonName(wrongType.Type), at)}
	case errors.As(err, &badBase64):
		return &apiError{wire: wireSerialization, message: "ZipFile is not base64: " + badBase64.Error()}
	default:
		return &apiError{wire: wireContent, message: "Could not parse request body into json: " + clip(err.Error())}
	}
}

func firstWord(s string) string {
	word, _, _ := strings.Cut(s, " ")
	return word
}

// jsonName says what a field of the type takes, with its article.
func jsonName(t reflect.Type) string {
	switch t.Kind() {
	case reflect.String:
		return "a String"
	case reflect.Int:
		return "an Integer"
	case reflect.Float64:
		return "a Double"
	case reflect.Bool:
		return "a Boolean"
	case reflect.Slice:
		return "a List"
	default:
		return "an Object"
	}
}

// errorPath is the camelCase path of a field whose Go path is given. Members that
// operations share are in embedded structures, which have no place in the path.
func errorPath(path string) string {
	parts := strings.Split(path, ".")
	if parts[0] == "settings" || parts[0] == "codeIn" {
		parts = parts[1:]
	}
	for i, part := range parts {
		if part != "" {
			parts[i] = strings.ToLower(part[:1]) + part[1:]
		}
	}
	return strings.Join(parts, ".")
}
