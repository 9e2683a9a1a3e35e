package network

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

const (
	maxMessage  = 65535           // a DNS message over TCP
	maxDatagram = 4096            // the longest query or answer over UDP that is passed on
	minDatagram = 512             // what a client takes that says nothing (RFC 1035)
	tryTimeout  = 2 * time.Second // one upstream, one try
	// answerTimeout is below the 5 s after which libc asks again.
	answerTimeout = 4500 * time.Millisecond
	// maxForwards bounds the queries under way for all instances together, each
	// of which is a socket of the host, beyond the ownForwards of each.
	maxForwards = 512
	// ownForwards is how many an instance may have whatever the others have. Few of
	// them asking for names that nobody answers would hold all of maxForwards.
	ownForwards = 4
)

// resolver answers DNS queries by asking the host's name servers. It passes
// messages on as they are, with an id and a port of its own, and believes only
// answers to the question that it asked.
type resolver struct {
	upstreams func() []netip.AddrPort
	policy    func(name string) bool // nil allows all
	forwards  chan struct{}          // holds one entry for each query under way
	log       *slog.Logger
}

func newResolver(upstreams func() []netip.AddrPort, policy func(string) bool, log *slog.Logger) *resolver {
	return &resolver{upstreams: upstreams, policy: policy, forwards: make(chan struct{}, maxForwards), log: log}
}

// query is what the resolver understands of a client's message.
type query struct {
	message  []byte
	header   dnsmessage.Header
	question dnsmessage.Question
	size     int // the longest answer that the client takes over UDP
}

// parseQuery returns an error for what does not even deserve an answer, and a
// response code other than success for what is refused.
func parseQuery(message []byte) (query, dnsmessage.RCode, error) {
	q := query{message: message, size: minDatagram}
	var p dnsmessage.Parser
	var err error
	if q.header, err = p.Start(message); err != nil {
		return q, 0, err
	}
	if q.header.Response {
		return q, 0, errors.New("a response, not a query")
	}
	if q.header.OpCode != 0 {
		return q, dnsmessage.RCodeNotImplemented, nil
	}
	if q.question, err = p.Question(); err != nil {
		return q, dnsmessage.RCodeFormatError, nil
	}
	if _, err := p.Question(); !errors.Is(err, dnsmessage.ErrSectionDone) {
		return q, dnsmessage.RCodeFormatError, nil
	}
	if p.SkipAllAnswers() == nil && p.SkipAllAuthorities() == nil {
		q.size = ednsSize(&p)
	}
	return q, dnsmessage.RCodeSuccess, nil
}

// ednsSize reads the size that the client announces in its OPT record (RFC 6891).
func ednsSize(p *dnsmessage.Parser) int {
	for {
		h, err := p.AdditionalHeader()
		if err != nil {
			return minDatagram
		}
		if h.Type == dnsmessage.TypeOPT {
			return min(max(int(h.Class), minDatagram), maxDatagram)
		}
		if p.SkipAdditional() != nil {
			return minDatagram
		}
	}
}

// reply builds an answer without records.
func (q query) reply(code dnsmessage.RCode, truncated bool) []byte {
	b := dnsmessage.NewBuilder(nil, dnsmessage.Header{
		ID: q.header.ID, Response: true, OpCode: q.header.OpCode, Truncated: truncated,
		RecursionDesired: q.header.RecursionDesired, RecursionAvailable: true, RCode: code,
	})
	if q.question.Name.Length > 0 {
		if b.StartQuestions() != nil || b.Question(q.question) != nil {
			return nil
		}
	}
	message, err := b.Finish()
	if err != nil {
		return nil
	}
	return message
}

