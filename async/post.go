package async

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"syscall"
	"time"

	"hearth/faas"
)

// Bounds of one request to a destination.
const (
	postTimeout = 10 * time.Second // from the first byte sent to the last one read
	dialTimeout = 5 * time.Second
	maxReply    = 64 << 10 // bytes that are read, to use the connection again
)

// errForbidden is why a destination is not called.
var errForbidden = errors.New("the address is not public; --destination-networks may allow it")

// newClient makes a client that calls what the addresses allow and follows no
// redirect: who configures a destination must not reach by it what only this host
// does. The address that a name resolved to is what is looked at.
func newClient(allowed func(netip.Addr) bool) *http.Client {
	dialer := &net.Dialer{Timeout: dialTimeout, Control: func(_, address string, _ syscall.RawConn) error {
		to, err := netip.ParseAddrPort(address)
		if err != nil || !allowed(to.Addr().Unmap().WithZone("")) {
			return errForbidden
		}
		return nil
	}}
	return &http.Client{
		Timeout:       postTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{DialContext: dialer.DialContext, TLSHandshakeTimeout: dialTimeout,
			MaxIdleConns: deliveriesAtOnce, MaxIdleConnsPerHost: deliveriesOfOne, IdleConnTimeout: 30 * time.Second,
			MaxResponseHeaderBytes: maxReply},
	}
}

// notPublic are the networks that no destination is in unless it is allowed.
var notPublic = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("192.0.0.0/24"),
	netip.MustParsePrefix("198.18.0.0/15"), netip.MustParsePrefix("240.0.0.0/4"),
	netip.MustParsePrefix("64:ff9b::/96"), netip.MustParsePrefix("64:ff9b:1::/48"), netip.MustParsePrefix("2002::/16"),
	netip.MustParsePrefix("2001::/32"), netip.MustParsePrefix("fec0::/10"),
}

// AllowDestinations returns which addresses destinations may have: public ones and
// those of the networks. Link-local addresses, where clouds answer with the secrets
// of a machine, are allowed only by a network that is wholly link-local.
func AllowDestinations(networks []netip.Prefix) func(netip.Addr) bool {
	return func(a netip.Addr) bool {
		for _, n := range networks {
			if n.Contains(a) && (!a.IsLinkLocalUnicast() || n.Addr().IsLinkLocalUnicast()) {
				return true
			}
		}
		if !a.IsGlobalUnicast() || a.IsPrivate() {
			return false
		}
		for _, n := range notPublic {
			if n.Contains(a) {
				return false
			}
		}
		return true
	}
}

// post sends a message to an HTTP destination. Any 2xx is a receipt.
func (v *deliverer) post(ctx context.Context, id string, o outgoing, body []byte) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, string(o.Destination), bytes.NewReader(body))
	if err != nil {
		return faas.Errorf(faas.CodeInvalid, "destination", "the URL cannot be called: %w", err)
	}
	h := req.Header
	h.Set("Content-Type", "application/json")
	h.Set("User-Agent", "hearth")
	h.Set("Hearth-Request-Id", o.From)
	h.Set("Hearth-Delivery-Id", id) // the same for every try of it
	h.Set("Hearth-Delivery", string(o.Kind))
	h.Set("Hearth-Attempt", strconv.Itoa(o.Invoked))
	if o.Kind == faas.DeliverDeadLetter {
		setAttributes(h, o.Client)
	}
	res, err := v.client.Do(req)
	if err != nil {
		return faas.Errorf(faas.CodeUnsupported, "destination", "the destination cannot be reached: %w", causeOf(err))
	}
	defer res.Body.Close()
	_, _ = io.CopyN(io.Discard, res.Body, maxReply) // whatever it says
	if res.StatusCode/100 != 2 {
		return faas.Errorf(faas.CodeUnsupported, "destination", "the destination answered %d", res.StatusCode)
	}
	return nil
}

// setAttributes writes the attributes of a dead letter as headers of the same names.
func setAttributes(h http.Header, client json.RawMessage) {
	var c struct {
		Custom deadLetter `json:"custom"`
	}
	if json.Unmarshal(client, &c) != nil {
		return
	}
	h.Set("RequestID", c.Custom.RequestID)
	h.Set("ErrorCode", c.Custom.ErrorCode)
	h.Set("ErrorMessage", headerText(c.Custom.ErrorMessage))
}

// headerText makes any text one that a header may have.
func headerText(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return ' '
		}
		return r
	}, s)
}

// causeOf leaves out of an error of the client what names the URL, which may carry
// a secret.
func causeOf(err error) error {
	if errors.Is(err, errForbidden) {
		return errForbidden
	}
	var op *net.OpError
	if errors.As(err, &op) {
		return fmt.Errorf("%s: %w", op.Op, op.Err)
	}
	var timeout interface{ Timeout() bool }
	if errors.As(err, &timeout) && timeout.Timeout() {
		return errors.New("it took too long")
	}
	return errors.New("the connection failed")
}
