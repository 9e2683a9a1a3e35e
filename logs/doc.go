// Package logs keeps what functions print: it reads each instance's pipe,
// attributes lines to invocations, stores them on disk within bounds, and finds
// them again by function, version, request id and time.
//
// It owns the log directory. It must not know how instances are made or reused.
package logs
