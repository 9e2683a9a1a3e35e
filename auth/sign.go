package auth

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Sign signs a request with its body for a region and a service, in the
// Authorization header. What is in the header when it is called is signed as far as
// it is Hearth's or AWS's (x-amz-*), with the host and the content type.
func Sign(r *http.Request, body []byte, c Credentials, region, service string, now time.Time) {
	r.Header.Set("X-Amz-Date", stamp(now))
	if c.Token != "" {
		r.Header.Set("X-Amz-Security-Token", c.Token)
	}
	if r.Host == "" {
		r.Host = r.URL.Host
	}
	names := []string{"host"}
	for name := range r.Header {
		if lower := strings.ToLower(name); strings.HasPrefix(lower, "x-amz-") || strings.HasPrefix(lower, "x-hearth-") || lower == "content-type" {
			names = append(names, lower)
		}
	}
	slices.Sort(names)
	sum := sha256.Sum256(body)
	date := stamp(now)[:8]
	claim := claim{
		date: date, region: region, service: service, scope: date + "/" + region + "/" + service,
		signed: strings.Join(names, ";"), atText: stamp(now),
	}
	path := sentPath(r)
	if !rawPath(service) {
		path = normalized(path)
	}
	canonical := claim.appendRequest(nil, r, path, hex.EncodeToString(sum[:]))
	mac := sum256(deriveKey(c.Secret, date, region, service), claim.appendStringToSign(nil, canonical))
	r.Header.Set("Authorization", algorithm+" Credential="+c.KeyID+"/"+claim.scope+"/"+terminator+
		", SignedHeaders="+claim.signed+", Signature="+hex.EncodeToString(mac))
}
