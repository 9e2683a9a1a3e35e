// Package auth says who sent a request and what that caller may do: key pairs in a
// durable store, AWS Signature Version 4 over them, and policies.
//
// It owns the keys. It must not know a dialect: how a refusal is worded on the wire
// is the dialect's, and so are the names of actions and resources.
//
// # Keys
//
// A key pair belongs to an account. Its secret has to be known to verify a
// signature, so it is kept, sealed with a key that is a file of its own in the data
// directory (seal.go says what that protects). It is told once, by Create, and
// never again: no list, no log, no error has it.
//
//	key/<id>      the key: JSON, with the sealed secret
//	keyuse/<id>   when it was used last; written late, in batches
//
// The copy in memory is one pointer to a map that is never changed, so that finding
// a key takes no lock.
//
// # Signatures
//
// Verifier takes them in the Authorization header and in the query (presigned), with
// a payload that is hashed, unsigned or signed chunk by chunk. The body is read and
// verified whole before Verify returns, as a handler may act without having read it.
//
// # Policies
//
// Policy is the part of the IAM language that keys and functions need: Effect,
// Action, Resource, Principal and Condition with wildcards. What it has no meaning
// for is refused when it is parsed and never ignored.
//
// # Locks
//
// Store.mu is held over no call to anybody.
package auth
