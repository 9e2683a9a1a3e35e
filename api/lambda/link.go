package lambda

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"

	"hearth/faas"
)

// linkPath begins the links to deployment packages. It has a date in front as
// every path of this dialect has, and no operation of Lambda's below it.
const linkPath = "/2015-03-31/hearth-code/"

// linkClaim is what a link grants: one package, of a function or a layer, until a
// time.
type linkClaim struct {
	Version faas.VersionID `json:"v,omitzero"`
	Layer   *linkedLayer   `json:"l,omitempty"`
	SHA256  string         `json:"h"`
	Expires int64          `json:"e"` // seconds since 1970
}

type linkedLayer struct {
	ID     faas.LayerID `json:"i"`
	Number int64        `json:"n"`
}

// linkSigner makes and checks the tokens of links: claim.mac, both in base64url.
type linkSigner struct{ key []byte }

func (s linkSigner) mac(claim string) []byte {
	m := hmac.New(sha256.New, s.key)
	m.Write([]byte(claim))
	return m.Sum(nil)
}

func (s linkSigner) sign(c linkClaim) string {
	text, err := json.Marshal(c)
	if err != nil { // strings and a number: cannot be
		return ""
	}
	claim := base64.RawURLEncoding.EncodeToString(text)
	return claim + "." + base64.RawURLEncoding.EncodeToString(s.mac(claim))
}

func (s linkSigner) verify(token string, now time.Time) (linkClaim, bool) {
	var c linkClaim
	claim, sum, _ := strings.Cut(token, ".")
	mac, err := base64.RawURLEncoding.DecodeString(sum)
	if err != nil || !hmac.Equal(mac, s.mac(claim)) {
		return c, false
	}
	text, err := base64.RawURLEncoding.DecodeString(claim)
	if err != nil || json.Unmarshal(text, &c) != nil {
		return c, false
	}
	return c, now.Unix() < c.Expires
}

// link returns the URL of a version's package, which a plain GET opens for
// linkLifetime without credentials.
func (h *Handler) link(r *http.Request, v *faas.Version) string {
	return h.linkTo(r, linkClaim{Version: v.ID, SHA256: v.Code.SHA256})
}

// linkTo returns the URL of what the claim, whose end it sets, grants.
func (h *Handler) linkTo(r *http.Request, claim linkClaim) string {
	claim.Expires = h.now().Add(linkLifetime).Unix()
	return h.base(r) + linkPath + h.links.sign(claim)
}

// base begins the links that answers to r carry: scheme and host, no slash.
func (h *Handler) base(r *http.Request) string {
	switch {
	case h.baseURL != "":
		return h.baseURL
	case r.TLS != nil:
		return "https://" + r.Host
	default:
		return "http://" + r.Host
	}
}

// serveLink answers with the package that a link names. A head whose code was
// updated since has another package: its link is refused, not answered with it.
func (h *Handler) serveLink(w http.ResponseWriter, r *http.Request, token, requestID string) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		h.fail(w, r, requestID, &apiError{wire: wireMethod, allow: "GET, HEAD", message: "A link to code is read with GET."})
		return
	}
	claim, ok := h.links.verify(token, h.now())
	if !ok {
		h.fail(w, r, requestID, &apiError{wire: wireDenied, message: "This link has expired or is not valid. GetFunction makes a new one."})
		return
	}
	zip, err := h.openLinked(r.Context(), claim)
	if err != nil {
		h.fail(w, r, requestID, err)
		return
	}
	header := w.Header()
	header.Set("Content-Type", "application/zip")
	header.Set("Content-Length", strconv.Itoa(len(zip)))
	header.Set("ETag", `"`+claim.SHA256+`"`)
	if r.Method == http.MethodGet {
		_, _ = w.Write(zip) // a client that went away is told nothing
	}
}

func (h *Handler) openLinked(ctx context.Context, claim linkClaim) ([]byte, error) {
	if claim.Layer != nil {
		return h.layers.OpenLayer(ctx, claim.Layer.ID, claim.Layer.Number)
	}
	id, number := claim.Version.Function, claim.Version.Number
	f, err := h.registry.Get(ctx, id, number)
	if err != nil {
		return nil, err
	}
	if f.Version.Code.SHA256 != claim.SHA256 {
		return nil, &apiError{wire: wireNotFound, message: "The function's code has changed since this link was made. GetFunction makes a new one."}
	}
	return h.registry.OpenCode(ctx, id, number)
}
