package lambda

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"strings"
	"testing"
)

// sample is a JSON value of a shape: every member, as far as it travels in the body.
// Strings have the first word of an enum, else a short text.
func sample(s *shape) string {
	switch s.kind {
	case kindStructure:
		var parts []string
		for _, m := range s.members {
			if m.in == inBody {
				parts = append(parts, fmt.Sprintf("%q:%s", m.name, sample(m.shape)))
			}
		}
		return "{" + strings.Join(parts, ",") + "}"
	case kindList:
		return "[" + sample(s.member) + "]"
	case kindMap:
		return "{" + sample(s.key) + ":" + sample(s.value) + "}"
	case kindString:
		if s.enum != nil {
			return `"` + s.enum[0] + `"`
		}
		return `"f"`
	case kindBlob:
		return `"UEsFBgAAAAAAAAAAAAAAAAAAAAAAAA=="`
	case kindBoolean:
		return "true"
	case kindDouble:
		return "0.5"
	default:
		return "200"
	}
}

// samplePath is an operation's path for a function, or a layer, or whatever, of a name.
func samplePath(op *operation, name string) (path string) {
	for _, part := range strings.Split(op.path[1:], "/") {
		if part[0] == '{' {
			part = url.PathEscape(name)
		}
		path += "/" + part
	}
	return path
}

// FuzzRequest sends anything to every operation. The seeds are, for each, all that
// its shape has, nothing, and values of other types.
func FuzzRequest(f *testing.F) {
	for i := range operations {
		op := &operations[i]
		f.Add(op.method, op.path, op.query, []byte(`{"FunctionName":"f","Tags":{"a":"b"},"Timeout":3}`))
		for _, body := range []string{sample(op.input), "", "{}", "[]", "null", strings.ReplaceAll(sample(op.input), `"f"`, "[1]")} {
			f.Add(op.method, samplePath(op, "f"), op.query, []byte(body))
		}
		f.Add(op.method, samplePath(op, "arn:aws:lambda:us-east-1:123456789012:function:f:live"), "Qualifier=1&MaxItems=-1&Marker=%00", []byte(nil))
	}
	f.Add("GET", "/2015-03-31/functions/%zz", "", []byte(nil))
	f.Add("POST", "/2015-03-31/functions/a%2Fb/invocations", "Qualifier=%zz", []byte(`{`))
	f.Add("PUT", "/2015-03-31/functions/f/configuration/", "", []byte(`{"Environment":{"Variables":{"AB":null}},"Layers":[{}]}`))
	f.Add("GET", linkPath+"e30.e30", "", []byte(nil))
	create := `{"FunctionName":"f","Runtime":"nodejs22.x","Handler":"h","Role":"arn:aws:iam::123456789012:role/r","Code":{"ZipFile":"UEsFBgAAAAAAAAAAAAAAAAAAAAAAAA=="}}`
	h := newRealWorld(f)
	f.Fuzz(func(t *testing.T, method, path, query string, body []byte) {
		r, err := http.NewRequest(method, "http://hearth.test"+path, bytes.NewReader(body))
		if err != nil || r.URL.Host != "hearth.test" {
			return
		}
		r.URL.RawQuery = query
		if made := send(h, "POST", "/2015-03-31/functions", strings.NewReader(create)); made.Code != 201 && made.Code != 409 {
			t.Fatal(made.Body)
		}
		h.settle(t)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code >= 500 && w.Code != http.StatusNotImplemented {
			t.Errorf("%d %s", w.Code, w.Body)
		}
		if w.Code >= 400 && (!json.Valid(w.Body.Bytes()) || w.Header()[headerErrorType] == nil) {
			t.Errorf("an error that is not JSON: %d %s", w.Code, w.Body)
		}
		if ids := w.Header()[headerRequestID]; len(ids) != 1 || ids[0] == "" {
			t.Errorf("request ids %v", ids)
		}
	})
}

