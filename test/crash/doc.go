// Package crash kills the real binary while it accepts, runs and settles asynchronous
// invocations, at random and at named points, over many restarts and with a clock that
// jumps, or has its disk hang, and compares what was accepted with what ran and what
// was settled.
//
// It must not know how events are stored while the server runs: it looks at the data
// directory after the last stop only.
package crash
