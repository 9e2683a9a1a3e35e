// Package bench measures Hearth beside the same handler as a plain HTTP server,
// interleaved in one run on one machine, and writes RESULTS.md.
//
// It owns what is measured (Plan), the servers under test, the arithmetic over the
// rounds and the text of the results. The load and its samples are package load's.
// It knows the binary, its flags and its HTTP APIs, as a stranger does: what it
// measures is what a user gets.
//
// # What makes a number honest here
//
// Both sides run the very same handler file, on the same interpreter, and get the
// same bytes from the same client over loopback. Every answer is checked; one that
// is wrong fails the run. Each round measures both sides of a row one right after
// the other, in changing order, and a ratio is taken within a round before the
// median over the rounds. Every sample is kept in raw/. A cold start is one that
// Hearth's own report calls cold, on a function that was never called before.
package bench
