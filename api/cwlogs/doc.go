// Package cwlogs is the CloudWatch Logs dialect: the operations of the service that
// read logs, so that the tools which show a Lambda function's log show Hearth's.
//
// A group is what a function's LoggingConfig names, /aws/lambda/<name> unless it
// says otherwise; a stream is one instance, YYYY/MM/DD/[VERSION]INSTANCE. Groups and
// streams exist as long as lines of theirs are stored.
//
// It owns wire types, error mapping, pagination and the filter patterns (pattern.go
// and jsonpattern.go). What is stored is behind the Logs interface. It must not know
// how lines come to be, and no other dialect.
package cwlogs
