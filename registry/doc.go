// Package registry is the control plane: create, update, publish, alias,
// delete, and the lists. Everything that it acknowledged is durable.
//
// It owns functions, versions, aliases, layers and what is configured of quotas in the
// engine, and the in-memory snapshot that the data plane reads. It must not know
// any dialect, nor what the quotas' use is: package quota counts.
//
// # Keys
//
// Seven kinds of keys, all of them JSON values:
//
//	function/<account>/<region>/<namespace>/<name>/record
//	function/<account>/<region>/<namespace>/<name>/version/<number>
//	package/<sha256>
//	quota/<account>/<region>
//	mapping/<account>/<region>/<uuid>
//	layer/<account>/<region>/<name>/last
//	layer/<account>/<region>/<name>/version/<number>
//
// The record is the function: its head, its aliases, its tags, what was set for its
// asynchronous invocations, the numbers of its published versions and the highest
// number ever given. A version's content is
// written once, under a key of its own, because records are bounded.
//
// The quotas of an account are one record: its limits, and for each function that
// has any the reservation, the maximum and the provisioned concurrency. One
// compare-and-set covers their sums. What names a function that is no more, or is
// another incarnation, or a version or alias that is no more, is dead: it counts
// for nothing and nobody inherits it.
//
// An event source mapping names its function and does not belong to it: it stays
// when that is deleted. Changes of an account's mappings have the account's turn,
// which makes them one of a kind on this node.
//
// A layer's version is one key, which its publication creates and its deletion
// deletes. Its number was taken from the layer's counter before, and the counter
// stays: a number is never given twice, and one that a crash took is not used. A
// function holds all that it needs of its layers, so the two never change together.
//
// # Crash safety
//
// A change of several keys has one commit point, the compare-and-set of the
// record. Before it come the writes that nothing refers to yet: the package key
// (which says that the blob may exist), the blob, the version's content. After it
// come the deletions of what nothing refers to any more. New deletes the
// leftovers on either side, and resumes activations that had not finished. The
// quotas of what is deleted go after it; CreateAlias first removes what an alias
// of that name left.
//
// A write whose outcome is unknown (the engine failed after it may have written)
// is settled by reading the key back: the bytes are ours or they are not.
//
// # Concurrency
//
// Changes of one function take turns, by a semaphore and not a mutex, because the
// holder waits for the disk; the compare-and-set is what makes them correct, also
// against other nodes. A change of a function that has quotas takes the account's
// turn as well, after the function's, so that on this node memory and reservations
// cannot each pass the check and break the sums together. (On two nodes they can:
// use above a limit is legal then, and nothing new is granted.)
//
// table.mu guards the in-memory copy and is never held while anything waits. The
// data plane's Resolve takes one shard's read lock and loads one pointer.
// Registry.telling is held while the allocator is told, so that what it is told
// last is what is in force. Lock order: telling, shelf.mu, table.mu, shard.mu;
// Registry.mu, worklist.mu, quotaTable.mu and mappingTable.mu are leaves.
//
// Which packages are used is counted per node: nodes that share a store of blobs
// must not each collect it.
package registry
