package line

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"syscall"
	"testing"
	"time"

	"hearth/internal/sockpair"
)

// newTestLine returns a line, and the other end of it. Linux only.
func newTestLine(t *testing.T) (*Line, net.Conn) {
	t.Helper()
	ours, file, err := sockpair.New()
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := net.FileConn(file)
	file.Close()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { theirs.Close() })
	l := Take(ours, 0)
	if _, plain := ours.(*net.UnixConn); l == nil && plain && runtime.GOOS == "linux" {
		t.Fatal("a plain socket is not made a line")
	}
	if l == nil { // this kernel hands descriptors to who reads
		ours.Close()
		return nil, theirs
	}
	t.Cleanup(func() { l.Close() })
	return l, theirs
}

// The whole of what net.Conn's readers and writers rely on: a write that needs many
// turns, a read that waits, deadlines, the end of the other side, and a Close
// under a Read.
func TestLine(t *testing.T) {
	l, theirs := newTestLine(t)
	if l == nil {
		return
	}
	if err := l.SetDeadline(time.Now().Add(-time.Second)); err != nil {
		t.Fatal(err)
	}
	var some [64]byte
	if _, err := l.Read(some[:]); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("read after the deadline: %v", err)
	}
	if err := l.SetDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}

	large := bytes.Repeat([]byte("0123456789"), 500_000)
	wrote := make(chan error, 1)
	go func() {
		n, err := l.Write(large)
		if err == nil && n != len(large) {
			err = io.ErrShortWrite
		}
		wrote <- err
	}()
	got := make([]byte, len(large))
	if _, err := io.ReadFull(theirs, got); err != nil || !bytes.Equal(got, large) {
		t.Errorf("a large write arrives otherwise: %v", err)
	}
	if err := <-wrote; err != nil {
		t.Errorf("a large write: %v", err)
	}

	go theirs.Write([]byte("answer"))
	if n, err := l.Read(some[:]); err != nil || string(some[:n]) != "answer" {
		t.Errorf("read %q, %v", some[:n], err)
	}
	theirs.Close()
	if n, err := l.Read(some[:]); n != 0 || err != io.EOF {
		t.Errorf("read at the end: %d, %v", n, err)
	}
	if _, err := l.Write(large); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("write to a closed socket: %v", err)
	}
}

// A write that was given up half way leaves nothing behind that ends later reads at once.
func TestLineWriteGivenUp(t *testing.T) {
	l, theirs := newTestLine(t)
	if l == nil {
		return
	}
	if err := l.SetDeadline(time.Now().Add(20 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Write(make([]byte, 8<<20)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("write that nobody reads: %v", err)
	}
	if err := l.SetDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
	go theirs.Write([]byte("x"))
	var b [1]byte
	if n, err := l.Read(b[:]); n != 1 || err != nil {
		t.Errorf("read: %d, %v", n, err)
	}
}

func TestLineClose(t *testing.T) {
	l, theirs := newTestLine(t)
	if l == nil {
		return
	}
	ended := make(chan error, 1)
	go func() {
		_, err := l.Read(make([]byte, 1))
		ended <- err
	}()
	l.Close()
	if err := <-ended; err == nil {
		t.Error("a read under a close returns without an error")
	}
	if err := l.Close(); err != nil {
		t.Errorf("second close: %v", err)
	}
	if n, err := theirs.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Errorf("the other end reads %d, %v", n, err)
	}
}

// pairs are connected sockets of both kinds, and the other ends of them.
func pairs(t *testing.T) map[string]func() (net.Conn, net.Conn) {
	return map[string]func() (net.Conn, net.Conn){
		"line": func() (net.Conn, net.Conn) {
			l, theirs := newTestLine(t)
			if l == nil {
				return nil, theirs
			}
			return l, theirs
		},
		"socket": func() (net.Conn, net.Conn) { return newTestSocket(t) },
	}
}

func newTestSocket(t *testing.T) (*Socket, net.Conn) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	theirs, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { theirs.Close() })
	ours, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ours.Close() })
	s := NewSocket(ours, 0)
	if s == nil {
		t.Fatal("a TCP connection is no socket")
	}
	return s, theirs
}

// Answers of any delay are read, whether the reader slept the last time or was eager:
// no arrival is lost.
func TestWakes(t *testing.T) {
	for name, pair := range pairs(t) {
		t.Run(name, func(t *testing.T) {
			l, theirs := pair()
			if l == nil {
				return
			}
			if err := l.SetDeadline(time.Now().Add(time.Minute)); err != nil {
				t.Fatal(err)
			}
			const rounds = 20_000
			go func() {
				random := rand.New(rand.NewPCG(1, 2))
				var b [1]byte
				for range rounds {
					if _, err := theirs.Read(b[:]); err != nil {
						return
					}
					for range random.IntN(4) * random.IntN(100) {
						runtime.Gosched()
					}
					if _, err := theirs.Write(b[:]); err != nil {
						return
					}
				}
			}()
			var b [1]byte
			for i := range rounds {
				b[0] = byte(i)
				if _, err := l.Write(b[:]); err != nil {
					t.Fatal(err)
				}
				if n, err := l.Read(b[:]); n != 1 || err != nil || b[0] != byte(i) {
					t.Fatalf("round %d: %d, %v, %d", i, n, err, b[0])
				}
			}
		})
	}
}

