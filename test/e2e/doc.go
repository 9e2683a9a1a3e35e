// Package e2e drives the real binary with what its users have: Debian's aws CLI,
// AWS's SDKs for Go and JavaScript, and functions on unmodified runtime clients.
//
// It owns starting and stopping a throw-away server (Start), and the check that a
// server leaves nothing on the machine. Other tests that need a whole server use
// it too. It must not import any package of Hearth: it knows the binary, its
// flags and its protocols, as a stranger does.
package e2e
