package lambda

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"reflect"
	"strconv"
	"time"

	"hearth/auth"
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
type endpoint struct {
	serve func(h *Handler, c *call) (answer any, err error)
	input reflect.Type // what the request is decoded into
}

// typed makes an endpoint of a function of a validated input. Input is a struct
// with a field for each member of the operation's input shape: pointers, slices
// and maps, nil where absent, or json.RawMessage for one that is validated and
// then not taken apart. A test holds the fields complete.
func typed[Input any](run func(h *Handler, c *call, in *Input) (any, error)) endpoint {
	return endpoint{input: reflect.TypeFor[Input](), serve: func(h *Handler, c *call) (any, error) {
		in := new(Input)
		release, err := h.bind(c, in)
		defer release()
		if err != nil {
			return nil, err
		}
		return run(h, c, in)
	}}
}

// checked makes an endpoint of a function that needs no more of the request than
// that it is valid.
func checked(run func(h *Handler, c *call) (any, error)) endpoint {
	return endpoint{serve: func(h *Handler, c *call) (any, error) {
		release, err := h.bind(c, reflect.New(goType(c.op.input).Elem()).Interface())
		defer release()
		if err != nil {
			return nil, err
		}
		return run(h, c)
	}}
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
		if err := decodeBody(body, c.op.input, in); err != nil {
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

// setField puts the texts of a path or query into a field.
func setField(field reflect.Value, m member, values []string) error {
	if !field.IsValid() || len(values) == 0 {
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
			return serializationError("STRING_VALUE can not be converted to an Integer")
		}
		*target = &n
	case **float64: // a time
		seconds, ok := queryTime(values[0])
		if !ok {
			return serializationError("STRING_VALUE can not be converted to a Timestamp")
		}
		*target = &seconds
	case **bool:
		yes := values[0] == "true"
		*target = &yes
	default:
		return fmt.Errorf("member %s: no way to set a %s from a text", m.name, field.Type())
	}
	return nil
}

// queryTime reads a time in the forms that it has in a query: as in RFC 3339, or
// seconds since 1970.
func queryTime(text string) (seconds float64, ok bool) {
	if at, err := time.Parse(time.RFC3339Nano, text); err == nil {
		return float64(at.UnixMilli()) / 1000, true
	}
	seconds, err := strconv.ParseFloat(text, 64)
	return seconds, err == nil
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
	if whole, ok := body.(*auth.Body); ok { // it was verified, and so is here
		return whole.Bytes(), nil
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
