// Package rawio reads and writes descriptors that never block, without telling Go's
// scheduler about it.
//
// Before a system call Go makes the processor ready to be taken away, wakes the
// thread that would take it (its monitor, which sleeps when nothing runs) and takes
// it back afterwards. For a call that returns at once that is most of its price: a
// sixth of Hearth's CPU time for a warm call. A call that does block here keeps
// every goroutine of the processor waiting, and the collector with it.
//
// It owns these calls and must not know what is read or written.
package rawio
