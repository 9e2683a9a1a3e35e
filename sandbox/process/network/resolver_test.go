package network

import (
	"bytes"
	"context"
	"encoding/binary"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// patience bounds what a test waits for; no passing test waits for it.
const patience = time.Minute

// ask builds a query for an A record. size announces an EDNS size where not 0.
func ask(t testing.TB, id uint16, name string, size int) []byte {
	t.Helper()
	b := dnsmessage.NewBuilder(nil, dnsmessage.Header{ID: id, RecursionDesired: true})
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(b.StartQuestions())
	must(b.Question(dnsmessage.Question{Name: dnsmessage.MustNewName(name), Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET}))
	if size > 0 {
		must(b.StartAdditionals())
		var h dnsmessage.ResourceHeader
		must(h.SetEDNS0(size, 0, false))
		must(b.OPTResource(h, dnsmessage.OPTResource{}))
	}
	m, err := b.Finish()
	must(err)
	return m
}

// nameReply answers a query from the A records given.
func nameReply(message []byte, records map[string]string) []byte {
	var p dnsmessage.Parser
	h, err := p.Start(message)
	if err != nil {
		return nil
	}
	q, err := p.Question()
	if err != nil {
		return nil
	}
	address, found := records[strings.ToLower(q.Name.String())]
	m := dnsmessage.Message{Header: dnsmessage.Header{ID: h.ID, Response: true, RecursionAvailable: true}, Questions: []dnsmessage.Question{q}}
	if !found {
		m.RCode = dnsmessage.RCodeNameError
	} else if q.Type == dnsmessage.TypeA {
		m.Answers = []dnsmessage.Resource{{
			Header: dnsmessage.ResourceHeader{Name: q.Name, Class: q.Class, TTL: 1},
			Body:   &dnsmessage.AResource{A: netip.MustParseAddr(address).As4()},
		}}
	}
	reply, err := m.Pack()
	if err != nil {
		return nil
	}
	return reply
}

// upstream is a name server on the host's loopback that answers with what reply
// makes of each query: any number of packets.
func upstream(t *testing.T, reply func([]byte) [][]byte) netip.AddrPort {
	t.Helper()
	c, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 4096)
		for {
			n, from, err := c.ReadFrom(buf)
			if err != nil {
				return
			}
			for _, packet := range reply(buf[:n]) {
				_, _ = c.WriteTo(packet, from)
			}
		}
	}()
	t.Cleanup(func() {
		c.Close()
		<-done
	})
	return c.LocalAddr().(*net.UDPAddr).AddrPort()
}

func resolverFor(policy func(string) bool, upstreams ...netip.AddrPort) *resolver {
	return newResolver(func() []netip.AddrPort { return upstreams }, policy, slog.New(slog.DiscardHandler))
}

func header(t *testing.T, message []byte) dnsmessage.Header {
	t.Helper()
	var p dnsmessage.Parser
	h, err := p.Start(message)
	if err != nil {
		t.Fatalf("answer %x: %v", message, err)
	}
	return h
}

var oneName = map[string]string{"a.example.": "203.0.113.1"}

func honest(q []byte) [][]byte { return [][]byte{nameReply(q, oneName)} }

func TestAnswer(t *testing.T) {
	up := upstream(t, honest)
	r := resolverFor(func(name string) bool { return name != "forbidden.example." }, up)
	for name, want := range map[string]dnsmessage.RCode{
		"A.Example.":         dnsmessage.RCodeSuccess,
		"other.example.":     dnsmessage.RCodeNameError,
		"forbidden.example.": dnsmessage.RCodeRefused,
		"FORBIDDEN.example.": dnsmessage.RCodeRefused,
	} {
		h := header(t, r.answer(t.Context(), "udp", ask(t, 4711, name, 0), nil))
		if h.ID != 4711 || !h.Response || h.RCode != want {
			t.Errorf("%s: %+v, want %v", name, h, want)
		}
	}
}

// Answers under another id, to another question, and rubbish are not believed.
func TestForgedAnswers(t *testing.T) {
	up := upstream(t, func(q []byte) [][]byte {
		good := nameReply(q, oneName)
		wrongID := bytes.Clone(good)
		wrongID[0] ^= 1
		other := nameReply(ask(t, binary.BigEndian.Uint16(q), "b.example.", 0), map[string]string{"b.example.": "198.51.100.1"})
		return [][]byte{wrongID, other, q, nil, {1, 2, 3}, good}
	})
	answer := resolverFor(nil, up).answer(t.Context(), "udp", ask(t, 1, "a.example.", 0), nil)
	if !bytes.Contains(answer, []byte{203, 0, 113, 1}) {
		t.Errorf("answer %x", answer)
	}
}

