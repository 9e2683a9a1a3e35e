// Package registry is the control plane: create, update, publish, alias,
// delete, and the lists. Everything that it acknowledged is durable.
//
// It owns functions, versions and aliases in the engine and the in-memory
// snapshot that the data plane reads. It must not know any dialect.
//
// # Keys
//
// Three kinds of keys, all of them JSON values:
//
//	function/<account>/<region>/<namespace>/<name>/record
//	function/<account>/<region>/<namespace>/<name>/version/<number>
//	package/<sha256>
//
// The record is the function: its head, its aliases, its tags, the numbers of its
// published versions and the highest number ever given. A version's content is
// written once, under a key of its own, because records are bounded.
//
// # Crash safety
//
// A change of several keys has one commit point, the compare-and-set of the
// record. Before it come the writes that nothing refers to yet: the package key
// (which says that the blob may exist), the blob, the version's content. After it
// come the deletions of what nothing refers to any more. New deletes the
// leftovers on either side, and resumes activations that had not finished.
//
// A write whose outcome is unknown (the engine failed after it may have written)
// is settled by reading the key back: the bytes are ours or they are not.
//
// # Concurrency
//
// Changes of one function take turns, by a semaphore and not a mutex, because the
// holder waits for the disk; the compare-and-set is what makes them correct, also
// against other nodes. table.mu guards the in-memory copy and is never held while
// anything waits. The data plane's Resolve takes one shard's read lock and loads
// one pointer. Lock order: shelf.mu, table.mu, shard.mu; Registry.mu and
// worklist.mu are leaves.
//
// Which packages are used is counted per node: nodes that share a store of blobs
// must not each collect it.
package registry
