// Package bench measures Hearth beside the same handler as a plain HTTP server, and
// beside other platforms, interleaved on one machine, and writes RESULTS.md.
//
// It owns the rows: what is measured, for how long, what is concluded from the
// samples, and what was to be reached. One file has both for a row. The servers
// under test are package stage's, the load is package load's, the samples are kept
// by package record and the text is package report's. It knows the binary, its
// flags and its HTTP APIs, as a stranger does: what it measures is what a user gets.
//
// # What makes a number honest here
//
// All sides run the very same handler file and get the same bytes from the same
// client over loopback. Every answer is checked; one that is wrong fails the row.
// Each round measures all sides of a row one right after the other, in changing
// order, and a ratio is taken within a round before the median over the rounds.
// Every sample is kept in raw/, and the results are computed from there. A cold
// start counts only if Hearth's own report of it says that it went the way that
// the row is about.
package bench