// A server that refuses the port, and one that fails, make way for the next.
func TestNextUpstream(t *testing.T) {
	dead := upstream(t, honest)
	c, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := c.LocalAddr().(*net.UDPAddr).AddrPort()
	c.Close()
	failing := upstream(t, func(q []byte) [][]byte {
		parsed, _, _ := parseQuery(q)
		return [][]byte{parsed.reply(dnsmessage.RCodeServerFailure, false)}
	})
	answer := resolverFor(nil, closed, failing, dead).answer(t.Context(), "udp", ask(t, 1, "a.example.", 0), nil)
	if h := header(t, answer); h.RCode != dnsmessage.RCodeSuccess {
		t.Errorf("%+v", h)
	}
	answer = resolverFor(nil, failing).answer(t.Context(), "udp", ask(t, 1, "a.example.", 0), nil)
	if h := header(t, answer); h.RCode != dnsmessage.RCodeServerFailure {
		t.Errorf("%+v", h)
	}
	answer = resolverFor(nil).answer(t.Context(), "udp", ask(t, 1, "a.example.", 0), nil)
	if h := header(t, answer); h.RCode != dnsmessage.RCodeServerFailure {
		t.Errorf("without name servers: %+v", h)
	}
}

// An answer that is longer than the client takes is cut to nothing and marked.
func TestTruncated(t *testing.T) {
	long := upstream(t, func(q []byte) [][]byte {
		return [][]byte{append(nameReply(q, oneName), make([]byte, 1000)...)}
	})
	r := resolverFor(nil, long)
	for size, truncated := range map[int]bool{0: true, 1232: false, 512: true} {
		answer := r.answer(t.Context(), "udp", ask(t, 1, "a.example.", size), nil)
		if h := header(t, answer); h.Truncated != truncated || truncated && len(answer) > minDatagram {
			t.Errorf("size %d: %+v in %d bytes", size, h, len(answer))
		}
	}
}

func TestBadQueries(t *testing.T) {
	r := resolverFor(nil)
	good := ask(t, 7, "a.example.", 0)
	response := bytes.Clone(good)
	response[2] |= 0x80
	for _, m := range [][]byte{nil, {1}, good[:11], response} {
		if a := r.answer(t.Context(), "udp", m, nil); a != nil {
			t.Errorf("%x was answered: %x", m, a)
		}
	}
	notify, noQuestion, two := bytes.Clone(good), bytes.Clone(good[:12]), bytes.Clone(good)
	notify[2] |= 4 << 3
	noQuestion[5] = 0
	two[5] = 2
	for want, m := range map[dnsmessage.RCode][]byte{dnsmessage.RCodeNotImplemented: notify, dnsmessage.RCodeFormatError: noQuestion} {
		if h := header(t, r.answer(t.Context(), "udp", m, nil)); h.RCode != want || h.ID != 7 {
			t.Errorf("%x: %+v, want %v", m, h, want)
		}
	}
	if h := header(t, r.answer(t.Context(), "udp", two, nil)); h.RCode != dnsmessage.RCodeFormatError {
		t.Errorf("two questions: %+v", h)
	}
}

// listenBoth opens what a server serves on, which closes them.
func listenBoth(t *testing.T) (net.PacketConn, net.Listener) {
	t.Helper()
	packets, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	streams, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return packets, streams
}

// Queries that other instances hold, to name servers of theirs that never answer,
// keep nobody from asking.
func TestOwnShare(t *testing.T) {
	r := resolverFor(nil, upstream(t, honest))
	for range cap(r.forwards) {
		r.forwards <- struct{}{}
	}
	packets, streams := listenBoth(t)
	s := r.serve(packets, streams)
	defer s.close()
	conn, err := net.Dial("udp4", packets.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	if _, err := conn.Write(ask(t, 1, "a.example.", 0)); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 512)
	n, err := conn.Read(buf)
	if err != nil || header(t, buf[:n]).RCode != dnsmessage.RCodeSuccess {
		t.Errorf("answer %x, %v; want success", buf[:n], err)
	}
}

