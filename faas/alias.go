package faas

import (
	"fmt"
	"iter"
	"maps"
	"slices"
)

// Clone returns a copy that shares no map with a.
func (a Alias) Clone() Alias {
	a.Weights = maps.Clone(a.Weights)
	return a
}

// Validate returns an error that names every wrong field. Whether the versions
// exist is the registry's to say.
func (a Alias) Validate(l Limits) error {
	var errs FieldErrors
	if !ValidAliasName(a.Name) {
		errs = append(errs, FieldError{"name", clip(a.Name), "must satisfy regular expression pattern: (?!^[0-9]+$)([a-zA-Z0-9-_]+)"})
	}
	errs = errs.maxLen("description", a.Description, l.MaxDescription)
	if a.Version != Latest && !ValidVersionNumber(a.Version) {
		errs = append(errs, FieldError{"functionVersion", clip(a.Version), `must satisfy regular expression pattern: (\$LATEST|[0-9]+)`})
	}
	errs = append(errs, a.validateWeights()...)
	return errs.Err()
}

const weightsField = "routingConfig.additionalVersionWeights"

func (a Alias) validateWeights() FieldErrors {
	if len(a.Weights) == 0 {
		return nil
	}
	var errs FieldErrors
	if len(a.Weights) > 1 {
		errs = append(errs, FieldError{weightsField, fmt.Sprint(len(a.Weights)), "must have at most one member"})
	}
	if a.Version == Latest {
		errs = append(errs, FieldError{"functionVersion", Latest, "must be a version number where the alias points at more than one version"})
	}
	for _, version := range slices.Sorted(maps.Keys(a.Weights)) {
		weight := a.Weights[version]
		if !ValidVersionNumber(version) {
			errs = append(errs, FieldError{weightsField, clip(version), "must have keys that satisfy regular expression pattern: [0-9]+"})
		}
		if version == a.Version {
			errs = append(errs, FieldError{weightsField, version, "must name another version than functionVersion"})
		}
		if !(weight >= 0 && weight <= 1) { // NaN is neither
			errs = append(errs, FieldError{weightsField, fmt.Sprint(weight), "must have values between 0.0 and 1.0"})
		}
	}
	return errs
}

// Targets yields the versions that calls of the alias can go to.
func (a Alias) Targets() iter.Seq[string] {
	return func(yield func(string) bool) {
		if !yield(a.Version) {
			return
		}
		for version := range a.Weights {
			if !yield(version) {
				return
			}
		}
	}
}

// Shares returns the share of calls, 0..1, that goes to each version that the
// alias names.
func (a Alias) Shares() map[string]float64 {
	shares := map[string]float64{a.Version: 1}
	for version, weight := range a.Weights {
		shares[version] = weight
		shares[a.Version] -= weight
	}
	return shares
}
