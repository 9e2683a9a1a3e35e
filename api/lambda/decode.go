package lambda

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"sync"
)

// decodeBody parses a JSON object into a structure by its shape; an empty body is
// an empty object. Members are found by their exact names, unknown ones are
// ignored, and null is the same as absent, as Lambda has it. The content type is
// not looked at: clients differ. What is kept of the body refers to it.
func decodeBody(body []byte, s *shape, in any) error {
	if len(body) == 0 {
		return nil
	}
	if !json.Valid(body) {
		return &apiError{wire: wireContent, message: "Could not parse request body into json: " + clip(syntaxError(body))}
	}
	return decode(trimSpace(body), s, reflect.ValueOf(in).Elem())
}

func syntaxError(body []byte) string {
	var v any
	return json.Unmarshal(body, &v).Error()
}

// decode stores a valid JSON value, without space around it, in a Go value of the
// type that goType gives a shape, or in one of the same kinds that lacks members.
func decode(value []byte, s *shape, into reflect.Value) error {
	if value[0] == 'n' {
		return nil
	}
	if into.Type() == rawType {
		into.SetBytes(value)
		return decode(value, s, reflect.New(goType(s)).Elem())
	}
	if into.Kind() == reflect.Pointer {
		into.Set(reflect.New(into.Type().Elem()))
		into = into.Elem()
	}
	switch s.kind {
	case kindStructure:
		return decodeStructure(value, s, into)
	case kindMap:
		return decodeMap(value, s, into)
	case kindList:
		return decodeList(value, s, into)
	default:
		return decodeScalar(value, s, into)
	}
}

func decodeStructure(value []byte, s *shape, into reflect.Value) error {
	if value[0] != '{' {
		return misplaced(value)
	}
	return eachMember(value, func(name string, value []byte) error {
		for i := range s.members {
			m := &s.members[i]
			if m.name != name || m.in != inBody {
				continue
			}
			if field := into.FieldByName(name); field.IsValid() {
				return decode(value, m.shape, field)
			}
		}
		return nil
	})
}

func decodeMap(value []byte, s *shape, into reflect.Value) error {
	if value[0] != '{' {
		return misplaced(value)
	}
	into.Set(reflect.MakeMap(into.Type()))
	return eachMember(value, func(name string, value []byte) error {
		element := reflect.New(into.Type().Elem()).Elem()
		if err := decode(value, s.value, element); err != nil {
			return err
		}
		into.SetMapIndex(reflect.ValueOf(name).Convert(into.Type().Key()), element)
		return nil
	})
}

func decodeList(value []byte, s *shape, into reflect.Value) error {
	if value[0] != '[' {
		return misplaced(value)
	}
	into.Set(reflect.MakeSlice(into.Type(), 0, 0))
	return eachElement(value, func(value []byte) error {
		element := reflect.New(into.Type().Elem()).Elem()
		if err := decode(value, s.member, element); err != nil {
			return err
		}
		into.Set(reflect.Append(into, element))
		return nil
	})
}

// misplaced is the error of a value that is no list, map or structure where one is
// expected, or is another of them.
func misplaced(value []byte) error {
	switch value[0] {
	case '{':
		return serializationError("Start of structure or map found where not expected.")
	case '[':
		return serializationError("Start of list found where not expected")
	default:
		return serializationError("Unexpected field type")
	}
}

func serializationError(message string) error {
	return &apiError{wire: wireSerialization, message: message}
}

// tokens name the scalars of JSON as Lambda's errors do, by their first byte.
var tokens = map[byte]string{'"': "STRING_VALUE", 't': "TRUE_VALUE", 'f': "FALSE_VALUE"}

// targets name the kinds as Lambda's errors do, with their article.
var targets = map[kind]string{
	kindString: "a String", kindInteger: "an Integer", kindLong: "a Long", kindDouble: "a Double",
	kindBoolean: "a Boolean", kindBlob: "a Blob", kindTimestamp: "a Timestamp",
}

func decodeScalar(value []byte, s *shape, into reflect.Value) error {
	if value[0] == '{' || value[0] == '[' {
		return misplaced(value)
	}
	ok := false
	switch s.kind {
	case kindString:
		if ok = value[0] == '"'; ok {
			into.SetString(text(value))
		}
	case kindBlob:
		if value[0] == '"' {
			return decodeBlob(value, into)
		}
	case kindBoolean:
		if ok = value[0] == 't' || value[0] == 'f'; ok {
			into.SetBool(value[0] == 't')
		}
	case kindInteger, kindLong:
		var n int64
		if n, ok = integer(value); ok {
			into.SetInt(n)
		}
	case kindDouble, kindTimestamp:
		f, err := strconv.ParseFloat(string(value), 64)
		if ok = err == nil; ok {
			into.SetFloat(f)
		}
	}
	if ok {
		return nil
	}
	token := tokens[value[0]]
	if token == "" {
		token = "NUMBER_VALUE"
	}
	return serializationError(fmt.Sprintf("%s can not be converted to %s", token, targets[s.kind]))
}

