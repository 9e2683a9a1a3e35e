// Package code handles deployment packages: it verifies and measures a zip
// before anything trusts it, unpacks it safely, and keeps one read-only
// directory per digest on this machine for as long as an instance uses it.
//
// It owns the unpacked cache. It must not know what runs the code.
package code
