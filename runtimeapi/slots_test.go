package runtimeapi

import (
	"fmt"
	"net"
	"strings"
	"testing"
)

// pollRaw opens one poll on a connection of its own and returns when it is parked.
func pollRaw(t *testing.T, s *Server, c *client) net.Conn {
	t.Helper()
	s.mu.Lock()
	parked := len(s.polls)
	s.mu.Unlock()
	conn, err := net.Dial("tcp", strings.TrimPrefix(c.base, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	fmt.Fprintf(conn, "GET %snext HTTP/1.1\r\nHost: x\r\n\r\n", invocationPrefix)
	if err := waitFor(t, func() bool { s.mu.Lock(); defer s.mu.Unlock(); return len(s.polls) == parked+1 }); err != nil {
		t.Fatal(err)
	}
	return conn
}

func slotsOf(s *Server) int {
	n, _ := s.Slots()
	return n
}

// Slots are the polls that were ever open at once, at most the concurrency.
func TestServerSlotsFollowPolls(t *testing.T) {
	s, c := newServer(t, ServerOptions{Concurrency: 3})
	n, more := s.Slots()
	if n != 0 || more == nil {
		t.Fatalf("before the first poll: %d slots, more = %v", n, more)
	}
	for want := 1; want <= 3; want++ {
		pollRaw(t, s, c)
		select {
		case <-more:
		default:
			t.Errorf("nobody was told of %d slots", want)
		}
		if n, more = s.Slots(); n != want {
			t.Errorf("%d slots after %d polls", n, want)
		}
	}
	if more != nil {
		t.Error("more may come than the concurrency")
	}
	pollRaw(t, s, c)
	if n := slotsOf(s); n != 3 {
		t.Errorf("%d slots after a fourth poll, want the concurrency", n)
	}
}

// A runtime that polls again after each answer has one slot, however long it lives.
func TestServerSlotsOfOneLoop(t *testing.T) {
	s, c := newServer(t, ServerOptions{Concurrency: 10})
	for i := range 50 {
		id := fmt.Sprint("call-", i)
		done := invoke(soon(t), s, id, "{}")
		if got, _ := c.next(); got != id {
			t.Fatalf("got %q, want %q", got, id)
		}
		c.post(invocationPrefix+id+"/response", "1", 202)
		if r := <-done; r.err != nil {
			t.Fatal(r.err)
		}
		if n := slotsOf(s); n != 1 {
			t.Fatalf("%d slots after %d calls, want 1", n, i+1)
		}
	}
}

// A poll that comes while another one holds an invocation is a second slot; a
// vanished poll takes none away and adds none.
func TestServerSlotsCountHeldInvocations(t *testing.T) {
	s, c := newServer(t, ServerOptions{Concurrency: 4})
	done := invoke(soon(t), s, "held", "{}")
	if id, _ := c.next(); id != "held" {
		t.Fatalf("got %q", id)
	}
	for range 5 {
		pollRaw(t, s, c).Close()
		if err := waitFor(t, func() bool { s.mu.Lock(); defer s.mu.Unlock(); return len(s.polls) == 0 }); err != nil {
			t.Fatal(err)
		}
		if n := slotsOf(s); n != 2 {
			t.Errorf("%d slots, want 2", n)
		}
	}
	c.post(invocationPrefix+"held/response", "1", 202)
	if r := <-done; r.err != nil {
		t.Error(r.err)
	}
	if n := slotsOf(s); n != 2 {
		t.Errorf("%d slots at the end, want 2", n)
	}
}
