// Package invoke is the data plane: it resolves the version that a request
// names, admits it, acquires an instance, delivers the event and settles the
// invocation (log tail, report, metrics) before the answer leaves.
//
// It must not know any dialect, and touches no disk and no engine on the way of
// a warm invocation.
package invoke
