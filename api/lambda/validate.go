package lambda

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// maxShownValue bounds how much of a refused value an error repeats.
const maxShownValue = 1024

// validate checks an input structure against its shape and returns Lambda's
// ValidationException with one sentence for each violation, or nil. The fields of
// input are named as the members of s; nil means absent. A json.RawMessage is
// looked into by its shape; members without a field are not looked at.
//
// The order is that of the members; within one value, as Lambda has it: null,
// pattern, enum, upper bound, lower bound.
func validate(input any, s *shape) error {
	v := violations{}
	v.structure(reflect.ValueOf(input).Elem(), s, "")
	if len(v.found) == 0 {
		return nil
	}
	return validationError(v.text())
}

// violations collects the sentences of one input.
type violations struct{ found []string }

func (v *violations) text() string {
	if len(v.found) == 1 {
		return "1 validation error detected: " + v.found[0]
	}
	return fmt.Sprintf("%d validation errors detected: %s", len(v.found), strings.Join(v.found, "; "))
}

func (v *violations) add(shown, path, constraint string) {
	v.found = append(v.found, fmt.Sprintf("Value %s at '%s' failed to satisfy constraint: %s", shown, path, constraint))
}

var rawType = reflect.TypeFor[json.RawMessage]()

func (v *violations) structure(value reflect.Value, s *shape, path string) {
	for _, m := range s.members {
		field := value.FieldByName(m.name)
		if !field.IsValid() {
			continue
		}
		at := m.path
		if path != "" {
			at = path + "." + m.path
		}
		if absent(field) {
			if m.required {
				v.add("null", at, "Member must not be null")
			}
			continue
		}
		if field.Type() == rawType {
			field = reflect.New(goType(m.shape)).Elem()
			if decode(value.FieldByName(m.name).Bytes(), m.shape, field) != nil {
				continue // no value of that type gets here
			}
		}
		v.value(reflect.Indirect(field), m.shape, at)
	}
}

func absent(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Map:
		return v.IsNil()
	default:
		return false
	}
}

func (v *violations) value(value reflect.Value, s *shape, path string) {
	switch s.kind {
	case kindStructure:
		v.structure(value, s, path)
	case kindList:
		v.list(value, s, path)
	case kindMap:
		v.mapping(value, s, path)
	default:
		for _, constraint := range scalarViolations(value, s) {
			v.add(show(value, s), path, constraint)
		}
	}
}

func (v *violations) list(value reflect.Value, s *shape, path string) {
	v.size(value, s, path)
	for i := range value.Len() {
		if element := value.Index(i); absent(element) || len(scalarViolations(reflect.Indirect(element), s.member)) > 0 {
			v.add(show(value, s), path, "Member must satisfy constraint: ["+strings.Join(allConstraints(s.member), ", ")+"]")
			return
		}
		v.inner(reflect.Indirect(value.Index(i)), s.member, fmt.Sprintf("%s.%d.member", path, i+1))
	}
}

func (v *violations) mapping(value reflect.Value, s *shape, path string) {
	v.size(value, s, path)
	keys := slices.SortedFunc(slices.Values(value.MapKeys()), func(a, b reflect.Value) int { return strings.Compare(a.String(), b.String()) })
	if slices.ContainsFunc(keys, func(key reflect.Value) bool { return len(scalarViolations(key, s.key)) > 0 }) {
		v.add(show(value, s), path, "Map keys must satisfy constraint: ["+strings.Join(allConstraints(s.key), ", ")+"]")
	}
	for _, key := range keys {
		if element := value.MapIndex(key); absent(element) || len(scalarViolations(reflect.Indirect(element), s.value)) > 0 {
			v.add(show(value, s), path, "Map value must satisfy constraint: ["+strings.Join(allConstraints(s.value), ", ")+"]")
			return
		}
	}
	for _, key := range keys {
		v.inner(reflect.Indirect(value.MapIndex(key)), s.value, path+"."+key.String()+".member")
	}
}

// inner goes on into an element that is no scalar.
func (v *violations) inner(value reflect.Value, s *shape, path string) {
	if s.kind == kindStructure || s.kind == kindList || s.kind == kindMap {
		v.value(value, s, path)
	}
}

func (v *violations) size(value reflect.Value, s *shape, path string) {
	if s.max != nil && value.Len() > int(*s.max) {
		v.add(show(value, s), path, constraintMax(s))
	}
	if s.min != nil && value.Len() < int(*s.min) {
		v.add(show(value, s), path, constraintMin(s))
	}
}

