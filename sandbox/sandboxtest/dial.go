package sandboxtest

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"hearth/sandbox"
)

// ask sends a line over a connection to the address and returns the answer.
func ask(t *testing.T, box sandbox.Sandbox, address string) string {
	t.Helper()
	conn, err := box.Dial(within(t), "tcp", address)
	if err != nil {
		t.Fatalf("Dial: %v", err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(wait)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, "ping\n"); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return line
}

// A sandbox's Listen is inside, like what a process of it listens at.
func testDial(t *testing.T, s *suite) {
	box := s.box(t)
	l := listen(t, box, "127.0.0.1:0")
	answer(t, l, "pong")
	if got := ask(t, box, l.Addr().String()); got != "pong\n" {
		t.Errorf("answer %q", got)
	}
}

func testDialRefused(t *testing.T, s *suite) {
	box := s.box(t)
	l := listen(t, box, "127.0.0.1:0")
	l.Close() // its port is nobody's now
	if conn, err := box.Dial(within(t), "tcp", l.Addr().String()); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("Dial where nothing listens: %v, %v; want ECONNREFUSED", conn, err)
	}
}

// Dial is for the sandbox's loopback interface and nothing else.
func testDialElsewhere(t *testing.T, s *suite) {
	box := s.box(t)
	for _, to := range [][2]string{{"tcp", "192.0.2.1:80"}, {"tcp", "0.0.0.0:80"}, {"tcp", "localhost:80"}, {"tcp", "127.0.0.1"},
		{"tcp", "127.0.0.1:0"}, {"tcp", "[::]:80"}, {"tcp", "[::ffff:127.0.0.1]:80"}, {"tcp", "[fe80::1%lo]:80"}, {"tcp4", "[::1]:80"},
		{"tcp6", "127.0.0.1:80"}, {"udp", "127.0.0.1:80"}, {"unix", "/run/x"}, {"", ""}} {
		if conn, err := box.Dial(within(t), to[0], to[1]); err == nil || errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("Dial %s %s: %v, %v; want it refused unseen", to[0], to[1], conn, err)
		}
	}
}

func testDialCanceled(t *testing.T, s *suite) {
	box := s.box(t)
	l := listen(t, box, "127.0.0.1:0")
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if conn, err := box.Dial(ctx, "tcp", l.Addr().String()); !errors.Is(err, context.Canceled) {
		t.Errorf("Dial: %v, %v; want context.Canceled", conn, err)
	}
}

// Destroy ends the connections that are open.
func testDialClosed(t *testing.T, s *suite) {
	box := s.box(t)
	l := listen(t, box, "127.0.0.1:0")
	accepted := make(chan net.Conn, 1)
	go func() {
		defer close(accepted)
		if conn, err := l.Accept(); err == nil {
			accepted <- conn
		}
	}()
	conn, err := box.Dial(within(t), "tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if theirs := <-accepted; theirs != nil {
		defer theirs.Close()
	}
	read := make(chan error, 1)
	go func() {
		_, err := conn.Read(make([]byte, 1))
		read <- err
	}()
	destroy(t, box, "connected")
	select {
	case err := <-read:
		if err == nil {
			t.Error("Read after Destroy returned data")
		}
	case <-time.After(wait):
		t.Error("Read still waits after Destroy")
	}
	// Closing what Destroy closed is harmless; its error says no more than that.
	_ = conn.Close()
}

func testDialOwnNetwork(t *testing.T, s *suite) {
	d := s.driver(t)
	a, b, c := create(t, d, spec()), create(t, d, spec()), create(t, d, spec())
	const address = "127.0.0.1:8080"
	answer(t, listen(t, a, address), "a")
	answer(t, listen(t, b, address), "b")
	if one, two := ask(t, a, address), ask(t, b, address); one != "a\n" || two != "b\n" {
		t.Errorf("answers %q and %q", one, two)
	}
	if conn, err := c.Dial(within(t), "tcp", address); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("Dial in a third sandbox: %v, %v; want ECONNREFUSED", conn, err)
	}
}

// Neither connections nor refusals leave descriptors behind.
func testDialLeavesNothing(t *testing.T, s *suite) {
	// Sockets only: drivers open other things in the background.
	sockets := func() (n int) {
		all, err := filepath.Glob("/proc/self/fd/*")
		if err != nil {
			t.Fatal(err)
		}
		for _, fd := range all {
			if to, err := os.Readlink(fd); err == nil && strings.HasPrefix(to, "socket:") {
				n++
			}
		}
		return n
	}
	if _, err := os.Stat("/proc/self/fd"); err != nil {
		t.Skip("this system does not tell a process's descriptors")
	}
	box := s.box(t)
	l := listen(t, box, "127.0.0.1:0")
	closed := listen(t, box, "127.0.0.1:0")
	closed.Close()
	go func() { // ends with the listener
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			conn.Close()
		}
	}()
	round := func() {
		if conn, err := box.Dial(within(t), "tcp", l.Addr().String()); err != nil {
			t.Error(err)
		} else {
			conn.Close()
		}
		if conn, err := box.Dial(within(t), "tcp", closed.Addr().String()); err == nil {
			conn.Close()
			t.Error("connected where nothing listens")
		}
	}
	round()
	before := sockets()
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 25 {
				round()
			}
		})
	}
	all.Wait()
	eventually(t, "the sockets are as many as before", func() bool { return sockets() <= before })
	destroy(t, box, "dialed")
}
