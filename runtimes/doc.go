// Package runtimes knows how to run code in a language: which interpreter a
// runtime name stands for, what starts it, and how it is spoken to. It holds the
// catalogue, the bootstraps of the managed runtimes (embedded, in node and
// python) and the Launcher, which starts a version's runtime in a sandbox.
//
// It owns the installed interpreters and the environment of an instance. It must
// not know which instance a call goes to (package pool), nor how a sandbox is
// made (package sandbox) or a log line stored (package logs).
package runtimes
