// Package stage puts up what a benchmark measures and takes it down again: Hearth
// with given settings, the same handlers behind bare HTTP servers, the peers from
// npm and Debian, control groups for them, and what /proc says of them.
//
// It owns every process and temporary directory of the benchmark; a Stage ends
// all of its own in Close, whatever happened. It must not know what is measured
// nor for how long.
package stage