// A tenant that leaves takes its queries along; the server serves the next.
func TestServerReset(t *testing.T) {
	asked := make(chan struct{}, 8)
	mute := upstream(t, func(q []byte) [][]byte {
		asked <- struct{}{}
		if bytes.Contains(q, []byte("mute")) {
			return nil
		}
		return honest(q)
	})
	packets, streams := listenBoth(t)
	s := resolverFor(nil, mute).serve(packets, streams)
	defer s.close()
	conn, err := net.Dial("udp4", packets.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	send := func(m []byte) {
		t.Helper()
		if _, err := conn.Write(m); err != nil {
			t.Fatal(err)
		}
	}
	send(ask(t, 1, "mute.example.", 0))
	<-asked
	stream, err := net.Dial("tcp4", streams.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	if err := writeMessage(stream, "tcp", []byte("rubbish")); err != nil {
		t.Fatal(err)
	}
	s.reset()
	send(ask(t, 2, "a.example.", 0))
	buf := make([]byte, 512)
	n, err := conn.Read(buf)
	if err != nil || header(t, buf[:n]).ID != 2 {
		t.Errorf("answer %x, %v; want that of the second query", buf[:n], err)
	}
	_ = stream.SetDeadline(time.Now().Add(patience))
	if _, err := stream.Read(buf); err == nil {
		t.Error("the first tenant's stream is still open")
	}
}

func TestResolvConf(t *testing.T) {
	path := filepath.Join(t.TempDir(), "resolv.conf")
	text := "# comment\nsearch example\nnameserver 192.0.2.1\nnameserver bad\nnameserver fe80::1%eth0\n nameserver 192.0.2.2 \nnameserver 192.0.2.3\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c := &resolvConf{path: path}
	want := []netip.AddrPort{netip.MustParseAddrPort("192.0.2.1:53"), netip.MustParseAddrPort("[fe80::1%eth0]:53"), netip.MustParseAddrPort("192.0.2.2:53")}
	if got := c.list(); !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	// A file that changed is read again; one that is gone leaves the last list.
	if err := os.WriteFile(path, []byte("nameserver 192.0.2.9"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(path, time.Time{}, time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	c.looked = c.looked.Add(-every)
	if got := c.list(); len(got) != 1 || got[0].Addr().String() != "192.0.2.9" {
		t.Errorf("after the change: %v", got)
	}
	os.Remove(path)
	c.looked = c.looked.Add(-every)
	if got := c.list(); len(got) != 1 {
		t.Errorf("after removal: %v", got)
	}
}

func TestSpans(t *testing.T) {
	var prefixes []netip.Prefix
	for _, s := range strings.Fields("10.0.1.0/24 10.0.0.0/24 10.0.0.7/32 224.0.0.0/4 240.0.0.0/4 9.9.9.9/32") {
		prefixes = append(prefixes, netip.MustParsePrefix(s))
	}
	want := []span{
		{netip.MustParseAddr("9.9.9.9"), netip.MustParseAddr("9.9.9.10")},
		{netip.MustParseAddr("10.0.0.0"), netip.MustParseAddr("10.0.2.0")},
		{netip.MustParseAddr("224.0.0.0"), netip.Addr{}},
	}
	if got := spans(prefixes); !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if c := candidates(); len(c) != 8 || c[7].String() != "198.19.192.0/18" {
		t.Errorf("candidates %v", c)
	}
}

func FuzzAnswer(f *testing.F) {
	f.Add(ask(f, 1, "a.example.", 0), true)
	f.Add(ask(f, 2, "a.example.", 1232), false)
	f.Add(nameReply(ask(f, 3, "a.example.", 0), oneName), true)
	f.Add([]byte{0, 1, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0xc0, 0x0c}, true)
	r := resolverFor(nil) // without upstreams it parses, and answers a failure
	f.Fuzz(func(t *testing.T, message []byte, packet bool) {
		network := "tcp"
		if packet {
			network = "udp"
		}
		answer := r.answer(context.Background(), network, message, nil)
		if answer == nil {
			return
		}
		var p dnsmessage.Parser
		h, err := p.Start(answer)
		if err != nil || !h.Response || h.ID != binary.BigEndian.Uint16(message) {
			t.Fatalf("%x answered by %x: %+v, %v", message, answer, h, err)
		}
		q, _, _ := parseQuery(message)
		isAnswer(message, answer, q.question)
	})
}
