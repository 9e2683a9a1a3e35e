// Package pool holds the instances of versions: it decides for each invocation
// which instance runs it, starts instances, reuses them, drains and reclaims them.
//
// It owns the state of instances (state.go: every legal move, all else refused)
// and the waiters of each pool. Decisions are pure functions of observations,
// policy and now. It must not know what a sandbox is, nor any dialect.
package pool
