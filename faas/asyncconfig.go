package faas

import (
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Bounds and defaults of AsyncConfig.
const (
	MaxRetryAttempts = 2 // and the default

	MinEventAgeSeconds = 60
	MaxEventAgeSeconds = 21_600 // and the default: 6 h

	// MaxAsyncTimeoutSeconds is the longest timeout of an asynchronous invocation: 24 h.
	MaxAsyncTimeoutSeconds = 86_400
	// MaxAsyncPayload is the largest payload of an asynchronous invocation, in bytes.
	MaxAsyncPayload = 1 << 20
)

// RetryDelay names the pauses before an event whose attempt ended in a function
// error is tried again.
type RetryDelay string

const (
	// RetryGrowing is 1 minute, then 2 minutes: Lambda's way and the default.
	RetryGrowing RetryDelay = ""
	// RetryMinute is 1 minute each: Tencent SCF's way.
	RetryMinute RetryDelay = "minute"
)

// After is the pause after the attempt of this number, counted from 1.
func (d RetryDelay) After(attempt int) time.Duration {
	if d == RetryMinute || attempt <= 1 {
		return time.Minute
	}
	return 2 * time.Minute
}

// AsyncConfig says how the asynchronous invocations of one qualifier of a
// function are tried, and where their outcomes go. The zero value is the default.
type AsyncConfig struct {
	// Retries is how often an event is tried again after a function error, 0..2;
	// nil is MaxRetryAttempts. Refusals and faults of the platform do not count.
	Retries *int `json:"retries,omitempty"`
	// MaxAgeSeconds is how old an event may become before an attempt begins,
	// 60..21,600; 0 is MaxEventAgeSeconds.
	MaxAgeSeconds int `json:"maxAgeSeconds,omitempty"`
	// Delay is the pause between attempts.
	Delay RetryDelay `json:"delay,omitempty"`
	// TimeoutSeconds bounds one attempt in place of the version's own timeout,
	// 1..86,400; 0 leaves that one.
	TimeoutSeconds int `json:"timeoutSeconds,omitempty"`

	OnSuccess Destination `json:"onSuccess,omitempty"`
	OnFailure Destination `json:"onFailure,omitempty"`
	// DeadLetter gets the payload alone of an event that failed, beside OnFailure,
	// which gets a record of it. On Lambda it is configured with the version.
	DeadLetter Destination `json:"deadLetter,omitempty"`
}

// MaxRetries is Retries with its default.
func (c AsyncConfig) MaxRetries() int {
	if c.Retries == nil {
		return MaxRetryAttempts
	}
	return *c.Retries
}

// MaxAge is MaxAgeSeconds, with its default, as a duration.
func (c AsyncConfig) MaxAge() time.Duration {
	if c.MaxAgeSeconds == 0 {
		return MaxEventAgeSeconds * time.Second
	}
	return time.Duration(c.MaxAgeSeconds) * time.Second
}

// Timeout is the bound of one attempt of the version.
func (c AsyncConfig) Timeout(of Config) time.Duration {
	if c.TimeoutSeconds == 0 {
		return of.Timeout()
	}
	return time.Duration(c.TimeoutSeconds) * time.Second
}

// Validate returns a FieldErrors error that names every field out of bounds, or
// nil. Whether the functions exist that are named is not looked at.
func (c AsyncConfig) Validate() error {
	var errs FieldErrors
	if c.Retries != nil {
		errs = errs.intRange("maximumRetryAttempts", *c.Retries, 0, MaxRetryAttempts)
	}
	if c.MaxAgeSeconds != 0 {
		errs = errs.intRange("maximumEventAgeInSeconds", c.MaxAgeSeconds, MinEventAgeSeconds, MaxEventAgeSeconds)
	}
	if c.TimeoutSeconds != 0 {
		errs = errs.intRange("timeoutSeconds", c.TimeoutSeconds, 1, MaxAsyncTimeoutSeconds)
	}
	errs = errs.oneOf("retryDelay", string(c.Delay), string(RetryGrowing), string(RetryMinute))
	for _, d := range []struct {
		field string
		to    Destination
	}{
		{"destinationConfig.onSuccess.destination", c.OnSuccess},
		{"destinationConfig.onFailure.destination", c.OnFailure},
		{"deadLetterConfig.targetArn", c.DeadLetter},
	} {
		if constraint := d.to.fault(); constraint != "" {
			errs = append(errs, FieldError{d.field, clip(string(d.to)), constraint})
		}
	}
	return errs.Err()
}

// Destination is where outcomes of asynchronous invocations go: the ARN of a
// function, with or without qualifier, or an http or https URL. "" is nowhere.
type Destination string

// maxDestination bounds the text, in bytes.
const maxDestination = 2048

// Function returns the function that is named; false where it is none.
func (d Destination) Function() (FunctionRef, bool) {
	if !strings.HasPrefix(string(d), "arn:") {
		return FunctionRef{}, false
	}
	ref, err := ParseFunctionRef(string(d), Scope{Namespace: DefaultNamespace})
	return ref, err == nil
}

// URL returns the endpoint that is named; false where it is none that is valid.
func (d Destination) URL() (*url.URL, bool) {
	u, err := url.Parse(string(d))
	ok := err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Hostname() != "" &&
		u.User == nil && u.Fragment == "" && u.Opaque == ""
	if ok && u.Port() != "" {
		port, err := strconv.ParseUint(u.Port(), 10, 16)
		ok = err == nil && port > 0
	}
	return u, ok
}

// fault completes the sentence "Member ..." for what the text is not; "" where it
// is a destination or nothing.
func (d Destination) fault() string {
	if d == "" {
		return ""
	}
	if len(d) > maxDestination {
		return "must have length less than or equal to " + strconv.Itoa(maxDestination)
	}
	if _, ok := d.Function(); ok {
		return ""
	}
	if _, ok := d.URL(); ok {
		return ""
	}
	if strings.HasPrefix(string(d), "arn:") {
		return "must be the ARN of a function: queues, topics, buses and buckets are not served as destinations yet"
	}
	return "must be the ARN of a function, or an http or https URL without user and fragment"
}
