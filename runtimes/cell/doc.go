// Package cell keeps stem cells: runtimes that are booted, or sandboxes that are
// prepared, before anybody knows for which function. A cold start claims one and
// makes an instance of it, in a fraction of the time that a boot takes.
//
// It owns the life of a cell until it is claimed, how many stand by of each class,
// and when they are made. It must not know what a cell holds, how one is booted,
// nor anything of functions, sandboxes or calls: package runtimes does.
package cell