// answer returns the answer to a client's message, nil for none. network is how
// the client asked, udp or tcp, and how the upstream is asked: an answer that is
// truncated comes again over TCP because the client does. own are the queries that
// the client's instance may have under way in any case; nil for none.
func (r *resolver) answer(ctx context.Context, network string, message []byte, own chan struct{}) []byte {
	q, refused, err := parseQuery(message)
	if err != nil {
		return nil
	}
	if refused != dnsmessage.RCodeSuccess {
		return q.reply(refused, false)
	}
	if r.policy != nil && !r.policy(strings.ToLower(q.question.Name.String())) {
		return q.reply(dnsmessage.RCodeRefused, false)
	}
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	select {
	case own <- struct{}{}:
		defer func() { <-own }()
	case r.forwards <- struct{}{}:
		defer func() { <-r.forwards }()
	case <-ctx.Done():
		return q.reply(dnsmessage.RCodeServerFailure, false)
	}
	response, err := r.forward(ctx, network, q)
	if err != nil {
		r.log.Debug("name not resolved", "name", q.question.Name.String(), "err", err)
		return q.reply(dnsmessage.RCodeServerFailure, false)
	}
	if network == "udp" && len(response) > q.size {
		return q.reply(dnsmessage.RCodeSuccess, true)
	}
	return response
}

// forward asks the upstreams in order, twice, and returns the first answer that
// is not a failure of the server; failing that, the last failure.
func (r *resolver) forward(ctx context.Context, network string, q query) ([]byte, error) {
	upstreams := r.upstreams()
	if len(upstreams) == 0 {
		return nil, errors.New("the host has no name server")
	}
	var failure []byte
	var lastErr error
	for range 2 {
		for _, upstream := range upstreams {
			response, err := exchange(ctx, network, upstream, q)
			if err == nil && dnsmessage.RCode(response[3]&0xf) != dnsmessage.RCodeServerFailure {
				return response, nil
			}
			if err == nil {
				failure = response
			} else {
				lastErr = err
			}
			if ctx.Err() != nil {
				break
			}
		}
	}
	if failure != nil {
		return failure, nil
	}
	return nil, lastErr
}

// exchange asks one upstream once, from a socket that is used for this question
// only and is connected, so that nobody else's packets arrive.
func exchange(ctx context.Context, network string, upstream netip.AddrPort, q query) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, tryTimeout)
	defer cancel()
	var d net.Dialer
	conn, err := d.DialContext(ctx, network, upstream.String())
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()

	message := append([]byte(nil), q.message...)
	if _, err := rand.Read(message[:2]); err != nil {
		return nil, err
	}
	if err := writeMessage(conn, network, message); err != nil {
		return nil, err
	}
	buf := make([]byte, maxMessage)
	for {
		response, err := readMessage(conn, network, buf)
		if err != nil {
			return nil, fmt.Errorf("name server %v: %w", upstream, err)
		}
		if isAnswer(response, message, q.question) {
			binary.BigEndian.PutUint16(response, q.header.ID)
			return response, nil
		}
		if network == "tcp" {
			return nil, fmt.Errorf("name server %v answered another question", upstream)
		}
	}
}

// isAnswer reports whether a message answers the question under the id sent.
func isAnswer(response, sent []byte, question dnsmessage.Question) bool {
	var p dnsmessage.Parser
	h, err := p.Start(response)
	if err != nil || !h.Response || h.ID != binary.BigEndian.Uint16(sent) {
		return false
	}
	got, err := p.Question()
	if err != nil {
		return errors.Is(err, dnsmessage.ErrSectionDone) && h.RCode != dnsmessage.RCodeSuccess
	}
	return got.Type == question.Type && got.Class == question.Class &&
		strings.EqualFold(got.Name.String(), question.Name.String())
}

// writeMessage sends one message; over TCP with its length before it.
func writeMessage(w io.Writer, network string, message []byte) error {
	if network == "tcp" {
		framed := make([]byte, 2, 2+len(message))
		binary.BigEndian.PutUint16(framed, uint16(len(message)))
		message = append(framed, message...)
	}
	_, err := w.Write(message)
	return err
}

// readMessage reads one message into buf.
func readMessage(r io.Reader, network string, buf []byte) ([]byte, error) {
	if network == "tcp" {
		var length [2]byte
		if _, err := io.ReadFull(r, length[:]); err != nil {
			return nil, err
		}
		buf = buf[:binary.BigEndian.Uint16(length[:])]
		_, err := io.ReadFull(r, buf)
		return buf, err
	}
	n, err := r.Read(buf)
	return buf[:n], err
}