// One goroutine reads while another one writes more than there is room for.
func TestBothWays(t *testing.T) {
	for name, pair := range pairs(t) {
		t.Run(name, func(t *testing.T) {
			l, theirs := pair()
			if l == nil {
				return
			}
			const size = 8 << 20
			go io.Copy(theirs, io.LimitReader(theirs, size)) // sends back what it gets
			wrote := make(chan error, 1)
			go func() {
				_, err := l.Write(bytes.Repeat([]byte("01234567"), size/8))
				wrote <- err
			}()
			got := make([]byte, size)
			if _, err := io.ReadFull(l, got); err != nil || !bytes.Equal(got, bytes.Repeat([]byte("01234567"), size/8)) {
				t.Errorf("read: %v", err)
			}
			if err := <-wrote; err != nil {
				t.Errorf("write: %v", err)
			}
		})
	}
}

// A reader and a writer that wait return when the line is closed, and nothing hangs.
func TestCloseUnderBoth(t *testing.T) {
	for name, pair := range pairs(t) {
		t.Run(name, func(t *testing.T) {
			for range 100 {
				l, theirs := pair()
				if l == nil {
					return
				}
				ended := make(chan error, 2)
				go func() { _, err := l.Read(make([]byte, 1)); ended <- err }()
				go func() { _, err := l.Write(make([]byte, 16<<20)); ended <- err }()
				if _, err := theirs.Read(make([]byte, 1)); err != nil {
					t.Fatal(err)
				}
				if err := l.Close(); err != nil {
					t.Fatal(err)
				}
				for range 2 {
					if err := <-ended; !errors.Is(err, net.ErrClosed) {
						t.Errorf("%v", err)
					}
				}
				theirs.Close()
			}
		})
	}
}

// What is tried without waiting, and the end.
func TestSocketNow(t *testing.T) {
	s, theirs := newTestSocket(t)
	var b [16]byte
	if n, err := s.ReadNow(b[:]); n != 0 || err != syscall.EAGAIN {
		t.Errorf("nothing is there: %d, %v", n, err)
	}
	if n, err := s.WriteNow([]byte("some")); n != 4 || err != nil {
		t.Errorf("write: %d, %v", n, err)
	}
	if err := s.CloseWrite(); err != nil {
		t.Error(err)
	}
	if got, err := io.ReadAll(theirs); err != nil || string(got) != "some" {
		t.Errorf("%q, %v", got, err)
	}
	theirs.Close()
	if n, err := s.Read(b[:]); n != 0 || err != io.EOF {
		t.Errorf("the end: %d, %v", n, err)
	}
	if n, err := s.ReadNow(b[:]); n != 0 || err != io.EOF {
		t.Errorf("the end, now: %d, %v", n, err)
	}
}

// A reader that looked in vain is woken by a single byte, by a deadline, and by the end.
func TestSocketIsHeardAgain(t *testing.T) {
	for name, wake := range map[string]func(s *Socket, theirs net.Conn){
		"byte":     func(_ *Socket, theirs net.Conn) { theirs.Write([]byte("x")) },
		"deadline": func(s *Socket, _ net.Conn) { s.SetReadDeadline(time.Unix(1, 0)) },
		"end":      func(_ *Socket, theirs net.Conn) { theirs.Close() },
		"close":    func(s *Socket, _ net.Conn) { s.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			s, theirs := newTestSocket(t)
			raw, err := s.SyscallConn()
			if err != nil {
				t.Fatal(err)
			}
			if err := raw.Control(func(fd uintptr) { s.unheard = setUnheard(fd, true) }); err != nil {
				t.Fatal(err)
			}
			ended := make(chan string, 1)
			go func() {
				var b [4]byte
				n, err := s.Read(b[:])
				switch {
				case err == nil:
					ended <- "byte"
				case errors.Is(err, os.ErrDeadlineExceeded):
					ended <- "deadline"
				case err == io.EOF:
					ended <- "end"
				case errors.Is(err, net.ErrClosed):
					ended <- "close"
				default:
					ended <- fmt.Sprint(n, err)
				}
			}()
			wake(s, theirs)
			if got := <-ended; got != name {
				t.Errorf("the read ended with %s", got)
			}
		})
	}
}

// What was sent while nobody was told is told when the reader goes to sleep.
func TestSocketTellsLate(t *testing.T) {
	if runtime.GOOS != "linux" {
		return
	}
	s, theirs := newTestSocket(t)
	raw, err := s.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	for range 1000 {
		if err := raw.Control(func(fd uintptr) { s.unheard = setUnheard(fd, true) }); err != nil {
			t.Fatal(err)
		}
		go theirs.Write([]byte("x")) // before or after the reader sleeps
		var b [4]byte
		if n, err := s.Read(b[:]); n != 1 || err != nil {
			t.Fatalf("%d, %v", n, err)
		}
	}
}

func TestSocketCopies(t *testing.T) {
	s, theirs := newTestSocket(t)
	go func() {
		theirs.Write(bytes.Repeat([]byte("x"), 1<<20))
		theirs.Close()
	}()
	if n, err := io.Copy(io.Discard, s); n != 1<<20 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
}
