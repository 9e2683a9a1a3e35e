package faas

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

const (
	maxTagKey   = 128 // characters
	maxTagValue = 256
)

var tagText = regexp.MustCompile(`^[\p{L}\p{Z}\p{N}_.:/=+\-@]*$`)

const tagConstraint = `must satisfy regular expression pattern: ([\p{L}\p{Z}\p{N}_.:/=+\-@]*)`

// ValidateTags returns an error that names every wrong tag of a function's whole
// set, of which there may be at most max.
func ValidateTags(tags map[string]string, max int) error {
	var errs FieldErrors
	if len(tags) > max {
		errs = append(errs, FieldError{"tags", fmt.Sprint(len(tags)), fmt.Sprintf("must have at most %d members", max)})
	}
	for _, key := range slices.Sorted(maps.Keys(tags)) {
		errs = append(errs, validateTag(key, tags[key])...)
	}
	return errs.Err()
}

func validateTag(key, value string) FieldErrors {
	var errs FieldErrors
	if key == "" {
		errs = append(errs, FieldError{"tags", "", "must have keys with length greater than or equal to 1"})
	}
	if len(key) >= 4 && strings.EqualFold(key[:4], "aws:") {
		errs = append(errs, FieldError{"tags", clip(key), "must not have keys that begin with aws:"})
	}
	errs = errs.maxLen("tags", key, maxTagKey)
	errs = errs.maxLen("tags", value, maxTagValue)
	for _, s := range []string{key, value} {
		if !tagText.MatchString(s) {
			errs = append(errs, FieldError{"tags", clip(s), tagConstraint})
		}
	}
	return errs
}