// integer reads a JSON number that has no fraction, in whatever notation.
func integer(value []byte) (int64, bool) {
	n, err := strconv.ParseInt(string(value), 10, 64)
	if err == nil {
		return n, true
	}
	f, err := strconv.ParseFloat(string(value), 64)
	if err != nil || f != math.Trunc(f) || math.Abs(f) > 1<<53 {
		return 0, false
	}
	return int64(f), true
}

// decodeBlob reads base64 from where it is: a deployment package is not copied twice.
func decodeBlob(value []byte, into reflect.Value) error {
	encoded := value[1 : len(value)-1]
	for _, c := range encoded {
		if c == '\\' { // escaped slashes, as some clients write
			encoded = []byte(text(value))
			break
		}
	}
	decoded := make([]byte, base64.StdEncoding.DecodedLen(len(encoded)))
	n, err := base64.StdEncoding.Decode(decoded, encoded)
	if err != nil {
		return serializationError("A blob of the request is not base64: " + err.Error())
	}
	into.SetBytes(decoded[:n])
	return nil
}

// text is the value of a JSON string.
func text(value []byte) string {
	var s string
	_ = json.Unmarshal(value, &s) // valid
	return s
}

// eachMember calls visit for the members of a valid JSON object, in their order.
func eachMember(object []byte, visit func(name string, value []byte) error) error {
	for rest := trimSpace(object[1:]); rest[0] != '}'; {
		end := valueEnd(rest)
		name := text(rest[:end])
		rest = trimSpace(trimSpace(rest[end:])[1:]) // behind the colon
		end = valueEnd(rest)
		if err := visit(name, rest[:end]); err != nil {
			return err
		}
		if rest = trimSpace(rest[end:]); rest[0] == ',' {
			rest = trimSpace(rest[1:])
		}
	}
	return nil
}

// eachElement calls visit for the elements of a valid JSON array.
func eachElement(array []byte, visit func(value []byte) error) error {
	for rest := trimSpace(array[1:]); rest[0] != ']'; {
		end := valueEnd(rest)
		if err := visit(rest[:end]); err != nil {
			return err
		}
		if rest = trimSpace(rest[end:]); rest[0] == ',' {
			rest = trimSpace(rest[1:])
		}
	}
	return nil
}

// valueEnd returns where the value ends with which valid JSON text begins.
func valueEnd(s []byte) int {
	depth := 0
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '"':
			for i++; s[i] != '"'; i++ {
				if s[i] == '\\' {
					i++
				}
			}
		case '{', '[':
			depth++
			continue
		case '}', ']':
			depth--
		default:
			if depth == 0 && i+1 < len(s) && !isDelimiter(s[i+1]) {
				continue // inside of a number or a word
			}
		}
		if depth == 0 {
			return i + 1
		}
	}
	return len(s)
}

func isDelimiter(c byte) bool { return c == ',' || c == '}' || c == ']' || c == ':' || isSpace(c) }

func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\r' || c == '\n' }

func trimSpace(s []byte) []byte {
	for len(s) > 0 && isSpace(s[0]) {
		s = s[1:]
	}
	for len(s) > 0 && isSpace(s[len(s)-1]) {
		s = s[:len(s)-1]
	}
	return s
}

var goTypes sync.Map // *shape to reflect.Type

// goType is a Go type that holds a value of a shape: what an input's own structure
// does not name is checked in it. Absent is nil.
func goType(s *shape) reflect.Type {
	if t, ok := goTypes.Load(s); ok {
		return t.(reflect.Type)
	}
	var t reflect.Type
	switch s.kind {
	case kindStructure:
		fields := make([]reflect.StructField, len(s.members))
		for i, m := range s.members {
			fields[i] = reflect.StructField{Name: m.name, Type: goType(m.shape)}
		}
		t = reflect.PointerTo(reflect.StructOf(fields))
	case kindList:
		t = reflect.SliceOf(goType(s.member))
	case kindMap:
		t = reflect.MapOf(reflect.TypeFor[string](), goType(s.value))
	case kindString:
		t = reflect.TypeFor[*string]()
	case kindInteger, kindLong:
		t = reflect.TypeFor[*int]()
	case kindDouble, kindTimestamp:
		t = reflect.TypeFor[*float64]()
	case kindBoolean:
		t = reflect.TypeFor[*bool]()
	case kindBlob:
		t = reflect.TypeFor[[]byte]()
	}
	goTypes.Store(s, t)
	return t
}
