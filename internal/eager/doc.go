// Package eager has a reader look again and again for a moment before it sleeps.
//
// To sleep and to be woken takes a thread 10 µs where it is woken on its own
// processor and 20 to 50 where on another: as much as all the rest that Hearth does
// for a warm call. So where nothing else is at hand, and what is waited for came
// within microseconds the last time, the reader offers its processor to whoever else
// can run there, and looks again.
//
// It owns the decision and the count of what the process has at hand, and must not
// know what is read.
package eager
