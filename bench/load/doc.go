// Package load makes HTTP load on one server and keeps every sample.
//
// Closed-loop load sends the next request of a connection when the last one was
// answered. Open-loop load sends by a schedule that was made in advance, and
// counts the latency from the scheduled time: a server that falls behind cannot
// make its own numbers better by being asked less (coordinated omission).
//
// It owns the client side of the wire and the arithmetic of samples. It must not
// know what it measures.
package load
