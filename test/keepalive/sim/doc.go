// Package sim runs keep-alive policies over a load and scores them.
//
// It owns a model of the pool without its concurrency: calls, instances and time
// as events, the rules of reuse and start as package pool has them (a test runs
// both on one load). It must not know what a policy remembers.
package sim
