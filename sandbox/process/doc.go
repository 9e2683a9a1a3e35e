// Package process is the sandbox driver that isolates with the Linux kernel
// alone: namespaces, control groups, a read-only root of the host's own trees, a
// user id of its own for each sandbox, no capabilities and a seccomp allow-list.
//
// It owns everything that it makes in the kernel (control groups, mounts,
// loop devices, loopback-only network namespaces), the order in which a process
// is confined, and the removal of all of it, after kill -9 too. It must not know
// what a function, a runtime or an invocation is, nor how a network reaches the
// world (package network does).
//
// How a sandbox comes to be. It is built from a slot (control groups and a user
// id, reused), a /tmp (an ext4 of exact size, reused after cleaning) and a network
// namespace. A thread of its own copies the small template mount namespace and
// spawns the sandbox's first process: a few instructions that wait on a pipe, the
// lifeline, and end when Hearth does. Everything in a pid namespace dies with its
// first process, so nothing outlives Hearth, whatever ends Hearth. Then it spawns
// the starter, which is confined for good and waits for a command. All that is
// done ahead where it can be (the stock). Create dedicates a sandbox to a memory
// size and mounts; Start sends the starter the command, which it execs.
//
// What runs between clone and exec is a list of system calls that a few
// instructions of assembler work off (spawn_amd64.s): no Go code runs in a child
// that shares memory with Hearth, and the confinement never touches a thread of
// Hearth. The seccomp filter is the last entry before exec.
//
// Locks: Driver.mu and box.mu are leaves; neither is held over a system call
// that can wait.
package process
