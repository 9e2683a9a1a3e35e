package faas

import (
	"fmt"
	"strings"
)

// FieldError is one field that is wrong. Field is named as the API names it, in
// lowerCamelCase with dots (ephemeralStorage.size). Constraint completes the
// sentence "Value at Field failed to satisfy: Member ...", such as "must have
// value less than or equal to 900". Value never holds a secret.
type FieldError struct {
	Field      string
	Value      string
	Constraint string
}

// FieldErrors is every field of one request that is wrong. It travels as the
// Cause of an *Error with CodeInvalid: a dialect that words errors of
// validation in its own way finds it with errors.As.
type FieldErrors []FieldError

func (e FieldErrors) Error() string {
	var b strings.Builder
	for i, f := range e {
		if i > 0 {
			b.WriteString("; ")
		}
		fmt.Fprintf(&b, "%s %s (value '%s')", f.Field, f.Constraint, f.Value)
	}
	return b.String()
}

// Err returns nil where nothing is wrong, else an *Error with CodeInvalid whose
// Subject is the first wrong field.
func (e FieldErrors) Err() error {
	if len(e) == 0 {
		return nil
	}
	return &Error{Code: CodeInvalid, Subject: e[0].Field, Message: e.Error(), Cause: e}
}

// intRange appends an error where v is outside min..max.
func (e FieldErrors) intRange(field string, v, min, max int) FieldErrors {
	switch {
	case v < min:
		return append(e, FieldError{field, fmt.Sprint(v), fmt.Sprintf("must have value greater than or equal to %d", min)})
	case v > max:
		return append(e, FieldError{field, fmt.Sprint(v), fmt.Sprintf("must have value less than or equal to %d", max)})
	}
	return e
}

// maxLen appends an error where s has more than max characters.
func (e FieldErrors) maxLen(field, s string, max int) FieldErrors {
	if n := len([]rune(s)); n > max {
		return append(e, FieldError{field, clip(s), fmt.Sprintf("must have length less than or equal to %d", max)})
	}
	return e
}

// oneOf appends an error where s is none of the values.
func (e FieldErrors) oneOf(field, s string, values ...string) FieldErrors {
	for _, v := range values {
		if s == v {
			return e
		}
	}
	return append(e, FieldError{field, clip(s), "must satisfy enum value set: [" + strings.Join(values, ", ") + "]"})
}
