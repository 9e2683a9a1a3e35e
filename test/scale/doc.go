// Package scale runs the real binary with hundreds of real instances at once and
// checks that what runs is what the limits allow, no fewer and no more.
//
// It must not import any package of Hearth but the harness of test/e2e: it knows
// the binary, its flags and its protocols, as a stranger does.
package scale
