// Package faas is the vocabulary of Hearth: functions, versions, aliases,
// configuration and its limits, names and ARNs, and the closed set of error
// codes. Every other package speaks in these types; dialects translate them at
// the edge.
//
// It owns the domain's rules that need no state (what a valid name is, what a
// valid configuration is, how a weighted alias chooses). It imports nothing of
// Hearth and must not know about HTTP, storage, sandboxes or any vendor's wire
// format other than the ARN, which people use as a name.
package faas
