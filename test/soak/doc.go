// Package soak puts the real binary, built with the race detector, under a random
// load of callers and deployments, and holds every answer against a model of what
// may be answered.
//
// It owns the workload, the model (which code may answer which call) and the
// checks at the end: nothing grows, nothing is left. It must not import any
// package of Hearth, like test/e2e, whose server it uses.
//
// The seed of a run is printed; HEARTH_SEED repeats its choices, though not the
// order in which the machine runs them.
package soak
