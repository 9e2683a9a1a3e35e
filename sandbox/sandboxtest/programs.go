package sandboxtest

import "hearth/sandbox"

// Program names what a test of the suite runs in a sandbox.
type Program string

const (
	// Print writes "out\n" to standard output, then "err\n" to standard error,
	// and exits with 0.
	Print Program = "print"
	// Exit7 exits with 7.
	Exit7 Program = "exit7"
	// Environment writes $GREETING, a space, and its working directory, then
	// exits with 0.
	Environment Program = "environment"
	// Echo copies descriptor 3 to itself until its end, then exits with 0.
	Echo Program = "echo"
	// Sleep writes "ready\n" and waits for ever.
	Sleep Program = "sleep"
	// Stubborn is Sleep that ignores SIGTERM.
	Stubborn Program = "stubborn"
	// Flood writes a mebibyte of output and exits with 0.
	Flood Program = "flood"
	// Tree starts children that sleep for ever holding its output, writes
	// "ready\n" and waits for ever.
	Tree Program = "tree"
	// Daemon starts a child that leaves the session, loses its parent, ignores
	// SIGTERM and sleeps for ever holding the output; then it writes "ready\n"
	// and waits for ever.
	Daemon Program = "daemon"
	// Orphan starts a child that sleeps for ever holding the output, and exits
	// with 0 at once.
	Orphan Program = "orphan"
	// Dial connects to TCP port $PORT on 127.0.0.1, sends "ping\n", copies the
	// answer to its output, and exits with 0.
	Dial Program = "dial"
	// Eat allocates memory for ever.
	Eat Program = "eat"
	// Fork starts children that sleep until it is refused, writes "refused\n"
	// and waits for ever.
	Fork Program = "fork"
	// Fill writes /tmp full, writes "full\n" and exits with 0.
	Fill Program = "fill"
	// Count writes "tick\n" about a hundred times a second, for ever.
	Count Program = "count"
	// Peek writes "waiting\n" and then, as soon as /var/task/file is there, its
	// content and what the file says to a write: "refused\n" where it refuses.
	Peek Program = "peek"
)

// scripts are the programs for drivers that run real processes: bash alone, and
// sleep, head and dd from coreutils.
var scripts = map[Program]string{
	Print:       `echo out; echo err >&2`,
	Exit7:       `exit 7`,
	Environment: `echo "$GREETING $PWD"`,
	Echo:        `exec cat <&3 >&3`,
	Sleep:       `echo ready; exec sleep 100000`,
	Stubborn:    `trap '' TERM; echo ready; while :; do sleep 1; done`,
	Flood:       `exec head -c 1048576 /dev/zero`,
	Tree:        `sleep 100000 & (sleep 100000 & sleep 100000) & echo ready; wait`,
	Daemon:      `(setsid bash -c 'trap "" TERM HUP; sleep 100000 & wait' &) ; echo ready; exec sleep 100000`,
	Orphan:      `sleep 100000 & exit 0`,
	Dial:        `exec 4<>/dev/tcp/127.0.0.1/$PORT; echo ping >&4; exec cat <&4`,
	Eat:         `x=xxxxxxxxxxxxxxxx; while :; do x="$x$x"; done`,
	Fork:        `i=0; while sleep 100000 & do i=$((i+1)); [ $i -gt 5000 ] && exit 1; done 2>/dev/null; echo refused; wait`,
	Fill:        `dd if=/dev/zero of=/tmp/full bs=64k 2>/dev/null; echo full`,
	Peek: `echo waiting; while ! test -e /var/task/file; do sleep 0.01; done
		cat /var/task/file; (echo changed > /var/task/file) 2>/dev/null || echo refused`,
	Count: `while :; do echo tick; sleep 0.01; done`,
}

// Shell is how drivers of real processes run a program: as a bash script.
func Shell(p Program) sandbox.Command {
	return sandbox.Command{
		Args: []string{"/bin/bash", "-c", scripts[p]},
		Env:  []string{"PATH=/usr/bin:/bin", "GREETING=hello"},
		Dir:  "/",
	}
}
