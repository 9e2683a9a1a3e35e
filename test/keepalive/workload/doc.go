// Package workload makes the load on which keep-alive policies are judged: a
// seeded generator fitted to published marginals of a production workload, and
// a small real trace.
//
// It owns the published numbers (tables.go) and how they become calls. It must
// not know any policy, and it is committed before any: its output is synthetic,
// "fitted to published marginals", and never to be called a real trace.
//
// What it reproduces: how calls spread over apps, triggers, the spread of gaps,
// a mild day, durations and memory. What it does not: call chains, deploys,
// apps that come and go, drift, retries, structure within a second.
//
// An app is what a platform loads and unloads as one: for Hearth, a function.
package workload
