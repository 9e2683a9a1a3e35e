// Package report scores the keep-alive policies by one protocol and writes the
// table and the plot of docs/keep-alive.
//
// It owns the protocol: which days, seeds, apps and variations. It must not know
// how a policy decides.
package report
