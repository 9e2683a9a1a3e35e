// Package hostile holds the tests of what bad input and bad functions get: every
// row of that table, end to end, on the real binary with the real process sandbox.
//
// Each row asserts three things: that the caller gets a clear answer (Lambda's
// exact document where there is one), that functions beside it notice nothing
// (their module counters go on counting meanwhile), and that nothing is left on
// the machine. The functions are in testdata, one file for each language.
//
// It must not import any package of Hearth but the harness in test/e2e: it knows
// the binary and its protocols, as an attacker does. HEARTH_LONG=1 runs the long
// forms.
package hostile