// scalarViolations returns the constraints of s that a string or number breaks.
func scalarViolations(value reflect.Value, s *shape) []string {
	var broken []string
	var size float64
	switch s.kind {
	case kindString:
		text := value.String()
		if s.pattern != nil && !s.pattern.matches(text) {
			broken = append(broken, constraintPattern(s))
		}
		if s.enum != nil && !slices.Contains(s.enum, text) {
			broken = append(broken, constraintEnum(s))
		}
		size = float64(utf8.RuneCountInString(text))
	case kindInteger, kindLong:
		size = float64(value.Int())
	case kindDouble:
		size = value.Float()
	default:
		return nil
	}
	if s.max != nil && !(size <= *s.max) {
		broken = append(broken, constraintMax(s))
	}
	if s.min != nil && !(size >= *s.min) {
		broken = append(broken, constraintMin(s))
	}
	return broken
}

// allConstraints lists what an element of a list or map has to satisfy; Lambda
// repeats all of it when any is broken.
func allConstraints(s *shape) []string {
	var all []string
	if s.max != nil {
		all = append(all, constraintMax(s))
	}
	if s.min != nil {
		all = append(all, constraintMin(s))
	}
	if s.enum != nil {
		all = append(all, constraintEnum(s))
	}
	if s.pattern != nil {
		all = append(all, constraintPattern(s))
	}
	return append(all, "Member must not be null")
}

func constraintPattern(s *shape) string {
	return "Member must satisfy regular expression pattern: " + s.pattern.text
}

func constraintEnum(s *shape) string {
	return "Member must satisfy enum value set: [" + strings.Join(s.enum, ", ") + "]"
}

func constraintMax(s *shape) string {
	return "Member must have " + measure(s) + " less than or equal to " + number(s, *s.max)
}

func constraintMin(s *shape) string {
	return "Member must have " + measure(s) + " greater than or equal to " + number(s, *s.min)
}

func measure(s *shape) string {
	switch s.kind {
	case kindInteger, kindLong, kindDouble:
		return "value"
	default:
		return "length"
	}
}

func number(s *shape, f float64) string {
	text := strconv.FormatFloat(f, 'f', -1, 64)
	if s.kind == kindDouble && !strings.Contains(text, ".") {
		text += ".0"
	}
	return text
}

// show prints a refused value as Lambda does, quoted, and not longer than an
// error may be.
func show(value reflect.Value, s *shape) string { return "'" + clip(plain(value, s)) + "'" }

// plain prints a value; lists, maps and structures as Java prints them. Sensitive
// values are replaced, names in sensitive maps are not: they are what the caller
// has to find.
func plain(value reflect.Value, s *shape) string {
	switch {
	case !value.IsValid() || absent(value):
		return "null"
	case s.kind == kindList:
		parts := make([]string, value.Len())
		for i := range parts {
			parts[i] = plain(reflect.Indirect(value.Index(i)), s.member)
		}
		return "[" + strings.Join(parts, ", ") + "]"
	case s.kind == kindMap:
		return showMap(value, s)
	case s.kind == kindStructure:
		var parts []string
		for _, m := range s.members {
			if field := value.FieldByName(m.name); field.IsValid() && !absent(field) && field.Type() != rawType {
				parts = append(parts, m.path+"="+plain(reflect.Indirect(field), m.shape))
			}
		}
		return "{" + strings.Join(parts, ", ") + "}"
	case s.sensitive:
		return "***"
	case s.kind == kindDouble:
		return number(s, value.Float())
	default:
		return fmt.Sprint(value.Interface())
	}
}

func showMap(value reflect.Value, s *shape) string {
	pairs := map[string]string{}
	for iter := value.MapRange(); iter.Next(); {
		shown := "***"
		if !s.sensitive {
			shown = plain(reflect.Indirect(iter.Value()), s.value)
		}
		pairs[iter.Key().String()] = shown
	}
	parts := make([]string, 0, len(pairs))
	for _, key := range slices.Sorted(maps.Keys(pairs)) {
		parts = append(parts, key+"="+pairs[key])
	}
	return "{" + strings.Join(parts, ", ") + "}"
}

// clip cuts text to maxShownValue bytes, at a character's border.
func clip(text string) string {
	if len(text) <= maxShownValue {
		return text
	}
	cut := maxShownValue
	for cut > 0 && !utf8.RuneStart(text[cut]) {
		cut--
	}
	return text[:cut] + "..."
}
