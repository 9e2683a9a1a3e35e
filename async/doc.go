// Package async is asynchronous invocation: it accepts events durably, runs each
// at least once, in order and with fairness between functions and accounts, tries
// again what failed, and writes where the outcome goes.
//
// It owns an event from acceptance to its one outcome: the order of starts, the
// number of the attempt, delays, age, dead letters and destinations. It must not
// know how an attempt is run (that is package invoke's), what a queue is stored in
// (package engine's), or any dialect.
package async
