// Package logs keeps what functions print: it reads each instance's pipe,
// attributes lines to invocations, stores them on disk within bounds, and finds
// them again by function, version, request id and time.
//
// It owns the log directory. It must not know how instances are made or reused.
//
// # The way of a line
//
// A Stream (one per instance) reads the pipe, cuts it into lines and puts them,
// attributed, into its pending buffer of at most 768 KiB. The writer, one goroutine for
// the node, collects the pending buffers every 20 ms or when one fills up, and
// appends them to the function's segment. An invocation therefore never waits
// for the disk. What a crash of Hearth can lose is what was pending; what a
// power loss can lose is what the kernel had not written, as logs are not synced.
//
// A function that prints more than its rate budget is read slower, so that its
// own writes block. Bytes are dropped, oldest first, only where the disk cannot
// follow; the place is marked by a line.
//
// Where an instance holds several invocations, its runtime says of each line
// whose it is (framed.go). What it did not say, such as the output of a child
// process, belongs to an invocation only where it was the one in flight.
//
// # On disk
//
//	<Dir>/<account>/<region>/<namespace>/<function>/<sequence>.log   records
//	                                                <sequence>.idx   of a full segment
//	<Dir>/.gone-*   functions that are being dropped
//
// A record is a line of JSON with the lines that were read at once for one
// request: {"t":nanoseconds,"r":request,"v":version,"i":instance,"m":[lines]},
// or "b" with base64 where the bytes are not fit for a JSON string. A torn or
// damaged record is skipped by readers; the writer cuts a torn tail off before
// it appends. The index of a segment has its times and a Bloom filter of its
// request ids, so that looking for a request reads few segments.
//
// # Locks
//
// Stream.mu, then Store.queueMu; functionLog.mu, and Store.mu, by themselves.
// Only functionLog.mu is held over disk work, and no stream ever takes it.
package logs