// Decoding by the shape finds what encoding/json finds, where that takes the value.
func FuzzDecode(f *testing.F) {
	shapes := []*shape{shapeCreateFunctionRequest, shapeCreateEventSourceMappingRequest, shapeTagResourceRequest, shapeUpdateAliasRequest}
	for i, s := range shapes {
		f.Add(i, []byte(sample(s)))
	}
	f.Add(0, []byte(" {\"Timeout\" : 3e2 , \"Description\":\"\\u00e4\\\"}\" , \"x\":[{\"y\":\"]\"}],\"Layers\":[ ] }\n"))
	f.Add(2, []byte(`{"Tags":{"a":null,"a\"":"b"}}`))
	f.Fuzz(func(t *testing.T, which int, body []byte) {
		s := shapes[uint(which)%uint(len(shapes))]
		got := reflect.New(goType(s).Elem())
		err := decodeBody(body, s, got.Interface())
		if err != nil {
			_ = describe(err, "")
			return
		}
		_ = validate(got.Interface(), s)
		want := reflect.New(goType(s).Elem())
		if len(body) == 0 || json.Unmarshal(body, want.Interface()) != nil || hasOtherCase(body, s) {
			return // a number with an exponent, which it does not take for an integer
		}
		if a, b := asJSON(t, got), asJSON(t, want); a != b {
			t.Errorf("decoded to\n%s, encoding/json to\n%s", a, b)
		}
	})
}

func asJSON(t *testing.T, v reflect.Value) string {
	text, err := json.Marshal(v.Interface())
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// hasOtherCase reports names that encoding/json takes for members although their
// case differs, and those that are there twice, which it merges.
func hasOtherCase(body []byte, s *shape) bool {
	found := false
	seen := map[string]bool{}
	_ = eachMember(trimSpace(body), func(name string, value []byte) error {
		for _, m := range s.members {
			if !strings.EqualFold(name, m.name) {
				continue
			}
			if name != m.name || seen[name] || m.in != inBody {
				found = true
			}
			if m.shape.kind != kindString && bytes.Contains(value, []byte("{")) {
				found = found || nestedOtherCase(value, m.shape)
			}
		}
		seen[name] = true
		return nil
	})
	return found
}

func nestedOtherCase(value []byte, s *shape) bool {
	switch {
	case s.kind == kindStructure && value[0] == '{':
		return hasOtherCase(value, s)
	case s.kind == kindMap && value[0] == '{':
		return true // names twice merge
	case s.kind == kindList && value[0] == '[':
		found := false
		_ = eachElement(value, func(value []byte) error {
			found = found || nestedOtherCase(value, s.member)
			return nil
		})
		return found
	default:
		return false
	}
}

// Every member of an input is looked at, by a field or as a whole.
func TestInputsAreComplete(t *testing.T) {
	h, _, _ := newWorld()
	for i := range operations {
		op := &operations[i]
		if e, served := h.endpoints[op.name]; served && e.input != nil {
			complete(t, op.name, e.input, op.input)
		}
	}
	complete(t, opInvoke, reflect.TypeFor[invokeInput](), shapeInvocationRequest)
}

func complete(t *testing.T, at string, input reflect.Type, s *shape) {
	if input.Kind() == reflect.Pointer {
		input = input.Elem()
	}
	switch {
	case input == rawType:
	case s.kind == kindStructure:
		for _, m := range s.members {
			field, ok := input.FieldByName(m.name)
			if !ok && m.name != "Payload" { // of Invoke, which is not JSON
				t.Errorf("%s: %s has no field %s", at, input, m.name)
			}
			if ok {
				complete(t, at+"."+m.name, field.Type, m.shape)
			}
		}
	case s.kind == kindList:
		complete(t, at+"[]", input.Elem(), s.member)
	case s.kind == kindMap:
		complete(t, at+"{}", input.Elem(), s.value)
	}
}
