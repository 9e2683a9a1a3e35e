package line

import "golang.org/x/sys/unix"

// lowWater is more than what a reader that looks leaves unread for long, and less than
// what the buffer of a socket would be enlarged for.
const lowWater = 16 << 10

// setUnheard has the kernel tell nobody what arrives, or everybody again, what has
// arrived by now included (tcp_set_rcvlowat). The end of a connection is told always.
func setUnheard(fd uintptr, unheard bool) bool {
	mark := 1
	if unheard {
		mark = lowWater
	}
	return unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVLOWAT, mark) == nil
}
