// Package pool holds the instances of versions: it decides for each invocation
// which instance runs it, starts instances, reuses them, drains and reclaims them.
//
// It owns the state of instances (state.go: every legal move, all else refused),
// the waiters of each pool, which instances are the provisioned ones, and how many
// instances this machine and each function have, idle ones included. Decisions are pure functions of observations,
// policy and now. It must not know what a sandbox is, nor any dialect.
package pool
