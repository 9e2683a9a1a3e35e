// Package native is Hearth's own API, under /hearth/v1/: what the command line
// uses, and what other dialects have no words for (egress, in-instance
// concurrency, quotas in MB, schedules, timelines, live instance counts, log
// queries).
//
// It holds no logic: it parses, calls the service and writes JSON. It must not
// know the other dialects, the engine, pools' insides or sandboxes.
//
// Errors are {"error":{"code","subject","message","refusal"}} with the code of
// package faas and a fitting HTTP status (errors.go).
package native
