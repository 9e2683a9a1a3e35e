// Package line is stream sockets without what Go's poller costs where their reader has
// just looked, or is looking: there what arrives wakes a thread for nothing. A reader is
// eager before it sleeps (package eager).
//
// A Line, of a UNIX socket, is out of the poller until one side has to sleep: the
// poller waits at every socket for both directions, so that each frame which the other
// side takes out of the buffer wakes somebody. A Socket, of TCP, stays in the poller: a
// descriptor of its own for each connection would be dear, and the kernel can be told not to
// wake for little.
//
// It owns descriptors and their waiting, and must not know what is read or written.
package line
